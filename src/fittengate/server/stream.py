"""A streamed reply on its way to the client: when the headers go out, heartbeats, and the last byte.

The laws: the status line waits for the first event, so that an early fault keeps its true status, but no longer than
``hold_seconds``; then headers and heartbeats go out, as long as the upstream's own deadlines let it live; a beat and a
piece of the reply never overtake each other; a client that reads slowly gets no beats.
"""

import asyncio

from fittengate.lib.sse import CONTENT_TYPE, HEARTBEAT
from fittengate.lib.timers import Timer, Timers
from fittengate.server.request import Headers, Request


class ClientStream:
    """Writes one event stream. ``write`` any number of times, then ``finish``; ``stop`` in any case."""

    __slots__ = (
        "_beat_seconds",
        "_beating",
        "_busy",
        "_headers",
        "_loop",
        "_request",
        "_timer",
        "_timers",
        "finished",
        "started",
    )

    def __init__(
        self,
        request: Request,
        headers: Headers,
        timers: Timers,
        loop: asyncio.AbstractEventLoop,
        *,
        hold: float,
        beat: float,
    ) -> None:
        """``hold`` and ``beat`` are seconds; a ``beat`` of 0 means no heartbeats, and then no early headers."""
        self.started = False
        """The status line is out: from here on a fault is an event of the stream."""
        self.finished = False
        self._request = request
        self._headers = headers
        self._loop = loop
        self._timers = timers
        self._beat_seconds = beat
        self._busy = False
        self._beating: asyncio.Task[None] | None = None
        self._timer: Timer | None = timers.start(hold, self._beat) if beat else None

    async def write(self, data: bytes) -> None:
        """Send the next piece, and the headers before the first one."""
        if self._beating is not None:
            await self._beating
        self._busy = True
        if not self.started:
            await self._start()
        if data:
            await self._request.send({"type": "http.response.body", "body": data, "more_body": True})
        self._busy = False
        if self._timer is not None:
            self._timer.when = self._loop.time() + self._beat_seconds

    async def finish(self, data: bytes) -> None:
        """Send the last piece and end the response."""
        if self._beating is not None:
            await self._beating
        self._busy = self.finished = True
        if not self.started:
            await self._start()
        await self._request.send({"type": "http.response.body", "body": data})

    def stop(self) -> None:
        """Send no more beats."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    async def _start(self) -> None:
        self.started = True
        self._request.status = 200
        headers = [
            (b"content-type", CONTENT_TYPE),
            (b"cache-control", b"no-cache"),
            # nginx holds streams back unless it is told not to.
            (b"x-accel-buffering", b"no"),
            (b"x-request-id", self._request.id.encode()),
            *self._headers,
        ]
        await self._request.send({"type": "http.response.start", "status": 200, "headers": headers})

    def _beat(self) -> None:
        if self.finished or self._timer is None:
            return
        if not self._busy and self._beating is None:
            self._beating = self._loop.create_task(self._send_beat())
        self._timer = self._timers.start(self._beat_seconds, self._beat)

    async def _send_beat(self) -> None:
        try:
            if not self.started:
                await self._start()
            await self._request.send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
        finally:
            self._beating = None
