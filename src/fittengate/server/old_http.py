"""Answers to clients of HTTP/1.0: proxies with old settings, load tools. They know no chunks (RFC 9112, section 6.1).

Law: what goes out is what an :class:`Outlet` sends, without its framing; the end of a stream is the connection's. A
connection is kept behind a whole answer alone, if the client asked for that, and it is told so (RFC 9112, appendix C.2.2).
"""

from collections.abc import Callable
from typing import Any

from fittengate.server.outlet import Outlet
from fittengate.server.request import Headers

_KEPT = b"connection: keep-alive\r\n"


class OldOutlet(Outlet):
    """The cycle of a request by HTTP/1.0."""

    _streaming = False

    def _made(self, status: int, headers: Headers, framing: bytes) -> bytes:
        return super()._made(status, headers, framing + _KEPT if self.keep_alive else framing)

    def begin(self, status: int, headers: Headers) -> None:
        """Hold the head of a stream ready. Raises ValueError for a torn header."""
        if not self.disconnected:
            self.keep_alive = False
            self._held = self._made(status, headers, b"")
            self.chunked_encoding = False

    def piece(self, data: bytes) -> None:
        """Send the next piece of a stream, behind the head if that is not out."""
        if not self.disconnected and (self._held or data):
            self.transport.write(self._held + data)
            self._held = b""

    def soon(self, data: bytes) -> None:
        """Send the next piece of a stream, and not later: these clients are few."""
        self.piece(data)

    def last(self, data: bytes, before: Callable[[], object] | None = None) -> None:
        """Send the last piece of a stream, and end the connection; ``before`` is called right before that."""
        if self.disconnected:
            return
        if before is not None:
            before()
        self.piece(data)
        self._complete()

    async def send(self, message: Any) -> None:
        """Send an ASGI message; an answer without a length is a stream."""
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            self._streaming = b"content-length" not in names
            if self._streaming:
                self.begin(message["status"], headers)
                return
            if self.keep_alive and b"connection" not in names:
                message = {**message, "headers": [*headers, (b"connection", b"keep-alive")]}
        elif self._streaming:
            if self.paused:
                await self.writable()
            data = b"" if self.scope["method"] == "HEAD" else message.get("body", b"")
            (self.piece if message.get("more_body") else self.last)(data)
            return
        await super().send(message)
