"""``fittengate keys``: make, list, replace and revoke the keys of clients.

Law: a new key alone goes to standard output, once, so that a script can take it; all that is said about it goes to
standard error. A gateway that runs on the same store follows within a second.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fittengate.cli.failures import CommandError
from fittengate.cli.options import F, read_settings, settings_options
from fittengate.cli.serve import say
from fittengate.cli.tables import columns
from fittengate.core.caller import LANES, SCOPES
from fittengate.server.configure import prepare_state_dir

if TYPE_CHECKING:
    from fittengate.services.key_rows import KeyRow
    from fittengate.services.key_store import KeyStore
    from fittengate.settings import Fleet

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class _Span(click.ParamType[float]):
    """A length of time in words: ``30d``, ``12h``, ``90m``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        from fittengate.services.key_store import MAX_SECONDS

        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhdw])", str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is no time. Write a number and a unit: 90m, 12h, 30d, 4w.", param, ctx)
        seconds = float(found[1]) * _UNITS[found[2]]
        if seconds > MAX_SECONDS:
            self.fail(f"{value!r} is more than a hundred years.", param, ctx)
        return seconds


def _storing(function: F) -> F:
    return settings_options("server.state_dir", "store.url")(function)


def _limits(function: F) -> F:
    said = {
        "tokens-per-month": "Most tokens of a month (UTC).",
        "tokens-per-day": "Most tokens of a day (UTC).",
        "concurrency": "Most requests at a time.",
        "tpm": "Most tokens in any minute, prompt and answer.",
        "rpm": "Most requests in any minute.",
    }
    for name, text in said.items():
        function = click.option(f"--{name}", type=click.IntRange(0), metavar="NUMBER", help=text)(function)
    return function


@click.group("keys")
def command() -> None:
    """Make, list, replace and revoke the keys of clients. A gateway that runs follows within a second."""


@command.command("create", short_help="Make a key and print it, this once.")
@click.option("--name", required=True, help="What the key is called: in lists, in the log, in the usage.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="What it is for. [chat, completion]")
@click.option("--model", "models", multiple=True, metavar="PATTERN", help="A model it may ask for; * fits all. [all]")
@click.option("--expires", type=_Span(), metavar="TIME", help="When it ends: 12h, 30d. [never]")
@_limits
@click.option(
    "--lane", type=click.Choice(LANES), default=LANES[0], help="background waits behind all others. [interactive]"
)
@_storing
def create(
    *,
    name: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    expires: float | None,
    lane: Any,
    **options: Any,
) -> None:
    """Make a key and print it: this once, and alone on standard output. It works at once.

    A limit that is not given is the default of the settings (limits.rpm and so on); 0 means none.
    """
    from fittengate.services.key_rows import LIMITS, KeyRefusedError
    from fittengate.services.key_store import KeyWish

    limits = {limit: options.pop(limit) for limit in LIMITS}
    wish = KeyWish(
        name=name,
        scopes=scopes or ("chat", "completion"),
        models=models,
        lane=lane,
        lasts=expires,
        **limits,
    )
    try:
        wish.check()
    except KeyRefusedError as error:
        raise click.UsageError(str(error)) from error
    with _store(options) as store:
        key, row = store.create(wish)
        _hand_out(key, row, "a new key")


@command.command("list", short_help="List the keys.")
@click.option("--all", "everything", is_flag=True, help="Those too that no longer work.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@_storing
def show(*, everything: bool, as_json: bool, **options: Any) -> None:
    """List the keys. Of each only the first ten characters are known."""
    import time

    now = time.time()
    with _store(options) as store:
        rows = [row for row in store.listed() if everything or row.works(now)]
    if as_json:
        import msgspec

        from fittengate.services.key_rows import shown

        click.echo(msgspec.json.format(msgspec.json.encode([shown(row, now) for row in rows])))
        return
    if not rows:
        say("no keys yet. `fittengate keys create --name NAME` makes one.")
        return
    lines: list[tuple[str, ...]] = [
        ("NAME", "KEY", "STATE", "SCOPES", "MODELS", "LANE", "LIMITS", "CREATED", "EXPIRES")
    ]
    lines += [_line(row, now) for row in rows]
    for line in columns(lines):
        click.echo(line)


@command.command("rotate", short_help="Put a new key into the place of another one.")
@click.argument("name")
@click.option(
    "--grace", type=_Span(), default="24h", metavar="TIME", help="How long the old key works beside it. [24h]"
)
@_storing
def rotate(*, name: str, grace: float, **options: Any) -> None:
    """Put a new key into the place of another one, given by NAME or by its first ten characters, and print it.

    The new one may do what the old one may, and what was used counts on.
    """
    with _store(options) as store:
        key, row = store.rotate(name, grace)
        _hand_out(key, row, "a new key in the place of the old one")
        say(f"the old key works for {_span(grace)} more" if grace else "the old key no longer works")


@command.command("revoke", short_help="End a key at once.")
@click.argument("name")
@_storing
def revoke(*, name: str, **options: Any) -> None:
    """End a key at once, given by NAME or by its first ten characters; by name, those that it replaced too."""
    with _store(options) as store:
        ended = store.revoke(name)
    if not ended:
        say(f"{name} was revoked before")
    for row in ended:
        say(f"revoked {row.name} ({row.prefix}…)")


def _hand_out(key: str, row: "KeyRow", what: str) -> None:
    say(f"{what} ({row.name}), shown only this once:")
    click.echo(key)


@contextmanager
def _store(options: dict[str, Any]) -> Iterator["KeyStore"]:
    """Open the store of keys. Raises CommandError with what to do."""
    from fittengate.server.assemble import open_database, open_key_store
    from fittengate.services.key_rows import KeyRefusedError, NoKeyError
    from fittengate.services.store import StoreDownError

    configured = read_settings(options)
    prepare_state_dir(configured.state_dir)
    place = configured.settings.store
    store = open_key_store(place, open_database(place), secrets.token_bytes, lambda: _tell(configured.settings.fleet))
    if store is None:
        raise CommandError("there is no store to keep keys in: store.url is none. Set it, or use server.api_key.")
    try:
        store.take_over(configured.state_dir)
        yield store
    except StoreDownError as error:
        _fail(f"the store cannot be used ({error}). Check store.url and the disk.", error)
    except (NoKeyError, KeyRefusedError) as error:
        _fail(str(error), error)
    finally:
        store.close()


def _tell(fleet: "Fleet") -> None:
    """Tell the gateways of a fleet, if there is one, that keys have changed."""
    if not fleet.url:
        return
    from fittengate.services.fleet import announce
    from fittengate.services.valkey import FleetDownError

    try:
        announce(fleet)
    except FleetDownError as error:
        say(f"the fleet was not told ({error}); each gateway finds out by itself within a second")


def _fail(text: str, error: Exception) -> NoReturn:
    raise CommandError(text) from error


def _line(row: "KeyRow", now: float) -> tuple[str, ...]:
    from fittengate.services.key_rows import LIMITS

    limits = [f"{name}={getattr(row, name)}" for name in LIMITS if getattr(row, name) is not None]
    return (
        row.name,
        f"{row.prefix}…",
        row.state(now),
        ",".join(row.scopes),
        ",".join(row.models) or "all",
        row.lane,
        " ".join(limits) or "defaults",
        _day(row.created),
        "never" if row.expires is None else _day(row.expires),
    )


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")


def _span(seconds: float) -> str:
    for unit in ("w", "d", "h", "m"):
        if seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:g}{unit}"
    return f"{seconds:g}s"
