"""P7: SIGTERM: not ready first, running replies finish, new requests get 503 and ``retry-after``."""

import asyncio
import contextlib
import os
import re
import signal
import time
from contextlib import asynccontextmanager

import pytest

from fakes.ledger import rows
from fakes.line import events, line, request, until, written
from fakes.running import command, environment
from fittengate.simulator import Plan

STALLED = Plan(text="one two three four", cut="stall", cut_after=2)


@asynccontextmanager
async def under_way(process, simulator):
    """Hold a stream that is in its middle: its connection, and its answer as a task."""
    simulator.plan("chat", STALLED, contains="running")
    async with process.line() as one:
        await one.ask("running", stream=True)
        await simulator.wait_held()
        yield one, asyncio.create_task(one.reply())


async def test_p7_draining_finishes_what_runs_and_refuses_what_comes(serve, simulator):
    """The stream ends with ``[DONE]``; new requests on old and new connections get 503; the exit code is 0."""
    process = await serve()
    await process.ready()
    async with process.line() as kept:
        await kept.send(written("GET", "/livez"))
        assert (await kept.reply()).status == 200
        async with under_way(process, simulator) as (_, reply):
            process.signal(signal.SIGTERM)
            await process.says("running")
            ready = await process.request("GET", "/readyz")
            assert ready.status == 503
            assert "retry-after" in ready.headers
            await kept.ask("on a kept connection")
            for refused in (await kept.reply(), await process.chat("on a new connection", stream=True)):
                assert refused.status == 503
                assert refused.error["code"] == "gateway_draining"
                assert int(refused.headers["retry-after"]) >= 1
            assert not reply.done()
            simulator.release()
            assert events((await reply).body)[-1] == "[DONE]"
            assert reply.result().text == "one two three four"
            assert await process.ended() == 0


async def test_p7_a_whole_answer_under_way_is_finished(serve, simulator):
    """The same for an unstreamed request."""
    process = await serve()
    simulator.plan("chat", STALLED)
    reply = asyncio.create_task(process.chat("whole"))
    await simulator.wait_held()
    process.signal(signal.SIGTERM)
    await process.says("running")
    simulator.release()
    assert (await reply).text == "one two three four"
    assert await process.ended() == 0


async def test_p7_an_idle_gateway_ends_at_once(serve):
    """Nothing runs, so there is nothing to wait for, an idle connection included."""
    process = await serve()
    async with process.line() as idle:
        await idle.send(written("GET", "/livez"))
        assert (await idle.reply()).status == 200
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_p7_a_second_signal_ends_at_once(serve, simulator, second):
    """Whoever asks twice does not want to wait; the cut stream claims no good end."""
    process = await serve()
    async with under_way(process, simulator) as (_, reply):
        process.signal(signal.SIGTERM)
        await process.says("running")
        began = time.monotonic()
        process.signal(second)
        assert await process.ended() == 0
        assert time.monotonic() - began < 2
        cut = await reply
        assert "[DONE]" not in cut.body.decode()
        assert "gateway_draining" in events(cut.body)[-1]


async def test_p7_what_a_second_signal_cuts_has_a_receipt(serve, simulator):
    """A whole answer and a stream that are ended at once are told why, and stand in the ledger as not finished."""
    process = await serve()
    async with under_way(process, simulator) as (_, reply):
        simulator.plan("chat", Plan(no_reply="stall"))
        whole = asyncio.create_task(process.chat("whole"))
        await simulator.wait_held(2)
        process.signal(signal.SIGTERM)
        await process.says("running")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert (await whole).status == 503
        await reply
    found = await asyncio.to_thread(rows, process.state_dir / "fittengate.db", "outcome")
    assert sorted(found) == [("failed",), ("truncated",)]


async def test_p7_a_terminal_that_is_closed_drains_too(serve, simulator):
    """SIGHUP, which a terminal sends when its window is closed, lets what runs finish like SIGTERM."""
    process = await serve()
    async with under_way(process, simulator) as (_, reply):
        process.signal(signal.SIGHUP)
        await process.says("running")
        simulator.release()
        assert events((await reply).body)[-1] == "[DONE]"
    assert await process.ended() == 0


async def test_p7_draining_has_an_end(serve, simulator):
    """After ``drain_seconds`` a reply that still runs is told so: an error frame, no ``[DONE]``, exit code 0."""
    process = await serve(server_drain_seconds=0.3)
    async with under_way(process, simulator) as (_, reply):
        simulator.plan("chat", Plan(no_reply="stall"))
        whole = asyncio.create_task(process.chat("whole"))
        await simulator.wait_held(2)
        process.signal(signal.SIGTERM)
        last = events((await reply).body)[-1]
        assert "gateway_draining" in last
        assert (await whole).status == 503
        assert await process.ended() == 0


async def test_p7_ctrl_c_drains_too(serve):
    """SIGINT is SIGTERM from a keyboard."""
    process = await serve()
    assert (await process.request("GET", "/livez")).status == 200
    process.signal(signal.SIGINT)
    assert await process.ended() == 0
    assert "Traceback" not in process.stderr


@pytest.mark.skipif(os.name != "posix", reason="terminals are POSIX")
async def test_p7_a_closed_window_costs_neither_the_reply_nor_the_exit_code(simulator, tmp_path):
    """The terminal is gone, so nothing can be said any more: the stream is finished all the same, and the end is clean."""
    import pty

    ours, theirs = pty.openpty()
    (tmp_path / "state").mkdir()
    process = await asyncio.create_subprocess_exec(
        *command(),
        "serve",
        env=environment(simulator, tmp_path / "state"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        said = b""
        while not (found := re.search(rb"listening on http://127.0.0.1:(\d+)[^$]*all paths", said)):
            said += await asyncio.to_thread(os.read, ours, 65536)
        simulator.plan("chat", STALLED)
        async with line(int(found[1])) as one:
            await one.ask("running", stream=True)
            await simulator.wait_held()
            os.close(ours)
            process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(10):
                while (await request(int(found[1]), "GET", "/readyz")).json.get("reason") != "shutting down":
                    await asyncio.sleep(0.01)
            simulator.release()
            assert events((await one.reply()).body)[-1] == "[DONE]"
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_p7_a_client_that_leaves_while_draining_ends_the_drain(serve, simulator):
    """Nobody waits for the last reply any more: the process ends without waiting for it either."""
    process = await serve()
    async with under_way(process, simulator) as (one, reply):
        process.signal(signal.SIGTERM)
        await process.says("running")
        one.leave()
        assert await process.ended() == 0
        await until(reply.done)
