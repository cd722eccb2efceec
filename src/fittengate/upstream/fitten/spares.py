"""Connections whose call has ended, kept for the next call to the same place.

aiohttp's pool would do, at three times the work. Laws: only a connection that is open, silent, and
free after a whole reply is handed out; one that closes or speaks while it is here is closed and gone at once; none is
handed out after its time, and none stays longer than twice that. There are never more than there were calls at once.
For aiohttp all of them are in use: it makes them, and at the end it closes them.
"""

import asyncio
from typing import Generic, Protocol, TypeVar

from aiohttp.connector import Connection


class Last(Protocol):
    """The call that a connection served last; it watches the connection while that is spare."""

    @property
    def alive(self) -> bool:
        """Return whether the connection is still open."""
        ...

    def hand_back(self, connection: Connection) -> None:
        """Give the connection to aiohttp's pool."""
        ...


_Last = TypeVar("_Last", bound=Last)


class Spares(Generic[_Last]):
    """Belongs to the event loop; :meth:`close` is owed before the connector is closed."""

    __slots__ = ("_closed", "_kept", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """``seconds`` is how long a connection may wait for its next call."""
        self._seconds = seconds
        self._loop = loop
        self._kept: dict[_Last, tuple[Connection, float]] = {}
        """By the last call, the newest at the end: with what was given, and when, by the loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._kept)

    def put(self, last: _Last, connection: Connection) -> None:
        """Keep a connection that ``last`` has no more use for."""
        if self._closed:
            connection.close()
            return
        self._kept[last] = (connection, self._loop.time())
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._sweep)

    def take(self) -> tuple[_Last, Connection] | None:
        """Return the newest one and the call it served last; None where there is none. Its parts are warm yet, and the others may expire."""
        kept = self._kept
        while kept:
            last, (connection, since) = kept.popitem()
            if last.alive and self._loop.time() - since <= self._seconds:
                return last, connection
            connection.close()
        return None

    def drop(self, last: _Last) -> None:
        """Close the connection that ``last`` served, if it is here."""
        found = self._kept.pop(last, None)
        if found is not None:
            found[0].close()

    def close(self) -> None:
        """Hand all of them back, and keep no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._kept:
            last, (connection, _) = self._kept.popitem()
            last.hand_back(connection)

    def _sweep(self) -> None:
        """Close what has waited for too long; come again while there is any."""
        oldest = self._loop.time() - self._seconds
        for last in [last for last, (_, since) in self._kept.items() if since <= oldest]:
            self.drop(last)
        self._timer = self._loop.call_later(self._seconds, self._sweep) if self._kept else None
