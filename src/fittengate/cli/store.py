"""``fittengate store``: check, back up and migrate what is kept."""

from pathlib import Path
from typing import Any

import click

from fittengate.cli.failures import CommandError
from fittengate.cli.options import read_settings, settings_options
from fittengate.server.configure import SQLITE, Configured, prepare_state_dir

PLACE = ("server.state_dir", "store.url")
"""What a command that reads the store takes."""


@click.group("store", short_help="Check, back up or migrate what is kept.")
def command() -> None:
    """Look after the database of responses and receipts. The gateway may run meanwhile."""


def store_path(configured: Configured) -> Path:
    """Return the file of the store. Raises CommandError when these settings keep nothing."""
    url = configured.settings.store.url
    if not url.startswith(SQLITE):
        raise CommandError("store.url is none: nothing is kept. Set it to sqlite:///PATH, or leave it out.")
    return Path(url.removeprefix(SQLITE))


@command.command("check", short_help="Tell whether the database is sound.")
@settings_options(*PLACE)
def check(**options: Any) -> int:
    """Read the whole database and say whether it is sound; leave with 1 when it is not. Changes nothing."""
    from fittengate.services.store import StoreDownError
    from fittengate.services.store_care import examine
    from fittengate.services.tables import REVISION

    path = store_path(read_settings(options))
    if not path.exists():
        click.echo(f"There is no database at {path} yet.")
        return 0
    try:
        health = examine(path)
    except StoreDownError as error:
        raise CommandError(f"{path} cannot be read ({error}). {_REPAIR}") from error
    for problem in health.problems:
        click.echo(problem)
    if health.problems:
        raise CommandError(f"{path} is damaged. {_REPAIR}")
    state = "up to date" if health.revision == REVISION else f"at revision {health.revision}, to be migrated"
    click.echo(f"{path} is sound and {state}: {health.receipts} receipts, {health.responses} responses.")
    return 0


_REPAIR = "Stop the gateway, and put a copy that `fittengate store backup` made in its place, or move the file away."


@command.command("backup", short_help="Copy the database while it is in use.")
@settings_options(*PLACE)
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
def backup(*, target: Path, **options: Any) -> None:
    """Copy the database into the new file TARGET, readable by you alone. It is a whole database of the same kind."""
    from fittengate.services.store import StoreDownError
    from fittengate.services.store_care import copy

    path = store_path(read_settings(options))
    if not path.exists():
        raise CommandError(f"there is no database at {path} yet.")
    try:
        copy(path, target)
    except FileExistsError:
        raise CommandError(f"{target} exists already. Name a new file.") from None
    except StoreDownError as error:
        raise CommandError(f"{path} cannot be copied ({error}). Try again, or run `fittengate store check`.") from error
    click.echo(f"{path} was copied to {target}.")


@command.command("migrate", short_help="Bring the database up to this version.")
@settings_options(*PLACE)
def migrate(**options: Any) -> None:
    """Bring the tables up to this version of fittengate. `fittengate serve` does the same by itself."""
    from fittengate.services.store import StoreDownError
    from fittengate.services.store_care import migrate as bring_up

    configured = read_settings(options)
    path = store_path(configured)
    prepare_state_dir(configured.state_dir)
    try:
        before, after = bring_up(path)
    except StoreDownError as error:
        raise CommandError(
            f"{path} cannot be migrated ({error}). Back it up, then `fittengate store check`."
        ) from error
    if before == after:
        click.echo(f"{path} is up to date (revision {after}).")
    elif before is None:
        click.echo(f"{path} was made (revision {after}).")
    else:
        click.echo(f"{path} went from revision {before} to {after}.")
