"""What the commands that use the account share: the vault, the service behind it, and times as people read them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fittengate.cli.serve import account_missing
from fittengate.server.configure import Configured, prepare_state_dir
from fittengate.services.vault import FileVault
from fittengate.upstream.fitten.service import FittenService

FILE = "account.json"


def vault_of(configured: Configured) -> FileVault:
    """Return the vault in the state directory, which need not exist."""
    return FileVault(configured.state_dir / FILE)


@asynccontextmanager
async def signed_in(configured: Configured) -> AsyncIterator[FittenService]:
    """Give the service with tokens that are good now. Raises Fault, CommandError when there is no account."""
    from fittengate.cli.failures import CommandError
    from fittengate.server.assemble import connected, shared

    async with shared(configured.settings, vault_of(configured)) as vault:
        if (missing := await account_missing(configured, vault)) is not None:
            raise CommandError(missing)
        # For the lock, and for what a renewal gives.
        prepare_state_dir(configured.state_dir)
        async with connected(configured.settings, vault) as service:
            await service.keeper.fresh()
            yield service


def left(until: float | None, now: float) -> str:
    """Return how long something lasts, in words; both times in seconds since the epoch, None: it does not say."""
    if until is None:
        return "until the service refuses it"
    seconds = int(until - now)
    if seconds <= 0:
        return f"over since {moment(until)}"
    days, hours, minutes = seconds // 86400, seconds // 3600, seconds // 60
    if days >= 2:
        span = f"{days} days"
    elif hours >= 2:
        span = f"{hours} hours"
    else:
        span = f"{minutes} min" if minutes else f"{seconds} s"
    return f"good for {span}, until {moment(until)}"


def moment(at: float) -> str:
    """Return a time of the epoch as the local clock on the wall shows it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
