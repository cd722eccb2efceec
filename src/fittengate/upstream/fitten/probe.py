"""Looks how far one gets towards the service: name, connection, certificate, HTTP. For ``fittengate doctor``.

Sends no token and no account: one bare request, whose status does not matter.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import yarl
from msgspec import Struct

from fittengate.lib.clock import Clock
from fittengate.upstream.fitten.client import NETWORK_ERRORS, FittenClient, Route, broken

PROBE_SECONDS = 15.0
"""For a name and for a connection, where ``connect_timeout`` sets no shorter bound."""


class Reached(Struct, frozen=True):
    """How far it went."""

    where: str
    """What was called: the service, or the proxy in front of it."""
    addresses: tuple[str, ...] = ()
    """What the name stands for; empty where it could not be resolved."""
    connect_seconds: float | None = None
    """Time of a TCP connection; None where there was none."""
    answered: bool = False
    """An HTTP response came, over TLS if the URL says so."""
    clock_ahead: float | None = None
    """So many seconds our clock is ahead of the service's; None where its response had no date."""
    problem: str = ""
    """Why it went no further, for a person; empty where it went all the way."""


async def probe(route: Route, ssl_context: Callable[[], ssl.SSLContext | None], clock: Clock) -> Reached:
    """Return how far it goes towards ``route``. Raises nothing for the network's sake.

    ``ssl_context`` returns what is to be trusted; None means what the system trusts. The date of a response counts
    whole seconds (RFC 9110, 6.6.1), so ``clock_ahead`` is off by up to one.
    """
    url = yarl.URL(route.proxy or route.base_url)
    host, port = url.host or "", url.port or 443
    where = f"{host}:{port}" + (" (proxy)" if route.proxy else "")
    limit = min(route.connect_timeout or PROBE_SECONDS, PROBE_SECONDS)
    try:
        async with asyncio.timeout(limit):
            addresses = await _resolved(host, port)
    except TimeoutError:
        return Reached(where, problem=f"no answer about the name {host} in {limit:g} s; check the network")
    except OSError:
        return Reached(where, problem=f"the name {host} cannot be resolved; check the network and the name")
    try:
        async with asyncio.timeout(limit):
            seconds = await _connected(host, port, clock)
    except TimeoutError:
        return Reached(where, addresses, problem=f"no connection in {limit:g} s; a firewall or proxy may be needed")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return Reached(where, addresses, problem=f"no connection ({reason})")
    try:
        ahead = await _asked(route, ssl_context, clock)
    except NETWORK_ERRORS as error:
        return Reached(where, addresses, seconds, problem=broken(error).fault.message)
    return Reached(where, addresses, seconds, answered=True, clock_ahead=ahead)


async def _resolved(host: str, port: int) -> tuple[str, ...]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _connected(host: str, port: int, clock: Clock) -> float:
    begun = clock.monotonic()
    _, writer = await asyncio.open_connection(host, port)
    seconds = clock.monotonic() - begun
    writer.transport.abort()
    return seconds


async def _asked(route: Route, ssl_context: Callable[[], ssl.SSLContext | None], clock: Clock) -> float | None:
    client = FittenClient(route, clock, ssl_context)
    try:
        return clock_ahead(await client.look(), clock.now())
    finally:
        await client.close()


def clock_ahead(date: str | None, now: float) -> float | None:
    """Return how many seconds ``now`` is ahead of a ``Date`` header; None where there is none that can be read."""
    try:
        return None if date is None else now - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
