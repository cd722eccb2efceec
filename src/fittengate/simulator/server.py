"""HTTP/1.1 on a bare asyncio protocol, so that a reply can be broken in any way and made at little cost."""

import asyncio
import zlib
from collections import deque
from typing import NamedTuple, Protocol

import httptools
from msgspec import structs

from fittengate.simulator.fast import FastReply, FastStream
from fittengate.simulator.log import Record
from fittengate.simulator.plan import NATURAL
from fittengate.simulator.reply import Piece, Refused, Reply, Request, front_page, refusal
from fittengate.simulator.sending import Desk, Sending
from fittengate.simulator.wire import Outgoing, prepare

MAX_HEAD = 65_536
MAX_BODY = 67_108_864
MAX_PIPELINED = 64
LOOPBACK = ("127.", "::1", "::ffff:127.")

CONTROL = "/_sim/"
PACKED = "/codeapi/completion"
"""What the paths begin with that take compressed bodies."""

_FAST = b"/codeapi/chat_auth"


class Site(Desk, Protocol):
    """What a connection needs of the simulator."""

    connections: "set[Connection]"

    @property
    def fast(self) -> FastReply | None:
        """The fixed reply; None unless it answers chat requests now."""
        ...

    def knows(self, authorization: bytes) -> bool:
        """Whether a header was checked before and still counts."""
        ...

    def answer(self, request: Request, size: int) -> tuple[Outgoing, Record]:
        """Return the reply to a request of ``size`` bytes, and its record."""
        ...

    def control(self, request: Request) -> Reply:
        """Return the reply of the control side."""
        ...


class Raw(NamedTuple):
    """A request as it was parsed."""

    method: bytes
    url: bytes
    headers: list[tuple[bytes, bytes]]
    body: list[bytes]
    keep_alive: bool
    old: bool
    """Of HTTP/1.0, which knows no Host."""


