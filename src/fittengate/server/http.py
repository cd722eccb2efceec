"""The server's HTTP protocol: uvicorn's, with the bounds and the one signal that it lacks.

Added: a cap on the head of a request, on connections and on requests sent ahead, error bodies that are JSON, a shorter
way for answers (:mod:`fittengate.server.outlet`), bounds for clients that are slow or silent
(:mod:`fittengate.server.patience`, which also takes the place of uvicorn's timer for each idle connection), and word to
the request's task the moment its client goes away. Uvicorn tells an application of that only if somebody waits in
``receive`` all the time, which would cost a task for each request.
"""

import asyncio
import re
import socket
import struct
from typing import Any, ClassVar, Protocol, TypeAlias
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from fittengate.server.old_http import OldOutlet
from fittengate.server.outlet import Front, Outbox, Outlet
from fittengate.server.patience import Phase, State, Wait
from fittengate.server.request import GONE, OUTLET, SLOW
from fittengate.server.upgrades import StayingProtocol

HEAD_TOO_LARGE = "fittengate.head_too_large"
"""Key of the scope: the head was complete but over the cap, so the application says so in its own form."""

MOST_AHEAD = 64
"""Requests that a client may send ahead on one connection: thousands fit into one read."""

MOST_TARGETS = 64
TARGET_BYTES = 128
"""So many request targets, each no longer than this, are remembered with what they were parsed to."""

_is_host = re.compile(rb"(?:\[[\w:.%~!$&'()*+,;=-]+\]|[\w.%~!$&'()*+,;=-]*)(?::\d*)?[ \t]*", re.ASCII).fullmatch
"""Tells a host, perhaps with a port (RFC 9110, 7.2). It may be empty; the parser leaves blanks behind it."""

Target: TypeAlias = tuple[str, bytes, bytes]
"""A request's target: its path, the path before percent-decoding, and its query."""


def _raw(status: str, code: str, message: str) -> bytes:
    body = b'{"error":{"message":"%b","type":"invalid_request_error","param":null,"code":"%b"}}' % (
        message.encode(),
        code.encode(),
    )
    extra = "retry-after: 1\r\n" if status.startswith("503") else ""
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{extra}content-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    ).encode() + body


class Graded(Protocol):
    """What knows how full the gateway is."""

    grade: int


