"""A service that is out of order is left alone, and found again."""

import asyncio
import json

import pytest

from fakes.line import ask, until
from fittengate.core.faults import Fault
from fittengate.simulator import Plan

MESSAGES = "/v1/messages"

BROKEN = {
    "connection_reset": Plan(no_reply="reset"),
    "status_503": Plan(status=503),
    "web_page": Plan(page="502"),
    "garbage": Plan(raw=b"\x00\x01 no reply at all"),
    "cut": Plan(text="one two three four", cut="reset", cut_after=2),
    "ended_early": Plan(text="one two three four", cut="close", cut_after=2, framing="close"),
    "empty": Plan(raw=b""),
}
FINE = {
    "refusal": Plan(status=403),
    "too_large": Plan(status=413, body="<html><h1>413</h1></html>"),
    "rate": Plan(status=429),
    "cut_by_us": Plan(text="one two three four"),
}


def settings(calls=20, pause=0.4, retries=0, **upstream):
    return {"retries": retries, "breaker_calls": calls, "breaker_pause": pause, **upstream}


async def broken(gateway, count=20):
    """Let so many calls fail, one after the other."""
    for number in range(count):
        reply = await gateway.chat(f"number {number}")
        assert reply.status != 200


@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_service_is_left_alone(start, simulator, how):
    """After twenty failures the answer is a 503 at once, and no call is made."""
    simulator.plan("chat", BROKEN[how], times=None)
    async with start(upstream=settings(pause=30)) as gateway:
        await broken(gateway)
        assert simulator.counters.requests["chat"] == 20
        for stream in (True, False):
            reply = await gateway.chat("now", stream=stream)
            assert reply.status == 503
            assert reply.error["code"] == "upstream_unavailable"
            assert 1 <= int(reply.headers["retry-after"]) <= 30
        messages = await gateway.request("POST", MESSAGES, json.dumps(ask(max_tokens=5)).encode())
        assert messages.status == 503
        assert messages.json["type"] == "error"
        assert simulator.counters.requests["chat"] == 20
        assert gateway.turns.running == 0


@pytest.mark.parametrize("how", FINE)
async def test_what_a_service_in_order_does_never_opens_it(start, simulator, how):
    """It refuses, is asked too often, or we stop reading: each is an answer."""
    simulator.plan("chat", FINE[how], times=None)
    async with start(upstream=settings(calls=5, pause=30)) as gateway:
        for _ in range(12):
            reply = await gateway.chat("hello", **({"max_tokens": 1} if how == "cut_by_us" else {}))
            assert reply.status != 503
        assert simulator.counters.requests["chat"] == 12
        assert gateway.gateway.service.chat_breaker.state == "closed"


async def test_an_error_object_never_opens_it(start, simulator):
    """The service itself says that it will not."""
    simulator.plan("chat", Plan(json={"error": {"message": "no", "code": 1}}, status=200), times=None)
    async with start(upstream=settings(calls=5)) as gateway:
        await broken(gateway, 12)
        assert gateway.gateway.service.chat_breaker.state == "closed"


async def test_clients_that_leave_never_open_it(start, simulator):
    """Thirty of them, before the first word."""
    simulator.plan("chat", Plan(no_reply="stall"), times=30)
    async with start(upstream=settings(calls=5)) as gateway:
        for number in range(30):
            async with gateway.line() as one:
                await one.ask()
                await simulator.wait_requests("chat", number + 1)
                one.leave()
                await until(lambda: gateway.running == 0)
        assert gateway.gateway.service.chat_breaker.state == "closed"
        assert (await gateway.chat()).status == 200


async def test_a_single_stall_never_opens_it_and_many_do(start, simulator):
    """One silent reply among good ones is no outage; nothing but silent ones is."""
    stall = Plan(no_reply="stall")
    async with start(upstream=settings(calls=5, pause=30, first_token_timeout=0.1)) as gateway:
        breaker = gateway.gateway.service.chat_breaker
        for _ in range(5):
            simulator.plan("chat", stall)
            assert (await gateway.chat("stalls")).status == 504
            assert (await gateway.chat("works")).status == 200
        assert breaker.state == "closed"
        simulator.plan("chat", stall, times=None)
        statuses = {reply.status for reply in await asyncio.gather(*(gateway.chat() for _ in range(12)))}
        assert statuses == {504}
        assert breaker.state == "open"


