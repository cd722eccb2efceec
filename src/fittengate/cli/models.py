"""``fittengate models``: the models of the account."""

import asyncio
from typing import Any

import click

from fittengate.cli.failures import CommandError
from fittengate.cli.options import SERVICE, read_settings, settings_options
from fittengate.cli.tables import columns
from fittengate.core.caller import ModelCard
from fittengate.server.configure import Configured

_HEADINGS = ("ID", "NAME", "SELECTION")


@click.command("models")
@settings_options(*SERVICE)
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def command(*, as_json: bool, **options: Any) -> None:
    """List the models: id, name, and the name by which the service selects it (- for the account's default)."""
    cards = asyncio.run(_fetch(read_settings(options)))
    if as_json:
        import msgspec

        rows = [{"id": card.id, "display_name": card.display_name, "selection": card.selection} for card in cards]
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
        return
    heading, *lines = columns([_HEADINGS, *((card.id, card.display_name, card.selection or "-") for card in cards)])
    click.secho(heading, bold=True)
    for line in lines:
        click.echo(line)


async def _fetch(configured: Configured) -> tuple[ModelCard, ...]:
    from fittengate.cli.account import signed_in

    async with signed_in(configured) as service:
        failed = await service.refresh_models()
        if failed is not None:
            raise CommandError(f"{failed.message} `fittengate doctor` looks closer.") from failed
        return service.models()
