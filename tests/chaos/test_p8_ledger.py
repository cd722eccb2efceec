"""P8: a reply whose end the client saw is in the ledger, once, also after kill -9 at any moment."""

import asyncio
import contextlib
import json
import os
import random
import sqlite3
from collections import Counter

import pytest

from fakes.ledger import rows, until_rows
from fakes.line import CHAT, KEY, written
from fakes.postgres import query
from fakes.running import running
from fittengate.simulator import Plan

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "5"))
SERVER_ROUNDS = ROUNDS if "CHAOS_ROUNDS" in os.environ else 1
CLIENTS = 8


async def client(process, number, seen):
    """Ask again and again on one connection, streamed and whole by turns; note whose end was seen, until it breaks."""
    with contextlib.suppress(OSError, AssertionError, EOFError, asyncio.IncompleteReadError):
        async with process.line() as one:
            for count in range(100_000):
                name = f"{number}-{count}"
                body = {"model": "fitten-code", "stream": count % 2 == 0}
                body["messages"] = [{"role": "user", "content": "repeat: x"}]
                # Every tenth is refused: its end counts too.
                if count % 10 == 9:
                    body["messages"] = []
                data = json.dumps(body).encode()
                await one.send(written("POST", CHAT, data, headers=f"x-request-id: {name}\r\n"))
                reply = await one.reply()
                if not reply.complete:
                    return
                seen.append(name)


async def kill_and_serve(serve, rounds, **settings):
    """Kill a gateway at random moments under load, again and again; return the last one and whose end was seen."""
    chance = random.Random(8)
    seen = []
    for turn in range(rounds):
        process = await serve(upstream_max_concurrency=0, **settings)
        clients = [asyncio.create_task(client(process, f"{turn}-{n}", seen)) for n in range(CLIENTS)]
        # The first has answered somebody; one round alone would else prove nothing on a busy machine.
        while not turn and len(seen) <= 10 * rounds and rounds < 5:
            await asyncio.sleep(0.01)
        # Some live long enough to be killed while they read what those before them have left.
        await asyncio.sleep(chance.uniform(1.3, 1.6) if turn % 4 == 3 else chance.uniform(0.05, 0.9))
        await process.kill()
        await asyncio.gather(*clients)
    assert len(seen) > 10 * rounds
    return await serve(**settings), seen


async def nothing_is_left(last, found):
    """Every receipt is there once; after a clean end nothing is left on the disk."""
    assert max(Counter(found).values()) == 1
    last.signal(15)
    assert await last.ended() == 0
    assert list((last.state_dir / "journal").iterdir()) == []


async def test_p8_no_receipt_is_lost_or_doubled_by_kill_9(serve, simulator):
    """Killed at random moments under load, started again: every reply whose end was seen is in the ledger, none twice."""
    last, seen = await kill_and_serve(serve, ROUNDS)
    found = await until_rows(last.state_dir / "fittengate.db", lambda found: set(seen) <= set(found))
    await nothing_is_left(last, found)


async def test_p8_nor_on_a_server(serve, simulator, postgres):
    """The same with the ledger in PostgreSQL."""
    last, seen = await kill_and_serve(serve, SERVER_ROUNDS, store_url=postgres)

    def names():
        return [row[0] for row in query(postgres, "SELECT request_id FROM receipts")]

    async with asyncio.timeout(10):
        while not set(seen) <= set(await asyncio.to_thread(names)):
            await asyncio.sleep(0.05)
    await nothing_is_left(last, names())


@pytest.mark.parametrize("origins", [None, "https://example.org"])
async def test_p8_the_receipt_is_in_the_journal_before_the_last_byte(serve, simulator, origins):
    """Killed in the moment the client sees the end, whole or streamed or refused: the receipt is there, with its tokens.

    With web origins answers take another way to the connection.
    """
    simulator.plan("chat", Plan(text="one two", input_tokens=11, output_tokens=7), times=None)
    first = await serve(server_cors_origins=origins)
    for stream in (True, False):
        assert (await first.chat("x", stream=stream)).complete
    refused = await first.request("POST", CHAT, b"{}")
    assert refused.status == 400
    await first.kill()
    second = await serve()
    await until_rows(first.state_dir / "fittengate.db", lambda found: len(found) >= 3)
    columns = "key, dialect, model, outcome, input_tokens, output_tokens, estimated"
    found = rows(first.state_dir / "fittengate.db", columns)
    assert found[:2] == [("key-1", "openai_chat", "fitten-code", "complete", 11, 7, 0)] * 2
    assert found[2] == ("key-1", "openai_chat", "", "failed", 0, 0, 0)
    assert await second.says(r"read (\d+) receipts of a process that was killed") == "3"


