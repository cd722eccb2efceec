"""The short way of an answer to its connection, past the ASGI messages.

Uvicorn checks every header with two regular expressions and writes head and body apart; each write is a system call
that may wake the client. Here an answer of known shape is put together at once. Law: what goes out is, byte for byte,
what uvicorn would have sent for the same status, headers and pieces, and afterwards its cycle is in the same state;
a test sends everything both ways.
"""

from collections.abc import Callable
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from fittengate.server.request import Headers

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Outlet:
    """Answers one request: ``whole``, or ``begin``, any number of ``piece``, ``last``. Never waits: ask ``paused``."""

    __slots__ = ("_cycle", "_head", "flow")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self.flow = cycle.flow
        """Says in ``write_paused`` whether the connection takes more now."""
        self._head = b""
        """The head of a stream, until its first piece goes out."""

    @property
    def paused(self) -> bool:
        """Return whether the client reads too slowly: then :meth:`writable` is to be awaited before the next piece."""
        return self._cycle.flow.write_paused and not self._cycle.disconnected

    async def writable(self) -> None:
        """Wait until the client has read enough, or is gone."""
        await self._cycle.flow.drain()

    def body(self) -> bytes | None:
        """Return the request's body if all of it has come; None if it must be awaited."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        # A client that leaves is noticed only while its connection is read.
        cycle.flow.resume_reading()
        body = bytes(cycle.body)
        cycle.body = bytearray()
        return body

    def whole(self, status: int, headers: Headers, body: bytes, before: Callable[[], object] | None = None) -> None:
        """Send a whole answer; its content-length is among ``headers``. Raises ValueError for a torn header.

        ``before`` is called at the last moment before it goes out; not when the client has gone.
        """
        cycle = self._cycle
        if cycle.disconnected:
            return
        head = self._made(status, headers, b"")
        cycle.chunked_encoding = False
        if before is not None:
            before()
        cycle.transport.write(head if cycle.scope["method"] == "HEAD" else head + body)
        self._complete()

    def begin(self, status: int, headers: Headers) -> None:
        """Hold the head of a stream ready; it goes out with the first piece. Raises ValueError for a torn header."""
        if not self._cycle.disconnected:
            self._head = self._made(status, headers, b"transfer-encoding: chunked\r\n")
            self._cycle.chunked_encoding = True

    def piece(self, data: bytes) -> None:
        """Send the next piece of a stream; an empty one sends the head alone."""
        if self._cycle.disconnected:
            return
        framed = b"%b%x\r\n%b\r\n" % (self._head, len(data), data) if data else self._head
        self._head = b""
        if framed:
            self._cycle.transport.write(framed)

    def last(self, data: bytes, before: Callable[[], object] | None = None) -> None:
        """Send the last piece of a stream, perhaps an empty one, and its end; ``before`` as in :meth:`whole`."""
        if self._cycle.disconnected:
            return
        if before is not None:
            before()
        framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._cycle.transport.write(b"%b%b0\r\n\r\n" % (self._head, framed))
        self._head = b""
        self._complete()

    def _made(self, status: int, headers: Headers, framing: bytes) -> bytes:
        cycle = self._cycle
        if cycle.response_started:
            raise RuntimeError("an answer was begun twice")
        lines = [_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        lines += [b"%b: %b\r\n" % header for header in cycle.default_headers]
        lines += [b"%b: %b\r\n" % header for header in headers]
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (framing, b"\r\n")
        head = b"".join(lines)
        # One line end for each line: none came in with a value.
        ends = len(lines) - (not framing)
        if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
            raise ValueError("a header holds a line end or NUL")
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        return head

    def _complete(self) -> None:
        cycle = self._cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
