"""Looking after a SQLite store from outside: whether it is sound, copying it while it is in use; bringing any up to date.

Nothing here moves or changes a damaged file: whoever looks at one wants to find it as it is.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from fittengate.services.files import MODE
from fittengate.services.store import BUSY_SECONDS, Database, StoreDownError

MAX_PROBLEMS = 10

COPY_PAGES = 1000
"""So many pages are copied at a stretch; in between others write."""


class Health(Struct, frozen=True):
    """How a store was found."""

    revision: str | None
    """Of its tables; ``0001`` also where it says none; None for an empty file."""
    problems: tuple[str, ...]
    """What is wrong, the first ten; none in a sound store."""
    responses: int
    receipts: int


def examine(path: Path) -> Health:
    """Return how the store is. Raises StoreDownError when it cannot be read at all."""
    with _reading(path) as connection:
        found = connection.execute(f"PRAGMA integrity_check({MAX_PROBLEMS})").fetchall()
        problems = tuple(str(row[0]) for row in found if row[0] != "ok")
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return Health(
            _revision(connection, tables),
            problems,
            *(
                # Two names of ours.
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] if table in tables else 0  # noqa: S608
                for table in ("responses", "receipts")
            ),
        )


def copy(path: Path, target: Path) -> None:
    """Copy the store, while it is in use, into a new private file. Raises OSError, StoreDownError; then there is no copy."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE))
    try:
        with _reading(path) as source, contextlib.closing(sqlite3.connect(target)) as made:
            source.backup(made, pages=COPY_PAGES)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def migrate(database: Database) -> None:
    """Bring a store of either kind up to date, and close it. Raises StoreDownError."""
    try:
        with database.begin():
            pass
    finally:
        database.close()


def revision_of(path: Path) -> str | None:
    """Return the revision of the store; None where it has no tables yet, or is no file yet. Raises StoreDownError."""
    if not path.exists():
        return None
    with _reading(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return _revision(connection, tables)


def _revision(connection: sqlite3.Connection, tables: set[str]) -> str | None:
    if "alembic_version" in tables:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if row is not None:
            return str(row[0])
    return "0001" if "responses" in tables else None


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)) as one:
            yield one
    except sqlite3.Error as error:
        raise StoreDownError(f"{type(error).__name__}: {error}") from error
