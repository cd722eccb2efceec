"""``fittengate store``: check, back up and migrate what is kept."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fittengate.cli.failures import CommandError
from fittengate.cli.options import read_settings, settings_options
from fittengate.cli.tables import counted
from fittengate.server.configure import Configured, prepare_state_dir

if TYPE_CHECKING:
    from fittengate.services.store import Database
    from fittengate.services.store_care import Health

PLACE = ("server.state_dir", "store.url")
"""What a command that reads the store takes."""


@click.group("store")
def command() -> None:
    """Look after the database of responses and receipts. The gateway may run meanwhile."""


def store_database(configured: Configured) -> "Database":
    """Return the store, which nothing has opened yet. Raises CommandError when these settings keep nothing."""
    from fittengate.server.assemble import open_database

    database = open_database(configured.settings.store)
    if database is None:
        raise CommandError("store.url is none: nothing is kept. Set it to sqlite:///PATH, or leave it out.")
    return database


@command.command("check", short_help="Tell whether the database is sound.")
@settings_options(*PLACE)
def check(**options: Any) -> int:
    """Read the whole database and say whether it is sound; leave with 1 when it is not. Changes nothing.

    On a PostgreSQL server tables, columns and indexes are looked at; what lies in them is looked after by the server.
    """
    from fittengate.services.store import StoreDownError
    from fittengate.services.tables import REVISION

    database = store_database(read_settings(options))
    name, file = database.place.name, file_of(database)
    if not database.there:
        click.echo(f"There is no database at {name} yet.")
        return 0
    try:
        health = examined(database)
    except StoreDownError as error:
        remedy = _SERVER if file is None else _REPAIR if ours(file) else _OWNER
        raise CommandError(f"{name} cannot be read ({error}). {remedy}") from error
    for problem in health.problems:
        click.echo(problem)
    if health.problems:
        raise CommandError(f"{name} is damaged. {_REPAIR if file else _RESTORE}")
    if health.revision is None and file is None:
        click.echo(f"There is nothing in {name} yet.")
        return 0
    state = "up to date" if health.revision == REVISION else f"at revision {health.revision}, to be migrated"
    click.echo(f"{name} is sound and {state}: {contents(health)}.")
    return 0


_REPAIR = "Stop the gateway, and put a copy that `fittengate store backup` made in its place, or move the file away."
_OWNER = "This user may not write to it, or not beside it, which reading takes too. Run this as its owner."
_SERVER = "Check store.url, the network and the server."
_RESTORE = "Repair it with the server's own tools, or restore a copy that pg_dump made."


@command.command("backup", short_help="Copy the database while it is in use.")
@settings_options(*PLACE)
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
def backup(*, target: Path, **options: Any) -> None:
    """Copy the database into the new file TARGET, readable by you alone. It is a whole database of the same kind."""
    from fittengate.services.store import StoreDownError
    from fittengate.services.store_care import copy

    database = store_database(read_settings(options))
    path = file_of(database)
    if path is None:
        raise CommandError(
            f"{database.place.name} is a server: copy it with pg_dump, or with the server's own backups."
        )
    if not path.exists():
        raise CommandError(f"there is no database at {path} yet.")
    try:
        copy(path, target)
    except FileExistsError:
        raise CommandError(f"{target} exists already. Name a new file.") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise CommandError(f"{target} cannot be written ({reason}). Name another file.") from error
    except StoreDownError as error:
        remedy = "Try again, or run `fittengate store check`." if ours(path) else _OWNER
        raise CommandError(f"{path} cannot be copied ({error}). {remedy}") from error
    click.echo(f"{path} was copied to {target}.")


@command.command("migrate", short_help="Bring the database up to this version.")
@settings_options(*PLACE)
def migrate(**options: Any) -> None:
    """Bring the tables up to this version of fittengate. `fittengate serve` does the same by itself."""
    from fittengate.services.store import StoreDownError
    from fittengate.services.store_care import migrate as bring_up

    configured = read_settings(options)
    database = store_database(configured)
    name = database.place.name
    prepare_state_dir(configured.state_dir)
    try:
        before = _revision(database)
        bring_up(database)
        after = _revision(database)
    except StoreDownError as error:
        raise CommandError(
            f"{name} cannot be migrated ({error}). Back it up, then `fittengate store check`."
        ) from error
    if before == after:
        click.echo(f"{name} is up to date (revision {after}).")
    elif before is None:
        click.echo(f"{name} was made (revision {after}).")
    else:
        click.echo(f"{name} went from revision {before} to {after}.")


def file_of(database: "Database") -> Path | None:
    """Return the file of a store; None where it is on a server."""
    from fittengate.services.store import SqliteFile

    return database.place.path if isinstance(database.place, SqliteFile) else None


def contents(health: "Health") -> str:
    """Return what a store holds, in words."""
    return f"{counted(health.receipts, 'receipt')}, {counted(health.responses, 'response')}"


def ours(file: Path) -> bool:
    """Tell whether this user may use a store: even who only reads it writes to files beside it."""
    return os.access(file, os.R_OK | os.W_OK) and os.access(file.parent, os.W_OK | os.X_OK)


def examined(database: "Database") -> "Health":
    """Return how a store is; changes nothing. Raises StoreDownError."""
    path = file_of(database)
    if path is not None:
        from fittengate.services.store_care import examine

        return examine(path)
    from fittengate.services import postgres_care
    from fittengate.services.postgres import PostgresServer

    assert isinstance(database.place, PostgresServer)  # noqa: S101 - there are two kinds
    return postgres_care.examine(database.place)


def _revision(database: "Database") -> str | None:
    path = file_of(database)
    if path is not None:
        from fittengate.services.store_care import revision_of

        return revision_of(path)
    from fittengate.services import postgres_care
    from fittengate.services.postgres import PostgresServer

    assert isinstance(database.place, PostgresServer)  # noqa: S101 - there are two kinds
    return postgres_care.revision_of(database.place)
