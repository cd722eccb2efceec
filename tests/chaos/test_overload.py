"""A gateway that is full turns away what can wait, in the form that each client reads, and ends nothing that it took."""

import asyncio
import contextlib
import json
import secrets
import signal

import pytest

from fakes.line import CHAT, ask, events, until, written
from fittengate.services.clock import SystemClock
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.store import Database
from fittengate.simulator import Plan

MESSAGES = "/v1/messages"
FILL = {"model": "fitten-completion", "prompt": "def f(", "suffix": "\n    return 1\n"}
STALLED = Plan(text="one two three four", cut="stall", cut_after=2)


@pytest.fixture
def background(tmp_path):
    """Make a key for background work; give it and the section that leads a gateway to its store."""
    store = KeyStore(Database(tmp_path / "fittengate.db"), SystemClock(), secrets.token_bytes, 90)
    try:
        key, _ = store.create(KeyWish(name="nightly", lane="background"))
    finally:
        store.close()
    return key, {"url": f"sqlite:///{tmp_path}/fittengate.db"}


@contextlib.asynccontextmanager
async def streams(gateway, simulator, count):
    """Hold so many streams in their middle; give their answers as tasks."""
    simulator.plan("chat", STALLED, contains="held", times=None)
    async with contextlib.AsyncExitStack() as stack:
        replies = []
        for _ in range(count):
            one = await stack.enter_async_context(gateway.line())
            await one.ask("held", stream=True)
            replies.append(asyncio.create_task(one.reply()))
        await simulator.wait_held(count)
        yield replies


async def graded(gateway, grade):
    overload = gateway.gateway.exchanges.overload
    await until(lambda: overload.grade == grade)
    return overload


def fill(gateway, path="/v1/completions"):
    return gateway.request("POST", path, json.dumps(FILL).encode())


@pytest.mark.parametrize(("count", "grade"), [(6, 0), (7, 1), (8, 2), (9, 3), (10, 4)])
async def test_load_is_shed_by_degrees(start, simulator, background, count, grade):
    """With ten requests as the bound: what is turned away, and what is served, at each grade."""
    key, store = background
    async with (
        start(overload={"open_requests": 10}, store=store) as gateway,
        streams(gateway, simulator, count) as held,
    ):
        await graded(gateway, grade)
        async with gateway.line() as one:
            await one.send(written("GET", "/livez"))
            reply = await one.reply()
            assert reply.status == 200
            assert reply.headers.get("connection") == ("close" if grade else None)
        nightly = await gateway.request("POST", CHAT, json.dumps(ask()).encode(), key=key)
        assert nightly.status == (503 if grade >= 2 else 200)
        for stream in (True, False):
            assert (await gateway.chat(stream=stream)).status == (503 if grade >= 3 else 200)
        assert (await fill(gateway)).status == (503 if grade == 4 else 200)
        # Nothing that was accepted has ended.
        assert not [reply for reply in held if reply.done()]
        simulator.release()
        for reply in held:
            assert events((await reply).body)[-1] == "[DONE]"
            assert reply.result().text == "one two three four"


async def test_each_client_is_told_in_its_own_form(start, simulator, monkeypatch):
    """503 in OpenAI's, 529 in Anthropic's, always with ``retry-after`` and the end of the connection; and then no more."""
    monkeypatch.setattr("fittengate.services.overload.CALM_SECONDS", 0.2)
    async with start(overload={"open_requests": 2}) as gateway:
        async with streams(gateway, simulator, 2):
            overload = await graded(gateway, 4)
            body = json.dumps(ask(max_tokens=5, stream=True)).encode()
            for path in (CHAT, MESSAGES, "/v1/responses", "/api/chat", "/v1/completions"):
                reply = await gateway.request("POST", path, body)
                assert reply.status == (529 if path == MESSAGES else 503)
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.headers["connection"] == "close"
                assert "overloaded" in reply.body.decode()
                if path == MESSAGES:
                    assert reply.json["error"]["type"] == "overloaded_error"
            assert sum(overload.shed.values()) == 5
            assert simulator.counters.requests["chat"] == 2
            simulator.release()
        await until(lambda: overload.grade == 0, seconds=12)
        assert (await gateway.chat()).status == 200
        assert gateway.terminal.getvalue().count("overload ") >= 2


