"""What one request has reserved in a fleet: here at once, and on the server that all replicas share behind that.

Law: what is given back, grows or was used is told to the server, and nobody waits for that. An answer grows by what is
known here: never past what the server said was left when it was asked last, but what others have used since counts only
when it is asked again.
"""

from typing import Protocol, TypeAlias

from fittengate.services.limits import Held, LocalLease, LocalLimits
from fittengate.services.meter import Now

Place: TypeAlias = tuple[str, int, int, int]
"""Where tokens are noted: owner, use of the minute (0 for none), day, month."""


class Fleet(Protocol):
    """What a lease needs of the fleet's limits."""

    local: LocalLimits

    def touched(self, owners: list[str]) -> None:
        """Tell how many requests of these owners run here now."""

    def corrected(self, places: list[Place], change: int) -> None:
        """Tell that more or less was used than was reserved."""

    def left(self, whose: str, most: int) -> int:
        """Return how many tokens, ``most`` at most, a caller had left when the server was asked last."""
        ...

    def spent(self, whose: str, tokens: int) -> None:
        """Note that so many of them are reserved."""


class FleetLease(LocalLease):
    """A lease that the fleet knows of, or, while the server is away, will know of."""

    __slots__ = ("_fleet", "_places", "_whose")

    def __init__(
        self,
        fleet: Fleet,
        held: list[Held],
        slots: int,
        reserved: int,
        output: int | None,
        places: list[Place],
        whose: str,
    ) -> None:
        super().__init__(fleet.local, held, slots, reserved, output)
        self._fleet = fleet
        self._places = places
        self._whose = whose

    def more(self) -> int:
        """Reserve some more by what is known here: nobody can wait for the server now, which is told of it."""
        found = super().more()
        if found:
            self._fleet.corrected(self._places, found)
            self._fleet.spent(self._whose, found)
        return found

    def _left(self, now: Now, most: int) -> int:
        return min(super()._left(now, most), self._fleet.left(self._whose, most))

    def release(self) -> None:
        """Give back what is left of it."""
        if not self._released:
            super().release()
            if self._slots:
                self._fleet.touched([held.owner for held in self.held])

    def _correct(self, change: int) -> None:
        super()._correct(change)
        if self.reserved and change:
            self._fleet.corrected(self._places, change)
