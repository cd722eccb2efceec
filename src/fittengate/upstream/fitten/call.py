"""One POST on a connection that aiohttp made, its reply read straight from the transport.

aiohttp finds the way: names, TLS, proxies. From then on the connection speaks to a :class:`Line` instead of aiohttp's
own protocol, because what stands between those two, for every request and every piece of a reply, costs more than all
our translation. The law: a connection is kept for the next call only after a whole reply, with nothing behind it, that
both sides mean to keep open; in every other case it is closed. The last call goes on watching what is kept.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import httptools
from aiohttp.client_proto import ResponseHandler
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
    """What a connection speaks to for as long as it is ours: whoever it serves at the time.

    To change a transport's protocol makes the loop stop and begin to listen to it, which are four calls of the system.
    """

    __slots__ = ("call",)

    def __init__(self, call: "Call") -> None:
        self.call = call

    def data_received(self, data: bytes) -> None:
        """Hand it over."""
        self.call.data_received(data)

    def eof_received(self) -> bool:
        """Let the transport close: nothing more can come."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell it."""
        self.call.connection_lost(exc)


class Call:
    """The reply to one request: first ``head``, then ``readany`` until it gives nothing; ``close`` in any case."""

    __slots__ = (
        "_connection",
        "_error",
        "_handler",
        "_keep",
        "_loop",
        "_over",
        "_parser",
        "_parts",
        "_paused",
        "_size",
        "_spares",
        "_swallowed",
        "_transport",
        "_waiter",
        "_whole",
        "headers",
        "on_body",
        "status",
        "tap",
    )

    def __init__(
        self,
        connection: Connection,
        loop: asyncio.AbstractEventLoop,
        spares: "Spares[Call] | None" = None,
        last: "Call | None" = None,
    ) -> None:
        """Take over the connection, from its ``last`` call if it had one. Raises ReplyBrokenError if it is gone.

        After its end it goes to ``spares``, where there are any, or back to aiohttp's pool.
        """
        self.status = 0
        """0 until the head came."""
        self.headers: dict[bytes, bytes] = {}
        """Names in lower case; of a repeated header the last value."""
        self.tap: Callable[[bytes], bool] | None = None
        """Takes what comes while :meth:`readany` waits, in the same turn of the loop; False means that it is to be read."""
        if last is not None:
            handler, transport = last._handler, last._transport  # noqa: SLF001 - of the same kind
        else:
            own, way = connection.protocol, connection.transport
            # A service that speaks without being asked has broken the order of replies on this connection.
            if own is None or way is None or way.is_closing() or own.should_close:
                connection.close()
                raise ReplyBrokenError("the connection was closed before the request")
            handler, transport = own, way
        self._connection: Connection | None = connection
        self._spares = spares
        self._handler: ResponseHandler = handler
        self._transport: asyncio.Transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        # Called by the parser with each piece of the body: in C, for there may be many in one read.
        self.on_body = self._parts.append
        self._whole = 0
        """Pieces that belong to the reply, once it is over: bytes that nobody asked for may follow."""
        self._parser: Any = httptools.HttpResponseParser(self)
        self._size = 0
        self._swallowed = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._over = False
        self._keep = False
        self._paused = False
        if last is None:
            transport.set_protocol(Line(self))
        else:
            line = transport.get_protocol()
            assert isinstance(line, Line)  # noqa: S101 - it has been since the first call
            line.call = self

    def send(self, head: bytes, body: bytes) -> None:
        """Write the request; ``head`` reaches up to the number of its content-length."""
        if len(body) < LARGE_BYTES:
            self._transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        else:
            self._transport.write(b"%b%d\r\n\r\n" % (head, len(body)))
            self._transport.write(body)

    async def head(self) -> None:
        """Return once ``status`` and ``headers`` are there. Raises ReplyBrokenError."""
        while not self.status:
            if self._error is not None:
                raise self._error
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None

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
        return self._over and not self._parts

    async def readany(self) -> bytes:
        """Return what came since the last call; waits if that is nothing. Empty at the end. Raises ReplyBrokenError."""
        while not self._parts:
            if self._over:
                return b""
            if self._error is not None:
                raise self._error
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None
        parts = self._parts
        if self._size > HOLD_BYTES and len(parts) > 1:
            # All of it at once, as bytes, events and bytes again, would be megabytes where the client does not read.
            return self._first_parts()
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    def _first_parts(self) -> bytes:
        parts, taken, count = self._parts, 0, 0
        while count < len(parts) and taken < HOLD_BYTES:
            taken += len(parts[count])
            count += 1
        data = b"".join(parts[:count])
        del parts[:count]
        self._size = self._size - taken if parts else 0
        if self._paused and not parts:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def read(self, most: int) -> bytes:
        """Return the body, or its first ``most`` bytes. Raises ReplyBrokenError."""
        body = bytearray()
        while len(body) < most and (part := await self.readany()):
            body += part
        return bytes(body[:most])

    def close(self) -> None:
        """Give the connection up, if the reply has not come to its end by itself; nothing can be read after it."""
        if self._connection is not None:
            self._keep = False
            self._let_go()
        # Beside a spare connection this call lives on.
        self._parts.clear()

    @property
    def alive(self) -> bool:
        """Return whether the connection is still open."""
        return not self._transport.is_closing()

    def hand_back(self, connection: Connection) -> None:
        """Give a connection that was spare to aiohttp's pool."""
        self._transport.set_protocol(self._handler)
        connection.release()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _let_go(self) -> None:
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        # The parser and the tap know us: let go, or all of it waits for the cycle collector.
        self._parser = self.tap = None
        transport = self._transport
        if self._keep and not transport.is_closing():
            if self._paused:
                self._paused = False
                transport.resume_reading()
            if self._spares is None:
                self.hand_back(connection)
            else:
                self._spares.put(self, connection)
        else:
            connection.close()

    def _break(self, error: Exception) -> None:
        if self._error is None and not self._over:
            self._error = error
        self._keep = False
        self._let_go()
        self._wake()

    # What the transport says.

    def data_received(self, data: bytes) -> None:
        """Feed the parser; its own calls below fill in the rest."""
        if self._connection is None:
            # Nobody asked: if the connection is spare, what comes would be taken for the next call's reply.
            if self._spares is not None:
                self._spares.drop(self)
            return
        parts = self._parts
        before = len(parts)
        self._swallowed += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break(ReplyBrokenError(f"the reply is no HTTP ({type(error).__name__})"))
            return
        if len(parts) > before:
            self._swallowed = 0
            self._size += len(data)
        waiter = self._waiter
        if self._over:
            del parts[self._whole :]
            self._let_go()
        elif self._swallowed > MAX_HEAD_BYTES:
            self._break(ReplyBrokenError("a head without end"))
            return
        elif self._size > HOLD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        elif (
            self.tap is not None and len(parts) == 1 and waiter is not None and not waiter.done() and self.tap(parts[0])
        ):
            parts.clear()
            self._size = 0
            return
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader, and aiohttp's own protocol, which the pool asks."""
        self._handler.connection_lost(exc)
        if self._over:
            if self._spares is not None:
                self._spares.drop(self)
            return
        if exc is None and self.status and not self.framed:
            # Without a length the end of the connection is the end of the body: the decoder judges it.
            self._over = True
            self._let_go()
            self._wake()
            return
        self._break(ReplyBrokenError("the connection was closed" if exc is None else type(exc).__name__))

    # What the parser says.

    def on_message_begin(self) -> None:
        """Close after a whole reply if bytes follow that nobody asked for; they are not read."""
        if self._over:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, or a trailer, which nobody reads."""
        if not self._over:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Note the status, unless it is an interim one, which a whole head follows."""
        self._swallowed = 0
        status = self._parser.get_status_code()
        if status >= 200 and not self._over:
            self.status = status

    def on_message_complete(self) -> None:
        """Note the end, and whether the connection can serve again."""
        if self._over:
            return
        if self.status:
            self._over = True
            self._whole = len(self._parts)
            self._keep = self._parser.should_keep_alive()
        else:
            self.headers.clear()


async def post(
    connector: aiohttp.BaseConnector,
    target: aiohttp.ClientRequest,
    head: bytes,
    body: bytes,
    timeout: aiohttp.ClientTimeout = _NO_TIMEOUT,  # noqa: ASYNC109 - of making a connection, handed on to aiohttp
    spares: Spares[Call] | None = None,
) -> Call:
    """Send a request; return its reply, of which the head is there.

    ``target`` says where to connect to, and through which proxy; ``spares`` has connections to that place alone. Raises
    ReplyBrokenError and what the connector raises: aiohttp.ClientError, OSError, TimeoutError.
    """
    spare = None if spares is None else spares.take()
    if spare is None:
        call = Call(await connector.connect(target, [], timeout), target.loop, spares)
    else:
        last, connection = spare
        call = Call(connection, target.loop, spares, last)
    try:
        call.send(head, body)
        await call.head()
    except BaseException:
        call.close()
        raise
    return call
