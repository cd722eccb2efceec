"""The database: opened when it is first used, private, and given up and opened anew when it fails.

Law: whatever goes wrong with the database comes out as StoreDownError, what is wrong with a row as RowRefusedError, and
the next use tries again. A SQLite file that is damaged is set aside, for nothing else would ever heal it.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fittengate.services.files import MODE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BUSY_SECONDS = 2.0
"""How long a statement waits for another process that writes."""

_DAMAGED = {11, 26}
"""SQLITE_CORRUPT and SQLITE_NOTADB (https://www.sqlite.org/rescode.html)."""


class StoreDownError(Exception):
    """The database cannot be used now. The message says why, and nothing of what is in it."""


class RowRefusedError(Exception):
    """The database works, but does not take this row."""


class Database:
    """A SQLite file. May be used from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @contextmanager
    def begin(self) -> Iterator["Connection"]:
        """Give a connection in a transaction, committed at the end. Raises StoreDownError, RowRefusedError."""
        from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

        engine = None
        try:
            engine = self._ready()
            with engine.begin() as connection:
                yield connection
        except (IntegrityError, DataError) as error:
            raise RowRefusedError(_reason(error)) from error
        except (SQLAlchemyError, OSError) as error:
            aside = self._set_aside(error, engine)
            raise StoreDownError(_reason(error) + aside) from error

    def close(self) -> None:
        """Close every connection; the next use opens the file again."""
        with self._lock:
            self._drop()

    def _ready(self) -> "Engine":
        with self._lock:
            if self._engine is not None and not self.path.exists():
                # Somebody removed it. What is written into a file without a name is lost.
                self._drop()
            if self._engine is None:
                self._engine = self._opened()
            return self._engine

    def _opened(self) -> "Engine":
        from sqlalchemy import URL, create_engine, event

        from fittengate.services.migrations import MigrationError, bring_up

        # SQLite gives the files that it puts beside this one the same mode.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), MODE))
        url = URL.create("sqlite", database=str(self.path))
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _prepare)
        try:
            bring_up(engine)
        except MigrationError as error:
            engine.dispose()
            raise StoreDownError(str(error)) from error
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _set_aside(self, error: Exception, engine: "Engine | None") -> str:
        """Move a damaged file out of the way; return what to say of it, nothing where the file is not damaged."""
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
        if code is None or code & 0xFF not in _DAMAGED:
            return ""
        aside = f"{self.path.name}.damaged"
        with self._lock:
            if self._engine is not engine:
                # Another thread has met the same damage before: what lies there now is the new file.
                return f"; the damaged file is now {aside}"
            self._drop()
            for suffix in ("", "-wal", "-shm"):
                found = self.path.with_name(self.path.name + suffix)
                with contextlib.suppress(FileNotFoundError):
                    found.replace(self.path.with_name(aside + suffix))
        return f"; the damaged file is now {aside}"

    def _drop(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def _prepare(connection: Any, _record: Any) -> None:
    """Set up a new connection: readers and the writer do not wait for one another."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _reason(error: Exception) -> str:
    """Return what went wrong in the database's own words; a statement's values are not among them."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    return f"{type(cause).__name__}: {cause}"[:200]
