"""How the simulated service behaves as a whole: the values of a scenario file, JSON or TOML.

The defaults are what the real service was seen to do; every other value is a form that clients should survive.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from fittengate.simulator.plan import Count, Millis, Plan, Queued

T = TypeVar("T")


class ScenarioError(ValueError):
    """A scenario that cannot be read; the message names the place and the field."""


class AccountRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who can sign in."""

    username: Annotated[str, Meta(min_length=1)]
    password: str
    user_id: Annotated[str, Meta(pattern="^([0-9a-f]{24})?$")] = ""
    """24 hexadecimal digits; empty: derived from the user name, so it stays the same."""
    email: str = ""
    phone: str = ""
    nickname: str = ""


class Tokens(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules about tokens (protocol: tokens, refresh)."""

    access_seconds: Count = 86_400
    refresh_seconds: Count = 30 * 86_400
    leeway_seconds: Count = 10
    access_form: Literal["jwt", "no_exp", "opaque"] = "jwt"
    """What access tokens look like; the server knows their time in any form."""
    access_renewal: Literal["always", "due", "never"] = "always"
    """When a refresh gives a new access token. Otherwise it says ``Not expired``."""
    refresh_renewal: Literal["always", "due", "never"] = "due"
    """When ``refresh_refresh_token`` gives a new refresh token. Otherwise it says ``Not expired``."""
    due_share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """A token is due when less than this share of its life is left."""
    invalidate_previous: bool = False
    """Whether a refresh withdraws the account's earlier access tokens."""
    rotate_refresh: bool = False
    """Whether ``refresh_access_token`` also gives a new refresh token and withdraws the one that was used."""
    refresh_as_access: bool = True
    """Whether a refresh token passes where an access token is needed."""
    expired_detail: str = "Token time expired: expired_token: The token is expired"
    invalid_detail: str = "Invalid token: Signature verification failed."
    missing_detail: str = "Credentials are not provided"
    bad_signature: Literal["401", "500"] = "401"
    secret: str = "fitten-simulator"  # noqa: S105 - signs play tokens; fixed, so they outlive a restart


class Pace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pace of chat replies whose plan names none."""

    first_ms: Millis = 0
    interval_ms: Millis = 0


class SignIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Third-party sign-in."""

    polls: Count = 2
    """Polls that are answered with "not yet"; the next one succeeds."""
    create: bool = False
    never: bool = False
    username: str = "demo"


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the model list."""

    selection_name: str
    display_name: str
    is_default: bool = False
    order: int = 0


class Models(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model list."""

    chat: tuple[Model, ...] = (
        Model(selection_name="S1", display_name="Default", is_default=True, order=100),
        Model(selection_name="S2", display_name="DeepSeek V3", order=95),
        Model(selection_name="S3", display_name="DeepSeek R1", order=90),
    )
    agent: tuple[Model, ...] = (Model(selection_name="S5", display_name="Default", is_default=True, order=100),)
    form: Literal["plain", "string", "duplicates", "nameless", "odd_order", "empty"] = "plain"
    """``string``: a JSON string that holds the object. The rest: entries twice, entries without names, orders that are
    no numbers, empty sections."""
    unknown: Literal["default", "refuse"] = "default"
    """What chat does with a model that is not listed: answer as the default one, or 400. What is real is unknown."""


class Completion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Code completion."""

    version: str = "0"
    form: Literal["plain", "empty", "nothing", "rest_of_line", "end_of_text", "ex_msg", "edit", "edit_insert"] = "plain"
    """What is answered: a suggestion; an empty one; no fields at all; the rest of the line; a suggestion with an
    end-of-text mark in it; one in ``ex_msg``; an edit of the line; an edit that inserts a line (start after end)."""
    diff_errors: Annotated[float, Meta(ge=0, le=1)] = 0
    """Share of valid diffs that are refused all the same."""
    files: tuple[str, ...] = ()
    """Texts of files that are known already. Where one begins with what stands before the cursor and ends with what
    stands after it, the suggestion is how it goes on, up to the end of the line, or with the next line."""
    silent_chars: Count = 0
    """So many characters of a line of such a file, blanks not counted, must be there before its rest is suggested."""
    wrong_lines: Count = 0
    """Of so many lines of such a file, the suggestion about one goes wrong in its middle; 0: about none."""
    project_context: str = "yes-4"
    """What ``pc_check_auth`` says."""
    cache: Annotated[int, Meta(ge=1)] = 256
    """Texts that are kept for diffs."""


class Fast(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fixed chat reply, made once, for benchmarks. Requests answered so are counted but not logged."""

    deltas: Annotated[int, Meta(ge=0, le=1_000_000)] = 20
    interval_ms: Millis = 0
    text: str = " token"
    pieces: tuple[str, ...] = ()
    """The deltas one by one, in place of ``deltas`` times ``text``."""


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole."""

    accounts: tuple[AccountRecord, ...] = ()
    demo_account: bool = True
    """Whether ``demo`` with password ``demo`` can sign in too."""
    wrong_password: Literal["body", "401"] = "body"  # noqa: S105 - a form, not a password
    """How a wrong password is told: in a 200 body, or as 401."""
    tokens: Tokens = Tokens()
    sign_in: SignIn = SignIn()
    pace: Pace = Pace()
    models: Models = Models()
    completion: Completion = Completion()
    gray: dict[str, int] = {}
    """Values of gray tests by plan name; 0 for the rest."""
    anonymous_chat: bool = True
    """Whether chat without a token is served; otherwise it is 404."""
    max_input_chars: Count = 0
    """Longer prompts are a 422; 0 means no limit. The real limit is unknown."""
    cors: bool = True
    """Whether preflights and replies carry the headers that let a browser through."""
    defaults: dict[str, Plan] = {}
    """Lasting plans by route name."""
    plans: tuple[Queued, ...] = ()
    """Plans for the first requests."""
    fast: Fast | None = None
    log_requests: Annotated[int, Meta(ge=1)] = 1000
    log_bytes: Count = 16_777_216
    """How much of bodies the log keeps in all; older records lose theirs first."""


DEMO_PACE = Pace(first_ms=400, interval_ms=12)
"""As the real service was seen: half a second to the first byte, then a piece each 10 to 15 ms."""


def parse(data: bytes, *, toml: bool = False) -> Scenario:
    """Return the scenario that ``data`` holds; raises ScenarioError."""
    return read_as(data, Scenario, toml=toml)


def read_as(data: bytes, kind: type[T], *, toml: bool = False) -> T:
    """Return ``data`` as a value of ``kind``; raises ScenarioError that names the field."""
    if not toml and not data.strip():
        raise ScenarioError("there is nothing in it; {} says that everything is as usual")
    try:
        if toml:
            return msgspec.toml.decode(data, type=kind)
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{error}{_choices(kind, str(error))}") from error


def _choices(kind: Any, text: str) -> str:
    """Return what may stand where an error found none of the words that are known; empty for any other error."""
    if not text.startswith("Invalid enum value"):
        return ""
    for name in re.findall(r"\.([a-z_]+)", text.rpartition(" - at ")[2]):
        while get_origin(kind) is not None and get_origin(kind) is not Literal:
            # Of a list the type of its entries, of a table that of its values, of an optional one the type itself.
            kind = next(part for part in reversed(get_args(kind)) if part not in {type(None), Ellipsis})
        kind = get_type_hints(kind)[name]
    while get_origin(kind) is not Literal:
        kind = next(part for part in get_args(kind) if part not in {type(None), Ellipsis})
    return f"; known are {', '.join(map(repr, get_args(kind)))}"


def load(path: Path) -> Scenario:
    """Return the scenario of a file, TOML if its name ends so; raises ScenarioError, also where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    try:
        return parse(data, toml=path.suffix.lower() == ".toml")
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error
