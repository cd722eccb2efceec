"""P6: every buffer and queue has a limit; a slow reader stops the upstream, not the server."""

import asyncio

from fakes.ledger import until_rows
from fakes.line import CHAT, events, until, written
from fittengate.simulator import Plan

MEGABYTE = 1024 * 1024


async def still(value, rounds=15):
    """Wait until ``value()`` has not changed for a while; return it."""
    last, calm = value(), 0
    async with asyncio.timeout(10):
        while calm < rounds:
            await asyncio.sleep(0.02)
            now = value()
            calm = calm + 1 if now == last else 0
            last = now
    return last


async def test_p6_a_slow_reader_stops_the_service(gateway, simulator):
    """A client that does not read holds the service back to what sockets hold; when it reads, nothing is lost."""
    piece = "x" * 8000
    count = 3000
    simulator.plan("chat", Plan(deltas=(piece,) * count))
    async with gateway.line(receive_buffer=65536) as one:
        await one.ask(stream=True)
        record = (await simulator.wait_requests("chat"))[-1]
        await until(lambda: record.bytes_sent > 0)
        held_back = await still(lambda: record.bytes_sent)
        assert held_back < count * len(piece) / 2
        # Others are served meanwhile.
        assert (await gateway.chat("somebody else")).status == 200
        reply = await one.reply()
    assert reply.complete
    assert events(reply.body)[-1] == "[DONE]"
    assert len(reply.text) == count * len(piece)


async def test_p6_a_slow_reader_costs_no_memory(serve, simulator):
    """Four clients that do not read: the process stays as small as it was."""
    process = await serve(upstream_max_concurrency=0)
    assert (await process.chat("warm", stream=True)).status == 200
    # The database's library comes in with the first receipt.
    await until_rows(process.state_dir / "fittengate.db", len)
    before = process.memory()
    simulator.reset()
    simulator.plan("chat", Plan(deltas=("x" * 8000,) * 4000), times=4)
    lines = [process.line(receive_buffer=65536) for _ in range(4)]
    ones = [await one.__aenter__() for one in lines]
    for one in ones:
        await one.ask(stream=True)
    records = await simulator.wait_requests("chat", 4)
    await still(lambda: sum(record.bytes_sent for record in records))
    grown = process.memory() - before
    assert grown < 20 * MEGABYTE
    for one in ones:
        one.leave()
    await simulator.wait_closed_by_client(4)


async def test_p6_a_full_queue_turns_away_with_retry_after(start, simulator):
    """One call at a time and one waiter: the third is told to come back, and the others are served in order."""
    simulator.plan("chat", Plan(text="first", cut="stall", cut_after=0))
    async with start(upstream={"max_concurrency": 1, "queue": 1}) as gateway:
        first = asyncio.create_task(gateway.chat("first"))
        await simulator.wait_held()
        second = asyncio.create_task(gateway.chat("second"))
        await until(lambda: gateway.turns.waiting == 1)
        for stream in (True, False):
            third = await gateway.chat("third", stream=stream)
            assert third.status == 503
            assert third.error["code"] == "gateway_busy"
            assert int(third.headers["retry-after"]) >= 1
        simulator.release()
        assert (await first).status == (await second).status == 200
        assert simulator.counters.requests["chat"] == 2


async def test_p6_a_wait_in_the_queue_has_an_end(start, simulator):
    """``queue_timeout`` ends a wait with 503 and ``retry-after``."""
    simulator.plan("chat", Plan(no_reply="stall"))
    async with start(upstream={"max_concurrency": 1, "queue_timeout": 0.2}) as gateway:
        first = asyncio.create_task(gateway.chat("first"))
        await simulator.wait_held()
        second = await gateway.chat("second")
        assert second.status == 503
        assert "retry-after" in second.headers
        assert gateway.turns.waiting == 0
        simulator.release()
        await first


async def test_p6_calls_to_the_service_are_bounded(start, simulator):
    """Twenty requests at once and four turns, of which one is kept for completion: never more than three streams."""
    simulator.plan("chat", Plan(text="a b c d e f", interval_ms=5), times=None)
    async with start(upstream={"max_concurrency": 4}) as gateway:
        replies = await asyncio.gather(*(gateway.chat(f"number {n}") for n in range(20)))
        assert {reply.status for reply in replies} == {200}
        assert simulator.counters.open_streams_peak == 3


async def test_p6_connections_are_bounded(start, simulator):
    """One connection more than ``max_connections`` is told so, as JSON with ``retry-after``."""
    async with start(server={"max_connections": 2}) as gateway, gateway.line() as one, gateway.line() as two:
        for held in (one, two):
            await held.send(written("GET", "/livez"))
            assert (await held.reply()).status == 200
        async with gateway.line() as three:
            reply = await three.reply()
            assert reply.status == 503
            assert reply.error["code"] == "gateway_busy"
            assert "retry-after" in reply.headers
            assert await three.ended()
        await one.send(written("GET", "/livez"))
        assert (await one.reply()).status == 200


async def test_p6_an_endless_line_of_the_service_is_cut_off(start, simulator):
    """A line without an end is given up at its limit, not kept until memory is full."""
    simulator.plan("chat", Plan(raw=b'{"delta":"' + b"x" * (9 * MEGABYTE)), times=None)
    async with start(upstream={"retries": 0}) as gateway:
        assert (await gateway.chat("hello")).status == 502
        assert (await gateway.request("POST", CHAT, b"{}")).status == 400
