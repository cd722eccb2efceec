"""Looking after a store on a PostgreSQL server from outside: whether it is sound, and which revision it has.

Nothing here changes it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from fittengate.services.migrations import revision
from fittengate.services.postgres import PostgresServer, unhurried
from fittengate.services.store import StoreDownError, reason
from fittengate.services.store_care import MAX_PROBLEMS, Health
from fittengate.services.tables import METADATA, RECEIPTS, RESPONSES, REVISION

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BROKEN = """
SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE NOT indisvalid AND nspname = current_schema() ORDER BY relname
"""
"""Indexes that the server does not use (https://www.postgresql.org/docs/current/catalog-pg-index.html)."""


def examine(server: PostgresServer) -> Health:
    """Return how the store is: tables and columns that are missing, indexes that are broken. Raises StoreDownError."""
    with _reading(server) as connection:
        found = revision(connection)
        tables = set(inspect(connection).get_table_names())
        problems = [f"the index {row[0]} is not valid" for row in connection.exec_driver_sql(_BROKEN)]
        if found == REVISION:
            problems += _missing(connection, tables)
        counts = [
            connection.execute(select(func.count()).select_from(table)).scalar_one() if table.name in tables else 0
            for table in (RESPONSES, RECEIPTS)
        ]
        return Health(found, tuple(problems[:MAX_PROBLEMS]), *counts)


def revision_of(server: PostgresServer) -> str | None:
    """Return the revision of the store; None where it has no tables yet. Raises StoreDownError."""
    with _reading(server) as connection:
        return revision(connection)


def _missing(connection: "Connection", tables: set[str]) -> list[str]:
    problems = []
    for table in METADATA.sorted_tables:
        if table.name not in tables:
            problems.append(f"the table {table.name} is missing")
            continue
        columns = {column["name"] for column in inspect(connection).get_columns(table.name)}
        problems += [f"{table.name} has no column {name}" for name in table.columns.keys() if name not in columns]  # noqa: SIM118
    return problems


@contextmanager
def _reading(server: PostgresServer) -> Iterator["Connection"]:
    engine = server.engine()
    try:
        with engine.begin() as connection, unhurried(connection):
            yield connection
    except SQLAlchemyError as error:
        raise StoreDownError(reason(error)) from error
    finally:
        engine.dispose()
