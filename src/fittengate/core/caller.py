"""Who asks, what they used, and what they can ask for."""

from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from fittengate.core.reply import Usage

Scope: TypeAlias = Literal["chat", "completion", "admin"]
"""What a key may be used for."""

Lane: TypeAlias = Literal["interactive", "background"]
"""Who waits longer for a turn at the service: people, or work that nobody watches."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
LANES: tuple[Lane, ...] = get_args(Lane)


class Allowance(Struct, frozen=True, kw_only=True):
    """What may be used: numbers, 0 for no limit."""

    rpm: int = 0
    """Requests in any minute."""
    tpm: int = 0
    """Tokens in any minute, of prompts and answers together."""
    concurrency: int = 0
    """Requests at a time."""
    tokens_per_day: int = 0
    """Tokens of a day by UTC."""
    tokens_per_month: int = 0
    """Tokens of a month by UTC."""


class Caller(Struct, frozen=True):
    """The holder of a key. Carries no key, only what may be shown of it."""

    name: str
    """Stable name of the key: the one it was given, its visible prefix, or the place it was configured in."""
    scopes: frozenset[str] = frozenset({"chat", "completion"})
    owner: str = ""
    """What the holder's own data is kept under, and what was used counted: follows from the first key that the holder
    had, and from nothing else, and does not tell it."""
    models: tuple[str, ...] = ()
    """Patterns of the ids that may be asked for, in the style of file names and in lower case; none means every one."""
    lane: Lane = "interactive"
    allowance: Allowance = Allowance()


class ModelCard(Struct, frozen=True):
    """A model that can be asked for."""

    id: str
    """Our stable name for it, in lower case: ``deepseek-v3``."""
    display_name: str
    selection: str | None = None
    """What the service wants to be told to pick it (``S2``); None means the account's default."""
    section: Literal["chat", "agent", "completion"] = "chat"
    """Where the service lists it; ``completion`` stands for its code completion, which takes no conversations."""
    created: int = 0
    """Seconds since the epoch; 0 where unknown."""


OUTCOMES = ("complete", "cancelled", "stalled", "truncated", "failed")
"""How a request can end; see :attr:`Receipt.outcome`."""


class Receipt(Struct, frozen=True):
    """What one request came to: the narrow row behind a log line."""

    at: float
    """When the request came, seconds since the epoch."""
    request_id: str
    caller: str
    """Name of the key, or ``-`` where nobody was recognised."""
    dialect: str
    method: str
    path: str
    status: int
    """HTTP status that was sent; 499 where the client left before one was."""
    outcome: str
    """``complete``; ``cancelled`` (the client left), ``stalled`` (the service fell silent), ``truncated`` (it failed
    after the reply had begun) or ``failed``."""
    model: str
    """Id of the model that answered; empty where it did not come to that."""
    usage: Usage | None
    first_seconds: float | None
    """Time to the first event; None where there was none."""
    total_seconds: float
    client: str
    """First word of the client's User-Agent, cut to 40 characters."""
    fault: str | None
    """Kind of the fault that ended it; None after a clean end."""
    detail: str | None
    """The fault's detail for the log; None where there is none."""
    trace_id: str | None = None
    """32 hexadecimal digits that the client or our own trace gave; None where there is none (W3C Trace Context)."""
