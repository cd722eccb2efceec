"""How late the event loop is: one timer for the whole process, never anything for a request.

A timer that rings later than it was to ring was kept waiting by whatever ran then, and so was every reply.
"""

import asyncio
from collections.abc import Callable

from fittengate.services.figures import Durations

SAMPLE_SECONDS = 0.25
"""Four looks a second cost an idle process nothing that can be measured."""

LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Measures from :meth:`start` on, until :meth:`close`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float]) -> None:
        """``now`` is a clock that never goes back, in seconds."""
        self.last = 0.0
        """The last sample, in seconds."""
        self.durations = Durations(LAG_SECONDS)
        """All samples."""
        self._loop = loop
        self._now = now
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._due = self._now() + SAMPLE_SECONDS
        self._handle = self._loop.call_later(SAMPLE_SECONDS, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        self.last = max(0.0, self._now() - self._due)
        self.durations.note(self.last)
        self.start()
