"""Turns at the service: so many calls at a time, a bounded queue before them, lanes, and fairness between callers.

Laws: never more than ``max_concurrency`` inside, nor more of a kind of call than ``shares.py`` lets it have; who needs
several turns gets them all at once. Completions, for which somebody sits at the keyboard, go before interactive requests,
and those before background ones, but whoever has waited while ``PATIENCE`` others had turns that it could have had is
next, so no lane starves. Whoever is next goes in as soon as its turns are free; meanwhile the other kind has what takes
nothing from it, and its own kind waits behind it. Within a lane who waits is let in caller by caller in turn, and of one
caller's requests the oldest first; a waiter who leaves, at any moment, takes no turn with it. Everything happens on one
event loop.
"""

import asyncio
from collections import OrderedDict
from typing import Literal, TypeAlias, get_args

from fittengate.core.faults import Fault, FaultKind
from fittengate.services.shares import CallKind, Shares, other

BUSY_SECONDS = 5.0
"""When to come back: sooner, the queue that was full now would be full again."""

PATIENCE = 4
"""So many others are let in before a lane that waits; the next turn is its own."""

QueueLane: TypeAlias = Literal["completion", "interactive", "background"]

LANES: tuple[QueueLane, ...] = get_args(QueueLane)
"""The best one first."""


def kind_of(lane: QueueLane) -> CallKind:
    """Return whose share of the turns a lane has its turns from."""
    return "completion" if lane == "completion" else "chat"


class _Lane:
    """Those who wait in one lane."""

    __slots__ = ("kind", "lines", "passed")

    def __init__(self, kind: CallKind) -> None:
        self.kind = kind
        self.lines: OrderedDict[str, OrderedDict[asyncio.Future[None], int]] = OrderedDict()
        self.passed = 0
        """So many others were let in before it since one of this lane was, or since it began to wait."""

    def head(self) -> tuple[str, "asyncio.Future[None]", int]:
        """Return who is first in line: caller, what it waits for, and how many turns it needs."""
        caller, line = next(iter(self.lines.items()))
        turn, count = next(iter(line.items()))
        return caller, turn, count


