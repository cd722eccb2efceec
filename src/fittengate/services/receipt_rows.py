"""The statements behind the ledger. SQLAlchemy comes in with the first of them, not before."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from fittengate.core.caller import Receipt
from fittengate.services.store import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect

MAX_ROWS = 5_000_000
"""All receipts together, some 700 MB; the oldest go first."""

BATCH_ROWS = 2048
"""So many are written in one transaction, and deleted in one."""

DAY_MS = 86_400_000

By: TypeAlias = Literal["key", "model", "day"]
"""What usage can be told by."""

_KEY_CHARS = 64
_MODEL_CHARS = 128


class Entry(Struct, frozen=True, array_like=True):
    """A receipt as it lies in the journal and in the store: the columns of its table from the third on, in their order.

    Records of earlier versions are read too: a further field goes to the end and has a default.
    """

    at: int
    """When the request came, in milliseconds since the epoch."""
    request_id: str
    key: str
    dialect: str
    model: str
    outcome: str
    input_tokens: int
    output_tokens: int
    estimated: bool
    first_ms: int | None
    total_ms: int
    client: str
    """The name in its User-Agent, without the version."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def packed(receipt: Receipt) -> bytes:
    """Return a receipt as a record of the journal."""
    usage, first = receipt.usage, receipt.first_seconds
    return _encode(
        Entry(
            int(receipt.at * 1000),
            receipt.request_id,
            receipt.caller[:_KEY_CHARS],
            receipt.dialect,
            receipt.model[:_MODEL_CHARS],
            receipt.outcome,
            0 if usage is None else usage.input_tokens,
            0 if usage is None else usage.output_tokens,
            usage is not None and usage.estimated,
            None if first is None else int(first * 1000),
            int(receipt.total_seconds * 1000),
            receipt.client.partition("/")[0],
        )
    )


class Stored(NamedTuple):
    """What became of a batch; what was there before is in neither count."""

    written: int
    unread: int
    """Records that are no receipts, and were left out."""


def store(connection: "Connection", journal: str, batch: Sequence[tuple[int, bytes]], now: int) -> Stored:
    """Write records of a journal, those that are not there yet.

    ``now`` is in seconds since the epoch. Which of them are there follows from the journal's position, which is written
    in the same transaction.
    """
    from sqlalchemy import select

    from fittengate.services.statements import insert_new
    from fittengate.services.tables import JOURNALS

    c = JOURNALS.c
    # Locked where the database has such locks: a connection that broke may still be writing the same batch.
    wanted = select(c.id, c.position).where(c.name == journal).with_for_update()
    found = connection.execute(wanted).one_or_none()
    if found is None:
        new = insert_new(connection, JOURNALS)
        connection.execute(new, {"name": journal, "position": 0, "used": now})
        found = connection.execute(wanted).one()
    number, position = found
    last = batch[-1][0]
    if last <= position:
        return Stored(0, 0)
    connection.execute(JOURNALS.update().where(c.id == number).values(position=last, used=now))
    rows: list[tuple[object, ...]] = []
    unread = 0
    for at, payload in batch:
        if at > position:
            try:
                rows.append((number, at, *astuple(_decode(payload))))
            except msgspec.MsgspecError:
                unread += 1
    written = 0
    for statement, values in _statements(rows, connection.dialect):
        written += connection.exec_driver_sql(statement, values).rowcount
    return Stored(written, unread)


def _statements(rows: list[tuple[object, ...]], dialect: "Dialect") -> Iterator[tuple[str, tuple[object, ...]]]:
    # A row at a time would hand the interpreter's lock to and fro for each of them.
    if dialect.name != "sqlite":
        # A server takes the columns as arrays: fourteen values, however many rows.
        if rows:
            yield _INTO.format(_unnested(dialect)), tuple([list(column) for column in zip(*rows, strict=True)])
        return
    # The powers of two keep the number of different statements, which the driver caches, small.
    at, size = 0, 256
    while at < len(rows):
        if size > len(rows) - at:
            size //= 2
            continue
        yield _INTO.format(_values(size)), tuple([value for row in rows[at : at + size] for value in row])
        at += size


