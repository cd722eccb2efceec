"""Brings a database to the tables that this version knows.

A new database gets them at once; Alembic is imported only for one that was made by an earlier version, since it takes a
third of a second. Several processes may try at a time: one does it, the others wait and find it done.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fittengate.services.tables import METADATA, REVISION

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

FIRST = "0001"
"""Databases without a revision were made by the first version that had one."""

KNOWN = (FIRST, "0002", REVISION)
"""Every revision, in order; each is a module in ``versions``."""

LOCK = 0x66697474
"""PostgreSQL: the advisory lock of whoever migrates."""


class MigrationError(Exception):
    """The database cannot be brought up: a later version made it, or it is not what its revision says. Says which."""


def revision(connection: "Connection") -> str | None:
    """Return the revision of a database; None for an empty one. Raises SQLAlchemyError."""
    from sqlalchemy import inspect, text

    tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found is not None:
            return str(found)
    return FIRST if "responses" in tables else None


def bring_up(engine: "Engine") -> str | None:
    """Migrate a database if it needs it; return the revision that it had if so, else None.

    Everything is done in one transaction, or nothing. Raises MigrationError, SQLAlchemyError.
    """
    with engine.connect() as connection:
        if revision(connection) == REVISION:
            return None
    with engine.begin() as connection, _alone(connection):
        found = revision(connection)
        if found is None:
            _make(connection)
        elif found not in KNOWN:
            raise MigrationError(
                f"the database is of a newer fittengate (revision {found}); use that version, or another store.url"
            )
        elif found != REVISION:
            _upgrade(connection, found, REVISION)
            return found
    return None


def brought_up(engine: "Engine") -> "Engine":
    """Return an engine whose database is migrated; it is disposed of where that fails. Raises as :func:`bring_up`."""
    try:
        bring_up(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def _alone(connection: "Connection") -> Iterator[None]:
    """Wait until no other process migrates, and keep all others from it until the end of the transaction."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        return
    from fittengate.services.postgres import unhurried

    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    with unhurried(connection):
        yield


def _make(connection: "Connection") -> None:
    from sqlalchemy import Column, MetaData, String, Table

    METADATA.create_all(connection)
    version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
    version.create(connection, checkfirst=True)
    connection.execute(version.insert(), {"version_num": REVISION})


def _upgrade(connection: "Connection", found: str, wanted: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    # A percent sign would be taken for the beginning of a variable.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        if found == FIRST:
            # It may have been made without a revision.
            command.stamp(config, FIRST)
        command.upgrade(config, wanted)
    except CommandError as error:
        raise MigrationError(f"the database cannot be migrated: {error}") from error
