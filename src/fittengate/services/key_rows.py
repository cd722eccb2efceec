"""The statements behind the keys in the store. SQLAlchemy comes in with the first of them, not before.

Law: every change gives its rows a higher ``changed`` than any row had before, in one transaction; so whoever asks for
what came after the highest that it knows misses nothing.
"""

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from fittengate.core.caller import Lane

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_KEYS = 10_000
"""Most keys in the store: all of them are held in memory."""

LIMITS = ("rpm", "tpm", "concurrency", "tokens_per_day", "tokens_per_month")
"""The columns that are limits."""

State = Literal["active", "replaced", "expired", "revoked"]


class KeyRow(Struct, frozen=True, kw_only=True):
    """A key as it is kept: everything but itself."""

    sha256: str
    """Of the whole key, in hexadecimal digits."""
    prefix: str
    name: str
    owner: str
    scopes: tuple[str, ...] = ("chat", "completion")
    models: tuple[str, ...] = ()
    """Patterns of the models that may be asked for; none means all."""
    lane: Lane = "interactive"
    created: int
    """Seconds since the epoch, as all times here."""
    expires: int | None = None
    revoked: int | None = None
    replaced: int | None = None
    """When another key took its place."""
    rpm: int | None = None
    """None means the default of the settings, 0 no limit; so with all limits."""
    tpm: int | None = None
    concurrency: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    changed: int = 0

    def state(self, now: float) -> State:
        """Return what the key is worth at a time; ``replaced`` and ``active`` ones work."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        return "active" if self.replaced is None else "replaced"

    def works(self, now: float) -> bool:
        """Tell whether the key lets anybody in at a time."""
        return self.state(now) in {"active", "replaced"}


def shown(row: KeyRow, now: float) -> dict[str, Any]:
    """Return what may be shown of a key, for programs; its hash is not in it."""
    hidden = {"sha256", "owner", "changed"}
    return {name: getattr(row, name) for name in row.__struct_fields__ if name not in hidden} | {
        "state": row.state(now)
    }


class NoKeyError(LookupError):
    """There is no such key, or more than one. The message is for a person."""


class KeyRefusedError(ValueError):
    """A key cannot be made so. The message is for a person."""


def read_since(connection: "Connection", changed: int) -> list[KeyRow]:
    """Return the keys that changed after ``changed``, the latest change last; 0 means all."""
    from sqlalchemy import select

    from fittengate.services.tables import KEYS

    wanted = select(KEYS).where(KEYS.c.changed > changed).order_by(KEYS.c.changed)
    return [_row(found._mapping) for found in connection.execute(wanted)]  # noqa: SLF001 - SQLAlchemy's public name


def last_change(connection: "Connection") -> int:
    """Return the highest ``changed`` of all rows; 0 where there are none."""
    from sqlalchemy import func, select

    from fittengate.services.tables import KEYS

    return int(connection.execute(select(func.coalesce(func.max(KEYS.c.changed), 0))).scalar_one())


def listed(connection: "Connection") -> list[KeyRow]:
    """Return every key, the oldest first."""
    return sorted(read_since(connection, 0), key=lambda row: (row.created, row.changed))


def find(connection: "Connection", name: str, now: float) -> KeyRow:
    """Return the one key of this name or visible prefix, of those that work or, if none does, of all.

    Of a key and the one that took its place a name means the newer one. Raises NoKeyError.
    """
    rows = read_since(connection, 0)
    named = [row for row in rows if name in (row.name, row.prefix)]
    for states in (("active",), ("replaced",), ("expired", "revoked")):
        found = [row for row in named if row.state(now) in states]
        if len(found) > 1 and states != ("active",):
            found = found[-1:] if len({row.owner for row in found}) == 1 else found
        if len(found) == 1:
            return found[0]
        if found:
            which = ", ".join(row.prefix for row in found)
            raise NoKeyError(f"{len(found)} keys are called {name}: {which}. Name one by its prefix.")
    raise NoKeyError(f"there is no key {name}. `fittengate keys list --all` shows them.")


def insert(connection: "Connection", row: KeyRow, now: float) -> KeyRow:
    """Write a new key and return it as it stands. Raises KeyRefusedError: its name is taken, or there are too many."""
    from fittengate.services.tables import KEYS

    change = _next_change(connection)
    rows = read_since(connection, 0)
    if any(other.name == row.name and other.state(now) == "active" for other in rows):
        raise KeyRefusedError(f"there is a key {row.name} already. Choose another name, or rotate that one.")
    if len(rows) >= MAX_KEYS:
        raise KeyRefusedError(f"there are {MAX_KEYS} keys already. Revoked ones go after store.retention_days.")
    values = _values(row) | {"changed": change}
    connection.execute(KEYS.insert(), [values])
    return _row(values)


def revoke(connection: "Connection", row: KeyRow, now: float) -> list[KeyRow]:
    """End a key, and those whose place it took, at once; return them. Those that were revoked before stay as they are."""
    from fittengate.services.tables import KEYS

    change = _next_change(connection)
    c = KEYS.c
    older = c.replaced.is_not(None) if row.replaced is None else c.sha256 == row.sha256
    which = (c.owner == row.owner) & c.revoked.is_(None) & ((c.sha256 == row.sha256) | older)
    connection.execute(KEYS.update().where(which).values(revoked=int(now), changed=change))
    return read_since(connection, change - 1)


def replace(connection: "Connection", row: KeyRow, new: KeyRow, now: float, grace: float) -> KeyRow:
    """Put ``new`` into the place of an active key, which works for ``grace`` seconds more; return the new one.

    Raises KeyRefusedError.
    """
    from fittengate.services.tables import KEYS

    if row.state(now) != "active":
        raise KeyRefusedError(f"the key {row.prefix} is {row.state(now)}. Create a new one.")
    change = _next_change(connection)
    ends = int(now + grace) if row.expires is None else min(row.expires, int(now + grace))
    old = KEYS.update().where(KEYS.c.sha256 == row.sha256)
    connection.execute(old.values(replaced=int(now), expires=ends, changed=change))
    return insert(connection, new, now)


def sweep(connection: "Connection", before: float) -> int:
    """Delete keys that ended before a time; return how many. Nobody needs to be told: they do not work."""
    from fittengate.services.tables import KEYS

    c = KEYS.c
    ended = (c.revoked < int(before)) | (c.expires < int(before))
    return connection.execute(KEYS.delete().where(ended, c.changed < last_change(connection))).rowcount


def _next_change(connection: "Connection") -> int:
    """Return the number of a change. Takes the right to write first: two writers do not get the same one."""
    from fittengate.services.tables import KEYS

    if connection.dialect.name == "sqlite":
        connection.execute(KEYS.update().where(KEYS.c.sha256 == "").values(changed=0))
    else:
        connection.exec_driver_sql("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE")
    return last_change(connection) + 1


def _values(row: KeyRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__struct_fields__}
    return values | {"scopes": ",".join(row.scopes), "models": "\n".join(row.models)}


def _row(values: Any) -> KeyRow:
    given = dict(values)
    given["scopes"] = tuple(given["scopes"].split(","))
    given["models"] = tuple(given["models"].split("\n")) if given["models"] else ()
    return KeyRow(**given)
