"""Stops calling a service that is out of order, and finds out gently when it is back.

Laws: closed, every call may go, and each tells how it ended; when at least half of at least ``calls`` calls within half a
minute have failed, the breaker opens. Open, no call may go until the pause is over. Then single calls go as probes: the
next one not before the last has told, or has kept silent for ``PROBE_SECONDS``. A probe to which the service speaks
closes the breaker, with a clean record; one that fails opens it again for twice as long. What calls that began before the last
change have to tell is old news and changes nothing. A stalled call counts only where one has stalled since the last good
one: one silent reply is no outage. Pure; the clock is handed in.
"""

from collections import deque
from collections.abc import Callable
from typing import Literal, NewType, TypeAlias

from fittengate.core.faults import Fault, FaultKind

WINDOW_SECONDS = 30.0
FAILED_SHARE = 0.5

SLOTS = 10
"""Parts that the window is counted in: what is older than the window is forgotten a tenth of it at a time."""

PAUSE_MOST_SECONDS = 60.0
PROBE_SECONDS = 15.0

Ticket = NewType("Ticket", int)
"""What a call is known by; exactly one of ``passed``, ``failed``, ``stalled`` and ``left`` is owed for it."""

State: TypeAlias = Literal["closed", "open", "probing"]


class Breaker:
    """Counts how the calls of one kind end."""

    def __init__(self, what: str, calls: int, pause: float, clock: Callable[[], float]) -> None:
        """Make it for ``what`` is called, in a word; with ``calls`` 0 it never opens; ``pause`` is in seconds."""
        self.what = what
        self.state: State = "closed"
        self.opened = 0
        """So often it has opened."""
        self.refused = 0
        """Calls that were not let through."""
        self.changed: Callable[[Breaker], None] | None = None
        """Called after each change of state."""
        self._calls = calls
        self._first_pause = self._pause = pause
        self._clock = clock
        self._slots: deque[list[float]] = deque(maxlen=SLOTS)
        """When a part of the window ends, and how many calls went well and failed in it."""
        self._stalled = False
        """A call has stalled since the last good one."""
        self._turn = 0
        """Goes up with each change of state; tickets bear it."""
        self._until = 0.0
        """When the pause is over, or the time of the probe that is under way."""

    @property
    def retry_after(self) -> float:
        """Return in how many seconds the next call may go."""
        return 0.0 if self.state == "closed" else max(0.0, self._until - self._clock())

    def check(self) -> None:
        """Raise Fault (upstream_down) if no call may go now; takes nothing."""
        if self.state != "closed" and self._clock() < self._until:
            self.refused += 1
            raise Fault(
                FaultKind.UPSTREAM_DOWN,
                f"The Fitten service fails at {self.what}, so it is left alone for a moment. Try again then.",
                retry_after=max(1.0, self.retry_after),
            )

    def enter(self) -> Ticket:
        """Return the ticket of a call that may go. Raises Fault (upstream_down)."""
        if self.state != "closed":
            self.check()
            self._change("probing", self._clock() + PROBE_SECONDS)
        return Ticket(self._turn)

    def spoke(self, ticket: Ticket) -> None:
        """Say that the service has begun to answer: for a probe that is enough. How the call ends is still owed."""
        if self.state == "probing" and ticket == self._turn:
            self._close()

    def passed(self, ticket: Ticket) -> None:
        """Say that the service answered as it should; that it refused what was asked is an answer, too."""
        if ticket != self._turn:
            return
        if self.state == "probing":
            self._close()
        elif self.state == "closed":
            self._stalled = False
            if self._calls:
                self._slot()[1] += 1

    def failed(self, ticket: Ticket) -> None:
        """Say that the service could not be reached, answered with what is no answer, or broke off."""
        if ticket != self._turn:
            return
        if self.state == "probing":
            self._pause = min(PAUSE_MOST_SECONDS, self._pause * 2)
            self._open()
        elif self.state == "closed" and self._calls:
            self._slot()[2] += 1
            good, bad = (sum(slot[column] for slot in self._slots) for column in (1, 2))
            if good + bad >= self._calls and bad >= FAILED_SHARE * (good + bad):
                self._open()

    def stalled(self, ticket: Ticket) -> None:
        """Say that the service fell silent."""
        if ticket != self._turn:
            return
        if self.state == "probing" or self._stalled:
            self.failed(ticket)
        self._stalled = True

    def left(self, ticket: Ticket) -> None:
        """Say that the call was given up for a reason of ours: nothing is known, and the next one may probe."""
        if self.state == "probing" and ticket == self._turn:
            self._change("open", self._clock())

    def _open(self) -> None:
        self.opened += 1
        self._change("open", self._clock() + self._pause)

    def _close(self) -> None:
        self._pause = self._first_pause
        self._slots.clear()
        self._stalled = False
        self._change("closed", 0.0)

    def _change(self, state: State, until: float) -> None:
        self._turn += 1
        self._until = until
        before, self.state = self.state, state
        if state != before and self.changed is not None:
            self.changed(self)

    def _slot(self) -> list[float]:
        """Return the counts of the current part of the window; parts that are over its edge go."""
        now = self._clock()
        slots = self._slots
        if slots and now < slots[-1][0]:
            return slots[-1]
        while slots and slots[0][0] <= now - WINDOW_SECONDS:
            slots.popleft()
        slots.append([now + WINDOW_SECONDS / SLOTS, 0, 0])
        return slots[-1]


class Trial:
    """The tries of one request, one after the other. ``tell`` how each ended; the first word counts."""

    __slots__ = ("_breaker", "_ticket")

    def __init__(self, breaker: Breaker) -> None:
        """Make it. Raises Fault (upstream_down) if there is no use in trying now."""
        if breaker.state != "closed":
            breaker.check()
        self._breaker = breaker
        self._ticket: Ticket | None = None

    def begin(self) -> None:
        """Begin a try; ``tell`` is owed. Raises Fault (upstream_down)."""
        self._ticket = self._breaker.enter()

    def spoke(self) -> None:
        """Say that the service has begun to answer."""
        if self._ticket is not None and self._breaker.state != "closed":
            self._breaker.spoke(self._ticket)

    def tell(self, how: Callable[[Breaker, Ticket], None]) -> None:
        """Say how the try ended, in a method of the breaker; nothing happens where that was said, or none was begun."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            how(self._breaker, ticket)
