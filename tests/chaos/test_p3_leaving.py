"""P3: when a client goes away, the connection to the service is closed within 100 ms."""

import asyncio
import json

import pytest

from fakes.line import CHAT, ask, until, written
from fittengate.simulator import Plan

SECONDS = 0.3
"""What a busy machine may add is allowed for; the promise is 0.1."""


async def leave(one, how):
    return one.leave() if how == "reset" else await one.close()


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_p3_leaving_in_mid_stream_closes_the_service(gateway, simulator, how, record_property):
    """The client has read some of the stream and goes."""
    simulator.plan("chat", Plan(text="some words and then a stall", cut="stall", cut_after=4))
    async with gateway.line() as one:
        await one.ask(stream=True)
        _, headers = await one.head()
        async for _, _data in one.pieces(headers):
            break
        await simulator.wait_held()
        left = await leave(one, how)
        took = await simulator.wait_closed_by_client() - left
    record_property("seconds", took)
    assert took < SECONDS
    await until(lambda: gateway.running == 0)


async def test_p3_leaving_while_words_flow_closes_the_service(gateway, simulator):
    """The service is busy sending, and the client goes."""
    simulator.plan("chat", Plan(deltas=("word ",) * 5000, interval_ms=2))
    async with gateway.line() as one:
        await one.ask(stream=True)
        _, headers = await one.head()
        async for _, data in one.pieces(headers):
            if b"word" in data:
                break
        left = one.leave()
        took = await simulator.wait_closed_by_client() - left
    assert took < SECONDS


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stall", [{"no_reply": "stall"}, {"text": "word", "cut": "stall", "cut_after": 0}])
async def test_p3_leaving_before_the_first_word_closes_the_service(gateway, simulator, stream, stall):
    """Nobody has said anything yet: no status line, or a head without a body."""
    simulator.plan("chat", Plan(**stall))
    async with gateway.line() as one:
        await one.ask(stream=stream)
        await simulator.wait_held()
        left = one.leave()
        took = await simulator.wait_closed_by_client() - left
    assert took < SECONDS
    await until(lambda: gateway.running == 0)
    assert (await gateway.chat("the next one")).status == 200


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_p3_leaving_an_unstreamed_request_closes_the_service(gateway, simulator, how):
    """The whole answer is being put together, and nobody waits for it any more."""
    simulator.plan("chat", Plan(text="some words and then a stall", cut="stall", cut_after=4))
    async with gateway.line() as one:
        await one.ask()
        await simulator.wait_held()
        left = await leave(one, how)
        took = await simulator.wait_closed_by_client() - left
    assert took < SECONDS
    await until(lambda: gateway.running == 0)


async def test_p3_leaving_during_heartbeats_closes_the_service(start, simulator):
    """The headers are out and only comments go over the line."""
    simulator.plan("chat", Plan(no_reply="stall"))
    async with start(server={"hold_seconds": 0.05, "heartbeat_seconds": 0.05}) as gateway, gateway.line() as one:
        await one.ask(stream=True)
        _, headers = await one.head()
        async for _, data in one.pieces(headers):
            assert data.startswith(b":")
            break
        left = one.leave()
        assert await simulator.wait_closed_by_client() - left < SECONDS


async def test_p3_leaving_the_queue_takes_no_turn(start, simulator):
    """A client that goes while it waits for its turn never reaches the service, and the next in line does."""
    simulator.plan("chat", Plan(text="first", cut="stall", cut_after=0), contains="first")
    async with start(upstream={"max_concurrency": 1}) as gateway:
        first = asyncio.create_task(gateway.chat("first"))
        await simulator.wait_held()
        async with gateway.line() as one:
            await one.ask("gone")
            await until(lambda: gateway.turns.waiting == 1)
            third = asyncio.create_task(gateway.chat("third"))
            await until(lambda: gateway.turns.waiting == 2)
            one.leave()
            await until(lambda: gateway.turns.waiting == 1)
        simulator.release()
        assert (await first).status == (await third).status == 200
        assert not [record for record in simulator.requests("chat") if b"gone" in record.body]
        assert gateway.turns.running == 0


async def test_p3_leaving_during_a_pause_before_another_try_stops_the_tries(gateway, simulator):
    """A client that goes between two tries costs the service no further request."""
    simulator.plan("chat", Plan(no_reply="reset"), times=None)
    async with gateway.line() as one:
        await one.ask()
        await simulator.wait_requests("chat", 1)
        one.leave()
        await until(lambda: gateway.running == 0)
    assert simulator.counters.requests["chat"] == 1


async def test_p3_leaving_while_the_body_is_sent_touches_no_service(gateway, simulator):
    """Half a request is no request."""
    body = json.dumps(ask("Hello " * 1000)).encode()
    async with gateway.line() as one:
        await one.send(written("POST", CHAT, body)[:-100])
        await until(lambda: gateway.running == 1)
        one.leave()
        await until(lambda: gateway.running == 0)
    assert simulator.counters.requests["chat"] == 0


async def test_p3_fifty_clients_that_leave_at_once_are_all_noticed(gateway, simulator):
    """A crowd that goes together is let go together."""
    simulator.plan("chat", Plan(text="a b c d", cut="stall", cut_after=2), times=50)
    lines = [gateway.line() for _ in range(50)]
    async with _all(lines) as ones:
        await asyncio.gather(*(one.ask(stream=True) for one in ones))
        await simulator.wait_held(50)
        left = [one.leave() for one in ones][-1]
        took = await simulator.wait_closed_by_client(50) - left
    assert took < 2 * SECONDS
    await until(lambda: gateway.running == 0)
    assert gateway.turns.running == 0


class _all:  # noqa: N801 - reads as what it does
    """Enter many at once."""

    def __init__(self, managers):
        self._managers = managers

    async def __aenter__(self):
        return await asyncio.gather(*(manager.__aenter__() for manager in self._managers))

    async def __aexit__(self, *error):
        await asyncio.gather(*(manager.__aexit__(*error) for manager in self._managers))
