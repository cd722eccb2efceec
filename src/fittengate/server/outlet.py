"""The short way of an answer to its connection, past the ASGI messages.

Uvicorn checks every header with two regular expressions and writes head and body apart; each write is a system call
that may wake the client. Here an answer of known shape is put together at once. Law: what goes out is, byte for byte,
what uvicorn would have sent for the same status, headers and pieces, and afterwards its cycle is in the same state;
a test sends everything both ways.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from fittengate.server.request import Headers

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


SHORT_BYTES = 4096
"""A longer piece of a stream goes out at once: most pieces are one token."""


class _Bell:
    """What uvicorn's cycle needs of asyncio.Event, made and rung for every request and waited for by few."""

    __slots__ = ("_rung", "_waiters")

    def __init__(self) -> None:
        self._rung = False
        self._waiters: list[asyncio.Future[None]] | None = None

    def set(self) -> None:
        """Let all go on that wait."""
        self._rung = True
        if self._waiters is not None:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def clear(self) -> None:
        """Let all wait from now on."""
        self._rung = False

    def is_set(self) -> bool:
        """Return whether nobody has to wait."""
        return self._rung

    async def wait(self) -> None:
        """Return once it is set."""
        if self._rung:
            return
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters = self._waiters or []
        waiters.append(waiter)
        try:
            await waiter
        finally:
            waiters.remove(waiter)


class Front:
    """The headers that uvicorn adds to every answer, as they go out. It makes a new list of them once a second."""

    __slots__ = ("_headers", "_lines")

    def __init__(self) -> None:
        self._headers: Sequence[tuple[bytes, bytes]] | None = None
        self._lines = b""

    def lines(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Return them as lines; the same list is asked again and again."""
        if headers is not self._headers:
            self._lines = _lines(headers)
            self._headers = headers
        return self._lines


class Outbox:
    """The pieces that all streams have made in one turn of the event loop: they leave together, at its end.

    A write wakes its client. Ten writes in a row find the kernel's code in the processor's caches and the client awake
    already; between them, the gateway's own code would push out the one and let the other fall asleep.
    """

    __slots__ = ("_flush_all", "_full", "_loop")

    def __init__(self) -> None:
        self._full: list[Outlet] = []
        # Both are asked for at each turn; one server has one loop.
        self._flush_all = self._flush
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, outlet: "Outlet") -> None:
        """Let an outlet be flushed before the loop looks for new events."""
        full = self._full
        full.append(outlet)
        if len(full) == 1:
            loop = self._loop
            if loop is None:
                loop = self._loop = asyncio.get_running_loop()
            loop.call_soon(self._flush_all)

    def _flush(self) -> None:
        full, self._full = self._full, []
        for outlet in full:
            outlet.flush()


class Outlet(RequestResponseCycle):
    """Uvicorn's cycle of one request, which can also be answered the short way.

    That is: ``whole``, or ``begin``, any number of ``piece`` and ``soon``, ``last``. These never wait: ask ``paused``.
    """

    def __init__(
        self, protocol: HttpToolsProtocol, scope: Any, front: Front, outbox: Outbox, *, keep_alive: bool
    ) -> None:
        # All that uvicorn's own sets, in fewer steps: a test compares them.
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        """Says in ``write_paused`` whether the connection takes more now."""
        self.logger = protocol.logger
        self.access_logger = protocol.access_logger
        self.access_log = protocol.access_log
        self.default_headers = protocol.server_state.default_headers
        bell: Any = _Bell()
        self.message_event = bell
        self.on_response = protocol.on_response_complete
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = protocol.expect_100_continue
        self.body: Any = b""
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.chunked_encoding = None
        self.expected_content_length = 0
        self._front = front
        self._outbox = outbox
        self._held = b""
        """What goes out before anything else: the head of a stream, and what :meth:`soon` was given."""

    @property
    def paused(self) -> bool:
        """Return whether the client reads too slowly: then :meth:`writable` is to be awaited before the next piece."""
        return self.flow.write_paused and not self.disconnected

    async def writable(self) -> None:
        """Wait until the client has read enough, or is gone."""
        await self.flow.drain()

    def taken(self) -> bytes | None:
        """Return the request's body if all of it has come; None if it must be awaited."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        # A client that leaves is noticed only while its connection is read.
        self.flow.resume_reading()
        body = bytes(self.body)
        self.body = b""
        return body

    def whole(self, status: int, headers: Headers, body: bytes, before: Callable[[], object] | None = None) -> None:
        """Send a whole answer; its content-length is among ``headers``. Raises ValueError for a torn header.

        ``before`` is called at the last moment before it goes out; not when the client has gone.
        """
        if self.disconnected:
            return
        head = self._made(status, headers, b"")
        self.chunked_encoding = False
        if before is not None:
            before()
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self._complete()

    def begin(self, status: int, headers: Headers) -> None:
        """Hold the head of a stream ready; it goes out with the first piece. Raises ValueError for a torn header."""
        if not self.disconnected:
            self._held = self._made(status, headers, b"transfer-encoding: chunked\r\n")
            self.chunked_encoding = True

    def piece(self, data: bytes) -> None:
        """Send the next piece of a stream; an empty one sends the head alone."""
        if self.disconnected:
            return
        framed = b"%b%x\r\n%b\r\n" % (self._held, len(data), data) if data else self._held
        self._held = b""
        if framed:
            self.transport.write(framed)

    def soon(self, data: bytes) -> None:
        """Send the next piece of a stream at the end of this turn of the loop, or before what is sent earlier.

        Only what is short waits. Whether the connection takes more is seen when it was sent.
        """
        if self._held or len(data) > SHORT_BYTES:
            self.piece(data)
        elif data and not self.disconnected:
            self._held = b"%x\r\n%b\r\n" % (len(data), data)
            self._outbox.add(self)

    def flush(self) -> None:
        """Send what waits."""
        held, self._held = self._held, b""
        if held and not self.disconnected and not self.transport.is_closing():
            self.transport.write(held)

    def last(self, data: bytes, before: Callable[[], object] | None = None) -> None:
        """Send the last piece of a stream, perhaps an empty one, and its end; ``before`` as in :meth:`whole`."""
        if self.disconnected:
            return
        if before is not None:
            before()
        framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self.transport.write(b"%b%b0\r\n\r\n" % (self._held, framed))
        self._held = b""
        self._complete()

    def _made(self, status: int, headers: Headers, framing: bytes) -> bytes:
        if self.response_started:
            raise RuntimeError("an answer was begun twice")
        head = b"%b%b%b%b%b\r\n" % (
            _STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status,
            self._front.lines(self.default_headers),
            _lines(headers),
            b"" if self.keep_alive else b"connection: close\r\n",
            framing,
        )
        self.response_started = True
        self.waiting_for_100_continue = False
        return head

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return headers as they go out. Raises ValueError for a torn one."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    # One line end for each line: none came in with a value.
    ends = len(headers)
    if lines.count(b"\n") != ends or lines.count(b"\r") != ends or b"\0" in lines:
        raise ValueError("a header holds a line end or NUL")
    return lines
