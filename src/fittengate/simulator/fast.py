"""The fixed reply for benchmarks: everything that can be made once is made once."""

import asyncio

from fittengate.simulator.chat import NDJSON, fast_chunks
from fittengate.simulator.scenario import Fast
from fittengate.simulator.sending import Desk, Line

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: " + NDJSON.encode() + b"\r\n"
    b"transfer-encoding: chunked\r\nconnection: keep-alive\r\n"
)
_END = b"0\r\n\r\n"


class FastReply:
    """The bytes of the fixed reply."""

    def __init__(self, fast: Fast) -> None:
        self.interval = fast.interval_ms / 1000
        """Seconds between text pieces; 0: everything in one write."""
        chunks = fast_chunks(fast)
        self.parts = [*map(_chunk, chunks[:-1]), _chunk(chunks[-1]) + _END]
        self.whole = b"".join(self.parts)

    @staticmethod
    def head(times: bytes) -> bytes:
        """Return status line and headers."""
        return _HEAD + times + b"\r\n"


class FastStream:
    """Sends the fixed reply piece by piece: one timer, no task."""

    __slots__ = ("_desk", "_given_up", "_held_back", "_line", "_loop", "_next", "_reply", "_timer")

    def __init__(self, reply: FastReply, head: bytes, line: Line, desk: Desk) -> None:
        self._reply = reply
        self._line = line
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._next = 0
        self._given_up = False
        self._held_back = False
        desk.log.counters.stream_opened()
        line.transport.write(head)
        # Not at once: the connection does not know yet that this reply is under way.
        self._timer: asyncio.Handle = self._loop.call_soon(self._send)

    def _send(self) -> None:
        if self._line.write_paused:
            self._held_back = True
            return
        parts = self._reply.parts
        self._line.transport.write(parts[self._next])
        self._next += 1
        if self._next < len(parts):
            self._timer = self._loop.call_later(self._reply.interval, self._send)
            return
        self._desk.log.counters.open_streams -= 1
        self._line.finished(keep=True)

    def resume(self) -> None:
        """Go on: the client has read what was written."""
        if self._held_back:
            self._held_back = False
            self._send()

    def give_up(self) -> None:
        """Take notice that the connection will be dropped by this side."""
        self._given_up = True

    def lost(self) -> None:
        """Take notice that the connection is gone."""
        self._timer.cancel()
        counters = self._desk.log.counters
        counters.open_streams -= 1
        if not self._given_up:
            counters.client_left(self._desk.clock.monotonic())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