class Connection(asyncio.Protocol):
    """One client connection.

    Law: one reply at a time, in the order of the requests; after an end, a close or a reset nothing more is written.
    """

    transport: asyncio.Transport

    def __init__(self, site: Site) -> None:
        self._site = site
        self.write_paused = False
        self._parser = httptools.HttpRequestParser(self)
        self._sending: Sending | FastStream | None = None
        self._waiting: deque[Raw] = deque()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._head_size = self._body_size = 0
        self._serving = False
        self._deaf = False
        """Set once no further request will be answered."""

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered."""
        return self._sending is None and not self._serving

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport  # type: ignore[assignment] # a server's protocols get transports of both directions
        # A full buffer is told at once: then "sent" means that the client's machine has it.
        self.transport.set_write_buffer_limits(high=0)
        self._site.connections.add(self)
        counters = self._site.log.counters
        counters.connections += 1
        counters.connections_made += 1
        self._site.log.changed()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - any end is an end
        """End."""
        self._deaf = True
        self._site.connections.discard(self)
        self._site.log.counters.connections -= 1
        self._waiting.clear()
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.lost()
        self._site.log.changed()

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests and answer those that are whole."""
        if self._deaf:
            return
        self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(400, "400 Bad Request")
            return
        if self._head_size > MAX_HEAD:
            self._refuse(400, "400 Request Header Or Cookie Too Large")
        elif self._body_size > MAX_BODY:
            self._refuse(413, "413 Request Entity Too Large")
        elif len(self._waiting) > MAX_PIPELINED:
            self.abort()
        elif self._sending is None:
            self._serve_waiting()

    def pause_writing(self) -> None:
        """Wait: the client does not read fast enough."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """Go on: the client has caught up."""
        self.write_paused = False
        if self._sending is not None:
            self._sending.resume()

    # Called by the parser, which hides errors of ours as errors of the client: keep them trivial

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url = b""
        self._headers = []
        self._body = []
        self._body_size = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Let a client go on that asks before it sends a body."""
        self._head_size = 0
        for name, value in self._headers:
            if len(name) == 6 and name.lower() == b"expect" and value.lower() == b"100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        self._head_size = 0
        self._body_size += len(data)
        if self._body_size <= MAX_BODY:
            self._body.append(data)

    def on_message_complete(self) -> None:
        """Line the request up."""
        self._head_size = 0
        parser = self._parser
        self._waiting.append(
            Raw(
                parser.get_method(),
                self._url,
                self._headers,
                self._body,
                parser.should_keep_alive(),
                parser.get_http_version() == "1.0",
            )
        )

    # Answering

    def finished(self, *, keep: bool) -> None:
        """Take notice that a reply is out: close, or answer the next request."""
        self._sending = None
        if not keep:
            self._deaf = True
            self.transport.close()
        elif self._waiting:
            # Not from here: a long queue of requests would nest as deep.
            asyncio.get_running_loop().call_soon(self._serve_waiting)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._sending is not None:
            self._sending.give_up()
        self.transport.abort()

    def _serve_waiting(self) -> None:
        self._serving = True
        while self._waiting and self._sending is None and not self._deaf:
            self._serve(self._waiting.popleft())
        self._serving = False

    def _serve(self, raw: Raw) -> None:
        fast = self._site.fast
        if fast is not None and raw.url.startswith(_FAST) and self._knows(raw.headers):
            self._serve_fast(fast)
            return
        arrived = self._site.clock.now()
        record = None
        try:
            request = _request(raw)
            if request.path.startswith(CONTROL):
                out = prepare(self._control(request), NATURAL)
            else:
                out, record = self._site.answer(request, sum(map(len, raw.body)))
        except Refused as error:
            out = prepare(error.reply, NATURAL)
        if raw.method == b"HEAD":
            out = structs.replace(out, steps=[Piece(0, b"")], framing="length")
        if not raw.keep_alive:
            out = structs.replace(out, keep_alive=False)
        sending = self._sending = Sending(self._site, self, out, record, arrived)
        sending.go()

    def _knows(self, headers: list[tuple[bytes, bytes]]) -> bool:
        for name, value in headers:
            if len(name) == 13 and name.lower() == b"authorization":
                return self._site.knows(value)
        return False

    def _serve_fast(self, fast: FastReply) -> None:
        now = self._site.clock.now()
        head = fast.head(self._site.times.lines(now, now))
        counters = self._site.log.counters
        counters.requests["chat"] += 1
        counters.chats += 1
        if fast.interval:
            self._sending = FastStream(fast, head, self, self._site)
        else:
            self.transport.write(head + fast.whole)

    def _control(self, request: Request) -> Reply:
        peer = self.transport.get_extra_info("peername")
        # A browser names the page that sends the request: no page has any business here.
        if not peer or not str(peer[0]).startswith(LOOPBACK) or "origin" in request.headers:
            raise refusal(403, "Forbidden")
        return self._site.control(request)

    def _refuse(self, status: int, title: str) -> None:
        """Answer a request that cannot be read, and hear no more."""
        self._deaf = True
        if self._sending is not None:
            self.abort()
            return
        out = prepare(front_page(status, title), NATURAL, keep_alive=False)
        self._sending = Sending(self._site, self, out, None, self._site.clock.now())
        self._sending.go()


def _request(raw: Raw) -> Request:
    """Return the request decoded; raises Refused."""
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in raw.headers:
        name, value = name_bytes.decode("latin-1").lower(), value_bytes.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if sum(name.lower() == b"host" for name, _ in raw.headers) != 1 and not (raw.old and "host" not in headers):
        raise Refused(front_page(400, "400 Bad Request"))
    path, _, query = raw.url.decode("latin-1").partition("?")
    body = b"".join(raw.body)
    # Clients were seen to send it there and nowhere else; elsewhere nobody unpacks it.
    if path.startswith(PACKED) and headers.get("content-encoding", "").lower() == "gzip":
        body = _unpacked(body)
    return Request(raw.method.decode("latin-1"), path, query, headers, body)


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(body, MAX_BODY)
    except zlib.error as error:
        raise refusal(400, "Invalid gzip body") from error
    if not unpacker.eof:
        raise refusal(400, "Invalid gzip body")
    return data
