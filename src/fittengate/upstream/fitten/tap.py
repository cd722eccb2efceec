"""The short way of a delta: from the service's bytes to the client's, in one turn of the loop.

Between two deltas of a slow reply nothing happens, so waking the reading task for each costs more than the delta itself.
Law: bytes go the short way only while that task waits for them; the events are the same, in the same order, and every
event that ends something (Ended, a fault, an error of the sink) is left for the task.
"""

import asyncio

from fittengate.core.events import Event
from fittengate.core.tape import Pieces
from fittengate.upstream.base import Sink
from fittengate.upstream.fitten.reply import ReplyStream
from fittengate.upstream.fitten.watch import Watch


class Tap:
    """Called with bytes that came while the reading task waits; says whether it need not wake."""

    __slots__ = ("_error", "_loop", "_raw", "_sink", "_stream", "_watch", "left")

    def __init__(
        self,
        stream: ReplyStream,
        watch: Watch,
        loop: asyncio.AbstractEventLoop,
        sink: Sink,
        raw: Pieces | None = None,
    ) -> None:
        """``raw`` takes the bytes that the task does not see, if anything does."""
        self.left: list[Event] | None = None
        """Events of bytes that were fed to the stream and that the sink did not take; None where there are none."""
        self._error: Exception | None = None
        self._stream = stream
        self._watch = watch
        self._loop = loop
        self._sink = sink
        self._raw = raw

    def __call__(self, data: bytes) -> bool:
        """Feed the stream and hand the events over. False: the task must wake, and look at ``left`` first."""
        sink, stream = self._sink, self._stream
        if not sink.open or sink.flow.write_paused:
            return False
        now = self._loop.time()
        # The task goes on waiting, so the watch does too.
        self._watch.idle_since = now
        event = stream.one(data, now)
        if event is not None:
            events = [event]
        else:
            events = stream.feed(data, now)
            if stream.ended or stream.fault is not None:
                self.left = events
                return False
        try:
            # Half a line gives nothing.
            if events:
                sink.take(events, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the task, not to the transport
            self._error, self.left = error, []
            return False
        if self._raw is not None:
            self._raw.add(now, data)
        return True

    def taken(self) -> list[Event]:
        """Return what was left, once. Raises what the sink raised."""
        events, self.left = self.left or [], None
        if self._error is not None:
            raise self._error
        return events
