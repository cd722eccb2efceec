"""Turns at the service: so many calls at a time, a bounded queue before them, and fairness between callers.

Laws: never more than ``max_concurrency`` inside; of each kind of call (``shares.py``, which says how the turns are shared)
who waits is let in caller by caller in turn, and of one caller's requests the oldest first; who needs several turns gets
them all at once; nobody waits while the turns that the first in line needs are free for it, and nobody overtakes one of
its kind; a waiter who leaves, at any moment, takes no turn with it. Everything happens on one event loop.
"""

import asyncio
from collections import OrderedDict
from typing import TypeAlias

from fittengate.core.faults import Fault, FaultKind
from fittengate.services.shares import KINDS, CallKind, Shares, other

BUSY_SECONDS = 5.0
"""When to come back: sooner, the queue that was full now would be full again."""

_Lines: TypeAlias = OrderedDict[str, OrderedDict[asyncio.Future[None], int]]


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
        self._lines: dict[CallKind, _Lines] = {kind: OrderedDict() for kind in KINDS}

    def try_enter(self, count: int = 1, kind: CallKind = "chat") -> bool:
        """Take turns if so many are free; then :meth:`leave` is owed. False: wait for them with :meth:`enter`."""
        if self._most and (self._lines[kind] or not self._free(kind, count)):
            return False
        self._take(kind, count)
        return True

    async def enter(self, caller: str, count: int = 1, kind: CallKind = "chat") -> None:
        """Wait for turns; then :meth:`leave` is owed.

        Raises Fault: gateway_busy when the queue is full or too slow, caller_unsupported for more than there ever are.
        """
        if self._most and count > self._most:
            text = f"{count} choices need as many calls at a time, and only {self._most} are allowed"
            raise Fault(FaultKind.CALLER_UNSUPPORTED, f"{text} (upstream.max_concurrency). Ask for fewer.", param="n")
        if self.try_enter(count, kind):
            return
        if self.waiting >= self._queue:
            text = "Too many requests wait for the Fitten account already (upstream.queue). Try again in a moment."
            raise Fault(FaultKind.GATEWAY_BUSY, text, retry_after=BUSY_SECONDS)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines[kind].setdefault(caller, OrderedDict())[turn] = count
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds or None):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # The turn came in the same moment: it is handed on.
                self.leave(count, kind)
            else:
                self._leave_line(self._lines[kind], caller, turn)
            if isinstance(error, TimeoutError):
                text = f"No turn at the Fitten account came up in {self._seconds:g} s (upstream.queue_timeout)."
                raise Fault(FaultKind.GATEWAY_BUSY, f"{text} Try again.", retry_after=BUSY_SECONDS) from error
            raise

    def leave(self, count: int = 1, kind: CallKind = "chat") -> None:
        """Give turns back; the next in line have them at once."""
        self.running -= count
        self._shares.give(kind, count)
        if self.waiting:
            self._let_in()

    def _take(self, kind: CallKind, count: int) -> None:
        self.running += count
        self._shares.take(kind, count)

    def _free(self, kind: CallKind, count: int) -> bool:
        """Return whether the first of a kind may go in now, with so many turns, if it is not its kind's turn."""
        if not self._shares.fits(kind, count):
            return False
        waiting = self._lines[other(kind)]
        return not waiting or self._shares.may_pass(kind, count, _first(waiting)[2])

    def _let_in(self) -> None:
        """Let in whoever is first in line, as long as there are the turns for it."""
        shares = self._shares
        while self.waiting:
            for kind in (shares.first, other(shares.first)):
                lines = self._lines[kind]
                if lines:
                    caller, turn, count = _first(lines)
                    left = turn.cancelled()
                    ours = kind == shares.first and shares.fits(kind, count)
                    if left or ours or self._free(kind, count):
                        break
            else:
                return
            line = lines.pop(caller)
            del line[turn]
            if line:
                lines[caller] = line  # behind the others
            self.waiting -= 1
            if not left:
                self._take(kind, count)
                shares.first = other(kind)
                turn.set_result(None)

    def _leave_line(self, lines: _Lines, caller: str, turn: "asyncio.Future[None]") -> None:
        line = lines.get(caller)
        # Whoever gave a turn back may have met this waiter as a leaving one, and taken it out.
        if line is None or turn not in line:
            return
        del line[turn]
        self.waiting -= 1
        if not line:
            del lines[caller]
        # The one that left may have needed more turns than those behind it.
        self._let_in()


def _first(lines: _Lines) -> tuple[str, "asyncio.Future[None]", int]:
    """Return who is first in line: caller, what it waits for, and how many turns it needs."""
    caller, line = next(iter(lines.items()))
    turn, count = next(iter(line.items()))
    return caller, turn, count