_INTO = "INSERT INTO receipts {} ON CONFLICT DO NOTHING"


@lru_cache(16)
def _values(rows: int) -> str:
    from fittengate.services.tables import RECEIPTS

    one = f"({', '.join(['?'] * len(RECEIPTS.columns))})"
    return f"{_names()} VALUES {', '.join([one] * rows)}"


@lru_cache(1)
def _unnested(dialect: "Dialect") -> str:
    from fittengate.services.tables import RECEIPTS

    kinds = [column.type.compile(dialect) for column in RECEIPTS.columns]
    return f"{_names()} SELECT * FROM unnest({', '.join(f'%s::{kind}[]' for kind in kinds)})"  # noqa: S608 - our own names


def _names() -> str:
    from fittengate.services.tables import RECEIPTS

    return "(" + ", ".join([f'"{column.name}"' for column in RECEIPTS.columns]) + ")"


class UsageRow(Struct, frozen=True):
    """What one key, model or day came to."""

    name: str
    """The key's name, the model's id (empty where it did not come to one), or the day in UTC: ``2026-01-31``."""
    requests: int
    unfinished: int
    """Requests that had another end than a whole reply: failed, cut off, cancelled."""
    input_tokens: int
    output_tokens: int
    estimated: int
    """Requests whose token counts are not all the service's own."""


def usage(connection: "Connection", by: By, since: float | None = None, key: str | None = None) -> list[UsageRow]:
    """Return what was used, from ``since`` on (seconds since the epoch; None: as far as is kept), by one ``key`` or all.

    Days come in order, keys and models with the most tokens first.
    """
    from sqlalchemy import case, func, select

    from fittengate.services.tables import RECEIPTS

    c = RECEIPTS.c
    group = {"key": c.key, "model": c.model, "day": c.at // DAY_MS}[by]
    wanted = select(
        group,
        func.count(),
        func.sum(case((c.outcome != "complete", 1), else_=0)),
        func.sum(c.input_tokens),
        func.sum(c.output_tokens),
        func.sum(case((c.estimated, 1), else_=0)),
    ).group_by(group)
    if since is not None:
        wanted = wanted.where(c.at >= int(since * 1000))
    if key is not None:
        wanted = wanted.where(c.key == key)
    found = [
        (row[0], UsageRow(_day(row[0]) if by == "day" else row[0], *[int(value) for value in row[1:]]))
        for row in connection.execute(wanted)
    ]
    if by == "day":
        found.sort(key=lambda one: one[0])
    else:
        found.sort(key=lambda one: (-one[1].input_tokens - one[1].output_tokens, one[0]))
    return [row for _order, row in found]


def _day(number: int) -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)).date().isoformat()


def sweep(database: Database, oldest: float, most_rows: int = MAX_ROWS) -> int:
    """Delete receipts from before ``oldest`` (seconds since the epoch), and the oldest over ``most_rows``; return how many.

    Journals that nothing is kept of are forgotten too. Raises StoreDownError.
    """
    from sqlalchemy import select, tuple_

    from fittengate.services.tables import JOURNALS, RECEIPTS

    c = RECEIPTS.c
    with database.begin() as connection:
        over = connection.execute(select(c.at).order_by(c.at.desc()).offset(most_rows).limit(1)).scalar()
    before = max(int(oldest * 1000), 0 if over is None else over + 1)
    row_id = tuple_(c.journal, c.number)
    some = select(c.journal, c.number).where(c.at < before).order_by(c.at).limit(BATCH_ROWS)
    # Another gateway may be at it: what it has in hand is left to it.
    some = some.with_for_update(skip_locked=True)
    count = 0
    while True:
        with database.begin() as connection:
            gone = connection.execute(RECEIPTS.delete().where(row_id.in_(some))).rowcount
        count += gone
        if gone < BATCH_ROWS:
            break
    with database.begin() as connection:
        unused = ~select(c.journal).where(c.journal == JOURNALS.c.id).exists()
        connection.execute(JOURNALS.delete().where(JOURNALS.c.used < int(oldest), unused))
    return count
