"""A streamed reply on its way to the client: when the headers go out, heartbeats, and the last byte.

The laws: the status line waits for the first event, so that an early fault keeps its true status, but no longer than
``hold_seconds``; then headers and heartbeats go out, as long as the upstream's own deadlines let it live; a beat and a
piece of the reply never overtake each other; a client that reads slowly gets no beats.
"""

import asyncio
from collections.abc import Callable

from fittengate.core.events import Event
from fittengate.dialects.base import EVENTS, StreamForm, Writer
from fittengate.lib.timers import Timer, Timers
from fittengate.server.request import Headers, Request
from fittengate.services.figures import Durations
from fittengate.upstream.base import Flow


class _Shut:
    """The flow of a connection that takes nothing the short way."""

    write_paused = True


_SHUT = _Shut()


class ClientStream:
    """Writes one streamed reply. ``write`` any number of times, then ``finish``; ``stop`` in any case.

    After :meth:`relay` it is a :class:`fittengate.upstream.base.Sink`: events that come one by one go straight to the
    client. One object and one method do all of that, because a delta comes when its code has left the processor's caches.
    """

    __slots__ = (
        "_beat_seconds",
        "_beating",
        "_busy",
        "_feed",
        "_form",
        "_gaps",
        "_headers",
        "_last",
        "_loop",
        "_outlet",
        "_request",
        "_tape",
        "_timer",
        "_timers",
        "finished",
        "flow",
        "open",
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
        gaps: Durations,
        form: StreamForm = EVENTS,
    ) -> None:
        """``hold`` and ``beat`` are seconds; a ``beat`` of 0 means no heartbeats, and then no early headers.

        ``gaps`` takes the time between two pieces.
        """
        self.started = False
        """The status line is out: from here on a fault is an event of the stream."""
        self.finished = False
        self._request = request
        self._outlet = request.outlet
        self._tape = None if request.tape is None else request.tape.streaming()
        self._headers = headers
        self._gaps = gaps
        self._last = 0.0
        """When the last piece went out, by the loop's clock; 0 before the first."""
        self._form = form
        self._loop = loop
        self._timers = timers
        self._beat_seconds = beat
        self._busy = False
        self.open = False
        """The headers are out and nobody is in the middle of a write: :meth:`take` may be called while ``flow`` runs."""
        self.flow: Flow = _SHUT if request.outlet is None else request.outlet.flow
        self._beating: asyncio.Task[None] | None = None
        self._timer: Timer | None = timers.start(hold, self._beat) if beat else None

    def relay(self, writer: Writer) -> "ClientStream":
        """Return this stream as a sink for events that ``writer`` writes."""
        self._feed = writer.feed
        return self

    def take(self, events: list[Event], now: float, /) -> None:
        """Send the next events without waiting, at the end of this turn of the loop; ``now`` is the loop's time."""
        data = self._feed(events)
        if not data:
            return
        self._outlet.soon(data)  # type: ignore[union-attr]
        if self._last:
            self._gaps.note(now - self._last)
        self._last = now
        if self._tape is not None:
            self._tape.add(now, data)
        timer = self._timer
        if timer is not None:
            timer.when = now + self._beat_seconds

    async def write(self, data: bytes) -> None:
        """Send the next piece, and the headers before the first one."""
        if self._beating is not None:
            await self._beating
        self._busy = True
        self.open = False
        outlet = self._outlet
        if outlet is None:
            await self._send(data)
        else:
            if outlet.paused:
                await outlet.writable()
            if not self.started:
                outlet.begin(200, self._begin())
            outlet.piece(data)
            self.open = self._beating is None
        self._busy = False
        now = self._loop.time()
        if data:
            if self._last:
                self._gaps.note(now - self._last)
            self._last = now
        if self._tape is not None:
            self._tape.add(now, data)
        if self._timer is not None:
            self._timer.when = now + self._beat_seconds

    async def finish(self, data: bytes, before: Callable[[], object]) -> None:
        """Send the last piece and end the response; ``before`` is called at the last moment before they go out."""
        if self._beating is not None:
            await self._beating
        self._busy = self.finished = True
        self.open = False
        if self._tape is not None:
            self._tape.add(self._loop.time(), data)
        outlet = self._outlet
        if outlet is None:
            before()
            await self._send(data, more=False)
            return
        if outlet.paused:
            await outlet.writable()
        if not self.started:
            outlet.begin(200, self._begin())
        outlet.last(data, before)

    def stop(self) -> None:
        """Send no more beats."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    async def _send(self, data: bytes, *, more: bool = True) -> None:
        send = self._request.send
        if not self.started:
            await send({"type": "http.response.start", "status": 200, "headers": self._begin()})
        if data or not more:
            await send({"type": "http.response.body", "body": data, "more_body": more})

    def _begin(self) -> Headers:
        self.started = True
        self._request.status = 200
        if self._request.tape is not None:
            self._request.tape.status = 200
        timing = self._request.timing
        return [
            (b"content-type", self._form.content_type),
            (b"cache-control", b"no-cache"),
            # nginx holds streams back unless it is told not to.
            (b"x-accel-buffering", b"no"),
            (b"x-request-id", self._request.id.encode()),
            *(() if timing is None else ((b"server-timing", timing()),)),
            *self._headers,
        ]

    def _beat(self) -> None:
        if self.finished or self._timer is None:
            return
        if not self._busy and self._beating is None:
            self.open = False
            self._beating = self._loop.create_task(self._send_beat())
        self._timer = self._timers.start(self._beat_seconds, self._beat)

    async def _send_beat(self) -> None:
        outlet = self._outlet
        try:
            if self._tape is not None:
                self._tape.add(self._loop.time(), self._form.heartbeat)
            if outlet is None:
                await self._send(self._form.heartbeat)
                return
            if outlet.paused:
                await outlet.writable()
            if not self.started:
                outlet.begin(200, self._begin())
            outlet.piece(self._form.heartbeat)
        finally:
            self._beating = None
            self.open = outlet is not None and self.started and not self._busy
