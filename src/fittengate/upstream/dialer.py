"""Connections that reach allowed addresses only, whatever a host name resolves to and however it is spelt.

Law: what was judged is what is dialled. A host name is resolved once for each connection, every address of the answer
must be allowed, and only those are dialled: a name that changes its mind in between changes nothing. An address that
stands in the URL itself is never resolved; it is judged when its socket is made, as is every other one once more.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from typing import TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from fittengate.upstream.addresses import Address

LOOKUP_THREADS = 4
"""Look-ups have threads of their own: a name that nobody answers for must not hold up that of the service."""

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host name and port to addresses, as text. Raises OSError or UnicodeError where there are none."""


class NotAllowedError(Exception):
    """There is no address, or one that must not be dialled. No OSError: the HTTP client is to try nothing else."""


class Dialer:
    """Makes guarded connectors. ``close`` it at the end."""

    def __init__(self, resolver: Resolver | None, allow: Callable[[Address], bool]) -> None:
        """Make one without I/O; ``resolver`` None asks the system."""
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, "picture-names")
        self._resolver = resolver or self._look_up
        self._allow = allow

    def connector(self, ssl_context: ssl.SSLContext | None, limit: int) -> aiohttp.TCPConnector:
        """Return a connector for at most ``limit`` connections, none of which is used twice.

        Whoever uses it gets NotAllowedError for a host that must not be called. Needs the event loop.
        """
        return aiohttp.TCPConnector(
            resolver=_Guard(self._addresses),
            use_dns_cache=False,
            socket_factory=self._socket,
            force_close=True,
            limit=limit,
            ssl=ssl_context or True,
        )

    def close(self) -> None:
        """Take no more look-ups. May be called twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Return all addresses of a host, if all are allowed."""
        try:
            found = list(dict.fromkeys(await self._resolver(host, port)))
        except (OSError, UnicodeError) as error:
            raise NotAllowedError(f"{host}: {error}") from error
        if not found:
            raise NotAllowedError(f"{host} has no address")
        for address in found:
            self._check(host, address)
        return found

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        self._check("the host of the URL", str(address[0]))
        return socket.socket(family, kind, protocol)

    def _check(self, host: str, address: str) -> None:
        try:
            allowed = self._allow(ip_address(address))
        except ValueError:
            allowed = False
        if not allowed:
            raise NotAllowedError(f"{host} is {address}")

    async def _look_up(self, host: str, port: int) -> list[str]:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [str(info[4][0]) for info in found]


class _Guard(AbstractResolver):
    """Gives the HTTP client addresses in its own form, and leaves it no other way to find any."""

    def __init__(self, addresses: Callable[[str, int], Awaitable[list[str]]]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the client's interface; always both families
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises NotAllowedError."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._addresses(host, port)
        ]

    async def close(self) -> None:
        """Do nothing: there is nothing of its own."""
