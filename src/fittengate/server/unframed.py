"""Answers to clients of HTTP/1.0, to whom no stream may be sent in chunks (RFC 9112, section 6.1).

They would take the sizes of the chunks for content. A stream to them is what it holds and nothing else, and ends with its
connection; a whole answer has its length as ever. Proxies speak HTTP/1.0 where nobody told them otherwise.
"""

from collections.abc import Callable
from typing import Any

from fittengate.server.outlet import Outlet
from fittengate.server.request import Headers


class UnframedOutlet(Outlet):
    """The outlet of a request in HTTP/1.0. Law: its connection is closed after the answer."""

    _plain = False
    """A stream is sent by messages."""

    def begin(self, status: int, headers: Headers) -> None:
        """Hold the head of a stream ready; it goes out with the first piece. Raises ValueError for a torn header."""
        if not self.disconnected:
            self._head = self._made(status, headers, b"")
            self.chunked_encoding = False

    def piece(self, data: bytes) -> None:
        """Send the next piece of a stream; an empty one sends the head alone."""
        if not self.disconnected and (self._head or data):
            self.transport.write(self._head + data)
            self._head = b""

    def last(self, data: bytes, before: Callable[[], object] | None = None) -> None:
        """Send the last piece of a stream, perhaps an empty one; ``before`` as in :meth:`whole`."""
        if self.disconnected:
            return
        if before is not None:
            before()
        if self._head or data:
            self.transport.write(self._head + data)
        self._head = b""
        self._complete()

    async def send(self, message: Any) -> None:
        """Send an answer that comes as messages, as where something wraps them."""
        if message["type"] == "http.response.start" and all(
            name != b"content-length" for name, _ in message["headers"]
        ):
            self._plain = True
            self.begin(message["status"], list(message["headers"]))
        elif self._plain:
            if self.paused:
                await self.writable()
            (self.piece if message.get("more_body") else self.last)(message.get("body", b""))
        else:
            await super().send(message)