async def test_a_text_completion_goes_by_what_it_asks_for(start, simulator):
    """One path serves chat and completion: at grade 3 only the first is turned away."""
    async with start(overload={"open_requests": 10}) as gateway, streams(gateway, simulator, 9):
        await graded(gateway, 3)
        assert (await fill(gateway)).status == 200
        question = json.dumps({"model": "fitten-code", "prompt": "Hello"}).encode()
        assert (await gateway.request("POST", "/v1/completions", question)).status == 503


async def test_a_large_body_is_turned_away_without_a_torn_answer(start, simulator):
    """The answer comes while the body is still on its way, and the client can read it."""
    async with start(overload={"open_requests": 1}) as gateway, streams(gateway, simulator, 1):
        await graded(gateway, 4)
        body = json.dumps(ask("x" * 4_000_000)).encode()
        async with gateway.line() as one:
            await one.send(written("POST", CHAT, body))
            assert (await one.reply()).status == 503


async def test_a_long_wait_in_the_queue_turns_away_background_work(start, simulator, background):
    """Who is a person still gets into the line."""
    key, store = background
    bounds = {"max_concurrency": 1, "queue_timeout": 20}
    async with start(overload={"queue_age": 0.5}, upstream=bounds, store=store) as gateway:
        async with streams(gateway, simulator, 1):
            waits = asyncio.create_task(gateway.chat("waits"))
            overload = await graded(gateway, 2)
            assert overload.cause == "queue"
            assert (await gateway.request("POST", CHAT, json.dumps(ask()).encode(), key=key)).status == 503
            person = asyncio.create_task(gateway.chat("a person"))
            await until(lambda: gateway.turns.waiting == 2)
            simulator.release()
            assert (await waits).status == (await person).status == 200
        assert gateway.turns.oldest(0) == 0


async def test_a_process_over_its_memory_takes_nothing_new_and_lives(serve):
    """The bound is below what any Python needs: every request is turned away, and the probes answer."""
    process = await serve(overload_memory_bytes=1_000_000)
    async with asyncio.timeout(5):
        while (await process.chat()).status != 503:
            await asyncio.sleep(0.05)
    assert (await process.request("GET", "/livez")).status == 200
    assert (await process.request("GET", "/readyz")).status == 200
    await process.says("overload.*cause=memory")


async def test_sigterm_under_load_finishes_what_was_accepted(serve, simulator):
    """Fifty streams at work and requests that keep coming: every stream ends well, every newcomer is told or refused."""
    simulator.plan("chat", STALLED, contains="held", times=50)
    process = await serve(upstream_max_concurrency=0)
    async with contextlib.AsyncExitStack() as stack:
        replies = []
        for _ in range(50):
            one = await stack.enter_async_context(process.line())
            await one.ask("held", stream=True)
            replies.append(asyncio.create_task(one.reply()))
        await simulator.wait_held(50, seconds=20)
        statuses = []

        async def newcomer():
            with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError):
                while True:
                    statuses.append((await process.chat("new")).status)

        newcomers = [asyncio.create_task(newcomer()) for _ in range(4)]
        await until(lambda: statuses.count(200) >= 4, seconds=20)
        process.signal(signal.SIGTERM)
        await until(lambda: statuses.count(503) >= 8, seconds=20)
        assert not [reply for reply in replies if reply.done()]
        simulator.release()
        for reply in replies:
            assert events((await reply).body)[-1] == "[DONE]"
        assert await process.ended(20) == 0
        await asyncio.gather(*newcomers)
        assert set(statuses) == {200, 503}
