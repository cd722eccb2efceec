"""Streams for clients of HTTP/1.0: proxies with old settings, load tools. They know no chunks (RFC 9112, section 6.1).

Law: what goes out is what an :class:`Outlet` sends, without its framing; the end of the stream is the connection's.
"""

from collections.abc import Callable
from typing import Any

from fittengate.server.outlet import Outlet
from fittengate.server.request import Headers


class OldOutlet(Outlet):
    """The cycle of a request by HTTP/1.0, whose connection is never kept."""

    _streaming = False

    def begin(self, status: int, headers: Headers) -> None:
        """Hold the head of a stream ready. Raises ValueError for a torn header."""
        if not self.disconnected:
            self._head = self._made(status, headers, b"")
            self.chunked_encoding = False

    def piece(self, data: bytes) -> None:
        """Send the next piece of a stream, behind the head if that is not out."""
        if not self.disconnected and (self._head or data):
            self.transport.write(self._head + data)
            self._head = b""

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
            self._streaming = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if self._streaming:
                self.begin(message["status"], list(message.get("headers", ())))
                return
        elif self._streaming:
            if self.paused:
                await self.writable()
            data = b"" if self.scope["method"] == "HEAD" else message.get("body", b"")
            (self.piece if message.get("more_body") else self.last)(data)
            return
        await super().send(message)
