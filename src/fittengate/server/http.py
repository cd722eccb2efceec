"""The server's HTTP protocol: uvicorn's, with the bounds and the one signal that it lacks.

Added: a cap on the head of a request and on connections, error bodies that are JSON, a shorter way for answers
(:mod:`fittengate.server.outlet`), and word to the request's task the moment its client goes away. Uvicorn tells an application of that only if somebody waits in ``receive`` all the time,
which would cost a task for each request.
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from fittengate.server.outlet import Outlet
from fittengate.server.request import GONE, OUTLET
from fittengate.server.upgrades import StayingProtocol

HEAD_TOO_LARGE = "fittengate.head_too_large"
"""Key of the scope: the head was complete but over the cap, so the application says so in its own form."""


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


class GatewayProtocol(StayingProtocol):
    """One client connection. :func:`protocol_class` sets the bounds."""

    max_head_bytes = 0
    max_connections = 0

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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or turn it away when there are too many."""
        super().connection_made(transport)
        if self.max_connections and len(self.connections) > self.max_connections:
            self._turn_away("503 Service Unavailable", "gateway_busy", "Too many connections. Try again in a moment.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the running request that nobody reads its answer any more."""
        cycle = self.cycle
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            tell = cycle.scope.get(GONE)
            if tell is not None:
                tell()  # type: ignore[operator]
        for waiting, _ in self.pipeline:
            waiting.disconnected = True

    def data_received(self, data: bytes) -> None:
        """Feed the parser, counting what it swallows without giving anything: a head or trailers that do not end."""
        if self.transport.is_closing():
            return
        self._swallowed += len(data)
        super().data_received(data)
        if self.max_head_bytes and self._swallowed > self.max_head_bytes and not self.transport.is_closing():
            text = f"The head of the request is larger than {self.max_head_bytes} bytes (server.max_head_bytes)."
            self._turn_away("431 Request Header Fields Too Large", "head_too_large", text)

    def on_headers_complete(self) -> None:
        """Hand the request over; mark it if its head is over the cap."""
        self._swallowed = 0
        if self.max_head_bytes:
            size = len(self.url)
            for name, value in self.headers:
                size += len(name) + len(value) + 4
            if size > self.max_head_bytes:
                self.scope[HEAD_TOO_LARGE] = True  # type: ignore[literal-required]
        super().on_headers_complete()
        # The request's task begins in a later turn of the loop, or after the one before it.
        self.scope[OUTLET] = Outlet(self.cycle)  # type: ignore[literal-required]

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body, whose size is the application's business."""
        self._swallowed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next head."""
        super().on_message_complete()
        self._swallowed = 0

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature; its words are plain text
        """Answer what is no HTTP."""
        self._turn_away("400 Bad Request", "invalid_request", "This is no valid HTTP request.")

    def _turn_away(self, status: str, code: str, message: str) -> None:
        # A reply under way must not get a second head in its middle.
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_raw(status, code, message))
        self.transport.close()


def protocol_class(max_head_bytes: int, max_connections: int) -> type[GatewayProtocol]:
    """Return the protocol with its bounds; 0 means none."""
    bounds = {"max_head_bytes": max_head_bytes, "max_connections": max_connections}
    return type("BoundedGatewayProtocol", (GatewayProtocol,), bounds)


__all__ = ["HEAD_TOO_LARGE", "GatewayProtocol", "protocol_class"]
