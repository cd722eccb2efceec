"""One POST on a connection that aiohttp made, its reply read straight from the transport.

aiohttp finds the way: names, TLS, proxies. From then on the connection speaks to a :class:`Line` instead of aiohttp's
own protocol, because what stands between those two, for every request and every piece of a reply, costs more than all
our translation. The law: a line is kept for the next call only after a whole reply, with nothing behind it, that both
sides mean to keep open; in every other case it is closed. Until the client is closed it is never given another protocol:
uvloop would stop and start reading for that, which are two system calls.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import httptools
from aiohttp.connector import Connection

from fittengate.upstream.fitten.spares import Spares

LARGE_BYTES = 64 * 1024
"""A larger body is not copied behind its head."""

HOLD_BYTES = 64 * 1024
"""So much of a reply waits for its reader; then the service is not read until it was taken (P6)."""

MAX_HEAD_BYTES = 64 * 1024
"""Of a reply's head, its trailers, or the extensions of a chunk: what the parser swallows without giving anything."""

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


class ReplyBrokenError(ConnectionError):
    """The reply was cut off or is no HTTP; says nothing of what it held."""


class Line(asyncio.Protocol):
    """A connection, and the call that it serves now."""

    __slots__ = ("_connection", "_handler", "_spares", "call", "transport")

    def __init__(self, connection: Connection, spares: "Spares[Line]") -> None:
        """Take over a connection that aiohttp gave. Raises ReplyBrokenError if it is gone."""
        handler, transport = connection.protocol, connection.transport
        # A service that speaks without being asked has broken the order of replies on this connection.
        if handler is None or transport is None or transport.is_closing() or handler.should_close:
            connection.close()
            raise ReplyBrokenError("the connection was closed before the request")
        self._connection = connection
        self._handler = handler
        self._spares = spares
        self.transport = transport
        self.call: Call | None = None
        """None while nobody asks."""
        transport.set_protocol(self)

    @property
    def alive(self) -> bool:
        """Return whether it is still open."""
        return not self.transport.is_closing()

    def keep(self) -> None:
        """Wait for the next call."""
        self._spares.put(self)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def hand_back(self) -> None:
        """Give the connection to aiohttp's pool."""
        self.transport.set_protocol(self._handler)
        self._connection.release()

    # What the transport says.

    def data_received(self, data: bytes) -> None:
        """Feed the call's parser, whose own calls fill in the rest."""
        call = self.call
        if call is None:
            # Nobody asked: what comes would be taken for the next call's reply.
            self._spares.drop(self)
            return
        parts = call.parts
        before = len(parts)
        call.swallowed += len(data)
        try:
            call.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            call.fail(ReplyBrokenError(f"the reply is no HTTP ({type(error).__name__})"))
            return
        waiter, tap = call.waiter, call.tap
        if tap is not None and not before and len(parts) == 1 and not call.over and len(data) <= HOLD_BYTES:
            # The usual case first: a reply that somebody waits for, piece by piece.
            if waiter is not None and not waiter.done() and tap(parts[0]):
                parts.clear()
                call.swallowed = 0
                return
            waiter = call.waiter
        if len(parts) > before:
            call.swallowed = 0
            call.size += len(data)
        if call.over:
            call.end()
        elif call.swallowed > MAX_HEAD_BYTES:
            call.fail(ReplyBrokenError("a head without end"))
            return
        elif call.size > HOLD_BYTES and not call.paused:
            call.paused = True
            self.transport.pause_reading()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def eof_received(self) -> bool:
        """Let the transport close: nothing more can come."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader, and aiohttp's own protocol, which the pool asks."""
        self._handler.connection_lost(exc)
        call = self.call
        if call is None:
            self._spares.drop(self)
        else:
            call.lost(exc)