async def test_p8_every_kind_of_end_has_its_receipt(simulator, tmp_path):
    """Cancelled, stalled, cut off and failed requests have one receipt each; one without a key, and a count, have none.

    Of a reply that was broken off the books have the prompt and the words that had come, as an estimate.
    """
    path = tmp_path / "ledger.db"
    store = {"url": f"sqlite:///{path}"}
    late = {"idle_timeout": 0.2, "first_token_timeout": 0.2, "retries": 0}
    async with running(simulator, journals=tmp_path / "journal", store=store, upstream=late) as gateway:
        simulator.plan("chat", Plan(text="a b c d", cut="stall", cut_after=2))
        assert not (await gateway.chat("stalled", stream=True)).text.endswith("d")
        simulator.plan("chat", Plan(text="a b c d", cut="close", cut_after=2))
        await gateway.chat("cut", stream=True)
        simulator.plan("chat", Plan(text="a b c d", cut="close", cut_after=3))
        await gateway.chat("cut", stream=True, tools=[{"type": "function", "function": {"name": "f"}}])
        simulator.plan("chat", Plan(text="a b c d", cut="close", cut_after=2), times=None)
        await gateway.chat("cut", n=2)
        simulator.reset()
        simulator.plan("chat", Plan(status=500), times=None)
        assert (await gateway.chat("failed")).status == 502
        simulator.reset()
        simulator.plan("chat", Plan(text="a b c d", cut="stall", cut_after=1))
        async with gateway.line() as one:
            await one.ask(stream=True)
            await simulator.wait_held()
            one.leave()
            await simulator.wait_closed_by_client(1)
        assert (await gateway.request("POST", CHAT, b"{}", key="wrong")).status == 401
        count = b'{"model":"fitten-code","messages":[{"role":"user","content":"x"}]}'
        assert (await gateway.request("POST", "/v1/messages/count_tokens", count, key=KEY)).status == 200
        await until_rows(path, lambda found: len(found) >= 6)
    found = rows(path, "outcome, output_tokens, estimated, input_tokens > 0")
    assert found[:3] == [("stalled", 2, 1, 1), ("truncated", 2, 1, 1), ("truncated", 3, 1, 1)]
    assert found[3][0] == "failed"
    assert found[3][1] in {2, 4}
    # Both may have come in the same millisecond.
    assert sorted(found[4:]) == [("cancelled", 1, 1, 1), ("failed", 0, 0, 0)]


async def test_p12_a_locked_store_costs_no_reply_and_heals(simulator, tmp_path):
    """While another process holds the database, replies go on; two seconds after it lets go every receipt is there."""
    path = tmp_path / "ledger.db"
    store = {"url": f"sqlite:///{path}"}
    async with running(simulator, journals=tmp_path / "journal", store=store) as gateway:
        assert (await gateway.chat("first")).complete
        await until_rows(path, lambda found: len(found) == 1, 1.5)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            for _ in range(20):
                async with asyncio.timeout(1):
                    assert (await gateway.chat("meanwhile")).complete
            await asyncio.sleep(2.5)
            assert len(rows(path)) == 1
            holder.execute("ROLLBACK")
        await until_rows(path, lambda found: len(found) == 21, 2)
    assert "ledger" not in gateway.terminal.getvalue() or "works again" in gateway.terminal.getvalue()


async def test_p12_a_damaged_store_is_set_aside_and_nothing_new_is_lost(simulator, tmp_path):
    """A database overwritten with rubbish is kept under another name; receipts go into a new one within two seconds."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database at all " * 1000)
    async with running(simulator, journals=tmp_path / "journal", store={"url": f"sqlite:///{path}"}) as gateway:
        assert (await gateway.chat("first")).complete
        await until_rows(path, lambda found: len(found) == 1, 4)
        assert (tmp_path / "ledger.db.damaged").read_bytes().startswith(b"this is no database")


async def test_two_processes_share_a_state_directory(serve):
    """Each has a journal of its own; what one that was killed left, the other's successor or neighbour moves on."""
    one, two = await serve(), await serve()
    for process in (one, two):
        assert (await process.chat("x")).complete
    await until_rows(one.state_dir / "fittengate.db", lambda found: len(found) == 2)
    assert len(list((one.state_dir / "journal").iterdir())) == 2
    assert (await one.chat("x")).complete
    await one.kill()
    assert (await two.chat("x")).complete
    third = await serve()
    await until_rows(third.state_dir / "fittengate.db", lambda found: len(found) == 4)
