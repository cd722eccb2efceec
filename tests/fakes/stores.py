"""A database of either kind, for tests that hold for both."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

from fakes.postgres import query
from fittengate.services.postgres import PostgresServer
from fittengate.services.store import Database


class StorePlace(Protocol):
    """Where a test has its store."""

    url: str

    def database(self) -> Database:
        """Return the store as the program has it; every one is the caller's to close."""

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, read past the program; none where there is no such table yet."""

    def locked(self, table: str) -> AbstractContextManager[None]:
        """Keep all others from writing to a table."""


class SqliteStore:
    """Implements StorePlace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def database(self) -> Database:
        return Database(self.path)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)) as connection:
                return connection.execute(statement).fetchall()
        except sqlite3.DatabaseError as error:
            if any(reason in str(error) for reason in ("no such table", "not a database", "unable to open")):
                return []
            raise

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                holder.execute("ROLLBACK")


class PostgresStore:
    """Implements StorePlace."""

    def __init__(self, url: str) -> None:
        self.url = url

    def database(self) -> Database:
        return Database(PostgresServer(self.url))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return query(self.url, statement)

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        with psycopg.connect(self.url) as holder:
            holder.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            yield
