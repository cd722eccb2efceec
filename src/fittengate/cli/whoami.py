"""``fittengate whoami``: which account is signed in."""

import asyncio
import time
from typing import Any

import click

from fittengate.cli.options import SERVICE, read_settings, settings_options
from fittengate.cli.serve import say
from fittengate.core.faults import Fault, FaultKind
from fittengate.server.configure import Configured

_NAMES = ("username", "register_username", "email", "phone", "nickname")
"""Fields of the account's record that may name it, the best first."""


@click.command("whoami")
@settings_options(*SERVICE)
def command(**options: Any) -> None:
    """Show user name and id, the service, and how long the tokens last. Shows no token."""
    asyncio.run(_show(read_settings(options)))


async def _show(configured: Configured) -> None:
    from fittengate.cli.account import left, signed_in

    async with signed_in(configured) as service:
        keeper = service.keeper
        try:
            info = await keeper.user_info()
        except Fault as fault:
            if fault.kind is FaultKind.UPSTREAM_LOGIN:
                raise
            say(f"not asked of the service, but as stored: {fault.message}")
            info = {}
        tokens = await keeper.fresh()
        name = next((info[field] for field in _NAMES if info.get(field)), tokens.username)
        now = time.time()
        click.echo(f"user           {name or '(not known)'}")
        click.echo(f"user id        {tokens.user_id}")
        click.echo(f"service        {tokens.base_url}")
        click.echo(f"access token   {left(tokens.access_expires, now)}")
        click.echo(f"refresh token  {left(tokens.refresh_expires, now) if tokens.refresh else 'none'}")
