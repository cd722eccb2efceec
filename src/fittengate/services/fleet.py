"""What makes one gateway a replica of a fleet: connections to the shared server, and what is said on them."""

import asyncio
import contextlib
from collections.abc import Callable

from fittengate.services.fleet_limits import FleetLimits
from fittengate.services.fleet_vault import FleetVault, OwnVault
from fittengate.services.limits import LocalLimits
from fittengate.services.valkey import FleetDownError, Say, Valkey, publish
from fittengate.settings import Fleet as FleetSettings


def prefix_of(settings: FleetSettings) -> str:
    """Return what all of a fleet's names on the server begin with; the braces keep them on one node of a cluster."""
    return f"{{{settings.name}}}"


def announce(settings: FleetSettings) -> None:
    """Tell the fleet's replicas that keys have changed. May be called from any thread. Raises FleetDownError."""
    publish(settings.url, f"{prefix_of(settings)}:keys")


class Fleet:
    """One replica's part in its fleet. Belongs to an event loop; ``close`` is owed."""

    def __init__(self, settings: FleetSettings, replica: str, say: Say) -> None:
        """``replica`` is a name that nobody else ever has."""
        self.valkey = Valkey(settings.url, say, prefix_of(settings))
        self._settings = settings
        self._prefix = prefix_of(settings)
        self._replica = replica
        self._say = say
        self._listening: asyncio.Task[None] | None = None
        self._limits: FleetLimits | None = None

    @property
    def problem(self) -> str | None:
        """Why the shared server cannot be used, in words for a person; None while it can."""
        return self.valkey.problem

    @property
    def alone(self) -> int:
        """Requests that were judged by this replica's share of the limits, because the shared server could not be asked."""
        return 0 if self._limits is None else self._limits.alone

    def vault(self, own: OwnVault) -> FleetVault:
        """Return the fleet's vault; ``own`` is the machine's."""
        return FleetVault(own, self.valkey, self._prefix, self._replica)

    def limits(self, local: LocalLimits) -> FleetLimits:
        """Return the fleet's limits; they end with this. ``local`` are the same for one process."""
        share = self._settings.local_share / 100
        self._limits = FleetLimits(local, self.valkey, self._prefix, self._replica, share, self._say)
        return self._limits

    def listen(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` whenever keys have changed, or may have."""
        self._listening = asyncio.get_running_loop().create_task(self.valkey.listen(f"{self._prefix}:keys", changed))

    def tell(self) -> None:
        """Tell the replicas that keys have changed. May be called from any thread; waits half a second at most."""
        # Without the news they find out by themselves: each asks the store twice a second.
        with contextlib.suppress(FleetDownError):
            announce(self._settings)

    async def close(self) -> None:
        """Give back what is held, hear no more, and close every connection."""
        if self._limits is not None:
            await self._limits.close()
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
        await self.valkey.close()
