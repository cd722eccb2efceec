"""``fittengate usage``: who used how much."""

import csv
import io
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from fittengate.cli.failures import CommandError
from fittengate.cli.options import read_settings, settings_options
from fittengate.cli.store import PLACE, store_database
from fittengate.cli.tables import columns
from fittengate.server.configure import Configured

if TYPE_CHECKING:
    from fittengate.services.receipt_rows import By, UsageRow

FIELDS = ("requests", "unfinished", "input_tokens", "output_tokens", "estimated")

BAR = 24
"""Characters of the longest bar."""

_SPAN = re.compile(r"(\d{1,5})\s*([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


@click.command("usage")
@settings_options(*PLACE)
@click.option("--by", type=click.Choice(["key", "model", "day"]), default="day", help="What to sum by. [day]")
@click.option("--since", metavar="WHEN", help="From here on: 12h, 7d, 4w or 2026-01-31. [all that is kept]")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values with a line of names.")
def command(*, by: "By", since: str | None, as_json: bool, as_csv: bool, **options: Any) -> None:
    """Show requests and tokens by day, key or model. Days are those of UTC.

    Requests are here a second after their end. "Unfinished" had another end than a whole reply; "estimated" counts
    requests whose tokens the service did not count itself.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other: leave one of them out.")
    moment = None if since is None else since_when(since, datetime.now(UTC))
    rows = _read(read_settings(options), by, moment)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode([_named(by, row) for row in rows])))
    elif as_csv:
        click.echo(_csv(by, rows), nl=False)
    elif not rows:
        click.echo("No requests.")
    else:
        heading, *lines = table(by, rows, getattr(sys.stdout, "encoding", None) or "ascii")
        click.secho(heading, bold=True)
        for line in lines:
            click.echo(line)


def since_when(text: str, now: datetime) -> float:
    """Return what ``--since`` means in seconds since the epoch. Raises click.BadParameter."""
    span = _SPAN.fullmatch(text.strip().lower())
    if span is not None:
        return (now - timedelta(hours=int(span[1]) * _HOURS[span[2]])).timestamp()
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is none of 12h, 7d, 4w, 2026-01-31.", param_hint="--since") from None


def table(by: str, rows: "list[UsageRow]", encoding: str) -> list[str]:
    """Return a heading and a line for each row, with a bar for its tokens."""
    try:
        block = "\N{FULL BLOCK}"
        block.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        block = "#"
    most = max(row.input_tokens + row.output_tokens for row in rows)
    cells: list[tuple[str, ...]] = [(by.upper(), "REQUESTS", "UNFINISHED", "INPUT", "OUTPUT", "ESTIMATED", "TOKENS")]
    for row in rows:
        tokens = row.input_tokens + row.output_tokens
        length = 0 if not tokens else max(1, round(BAR * tokens / most))
        numbers = [f"{getattr(row, name):,}" for name in FIELDS]
        cells.append((row.name or "-", *numbers, block * length))
    return columns(cells, right=range(1, len(FIELDS) + 1))


def _named(by: str, row: "UsageRow") -> dict[str, Any]:
    return {by: row.name, **{name: getattr(row, name) for name in FIELDS}}


def _csv(by: str, rows: "list[UsageRow]") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, [by, *FIELDS], lineterminator="\n")
    writer.writeheader()
    writer.writerows([_named(by, row) for row in rows])
    return out.getvalue()


def _read(configured: Configured, by: "By", since: float | None) -> "list[UsageRow]":
    from fittengate.services.receipt_rows import usage
    from fittengate.services.store import StoreDownError

    database = store_database(configured)
    if not database.there:
        return []
    name = database.place.name
    try:
        with database.begin() as connection:
            return usage(connection, by, since)
    except StoreDownError as error:
        raise CommandError(f"{name} cannot be read ({error}). `fittengate store check` looks closer.") from error
    finally:
        database.close()
