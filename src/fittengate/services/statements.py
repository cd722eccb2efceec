"""Statements that the two kinds of database spell alike and SQLAlchemy keeps in two rooms. Loads SQLAlchemy."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert


def insert_new(connection: Connection, table: Table) -> Insert:
    """Return an insertion that passes over rows which are there already."""
    return _insertion(connection, table).on_conflict_do_nothing()


def upsert(connection: Connection, table: Table, change: Callable[[Any], Mapping[str, Any]]) -> Insert:
    """Return an insertion that changes a row which is there already.

    ``change`` gets the columns of the row that was to be inserted, and returns the new values by column.
    """
    insertion = _insertion(connection, table)
    return insertion.on_conflict_do_update(index_elements=table.primary_key.columns, set_=change(insertion.excluded))


def _insertion(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