class Turns:
    """The turns of one account."""

    def __init__(self, max_concurrency: int, queue: int, queue_timeout: float) -> None:
        """Make them; 0 calls at a time and 0 seconds mean no limit, a queue of 0 means that nobody waits."""
        self.running = 0
        """Calls under way."""
        self.waiting = 0
        """Requests in the queue."""
        self._most = max_concurrency
        self._queue = queue
        self._seconds = queue_timeout
        self._shares = Shares(max_concurrency)
        self._arrived: dict[asyncio.Future[None], float] = {}
        """When those who wait came, by the loop's clock, the oldest first."""
        self._lanes: dict[QueueLane, _Lane] = {name: _Lane(kind_of(name)) for name in LANES}

    @property
    def waiting_lanes(self) -> dict[str, float]:
        """Return how many requests wait in each lane."""
        return {name: sum(map(len, lane.lines.values())) for name, lane in self._lanes.items()}

    @property
    def running_kinds(self) -> dict[str, float]:
        """Return how many calls of each kind are under way."""
        return {"chat": self._shares.running["chat"], "completion": self._shares.running["completion"]}

    def try_enter(self, count: int = 1, kind: CallKind = "chat") -> bool:
        """Take turns if so many are free; then :meth:`leave` is owed. False: wait for them with :meth:`enter`."""
        if self._most and (
            (self.waiting and self._next(kind) is not None)
            or not self._shares.fits(kind, count)
            or not self._may_pass(kind, count)
        ):
            return False
        self._take(kind, count)
        return True

    async def enter(self, caller: str, count: int = 1, lane: QueueLane = "interactive") -> None:
        """Wait for turns of the lane's kind; then :meth:`leave` is owed.

        Raises Fault: gateway_busy when the queue is full or too slow, caller_unsupported for more than there ever are.
        """
        if self._most and count > self._most:
            text = f"{count} choices need as many calls at a time, and only {self._most} are allowed"
            raise Fault(FaultKind.CALLER_UNSUPPORTED, f"{text} (upstream.max_concurrency). Ask for fewer.", param="n")
        waiting = self._lanes[lane]
        if self.try_enter(count, waiting.kind):
            return
        if self.waiting >= self._queue:
            text = "Too many requests wait for the Fitten account already (upstream.queue). Try again in a moment."
            raise Fault(FaultKind.GATEWAY_BUSY, text, retry_after=BUSY_SECONDS)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._arrived[turn] = loop.time()
        if not waiting.lines:
            waiting.passed = 0
        waiting.lines.setdefault(caller, OrderedDict())[turn] = count
        self.waiting += 1
        # Those who were here may wait for more turns than the newcomer, who may be in a better lane, needs.
        self._let_in()
        try:
            async with asyncio.timeout(self._seconds or None):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # The turn came in the same moment: it is handed on.
                self.leave(count, waiting.kind)
            else:
                self._leave_line(waiting, caller, turn)
            if isinstance(error, TimeoutError):
                text = f"No turn at the Fitten account came up in {self._seconds:g} s (upstream.queue_timeout)."
                raise Fault(FaultKind.GATEWAY_BUSY, f"{text} Try again.", retry_after=BUSY_SECONDS) from error
            raise
        finally:
            del self._arrived[turn]

    def oldest(self, now: float) -> float:
        """Return how long the one has waited who waits longest, in seconds; 0 where nobody does."""
        return now - next(iter(self._arrived.values()), now)

    def leave(self, count: int = 1, kind: CallKind = "chat") -> None:
        """Give turns back; the next in line have them at once."""
        self.running -= count
        self._shares.give(kind, count)
        if self.waiting:
            self._let_in()

    def _take(self, kind: CallKind, count: int) -> None:
        self.running += count
        self._shares.take(kind, count)

    def _may_pass(self, kind: CallKind, count: int) -> bool:
        """Return whether so many turns, if they are free, may be taken before the other kind has had its own."""
        waiting = self._next(other(kind)) if self.waiting else None
        return waiting is None or self._shares.may_pass(kind, count, waiting.head()[2])

    def _let_in(self) -> None:
        """Let in whoever is next in line, as long as there are the turns for it."""
        while (first := self._next()) is not None:
            for lane in (first, self._next(other(first.kind))):
                if lane is None:
                    continue
                caller, turn, count = lane.head()
                left = turn.cancelled()
                if left or (
                    self._shares.fits(lane.kind, count) and (lane is first or self._may_pass(lane.kind, count))
                ):
                    break
            else:
                return
            line = lane.lines.pop(caller)
            del line[turn]
            if line:
                lane.lines[caller] = line  # behind the others
            self.waiting -= 1
            if not left:
                self._count(lane, count)
                self._take(lane.kind, count)
                turn.set_result(None)

    def _next(self, kind: CallKind | None = None) -> _Lane | None:
        """Return the lane whose turn it is, of all or of one kind; None where nobody waits."""
        waiting = [lane for lane in self._lanes.values() if lane.lines and kind in (None, lane.kind)]
        patient = [lane for lane in reversed(waiting) if lane.passed >= PATIENCE]
        # Of those that were passed by as often the worst lane has waited longest.
        return max(patient, key=lambda lane: lane.passed) if patient else next(iter(waiting), None)

    def _count(self, served: _Lane, count: int) -> None:
        """Note who is passed by when so many turns are given to a lane: those that lose something by it."""
        served.passed = 0
        for lane in self._lanes.values():
            if lane is served or not lane.lines:
                continue
            if lane.kind == served.kind or not self._shares.may_pass(served.kind, count, lane.head()[2]):
                lane.passed += 1

    def _leave_line(self, lane: _Lane, caller: str, turn: "asyncio.Future[None]") -> None:
        line = lane.lines.get(caller)
        # Whoever gave a turn back may have met this waiter as a leaving one, and taken it out.
        if line is None or turn not in line:
            return
        del line[turn]
        self.waiting -= 1
        if not line:
            del lane.lines[caller]
        # The one that left may have needed more turns than those behind it.
        self._let_in()
