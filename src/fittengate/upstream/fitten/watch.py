"""The deadlines of one call to the service, and what happens when one is missed.

Law: a deadline counts only while we wait for the service; a client that reads slowly is not the service's fault. When
one is missed the waiting task is cancelled, and :meth:`Watch.late` turns that cancellation, and no other, into a Fault.
"""

import asyncio

from msgspec import Struct

from fittengate.core.faults import Fault, FaultKind
from fittengate.lib.timers import Timers

_FOREVER = float("inf")


class Deadlines(Struct, frozen=True):
    """Seconds; 0 means none."""

    first: float
    """From the call to the first word. Keep-alives are no word."""
    idle: float
    """Longest silence once the first byte came. Keep-alives are life."""
    total: float
    """From the call to the end of the reply."""


class Watch:
    """Watches one call, in the task that made it."""

    __slots__ = (
        "_deadlines",
        "_first",
        "_loop",
        "_missed",
        "_task",
        "_timer",
        "_timers",
        "_total",
        "idle_since",
        "waiting",
    )

    def __init__(self, timers: Timers, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        now = loop.time()
        self._loop = loop
        self._timers = timers
        self._deadlines = deadlines
        self._first = now + (deadlines.first or _FOREVER)
        self._total = now + (deadlines.total or _FOREVER)
        # The loop is named because asking which one runs costs a system call on some Pythons.
        self._task = asyncio.current_task(loop)
        self._missed: str | None = None
        self.waiting = False
        """Set before every wait for the service; :meth:`heard` takes it back."""
        self.idle_since = _FOREVER
        """When the last byte came or the last wait began, by the loop's clock; infinite before the first byte."""
        next_look = min(self._first, self._total, now + (deadlines.idle or _FOREVER))
        self._timer = None if next_look == _FOREVER else timers.start(next_look - now, self._look)

    def heard(self, now: float) -> None:
        """Say that bytes came, any bytes."""
        self.waiting = False
        self.idle_since = now

    def spoke(self) -> None:
        """Say that the first word came."""
        self._first = _FOREVER

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.stop()
        # The two know each other, and the task knows the request: left alone, all that waits for the cycle collector.
        self._timer = self._task = None

    def late(self) -> Fault | None:
        """Return the fault if a cancellation was ours, and take the cancellation back; None if it was not."""
        if self._missed is None or self._task is None:
            return None
        self._task.uncancel()
        what, self._missed = self._missed, None
        return Fault(FaultKind.UPSTREAM_LATE, f"The Fitten service took too long: {what}.", detail=what)

    def _look(self) -> None:
        now = self._loop.time()
        idle = self._deadlines.idle or _FOREVER
        due = min(self._first, self._total, self.idle_since + idle)
        if due <= now and self.waiting and self._task is not None:
            self._missed = self._what(now, idle)
            self._task.cancel()
            return
        # While nobody waits, a deadline that has passed is looked at again soon.
        look = min(due, now + idle)
        self._timer = None if look == _FOREVER else self._timers.start(max(look - now, 0.2), self._look)

    def _what(self, now: float, idle: float) -> str:
        if self._total <= now:
            return f"no end of the reply in {self._deadlines.total:g} s (upstream.total_timeout)"
        if self._first <= now:
            return f"no first word in {self._deadlines.first:g} s (upstream.first_token_timeout)"
        return f"silent for {idle:g} s in mid-reply (upstream.idle_timeout)"
