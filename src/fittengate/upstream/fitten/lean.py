"""A chat request that is written in one piece.

aiohttp takes a class for its requests. This one leaves out what a chat request never needs: merging headers, guessing
the type of a body, a task that writes it. Connections, TLS, pooling and the reading of replies stay aiohttp's. What is
no :class:`Prepared` request, and everything through a proxy, goes aiohttp's own way; a test holds that both ways send the
same headers and body.
"""

from typing import Any

import aiohttp
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

LARGE_BYTES = 64 * 1024
"""A larger body is not copied behind its head."""


class Prepared:
    """A POST: its headers, the same as bytes up to the number of its content-length, and its body."""

    __slots__ = ("body", "head", "headers")

    def __init__(self, headers: "CIMultiDict[str]", head: bytes, body: bytes) -> None:
        self.headers = headers
        self.head = head
        self.body = body


def head_of(url: URL, headers: "CIMultiDict[str]") -> bytes:
    """Return the request line and headers of a POST, up to the number of its content-length."""
    lines = [f"POST {url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\nContent-Length: ").encode("ascii")


class _Sent:
    """What a response asks of the writer of a request that is already sent."""

    output_size = 0


_SENT: Any = _Sent()


class LeanRequest(ClientRequest):
    """Sends a Prepared in one piece, anything else as usual."""

    _prepared: Prepared | None = None

    def __init__(self, method: str, url: URL, **options: Any) -> None:
        prepared = options["data"]
        if type(prepared) is not Prepared:
            super().__init__(method, url, **options)
            return
        if options["proxy"] is not None:
            super().__init__(method, url, **(options | {"data": prepared.body, "headers": prepared.headers}))
            return
        self._prepared = prepared
        self._session = options["session"]
        self.url = self.original_url = url
        self.method = method
        self.headers = prepared.headers
        self.loop = options["loop"]
        self.response_class = options["response_class"]
        self.server_hostname = options["server_hostname"]
        self.proxy = self.proxy_auth = self.proxy_headers = None
        self.chunked = self.compress = self.length = None
        self.version = options["version"]
        self._timer = options["timer"]
        self._ssl = options["ssl"]
        self._traces = options["traces"]

    async def send(self, conn: Connection) -> ClientResponse:
        """Write the request; return the response that is to come. Raises ClientConnectionResetError."""
        prepared = self._prepared
        if prepared is None:
            return await super().send(conn)
        protocol = conn.protocol
        transport = None if protocol is None else protocol.transport
        if protocol is None or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection was closed before the request")
        body = prepared.body
        if len(body) < LARGE_BYTES:
            transport.write(b"%b%d\r\n\r\n%b" % (prepared.head, len(body), body))
        else:
            transport.write(b"%b%d\r\n\r\n" % (prepared.head, len(body)))
            transport.write(body)
        protocol.start_timeout()
        return self.response_class(
            self.method,
            self.original_url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self.request_info,
            traces=self._traces,
            loop=self.loop,
            session=self._session,
            stream_writer=_SENT,
        )
