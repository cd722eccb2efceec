"""Lines to the service whose call has ended, kept for the next call to the same place.

aiohttp's pool would do, at three times the work. Laws: only a line that is open, silent, and free after a whole reply is
handed out; one that closes or speaks while it is here is closed and gone at once; none is handed out after its time, and
none stays longer than twice that. There are never more than there were calls at once. For aiohttp all of them are in
use: it makes them, and at the end it closes them.
"""

import asyncio
from typing import Generic, Protocol, TypeVar


class Spare(Protocol):
    """A connection that tells when it closes or speaks."""

    @property
    def alive(self) -> bool:
        """Return whether it is still open."""
        ...

    def close(self) -> None:
        """Close it."""
        ...

    def hand_back(self) -> None:
        """Give it to aiohttp's pool."""
        ...


_Spare = TypeVar("_Spare", bound=Spare)


class Spares(Generic[_Spare]):
    """Belongs to the event loop; :meth:`close` is owed before the connector is closed."""

    __slots__ = ("_closed", "_kept", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """``seconds`` is how long a line may wait for its next call."""
        self._seconds = seconds
        self._loop = loop
        self._kept: dict[_Spare, float] = {}
        """When each came, by the loop's clock; the newest at the end."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._kept)

    def put(self, spare: _Spare) -> None:
        """Keep one that serves nobody."""
        if self._closed:
            spare.close()
            return
        self._kept[spare] = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._sweep)

    def take(self) -> _Spare | None:
        """Return the newest one, which is warm yet, so that the others may expire; None where there is none."""
        kept = self._kept
        while kept:
            spare, since = kept.popitem()
            if spare.alive and self._loop.time() - since <= self._seconds:
                return spare
            spare.close()
        return None

    def drop(self, spare: _Spare) -> None:
        """Close one, if it is here."""
        if self._kept.pop(spare, None) is not None:
            spare.close()

    def close(self) -> None:
        """Hand all of them back, and keep no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._kept:
            self._kept.popitem()[0].hand_back()

    def _sweep(self) -> None:
        """Close what has waited for too long; come again while there is any."""
        oldest = self._loop.time() - self._seconds
        for spare in [spare for spare, since in self._kept.items() if since <= oldest]:
            self.drop(spare)
        self._timer = self._loop.call_later(self._seconds, self._sweep) if self._kept else None
