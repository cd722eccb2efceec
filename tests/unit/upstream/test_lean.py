"""The short way of sending a chat request."""

import asyncio

import aiohttp
import pytest
import yarl
from multidict import CIMultiDict

from fittengate.upstream.fitten.lean import LARGE_BYTES, LeanRequest, Prepared, head_of

HEADERS = CIMultiDict(
    {"Authorization": "Bearer x", "Content-Type": "application/json", "Accept": "a/b", "User-Agent": "u"}
)


class Echo:
    """Keeps every request whole and answers it."""

    async def __aenter__(self):
        self.asked = []
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = yarl.URL(
            f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/chat?ft_token=%20a", encoded=True
        )
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader, writer):
        while not reader.at_eof():
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
            length = int(fields.get("Content-Length", 0))
            self.asked.append((head.split(b"\r\n")[0], fields, await reader.readexactly(length)))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            if fields["Accept"] == "last":
                break
        writer.close()


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * (LARGE_BYTES + 1)])
async def test_both_ways_send_the_same_request(body):
    """Request line, headers and body are those that aiohttp itself sends, over one kept connection."""
    async with (
        Echo() as echo,
        aiohttp.ClientSession(request_class=LeanRequest, skip_auto_headers=("Accept-Encoding",)) as session,
    ):
        async with session.post(echo.url, data=Prepared(HEADERS, head_of(echo.url, HEADERS), body)) as response:
            assert (response.status, await response.read()) == (200, b"ok")
        last = CIMultiDict(HEADERS)
        last["Accept"] = "last"
        async with session.post(echo.url, data=body, headers=last) as response:
            assert await response.read() == b"ok"
    lean, own = echo.asked
    assert (lean[0], lean[2]) == (own[0], own[2])
    assert lean[1] == own[1] | {"Accept": "a/b"}


async def test_a_connection_that_was_closed_meanwhile_is_an_error_of_the_network():
    """So that the request is tried again instead of being a defect."""
    async with Echo() as echo, aiohttp.ClientSession(request_class=LeanRequest) as session:
        request = LeanRequest(
            "POST",
            echo.url,
            data=Prepared(HEADERS, head_of(echo.url, HEADERS), b""),
            proxy=None,
            session=session,
            loop=asyncio.get_running_loop(),
            response_class=aiohttp.ClientResponse,
            server_hostname=None,
            version=aiohttp.HttpVersion11,
            timer=None,
            ssl=True,
            traces=[],
        )
        connection = await session.connector.connect(request, [], aiohttp.ClientTimeout())
        connection.transport.abort()
        with pytest.raises(aiohttp.ClientConnectionError):
            await request.send(connection)
        connection.close()
