"""One timer for many deadlines.

A gateway sets a deadline for nearly everything and nearly none is ever met, so setting, moving and stopping one must
cost next to nothing. Deadlines are kept in buckets of a twentieth of a second and the event loop has one timer: that of
the earliest bucket. A deadline is met up to one bucket late, never early. Moving one only writes a number: the bucket
notices when its time comes.
"""

import asyncio
import heapq
from collections.abc import Callable

TICK_SECONDS = 0.05


class Timer:
    """A deadline that was set: :meth:`Timers.start` makes it."""

    __slots__ = ("_bucket", "callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        """By the loop's clock, in seconds; write a later time to move the deadline away, never an earlier one."""
        self.callback = callback
        self._bucket: dict[Timer, None] | None = None

    def stop(self) -> None:
        """Let the deadline pass without anything happening. May be called twice."""
        bucket = self._bucket
        if bucket is not None:
            self._bucket = None
            bucket.pop(self, None)


class Timers:
    """All deadlines of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, dict[Timer, None]] = {}
        self._order: list[int] = []
        self._next: int | None = None
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` in ``seconds``, unless the timer is stopped or moved before."""
        timer = Timer(self._loop.time() + seconds, callback)
        self._put(timer)
        return timer

    def close(self) -> None:
        """Stop all deadlines."""
        if self._handle is not None:
            self._handle.cancel()
        self._buckets = {}
        self._order = []
        self._next = None

    def _put(self, timer: Timer) -> None:
        tick = int(timer.when / TICK_SECONDS) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heapq.heappush(self._order, tick)
            if self._next is None or tick < self._next:
                self._aim(tick)
        timer._bucket = bucket  # noqa: SLF001 - the two are one thing
        bucket[timer] = None

    def _aim(self, tick: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._next = tick
        self._handle = self._loop.call_at(tick * TICK_SECONDS, self._ring)

    def _ring(self) -> None:
        now = self._loop.time()
        self._next = None
        self._handle = None
        due: list[Timer] = []
        while self._order and self._order[0] * TICK_SECONDS <= now:
            due.extend(self._buckets.pop(heapq.heappop(self._order)))
        for timer in due:
            # Two of one bucket: the first one's callback may have stopped the second.
            if timer._bucket is None:  # noqa: SLF001
                continue
            timer._bucket = None  # noqa: SLF001
            if timer.when > now:
                self._put(timer)
            else:
                timer.callback()
        self._aim_again()

    def _aim_again(self) -> None:
        # Buckets whose timers were all stopped need no visit.
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heapq.heappop(self._order)]
        if self._order and (self._next is None or self._order[0] < self._next):
            self._aim(self._order[0])
