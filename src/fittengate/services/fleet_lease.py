"""What one request has reserved in a fleet: here at once, and on the server that all replicas share behind that.

Law: what is given back, grows or was used is told to the server, and nobody waits for that. An answer grows as far as the
server has said that something is left, less what was reserved here since; what others have used counts from the next
answer of the server on. While the server is away it grows within this replica's share.
"""

from typing import Protocol

from fittengate.services.fleet_room import Place
from fittengate.services.limits import Held, LocalLease, LocalLimits
from fittengate.services.meter import Now
from fittengate.services.tally import spread


class Shared(Protocol):
    """What a lease needs of the fleet's limits."""

    local: LocalLimits

    def touched(self, owners: list[str]) -> None:
        """Tell how many requests of these owners run here now."""

    def corrected(self, places: list[Place], change: int) -> list[Place]:
        """Tell that more or less is used than was reserved; return where that is noted."""
        ...

    def left(self, held: list[Held], now: Now, most: int) -> int:
        """Return how many tokens, ``most`` at most, are left of all limits, as far as is known here."""
        ...


class FleetLease(LocalLease):
    """A lease that the fleet knows of, or, while the server is away, will know of."""

    __slots__ = ("_fleet", "_grown", "_places")

    def __init__(
        self,
        fleet: Shared,
        held: list[Held],
        slots: int,
        reserved: int,
        output: int | None,
        places: list[Place],
    ) -> None:
        super().__init__(fleet.local, held, slots, reserved, output)
        self._fleet = fleet
        self._places = places
        self._grown: list[tuple[list[Place], int]] = []
        """Where what was reserved later is noted, and how much of it."""

    def more(self) -> int:
        """Reserve some more by what is known here: nobody can wait for the server now, which is told of it."""
        found = super().more()
        if found:
            self._grown.append((self._fleet.corrected(self._places, found), found))
        return found

    def _left(self, now: Now, most: int) -> int:
        return self._fleet.left(self.held, now, most)

    def release(self) -> None:
        """Give back what is left of it."""
        if not self._released:
            super().release()
            if self._slots:
                self._fleet.touched([held.owner for held in self.held])

    def _correct(self, change: int) -> None:
        super()._correct(change)
        if not self.reserved:
            return
        # As it is done here, part for part.
        for places, part in spread(change, self._places, self._grown):
            self._fleet.corrected(places, part)
