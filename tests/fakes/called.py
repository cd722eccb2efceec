"""A service on a socket, and what makes calls to it without a gateway."""

import asyncio

import aiohttp
import yarl

from fittengate.upstream.fitten.call import post
from fittengate.upstream.fitten.spares import Spares


class Called:
    """Whoever inherits it says in ``serve`` how a connection is answered; ``head`` goes before a body's length."""

    target_path = "/"

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.connector = aiohttp.TCPConnector(limit=0)
        self.session = aiohttp.ClientSession(connector=self.connector)
        self.spares = Spares(30, asyncio.get_running_loop())
        self.port = self.server.sockets[0].getsockname()[1]
        url = yarl.URL(f"http://127.0.0.1:{self.port}{self.target_path}", encoded=True)
        self.target = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop(), session=self.session)
        self.head = (
            f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\nContent-Length: ".encode()
        )
        return self

    async def __aexit__(self, *_):
        self.spares.close()
        await self.session.close()
        self.server.close()
        await self.server.wait_closed()

    def post(self, body=b"{}", spares=None):
        """Return what sends a request and waits for the head of its reply."""
        return post(self.connector, self.target, self.head, body, self.spares if spares is None else spares)
