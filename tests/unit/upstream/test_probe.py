"""How far one gets towards the service."""

import asyncio
import socket

from fittengate.simulator import Plan, Simulator
from fittengate.upstream.fitten.client import Route
from fittengate.upstream.fitten.probe import clock_ahead, probe


def route(url, proxy=""):
    return Route(url, url, 2.0, proxy, "test")


class Fixed:
    def now(self):
        return 1_000_000_000.0

    def monotonic(self):
        return 5.0


async def look(url):
    return await probe(route(url), lambda: None, Fixed())


async def test_a_service_that_answers_is_reached_whatever_its_status():
    """Any HTTP response will do; its date tells how the clocks differ."""
    simulator = Simulator()
    await simulator.start()
    simulator.plan("unknown", Plan(status=404, headers={"Date": "Sun, 09 Sep 2001 01:41:40 GMT"}))
    try:
        found = await look(simulator.base_url)
    finally:
        await simulator.stop()
    assert (found.answered, found.problem) == (True, "")
    assert found.addresses == ("127.0.0.1",)
    assert found.connect_seconds is not None
    assert found.clock_ahead == 300.0


async def test_a_closed_port_is_told_from_a_name_that_is_none():
    """Each step has its own words."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = await look(f"http://127.0.0.1:{free.getsockname()[1]}")
    assert found.addresses == ("127.0.0.1",)
    assert found.connect_seconds is None
    assert "no connection (" in found.problem
    nameless = await look("http://name.invalid")
    assert nameless.addresses == ()
    assert "cannot be resolved" in nameless.problem


async def test_a_port_that_speaks_something_else_has_not_answered():
    """A connection alone is no service."""

    async def speak(reader, writer):
        writer.write(b"SSH-2.0-x\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        found = await look(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        await server.wait_closed()
    assert not found.answered
    assert found.connect_seconds is not None
    assert found.problem


def test_a_date_that_cannot_be_read_tells_nothing():
    """Neither a missing header nor nonsense is an error."""
    assert clock_ahead(None, 0.0) is None
    assert clock_ahead("yesterday", 0.0) is None
    assert clock_ahead("Thu, 01 Jan 1970 00:01:00 GMT", 0.0) == -60.0
