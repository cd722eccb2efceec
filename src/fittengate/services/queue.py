"""Turns at the service: so many calls at a time, a bounded queue before them, lanes, and fairness between callers.

Laws: never more than ``max_concurrency`` inside; who needs several turns gets them all at once; nobody waits while the
turns that the next in line needs are free; completions, for which somebody sits at the keyboard, go before interactive
requests, and those before background ones, but whoever has waited while ``PATIENCE`` others of better lanes went by is
next, so no lane starves; within a lane who waits is let in caller by caller in turn, and of one caller's requests the
oldest first; a waiter who leaves, at any moment, takes no turn with it. Everything happens on one event loop.
"""

import asyncio
from collections import OrderedDict
from typing import Literal, TypeAlias, get_args

from fittengate.core.faults import Fault, FaultKind

BUSY_SECONDS = 5.0
"""When to come back: sooner, the queue that was full now would be full again."""

PATIENCE = 4
"""So many turns go to better lanes while a lane waits; the next one is its own."""

QueueLane: TypeAlias = Literal["completion", "interactive", "background"]

LANES: tuple[QueueLane, ...] = get_args(QueueLane)
"""The best one first."""


class _Lane:
    """Those who wait in one lane."""

    __slots__ = ("lines", "passed")

    def __init__(self) -> None:
        self.lines: OrderedDict[str, OrderedDict[asyncio.Future[None], int]] = OrderedDict()
        self.passed = 0
        """So many others were let in since one of this lane was, or since it began to wait."""


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
        self._lanes: dict[QueueLane, _Lane] = {name: _Lane() for name in LANES}

    def try_enter(self, count: int = 1) -> bool:
        """Take turns if so many are free; then :meth:`leave` is owed. False: wait for them with :meth:`enter`."""
        if self._most and (self.running + count > self._most or self.waiting):
            return False
        self.running += count
        return True

    async def enter(self, caller: str, count: int = 1, lane: QueueLane = "interactive") -> None:
        """Wait for turns; then :meth:`leave` is owed.

        Raises Fault: gateway_busy when the queue is full or too slow, caller_unsupported for more than there ever are.
        """
        if self._most and count > self._most:
            text = f"{count} choices need as many calls at a time, and only {self._most} are allowed"
            raise Fault(FaultKind.CALLER_UNSUPPORTED, f"{text} (upstream.max_concurrency). Ask for fewer.", param="n")
        if self.try_enter(count):
            return
        if self.waiting >= self._queue:
            text = "Too many requests wait for the Fitten account already (upstream.queue). Try again in a moment."
            raise Fault(FaultKind.GATEWAY_BUSY, text, retry_after=BUSY_SECONDS)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._lanes[lane]
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
                self.leave(count)
            else:
                self._leave_line(waiting, caller, turn)
            if isinstance(error, TimeoutError):
                text = f"No turn at the Fitten account came up in {self._seconds:g} s (upstream.queue_timeout)."
                raise Fault(FaultKind.GATEWAY_BUSY, f"{text} Try again.", retry_after=BUSY_SECONDS) from error
            raise

    def leave(self, count: int = 1) -> None:
        """Give turns back; the next in line have them at once."""
        self.running -= count
        if self.waiting:
            self._let_in()

    def _let_in(self) -> None:
        """Let in whoever is next in line, as long as there are the turns for it."""
        while (lane := self._next()) is not None:
            caller, line = next(iter(lane.lines.items()))
            turn, count = next(iter(line.items()))
            left = turn.cancelled()
            if not left and self.running + count > self._most:
                return
            del lane.lines[caller], line[turn]
            if line:
                lane.lines[caller] = line  # behind the others
            self.waiting -= 1
            if not left:
                self.running += count
                self._count(lane)
                turn.set_result(None)

    def _next(self) -> _Lane | None:
        """Return the lane whose turn it is; None where nobody waits."""
        waiting = [lane for lane in self._lanes.values() if lane.lines]
        # Of those that were passed by too often the worst lane has waited longest.
        patient = [lane for lane in waiting if lane.passed >= PATIENCE]
        return patient[-1] if patient else next(iter(waiting), None)

    def _count(self, served: _Lane) -> None:
        served.passed = 0
        for lane in self._lanes.values():
            if lane is not served and lane.lines:
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
