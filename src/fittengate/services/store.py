"""The database: opened when it is first used, private, and given up and opened anew when it fails.

Law: whatever goes wrong with the database comes out as StoreDownError, what is wrong with a row as RowRefusedError, and
the next use tries again. What is special about a kind of database stands in its :class:`Place`; the one of a SQLite file
is here, the one of a server in ``services/postgres.py``.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fittengate.lib.clock import Clock
from fittengate.services.clock import SystemClock
from fittengate.services.files import MODE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BUSY_SECONDS = 2.0
"""How long a statement waits for another process that writes."""

_AGAIN_SECONDS = 0.02

_DAMAGED = {11, 26}
"""SQLITE_CORRUPT and SQLITE_NOTADB (https://www.sqlite.org/rescode.html)."""


class StoreDownError(Exception):
    """The database cannot be used now. The message says why, and nothing of what is in it."""


class RowRefusedError(Exception):
    """The database works, but does not take this row."""


class Place(Protocol):
    """Where a database is, and what its kind needs."""

    @property
    def name(self) -> str:
        """What to call it before people; holds no secret."""

    @property
    def pause(self) -> float:
        """Seconds after a failure in which nobody tries again: whoever asks is told of that failure at once."""

    @property
    def remark(self) -> str:
        """What to add to the reason when the place was cleared."""

    def exists(self) -> bool:
        """Tell whether there may be something to read. Looking makes nothing."""

    def open(self) -> "Engine":
        """Return an engine whose tables are those of this version. Raises SQLAlchemyError, OSError, MigrationError."""

    def ends(self, error: Exception) -> bool:
        """Tell whether an engine is to be given up after this error."""

    def clear(self) -> None:
        """Make room for the next opening, after an error that ended an engine."""


class Database:
    """A database at a place. May be used from several threads."""

    def __init__(self, place: Path | Place, clock: Clock | None = None) -> None:
        """Note the place, and open nothing yet. A path means a SQLite file."""
        self.place: Place = SqliteFile(place) if isinstance(place, Path) else place
        self.problem: str | None = None
        """Why it could not be used the last time; None when it could, or was not used yet."""
        self.tried: float | None = None
        """When a use last ended, on the clock that never goes back; None when there was none yet."""
        self._clock = clock or SystemClock()
        self._again = 0.0
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def there(self) -> bool:
        """Return whether there may be something to read. Looking makes nothing."""
        return self.place.exists()

    @contextmanager
    def begin(self) -> Iterator["Connection"]:
        """Give a connection in a transaction, committed at the end. Raises StoreDownError, RowRefusedError."""
        from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

        from fittengate.services.migrations import MigrationError

        engine = None
        try:
            engine = self._ready()
            with engine.begin() as connection:
                yield connection
        except (IntegrityError, DataError) as error:
            raise RowRefusedError(reason(error)) from error
        except (SQLAlchemyError, OSError, MigrationError) as error:
            text = reason(error) + self._given_up(error, engine)
            now = self._clock.monotonic()
            self.problem, self.tried, self._again = text, now, now + self.place.pause
            raise StoreDownError(text) from error
        self.problem, self.tried = None, self._clock.monotonic()

    def close(self) -> None:
        """Close every connection; the next use opens it again."""
        with self._lock:
            self._drop()

    def _ready(self) -> "Engine":
        with self._lock:
            if self._engine is not None and not self.place.exists():
                # Somebody removed it. What is written into a file without a name is lost.
                self._drop()
            if self._engine is None:
                if self.problem is not None and self._clock.monotonic() < self._again:
                    raise StoreDownError(self.problem)
                self._engine = self.place.open()
            return self._engine

    def _given_up(self, error: Exception, engine: "Engine | None") -> str:
        """Give the engine up if it is to be; return what to add to the reason."""
        if not self.place.ends(error):
            return ""
        with self._lock:
            # Where it is another one by now, another thread has met the same error before.
            if self._engine is engine:
                self._drop()
                self.place.clear()
        return self.place.remark

    def _drop(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


MAX_ASIDE = 5
"""Damaged files that are kept: an old one may be what somebody wants to mend."""


class SqliteFile:
    """Implements Place. A file that is damaged is set aside, for nothing else would ever heal it."""

    pause = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self._aside = f"{path.name}.damaged"

    @property
    def name(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def remark(self) -> str:
        """Return where a damaged file went."""
        return f"; the damaged file is now {self._aside}"

    def exists(self) -> bool:
        """Tell whether there is a file."""
        return self.path.exists()

    def open(self) -> "Engine":
        """Make the file if need be, and bring it up."""
        from sqlalchemy import URL, create_engine, event

        from fittengate.services.migrations import brought_up

        # SQLite gives the files that it puts beside this one the same mode.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), MODE))
        url = URL.create("sqlite", database=str(self.path))
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _prepare)
        return brought_up(engine)

    def ends(self, error: Exception) -> bool:
        """Tell whether it says that the file is damaged."""
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _DAMAGED

    def clear(self) -> None:
        """Move the damaged file out of the way, beside those that were moved before; the last name is used again."""
        for number in range(1, MAX_ASIDE + 1):
            self._aside = f"{self.path.name}.damaged" + (f"-{number}" if number > 1 else "")
            if not self.path.with_name(self._aside).exists():
                break
        for suffix in ("", "-wal", "-shm"):
            found = self.path.with_name(self.path.name + suffix)
            with contextlib.suppress(FileNotFoundError):
                found.replace(self.path.with_name(self._aside + suffix))


def _prepare(connection: Any, _record: Any) -> None:
    """Set up a new connection: readers and the writer do not wait for one another. Raises sqlite3.OperationalError."""
    import sqlite3

    cursor = connection.cursor()
    tries = round(BUSY_SECONDS / _AGAIN_SECONDS)
    while True:
        try:
            # Where another process makes the file at this moment, SQLite does not wait, whatever the timeout.
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            tries -= 1
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not tries:
                raise
            time.sleep(_AGAIN_SECONDS)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def reason(error: Exception) -> str:
    """Return what went wrong in the database's own words; a statement's values are not among them."""
    from fittengate.services.migrations import MigrationError

    cause = getattr(error, "orig", None) or error
    if isinstance(cause, MigrationError):
        return str(cause)
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    # A server adds details in lines of their own, and quotes rows there.
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"[:200]