async def test_one_probe_at_a_time_and_none_too_early(start, simulator):
    """Fifty clients knock all the time while the service is out: it hears single calls, further and further apart."""
    simulator.plan("chat", Plan(status=503), times=None)
    async with start(upstream=settings(pause=0.2)) as gateway:
        await broken(gateway)
        before = simulator.counters.requests["chat"]
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.7
        while loop.time() < end:
            replies = await asyncio.gather(*(gateway.chat() for _ in range(50)))
            assert {reply.status for reply in replies} <= {502, 503}
            assert sum(reply.status == 502 for reply in replies) <= 1
            await asyncio.sleep(0.01)
        # After 0.2, 0.6 and 1.4 seconds.
        assert 2 <= simulator.counters.requests["chat"] - before <= 3


async def test_a_service_that_comes_and_goes(serve, simulator):
    """Out and back three times, as a process with clients that never stop: each time it is left alone, tried, and used."""
    process = await serve(upstream_retries=0, upstream_breaker_pause=0.3, upstream_max_concurrency=0)
    await process.ready()
    for _ in range(3):
        simulator.refuse()
        for connection in list(simulator.connections):
            connection.abort()
        async with asyncio.timeout(10):
            while (await process.chat()).error["code"] != "upstream_unavailable":
                pass
        assert (await process.chat(stream=True)).status == 503
        await simulator.start(port=simulator.port)
        async with asyncio.timeout(10):
            while (await process.chat()).status != 200:
                await asyncio.sleep(0.02)
        replies = await asyncio.gather(*(process.chat(stream=True) for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
    await until(lambda: process.stderr.count("chat is back") == 3)
    assert process.stderr.count("chat is left alone") >= 3


async def test_the_first_word_of_a_probe_lets_the_others_in(start, simulator):
    """The probe's reply goes on for long: nobody waits for its end, nor for its client."""
    simulator.plan("chat", Plan(status=503), times=20)
    async with start(upstream=settings()) as gateway:
        await broken(gateway)
        simulator.plan("chat", Plan(text="one two three four", cut="stall", cut_after=2))
        await asyncio.sleep(0.45)
        async with gateway.line() as one:
            await one.ask("probe", stream=True)
            await simulator.wait_held()
            assert (await gateway.chat()).status == 200
            one.leave()
            await until(lambda: gateway.running == 0)
        assert (await gateway.chat()).status == 200


async def test_chat_and_code_completion_have_a_breaker_each(start, simulator):
    """Chat is out, completion works, and the other way round."""
    fill = {"model": "fitten-completion", "prompt": "def f(", "suffix": "\n    return 1\n"}
    async with start(upstream=settings(pause=30)) as gateway:
        simulator.plan("chat", Plan(status=503), times=None)
        await broken(gateway)
        assert (await gateway.chat()).status == 503
        reply = await gateway.request("POST", "/v1/completions", json.dumps(fill).encode())
        assert reply.status == 200
    simulator.reset()
    async with start(upstream=settings(pause=30)) as gateway:
        simulator.plan("*", Plan(status=503), contains="def g", times=None)
        simulator.plan("completion", Plan(status=503), times=None)
        statuses = []
        for number in range(22):
            body = {**fill, "prompt": f"def f{number}("}
            statuses.append((await gateway.request("POST", "/v1/completions", json.dumps(body).encode())).status)
        assert statuses == [502] * 20 + [503] * 2
        assert (await gateway.chat()).status == 200


async def test_tokens_and_models_are_renewed_while_it_is_open(start, simulator):
    """What happens in the background depends neither on traffic nor on the breaker."""
    simulator.plan("chat", Plan(status=503), times=None)
    async with start(upstream=settings(pause=30)) as gateway:
        await broken(gateway)
        service = gateway.gateway.service
        assert service.chat_breaker.state == "open"
        refreshes, models = simulator.counters.refreshes, simulator.counters.requests["models"]
        rejected = service.keeper.tokens
        assert (await service.keeper.replace(rejected)).access != rejected.access
        assert await service.refresh_models() is None
        assert simulator.counters.refreshes == refreshes + 1
        assert simulator.counters.requests["models"] == models + 1
        with pytest.raises(Fault):
            service.chat_breaker.check()