class Call:
    """The reply to one request: first ``head``, then ``readany`` until it gives nothing; ``close`` in any case.

    What is shared with the line is the line's business alone.
    """

    __slots__ = (
        "_error",
        "_keep",
        "_line",
        "_loop",
        "_whole",
        "headers",
        "on_body",
        "over",
        "parser",
        "parts",
        "paused",
        "size",
        "status",
        "swallowed",
        "tap",
        "waiter",
    )

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        """Take a line that serves nobody."""
        self.status = 0
        """0 until the head came."""
        self.headers: dict[bytes, bytes] = {}
        """Names in lower case; of a repeated header the last value."""
        self.tap: Callable[[bytes], bool] | None = None
        """Takes what comes while :meth:`readany` waits, in the same turn of the loop; False means that it is to be read."""
        self.parts: list[bytes] = []
        # Called by the parser with each piece of the body: in C, for there may be many in one read.
        self.on_body = self.parts.append
        self.size = 0
        """Bytes since everything was read; the framing counts."""
        self.swallowed = 0
        """Bytes since the parser last gave something."""
        self.paused = False
        self.over = False
        """The reply came to its end."""
        self.waiter: asyncio.Future[None] | None = None
        self.parser: Any = httptools.HttpResponseParser(self)
        self._whole = 0
        """Pieces that belong to the reply, once it is over: bytes that nobody asked for may follow."""
        self._error: Exception | None = None
        self._keep = False
        self._loop = loop
        self._line: Line | None = line
        line.call = self

    def send(self, head: bytes, body: bytes) -> None:
        """Write the request; ``head`` reaches up to the number of its content-length."""
        assert self._line is not None  # noqa: S101 - it is the first thing that a call does
        transport = self._line.transport
        if len(body) < LARGE_BYTES:
            transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        else:
            transport.write(b"%b%d\r\n\r\n" % (head, len(body)))
            transport.write(body)

    async def head(self) -> None:
        """Return once ``status`` and ``headers`` are there. Raises ReplyBrokenError."""
        while not self.status:
            if self._error is not None:
                raise self._error
            waiter = self.waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self.waiter = None

    @property
    def framed(self) -> bool:
        """Return whether HTTP itself tells a whole body from one cut short."""
        return b"transfer-encoding" in self.headers or b"content-length" in self.headers

    def header(self, name: bytes) -> str | None:
        """Return a header's value; None where there is none."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def at_eof(self) -> bool:
        """Return whether everything was read, and the end was a whole one."""
        return self.over and not self.parts

    async def readany(self) -> bytes:
        """Return what came since the last call; waits if that is nothing. Empty at the end. Raises ReplyBrokenError."""
        while not self.parts:
            if self.over:
                return b""
            if self._error is not None:
                raise self._error
            waiter = self.waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self.waiter = None
        parts = self.parts
        if self.size > HOLD_BYTES and len(parts) > 1:
            # All of it at once, as bytes, events and bytes again, would be megabytes where the client does not read.
            return self._first_parts()
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.size = 0
        if self.paused:
            self._resume()
        return data

    def _first_parts(self) -> bytes:
        parts, taken, count = self.parts, 0, 0
        while count < len(parts) and taken < HOLD_BYTES:
            taken += len(parts[count])
            count += 1
        data = b"".join(parts[:count])
        del parts[:count]
        self.size = self.size - taken if parts else 0
        if self.paused and not parts:
            self._resume()
        return data

    async def read(self, most: int) -> bytes:
        """Return the body, or its first ``most`` bytes. Raises ReplyBrokenError."""
        body = bytearray()
        while len(body) < most and (part := await self.readany()):
            body += part
        return bytes(body[:most])

    def close(self) -> None:
        """Give the connection up, if the reply has not come to its end by itself; does nothing the second time."""
        self._keep = False
        self._let_go()

    def end(self) -> None:
        """Let the line go: the reply has come to its end."""
        del self.parts[self._whole :]
        self._let_go()

    def fail(self, error: Exception) -> None:
        """Close the line, and raise this in whoever reads."""
        if self.over:
            # The reply is whole; what came behind it is none of ours.
            del self.parts[self._whole :]
        elif self._error is None:
            self._error = error
        self._keep = False
        self._let_go()
        self._wake()

    def lost(self, exc: Exception | None) -> None:
        """Take it that the connection has ended before the reply did."""
        if exc is None and self.status and not self.framed:
            # Without a length the end of the connection is the end of the body: the decoder judges it.
            self.over = True
            self._let_go()
            self._wake()
            return
        self.fail(ReplyBrokenError("the connection was closed" if exc is None else type(exc).__name__))

    def _wake(self) -> None:
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _let_go(self) -> None:
        line = self._line
        if line is None:
            return
        self._line = line.call = None
        # The parser and the tap know us: let go, or all of it waits for the cycle collector.
        self.parser = self.tap = None
        if not self._keep or not line.alive:
            line.close()
            return
        if self.paused:
            self.paused = False
            line.transport.resume_reading()
        line.keep()

    def _resume(self) -> None:
        """Read the service again, now that what it said was taken."""
        self.paused = False
        if self._line is not None:
            self._line.transport.resume_reading()

    # What the parser says.

    def on_message_begin(self) -> None:
        """Close after a whole reply if bytes follow that nobody asked for; they are not read."""
        if self.over:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, or a trailer, which nobody reads."""
        if not self.over:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Note the status, unless it is an interim one, which a whole head follows."""
        self.swallowed = 0
        status = self.parser.get_status_code()
        if status >= 200 and not self.over:
            self.status = status

    def on_message_complete(self) -> None:
        """Note the end, and whether the connection can serve again."""
        if self.over:
            return
        if self.status:
            self.over = True
            self._whole = len(self.parts)
            self._keep = self.parser.should_keep_alive()
        else:
            self.headers.clear()


async def post(
    connector: aiohttp.BaseConnector,
    target: aiohttp.ClientRequest,
    head: bytes,
    body: bytes,
    spares: "Spares[Line]",
    timeout: aiohttp.ClientTimeout = _NO_TIMEOUT,  # noqa: ASYNC109 - of making a connection, handed on to aiohttp
) -> Call:
    """Send a request; return its reply, of which the head is there.

    ``target`` says where to connect to, and through which proxy; ``spares`` has lines to that place alone. Raises
    ReplyBrokenError and what the connector raises: aiohttp.ClientError, OSError, TimeoutError.
    """
    line = spares.take() or Line(await connector.connect(target, [], timeout), spares)
    call = Call(line, target.loop)
    try:
        call.send(head, body)
        await call.head()
    except BaseException:
        call.close()
        raise
    return call
