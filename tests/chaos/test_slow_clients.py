"""Clients that are slow, silent or half gone: each is waited for as long as its bound says, and costs nobody else anything."""

import asyncio
import contextlib
import json
import os
import random
import resource
import socket
import time
from pathlib import Path

import pytest

from fakes.line import CHAT, ask, until, written
from fakes.running import scenario
from fittengate.simulator import Plan

LONG = "CHAOS_ROUNDS" in os.environ
SILENT = 2000
READERS = 500 if LONG else 60
WANDERERS = 10_000 if LONG else 1000

MEGABYTE = 1024 * 1024
MESSAGES = "/v1/messages"


@pytest.fixture
def files():
    """Let this process hold the sockets of many clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SILENT + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this user may open {hard} files, and the test needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors(process):
    """Return how many files and sockets a process has open."""
    return len(list(Path(f"/proc/{process.process.pid}/fd").iterdir()))


async def connected(port, count):
    """Return so many connections that say nothing."""
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        made.append(sock)
    return made


async def test_connections_that_send_nothing_are_closed_and_others_are_served(serve, simulator, files):
    """Two thousand of them: each is closed without a word after ``head_timeout``, nothing of them is left."""
    process = await serve(server_head_timeout=2.5, upstream_max_concurrency=0)
    assert (await process.chat("before")).status == 200
    before = descriptors(process)
    socks = await connected(process.port, SILENT)
    try:
        await until(lambda: descriptors(process) > before + SILENT * 0.9)
        replies = await asyncio.gather(*(process.chat(f"number {n}", stream=True) for n in range(20)))
        assert {reply.status for reply in replies} == {200}
        # The twenty leave a connection to the service each, kept for later; the ledger has its files.
        await until(lambda: descriptors(process) <= before + 40, seconds=10)
        loop = asyncio.get_running_loop()
        assert {await loop.sock_recv(sock, 1) for sock in socks} == {b""}
    finally:
        for sock in socks:
            sock.close()
    assert (await process.chat("after")).status == 200


async def test_a_head_that_trickles_is_given_up(start):
    """A byte every 20 ms is activity, but no head: the connection is closed without an answer."""
    async with start(server={"head_timeout": 0.4}) as gateway, gateway.line() as one:
        began = time.monotonic()
        ended = asyncio.create_task(one.ended())
        with contextlib.suppress(ConnectionError):
            for byte in written("GET", "/livez", headers="x-filler: " + "a" * 200 + "\r\n"):
                if ended.done():
                    break
                await one.send(bytes([byte]))
                await asyncio.sleep(0.02)
        assert await ended
        assert 0.3 < time.monotonic() - began < 2


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_comes_byte_by_byte_in_time_is_served(start, stream):
    """Head and body in single bytes, each its own packet: slow is not too slow."""
    body = json.dumps(ask("byte by byte", stream=stream)).encode()
    bounds = {"head_timeout": 5, "body_idle_timeout": 1, "body_timeout": 5}
    async with start(server=bounds) as gateway, gateway.line() as one:
        for byte in written("POST", CHAT, body):
            await one.send(bytes([byte]))
            await asyncio.sleep(0.001)
        reply = await one.reply()
        assert reply.status == 200
        assert reply.complete


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/messages/count_tokens", "/v1/responses", "/api/chat"])
async def test_a_body_that_stalls_is_a_408_in_the_clients_own_form(start, simulator, path):
    """The head promised more than comes: 408 and the end of the connection; the service is not asked."""
    body = json.dumps(ask("stalls", max_tokens=5)).encode()
    async with start(server={"body_idle_timeout": 0.3}) as gateway, gateway.line() as one:
        await one.send(written("POST", path, body)[:-5])
        reply = await one.reply()
        assert reply.status == 408
        assert reply.headers["connection"] == "close"
        assert "body_idle_timeout" in reply.body.decode()
        assert (reply.json.get("type") == "error") == path.startswith(MESSAGES)
        assert await one.ended()
        await until(lambda: gateway.running == 0)
        assert (await gateway.chat("the next one")).status == 200
    assert simulator.counters.requests["chat"] == 1


async def test_a_body_that_trickles_has_an_end(start):
    """Every piece comes in time, the whole does not."""
    body = json.dumps(ask("x" * 2000)).encode()
    async with start(server={"body_idle_timeout": 1, "body_timeout": 0.5}) as gateway, gateway.line() as one:
        data = written("POST", CHAT, body)
        await one.send(data[:-2000])
        reply = asyncio.create_task(one.reply())
        for byte in data[-2000:]:
            if reply.done():
                break
            await one.send(bytes([byte]))
            await asyncio.sleep(0.02)
        assert (await reply).status == 408
        assert "body_timeout" in reply.result().error["message"]


async def test_waiting_for_a_turn_is_not_the_clients_slowness(start, simulator):
    """A request that is complete waits longer than every bound for clients, and is answered."""
    simulator.plan("chat", Plan(no_reply="stall"))
    bounds = dict.fromkeys(("head_timeout", "body_idle_timeout", "body_timeout", "write_timeout"), 0.2)
    async with start(server={**bounds, "keep_alive_timeout": 0.2}) as gateway:
        reply = asyncio.create_task(gateway.chat("patience"))
        await simulator.wait_held()
        await asyncio.sleep(0.8)
        simulator.release()
        assert (await reply).status == 200


async def test_an_idle_connection_is_kept_for_a_while_and_then_closed(start):
    """Each request begins the time anew."""
    async with start(server={"keep_alive_timeout": 0.6}) as gateway, gateway.line() as one:
        for _ in range(4):
            await one.send(written("GET", "/livez"))
            assert (await one.reply()).status == 200
            await asyncio.sleep(0.3)
        began = time.monotonic()
        assert await one.ended()
        assert time.monotonic() - began < 1.5


async def test_slow_readers_cost_no_memory_and_are_dropped(serve, simulator, files):
    """Clients that ask and never read: the service is held back, others are served, then each is dropped with its call."""
    process = await serve(upstream_max_concurrency=0, server_write_timeout=3)
    assert (await process.chat("warm", stream=True)).status == 200
    await process.request("GET", "/v1/models")
    before, files_before = process.memory(), descriptors(process)
    simulator.set_scenario(scenario(fast={"pieces": ("x" * 30_000,) * 500, "interval_ms": 1}))
    simulator.reset()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(READERS):
            one = await stack.enter_async_context(process.line(receive_buffer=4096))
            await one.ask("slow", stream=True)
        await simulator.wait_requests("chat", READERS, seconds=30)
        # From here on the fixed reply is no longer given.
        simulator.plan("chat", Plan(text="quick"), contains="somebody else", times=None)
        most = 0
        async with asyncio.timeout(90):
            while simulator.counters.closed_by_client < READERS:
                assert (await process.chat("somebody else", stream=True)).text == "quick"
                most = max(most, process.memory())
                await asyncio.sleep(0.1)
        # A full buffer on each side of the gateway and what is on its way between them, of fifteen megabytes.
        assert most - before < READERS * MEGABYTE + 25 * MEGABYTE
        assert simulator.counters.open_streams == 0
        await until(lambda: descriptors(process) < files_before + 15)
    assert (await process.chat("somebody else")).status == 200
    await until(lambda: process.stderr.count("server.write_timeout") == READERS)
    assert process.stderr.count(" cancelled ") == READERS


async def test_an_answer_that_nobody_fetches_is_thrown_away(start, simulator):
    """The answer is complete and waits in the buffer: its connection is dropped, too."""
    simulator.plan("chat", Plan(deltas=("x" * 100_000,) * 100))
    async with start(server={"write_timeout": 0.4}) as gateway, gateway.line(receive_buffer=4096) as one:
        await one.ask("whole")
        await until(lambda: simulator.counters.requests["chat"] == 1)
        await until(lambda: gateway.running == 0)
        reply = await asyncio.wait_for(later(one.reply(), 1.5), 5)
        assert not reply.complete


async def later(what, seconds):
    await asyncio.sleep(seconds)
    return await what


async def test_a_reader_that_takes_its_time_gets_everything(start, simulator):
    """It reads some, and pauses, again and again, longer in all than the bound: nothing is lost."""
    piece = "x" * 20_000
    simulator.plan("chat", Plan(deltas=(piece,) * 300))
    async with start(server={"write_timeout": 0.8}) as gateway, gateway.line(receive_buffer=65536) as one:
        await one.ask("slowly", stream=True)
        _, headers = await one.head()
        total = 0
        began = time.monotonic()
        async for at, data in one.pieces(headers):
            total += data.count(b"x" * 20_000)
            if at - began < 2.5:
                await asyncio.sleep(0.1)
        assert one.complete
        assert total == 300
        assert time.monotonic() - began > 1.6


async def test_requests_sent_ahead_are_answered_in_order(gateway):
    """HTTP pipelining, with a client that closes at the end."""
    names = [f"first-{n}" for n in range(10)]
    async with gateway.line() as one:
        for name in names[:-1]:
            body = json.dumps(ask(f"repeat: {name}")).encode()
            await one.send(written("POST", CHAT, body))
        body = json.dumps(ask(f"repeat: {names[-1]}")).encode()
        await one.send(written("POST", CHAT, body, headers="connection: close\r\n"))
        assert [(await one.reply()).text for _ in names] == names
        assert await one.ended()


async def test_thousands_of_requests_sent_ahead_end_the_connection(gateway):
    """They would all be kept in memory; what was begun is answered or cut, never mixed up with an error."""
    async with gateway.line() as one:
        with contextlib.suppress(ConnectionError):
            await one.send(written("GET", "/livez") * 5000)
        answered = 0
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while (reply := await one.reply()).complete:
                assert reply.status in (200, 400)
                answered += 1
        assert answered <= 200
    assert (await gateway.request("GET", "/livez")).status == 200


async def test_a_client_that_leaves_requests_behind_ends_the_running_one(gateway, simulator):
    """The request at work is not the newest one of the connection; it is ended all the same once the client is gone."""
    simulator.plan("chat", Plan(deltas=("x" * 8000,) * 5000))
    async with gateway.line(receive_buffer=4096) as one:
        await one.ask("at work", stream=True)
        await simulator.wait_requests("chat")
        await one.ask("ahead", stream=True)
        await until(lambda: gateway.running == 1)
        one.leave()
        await until(lambda: gateway.running == 0)
    assert gateway.turns.running == 0


async def test_a_body_held_back_until_asked_for_comes(start):
    """``Expect: 100-continue``: the client sends its body only when it is told to."""
    body = json.dumps(ask("repeat: continued")).encode()
    data = written("POST", CHAT, body, headers="expect: 100-continue\r\n")
    async with start(server={"body_idle_timeout": 0.5}) as gateway, gateway.line() as one:
        await one.send(data[: -len(body)])
        assert await one.head() == (100, {})
        await one.send(body)
        assert (await one.reply()).text == "continued"


@pytest.mark.parametrize("part", [0.1, 0.9])
async def test_a_client_that_stops_sending_for_good_is_let_go(gateway, part):
    """Half a request and the end of the sending side: nothing of it is left."""
    data = written("POST", CHAT, json.dumps(ask("half")).encode())
    async with gateway.line() as one:
        await one.send(data[: int(len(data) * part)])
        one._writer.write_eof()
        assert await one.ended()
    await until(lambda: gateway.running == 0)


async def wander(port, number, chance):
    """Ask and go at a moment of chance: in the head, in the body, while waiting, in the answer, or after it."""
    data = written("POST", CHAT, json.dumps(ask(f"long 40 words {number}", stream=number % 2 == 0)).encode())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        how = chance.randrange(5)
        writer.write(data if how > 1 else data[: chance.randrange(1, len(data))])
        with contextlib.suppress(ConnectionError):
            if how == 2:
                await asyncio.sleep(chance.uniform(0, 0.02))
            elif how == 3:
                await reader.read(chance.randrange(1, 400))
            elif how == 4:
                await reader.readuntil(b"\r\n\r\n")
    finally:
        if chance.randrange(2):
            writer.transport.abort()
        else:
            writer.close()


async def test_random_disconnects_leave_nothing_behind(start, simulator):
    """After a thousand clients that left at any moment no request, turn, lease, task or socket is left."""
    chance = random.Random(6)
    limits = {"rpm": 1_000_000, "concurrency": 51}
    async with start(limits=limits, upstream={"max_concurrency": 4, "queue": 64}, log={"level": "error"}) as gateway:
        assert (await gateway.chat("before")).status == 200
        tasks, sockets = len(asyncio.all_tasks()), own_sockets()
        for first in range(0, WANDERERS, 50):
            await asyncio.gather(*(wander(gateway.port, first + n, chance) for n in range(50)))
        await until(lambda: gateway.running == 0)
        await until(lambda: gateway.turns.running == gateway.turns.waiting == 0)
        await simulator.wait_no_streams()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        # Four calls may have left a connection for the next one, with an end on either side.
        await until(lambda: own_sockets() <= sockets + 8)
        # One lease that was not given back would leave no room for the last of these.
        replies = await asyncio.gather(*(gateway.chat(f"after {n}") for n in range(51)))
        assert {reply.status for reply in replies} == {200}


def own_sockets():
    """Return how many sockets this process has open, on either side of the gateway."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found