class GatewayProtocol(StayingProtocol):
    """One client connection. :func:`protocol_class` sets the bounds."""

    max_head_bytes = 0
    max_connections = 0
    overload: Graded
    targets: ClassVar[dict[bytes, Target]]
    """The last targets, as :meth:`_parsed` gave them. All connections of one kind have the same root path."""
    front: Front
    outbox: Outbox

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._swallowed = 0
        """Bytes since the parser last gave something: of a head, of trailers, of a chunk's extensions."""
        self._received = 0
        self._heads = 0
        self._pauses = 0
        """So often the client read too slowly."""
        self._at_work: RequestResponseCycle | None = None
        """The request that is being answered, or was last; ``cycle`` is the one whose head came last."""
        self._wrong = "This is no valid HTTP request."
        self.wait = Wait()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or turn it away when there are too many."""
        super().connection_made(transport)
        if self.max_connections and len(self.connections) > self.max_connections:
            self._turn_away("503 Service Unavailable", "gateway_busy", "Too many connections. Try again in a moment.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the running request that nobody reads its answer any more."""
        cycle = self._at_work
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            # Uvicorn looks at the newest request alone, which may be one that was sent ahead.
            cycle.disconnected = True
            cycle.message_event.set()
            tell = cycle.scope.get(GONE)
            if tell is not None:
                tell()  # type: ignore[operator]
        for waiting, _ in self.pipeline:
            waiting.disconnected = True

    def data_received(self, data: bytes) -> None:
        """Feed the parser, counting what it swallows without giving anything: a head or trailers that do not end."""
        if self.transport.is_closing():
            return
        size = len(data)
        self._swallowed += size
        self._received += size
        super().data_received(data)
        if self.max_head_bytes and self._swallowed > self.max_head_bytes and not self.transport.is_closing():
            text = f"The head of the request is larger than {self.max_head_bytes} bytes (server.max_head_bytes)."
            self._turn_away("431 Request Header Fields Too Large", "head_too_large", text)

    def on_headers_complete(self) -> None:
        """Hand the request over; mark it if its head is over the cap. Raises ValueError, which ends the connection.

        Law: the scope is what uvicorn would have made, and a test compares them. Of uvicorn's own switches none is on
        that would have a say here: web sockets, a limit of tasks, contexts of their own.
        """
        self._swallowed = 0
        self._heads += 1
        pipeline, parser, url = self.pipeline, self.parser, self.url
        if len(pipeline) >= MOST_AHEAD:
            raise ValueError("too many requests ahead")
        scope: Any = self.scope
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        scope["path"], scope["raw_path"], scope["query_string"] = self.targets.get(url) or self._parsed(url)
        size, hosts = len(url), 0
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1 if _is_host(value) else 2
        if hosts != 1 and (hosts or version == "1.1"):
            # RFC 9112, 3.2: proxies that disagree on the host would disagree on whose request it is.
            self._wrong = "A request of HTTP/1.1 has one Host header, with a host's name."
            raise ValueError("no host, or several")
        if self.max_head_bytes and size > self.max_head_bytes:
            scope[HEAD_TOO_LARGE] = True
        before = self.cycle
        kind = Outlet if version != "1.0" else OldOutlet
        cycle = self.cycle = kind(self, scope, self.front, self.outbox, keep_alive=parser.should_keep_alive())
        # The request's task begins in a later turn of the loop, or after the one before it.
        scope[OUTLET] = cycle
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            pipeline.appendleft((cycle, self.app))

    def _parsed(self, url: bytes) -> Target:
        """Parse a request's target, and remember what came of it. Raises for what is none."""
        parts = httptools.parse_url(url)
        raw: bytes = parts.path
        path = raw.decode("ascii")
        if "%" in path:
            path = unquote(path)
        root = self.root_path
        target = (root + path, root.encode("ascii") + raw, parts.query or b"")
        if len(url) <= TARGET_BYTES:
            if len(self.targets) >= MOST_TARGETS:
                self.targets.clear()
            self.targets[url] = target
        return target

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body, whose size is the application's business. The first one is not copied."""
        self._swallowed = 0
        cycle: Any = self.cycle
        if cycle.body or cycle.response_complete:
            if type(cycle.body) is bytes:
                cycle.body = bytearray(cycle.body)
            super().on_body(body)
            return
        cycle.body = body
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
        self._swallowed = 0
        if self.overload.grade:
            cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Take up the next request; for one that does not come the sweep looks, not a timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._at_work = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def pause_writing(self) -> None:
        """Note that the client reads too slowly."""
        self._pauses += 1
        super().pause_writing()

    def state(self) -> State:
        """Return what the connection waits for."""
        cycle, work = self.cycle, self._at_work
        waiting = self.transport.get_write_buffer_size()
        answered = work is None or work.response_complete
        # A buffer that is not full while an answer goes on is no slow client.
        if waiting and (answered or self.flow.write_paused):
            return State(Phase.WRITE, self._pauses if self.flow.write_paused else -self._heads, waiting)
        if self.transport.is_closing():
            return State(Phase.WORK, 0)
        if cycle is not None and cycle.more_body and not cycle.disconnected:
            held = self.flow.read_paused or cycle.waiting_for_100_continue
            return State(Phase.WORK, 0) if held else State(Phase.BODY, self._heads, self._received)
        if not answered:
            return State(Phase.WORK, 0)
        if cycle is None or self._swallowed:
            return State(Phase.HEAD, self._heads)
        return State(Phase.IDLE, self._received)

    def give_up(self, phase: Phase) -> None:
        """Wait no longer: say so where a request was begun and nothing is answered yet, else end the connection."""
        cycle = self.cycle
        if phase is Phase.WRITE:
            if self._at_work is not None:
                self._at_work.scope[SLOW] = True  # type: ignore[literal-required]
            sock = self.transport.get_extra_info("socket")
            if sock is not None:
                # A reset: else the system would keep what it has for a client that may never read it.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif phase is Phase.BODY and cycle is self._at_work and not cycle.response_started:
            # Whoever waits for the body wakes, looks at the mark, and answers in the form that the client reads.
            cycle.scope[SLOW] = True  # type: ignore[literal-required]
            cycle.keep_alive = False
            cycle.message_event.set()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature; its words are plain text
        """Answer what is no HTTP."""
        self._turn_away("400 Bad Request", "invalid_request", self._wrong)

    def _turn_away(self, status: str, code: str, message: str) -> None:
        # A reply under way must not get a second head in its middle.
        work = self._at_work
        if work is None or work.response_complete or not work.response_started:
            self.transport.write(_raw(status, code, message))
        self.transport.close()


def protocol_class(max_head_bytes: int, max_connections: int, overload: Graded) -> type[GatewayProtocol]:
    """Return the protocol with its bounds; 0 means none. Where ``overload`` has a grade, answers close connections."""
    bounds = {
        "max_head_bytes": max_head_bytes,
        "max_connections": max_connections,
        "overload": overload,
        "targets": {},
        "front": Front(),
        "outbox": Outbox(),
    }
    return type("BoundedGatewayProtocol", (GatewayProtocol,), bounds)


__all__ = ["HEAD_TOO_LARGE", "GatewayProtocol", "protocol_class"]
