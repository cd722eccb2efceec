"""A PostgreSQL server as the place of the database. Imported only where ``store.url`` names one: psycopg takes its time.

Laws. Nothing waits for ever: for a connection, for one of the pool, for a statement, or for a server that has taken one
and says no more. After any failure every connection is given up, so that a server that was restarted, replaced or
restored is met anew, tables included; and for a moment nobody tries again, so that a server that is down is not stormed.
No password is in a name, an error or a repr.

The address is read by libpq, so all of its parameters can stand in it (https://www.postgresql.org/docs/current/libpq-connect.html).
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fittengate.services.migrations import brought_up

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

SCHEMES = ("postgresql://", "postgres://")

CONNECTIONS = 6
"""Most at a time, of one process."""

POOL_SECONDS = 2.0
"""Longest wait for a connection of the pool."""

CONNECT_SECONDS = 2
"""Longest wait for a new one, for each address that the server has."""

STATEMENT_SECONDS = 10.0
"""The server breaks a statement off after so long; waiting for a lock is part of it."""

PATIENCE_SECONDS = 12.0
"""After so long without a word, the server is taken for dead."""

RECYCLE_SECONDS = 1800
"""Connections are not kept for longer."""

PAUSE_SECONDS = 0.25

T = TypeVar("T")


class _Connection(psycopg.Connection[Any]):
    """A connection that does not wait for ever for an answer."""

    patience: float | None = PATIENCE_SECONDS

    def __del__(self, *_warn: Any) -> None:
        # One that was in use while its engine was given up: nobody else will close it.
        if hasattr(self, "pgconn"):
            self.close()

    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **options: Any) -> T:
        """Wait for a step of the protocol. Raises OperationalError after ``patience`` seconds, and is closed then."""
        return super().wait(self._bounded(gen), *arguments, **options)

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        patience = self.patience
        until = None if patience is None else time.monotonic() + patience
        try:
            wanted = next(gen)
            while True:
                # What comes back says what the socket is ready for: nothing, a few times a second while it is silent.
                ready = yield wanted
                if not ready and until is not None and time.monotonic() > until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has said nothing for {patience:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


class PostgresServer:
    """Implements Place."""

    pause = PAUSE_SECONDS
    remark = ""

    def __init__(self, url: str) -> None:
        """``url`` is one that :func:`check_url` has no word against."""
        given = conninfo_to_dict(url)
        self.name = _shown(given)
        ours: dict[str, Any] = {
            "application_name": "fittengate",
            "client_encoding": "utf8",
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": int(PATIENCE_SECONDS * 1000),
        }
        self._conninfo = make_conninfo("", **(ours | given))

    def __repr__(self) -> str:
        """Show where it is, without user and password."""
        return f"PostgresServer({self.name})"

    def exists(self) -> bool:
        """Tell that there may always be something to read."""
        return True

    def open(self) -> "Engine":
        """Connect, and bring the tables up; of several processes that start together one does."""
        engine = self.engine()
        return brought_up(engine)

    def engine(self) -> "Engine":
        """Return an engine on the database as it is; nothing is looked at or changed."""
        from sqlalchemy import create_engine

        return create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            hide_parameters=True,
            use_native_hstore=False,
            pool_size=CONNECTIONS - 2,
            max_overflow=2,
            pool_timeout=POOL_SECONDS,
            pool_recycle=RECYCLE_SECONDS,
            pool_pre_ping=True,
            pool_use_lifo=True,
        )

    def ends(self, error: Exception) -> bool:
        """Tell that an engine is given up, unless too many wanted a connection of it at a time."""
        from sqlalchemy.exc import TimeoutError as PoolTimeoutError

        return not isinstance(error, PoolTimeoutError)

    def clear(self) -> None:
        """Do nothing: what is wrong with a server is for its operator to repair."""

    def _connect(self) -> _Connection:
        # Statements are few and differ: preparing them gains nothing, and poolers stumble over it.
        connection = _Connection.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        try:
            _limit(connection, STATEMENT_SECONDS)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def unhurried(connection: "Connection") -> Iterator[None]:
    """Let the statements of a transaction take their time: migrating a large table does."""
    driver: Any = connection.connection.driver_connection
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    before, driver.patience = driver.patience, None
    try:
        yield
    finally:
        driver.patience = before


def check_url(text: str) -> str:
    """Return the URL of a database as libpq takes it. Raises ValueError, which quotes nothing of it."""
    text = text.strip()
    if not text.startswith(SCHEMES):
        raise ValueError("no such scheme")
    try:
        given = conninfo_to_dict(text)
    except psycopg.Error:
        raise ValueError("libpq cannot read it") from None
    if not given.get("dbname") or "\0" in text:
        raise ValueError("no database is named")
    ports = str(given.get("port") or "5432").split(",")
    if not all(port.isascii() and port.isdigit() and 0 < int(port) < 65536 for port in ports if port):
        raise ValueError("a port is none")
    return text


def password_of(url: str) -> str:
    """Return the password that is in a URL; empty where there is none."""
    return str(conninfo_to_dict(url).get("password") or "")


def _limit(connection: _Connection, seconds: float) -> None:
    # A transaction that its process has forgotten must not hold up the others.
    connection.execute(
        "SELECT set_config('statement_timeout', %(ms)s, false), "
        "set_config('idle_in_transaction_session_timeout', %(ms)s, false)",
        {"ms": str(int(seconds * 1000))},
    )


def _shown(given: dict[str, Any]) -> str:
    hosts = str(given.get("host") or given.get("hostaddr") or "").split(",")
    ports = str(given.get("port") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = [f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False)]
    return f"postgresql://{','.join(places)}/{given['dbname']}"
