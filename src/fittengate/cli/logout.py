"""``fittengate logout``: forget the tokens."""

import asyncio
from typing import Any

import click

from fittengate.cli.options import read_settings, settings_options
from fittengate.cli.serve import say
from fittengate.server.configure import Configured


@click.command("logout")
@settings_options("server.state_dir")
def command(**options: Any) -> None:
    """Remove the tokens from the state directory. The service is told nothing: it knows no logout."""
    configured = read_settings(options)
    if not asyncio.run(_forget(configured)):
        say(f"there was no login in {configured.state_dir}")
        return
    say(f"forgot the login in {configured.state_dir}; a gateway that runs keeps its own until it is stopped")
    if configured.settings.account.password:
        say("account.username and account.password are still set: the next command signs in again")


async def _forget(configured: Configured) -> bool:
    """Return whether there was something to forget. Raises OSError."""
    from fittengate.cli.account import vault_of
    from fittengate.server.assemble import shared

    async with shared(configured.settings, vault_of(configured)) as vault:
        if await vault.load() is None and vault.problem is None:
            return False
        await vault.acquire()
        try:
            await vault.forget()
        finally:
            await vault.release()
        return True
