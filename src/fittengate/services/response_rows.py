"""The statements behind the kept responses. SQLAlchemy comes in with the first of them, not before."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Record
from fittengate.services.store import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

MAX_TOTAL_BYTES = 1024 * 1024 * 1024
"""All kept responses together; the oldest go first."""

MAX_CHAIN = 1000
MAX_CHAIN_BYTES = 64 * 1024 * 1024
"""Bounds of a conversation that can be gone on with, far above what any prompt has room for."""

SWEEP_ROWS = 500
"""So many rows are deleted in one transaction: whoever wants to write in between can."""


TRIM_ROWS = 20
"""So many go at a time where all are too large together: fewer, for each may be large."""


class Row(Struct, frozen=True):
    """A record with its owner."""

    record: Record
    caller: str
    created: int
    """Seconds since the epoch."""

    @property
    def size(self) -> int:
        """Bytes of its contents."""
        return len(self.record.given) + len(self.record.response)


def insert(connection: "Connection", rows: Sequence[Row]) -> None:
    """Write rows; one whose id is there already is passed over: it was written before, on a connection that broke."""
    from fittengate.services.statements import insert_new
    from fittengate.services.tables import RESPONSES

    if rows:
        values = [
            {
                "id": row.record.id,
                "caller": row.caller,
                "previous": row.record.previous,
                "created": row.created,
                "size": row.size,
                "given": row.record.given,
                "response": row.record.response,
            }
            for row in rows
        ]
        connection.execute(insert_new(connection, RESPONSES), values)


def remove(connection: "Connection", ids: Sequence[str]) -> None:
    """Delete rows by id."""
    from fittengate.services.tables import RESPONSES

    if ids:
        connection.execute(RESPONSES.delete().where(RESPONSES.c.id.in_(ids)))


def find_one(connection: "Connection", name: str, caller: str, oldest: float) -> tuple[Record, ...]:
    """Return the record of this id, if it is ``caller``'s and not from before ``oldest`` (seconds since the epoch)."""
    from sqlalchemy import select

    from fittengate.services.tables import RESPONSES

    c = RESPONSES.c
    wanted = select(c.id, c.previous, c.given, c.response)
    wanted = wanted.where(c.id == name, c.caller == caller, c.created >= int(oldest))
    return tuple([Record(*row) for row in connection.execute(wanted)])


def find_chain(connection: "Connection", name: str, caller: str, oldest: float) -> tuple[Record, ...]:
    """Return the conversation that ends with the record ``name``, oldest first; nothing where a part of it is missing.

    Rows of others, and rows from before ``oldest`` (seconds since the epoch), are not seen. Raises Fault
    (caller_too_long).
    """
    from sqlalchemy import Integer, literal, select

    from fittengate.services.tables import RESPONSES

    c = RESPONSES.c
    seen = (c.caller == caller) & (c.created >= int(oldest))
    first = select(c.id, c.previous, c.size, literal(0, Integer).label("depth"))
    walk = first.where(c.id == name, seen).cte("walk", recursive=True)
    before = select(c.id, c.previous, c.size, walk.c.depth + 1)
    walk = walk.union_all(before.where(c.id == walk.c.previous, seen, walk.c.depth < MAX_CHAIN))
    path = connection.execute(select(walk).order_by(walk.c.depth.desc())).all()
    if len(path) > MAX_CHAIN or sum(row.size for row in path) > MAX_CHAIN_BYTES:
        message = "The conversation before this request is too long to go on with. Begin a new one."
        raise Fault(FaultKind.CALLER_TOO_LONG, message, param="previous_response_id")
    if not path or path[0].previous is not None:
        return ()
    wanted = select(c.id, c.previous, c.given, c.response).where(c.id.in_([row.id for row in path]))
    found = {row.id: Record(*row) for row in connection.execute(wanted)}
    return tuple([found[row.id] for row in path])


def sweep(database: Database, oldest: float, most_bytes: int = MAX_TOTAL_BYTES) -> None:
    """Delete what is older than ``oldest`` (seconds since the epoch), and the oldest rows over ``most_bytes``.

    Raises StoreDownError.
    """
    from sqlalchemy import func, select

    from fittengate.services.tables import RESPONSES

    c = RESPONSES.c
    old = select(c.id).where(c.created < int(oldest)).order_by(c.created).limit(SWEEP_ROWS)
    while _deleted(database, old) == SWEEP_ROWS:
        pass
    total = select(func.coalesce(func.sum(c.size), 0))
    oldest_few = select(c.id).order_by(c.created, c.id).limit(TRIM_ROWS)
    while True:
        with database.begin() as connection:
            too_many = connection.execute(total).scalar_one() > most_bytes
        if not too_many or not _deleted(database, oldest_few):
            return


def _deleted(database: Database, which: "Select[tuple[str]]") -> int:
    from fittengate.services.tables import RESPONSES

    # Another gateway may be at it: what it has in hand is left to it.
    free = which.with_for_update(skip_locked=True)
    with database.begin() as connection:
        return connection.execute(RESPONSES.delete().where(RESPONSES.c.id.in_(free))).rowcount
