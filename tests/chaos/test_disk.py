"""The disk is full, the database is locked or rubbish, the process is told to go under load: no reply is lost, no receipt."""

import asyncio
import contextlib
import json
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fakes.chaos import LONG
from fakes.ledger import rows, until_rows
from fakes.line import CHAT, written
from fakes.running import Process, command, environment
from fittengate.simulator import Plan

MEGABYTE = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path):
    """Give a folder on a disk of four megabytes of its own, where this user may mount one; else None."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "none", str(folder)], capture_output=True, check=False
    )
    try:
        yield folder if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled_up(folder):
    """Take what is left of a disk; return the file that has it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    return filler


async def test_p12_a_disk_that_fills_up_costs_no_reply_and_no_receipt(serve, small_disk, cases):
    """The state directory's disk is full: replies go on, the gateway says so; with room again every receipt is there."""
    if small_disk is None:
        pytest.skip("needs to mount a tmpfs")
    process = await serve(server_state_dir=small_disk / "state", state="own")
    database = small_disk / "state/fittengate.db"
    assert (await process.chat("before")).status == 200
    await until_rows(database, lambda found: len(found) == 1)
    filler = filled_up(small_disk)
    count = 40
    for number in range(count):
        reply = await process.chat("meanwhile", stream=number % 2 == 0)
        assert reply.status == 200
        assert reply.complete
        if number % 20 == 19:
            # Let the thread that moves receipts try.
            await asyncio.sleep(0.5)
    assert (await process.request("GET", "/livez")).status == 200
    filler.unlink()
    await until_rows(database, lambda found: len(found) == count + 1)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert "Traceback" not in process.stderr
    cases(count)


async def test_p12_a_disk_that_is_full_at_the_start(simulator, small_disk):
    """The gateway starts and answers without a byte of room; receipts wait in memory, and it says so, until there is some."""
    if small_disk is None:
        pytest.skip("needs to mount a tmpfs")
    state = small_disk / "state"
    state.mkdir(mode=0o700)
    filler = filled_up(small_disk)
    made = await asyncio.create_subprocess_exec(
        *command(),
        "serve",
        env=environment(simulator, state),
        cwd=small_disk.parent,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    process = Process(made, state)
    try:
        process.port = int(await process.says(r"listening on http://[^\s]+:(\d+)"))
        for stream in (True, False):
            assert (await process.chat("hello", stream=stream)).complete
        assert "receipts in memory alone: 2" in (await process.request("GET", "/readyz")).body.decode()
        filler.unlink()
        await until_rows(state / "fittengate.db", lambda found: len(found) == 2)
        assert (await process.request("GET", "/readyz")).status == 200
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert "Traceback" not in process.stderr
    finally:
        await process.kill()


async def test_p12_files_that_may_not_grow_cost_no_reply(simulator, tmp_path):
    """With a limit on the size of files (no room to be had from the system, whoever asks), replies go on."""
    state = tmp_path / "state"
    limit = 64 * 1024
    code = (
        "import resource, signal, sys, runpy; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "sys.argv = ['fittengate', 'serve']; from fittengate.cli import main; sys.exit(main())"
    )
    made = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        env=environment(simulator, state),
        cwd=tmp_path,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    process = Process(made, state)
    try:
        process.port = int(await process.says(r"listening on http://[^\s]+:(\d+)"))
        for number in range(40):
            assert (await process.chat("hello", stream=number % 2 == 0)).complete
        assert "receipts in memory alone" in (await process.request("GET", "/readyz")).body.decode()
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert "Traceback" not in process.stderr
    finally:
        await process.kill()


async def client(process, number, ended, refused):
    """Ask again and again on one connection, until it is told to go; note every reply, and hold each to the truth."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        async with process.line() as one:
            for count in range(100_000):
                name = f"{number}-{count}"
                body = {"model": "fitten-code", "stream": count % 2 == 0}
                body["messages"] = [{"role": "user", "content": "repeat: one two three"}]
                await one.send(written("POST", CHAT, json.dumps(body).encode(), headers=f"x-request-id: {name}\r\n"))
                reply = await one.reply()
                if reply.status == 503:
                    refused.append(name)
                    return
                assert reply.status == 200
                assert reply.complete, "a reply that was begun is ended"
                assert reply.text == "one two three"
                ended.append(name)


async def test_p7_sigterm_under_load_loses_nothing(serve, simulator, cases):
    """Told to go while many ask: every reply that was begun is whole, the rest is refused, each has its one receipt."""
    chance = random.Random(7)
    count = 0
    for turn in range(10 if LONG else 1):
        process = await serve(upstream_max_concurrency=0, state=f"state-{turn}")
        await process.ready()
        simulator.plan("chat", Plan(text="one two three", interval_ms=20), times=None)
        ended, refused = [], []
        clients = [asyncio.create_task(client(process, n, ended, refused)) for n in range(12)]
        await asyncio.sleep(chance.uniform(0.2, 0.6))
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        await asyncio.gather(*clients)
        assert len(ended) > 12
        found = Counter(row[0] for row in rows(process.state_dir / "fittengate.db"))
        assert set(ended) <= set(found)
        assert max(found.values()) == 1
        assert "Traceback" not in process.stderr
        count += len(ended)
    cases(count)


async def test_p12_a_database_locked_again_and_again_under_load(serve, simulator, cases):
    """Another process takes the database for a while, many times: no reply fails or waits, every receipt comes."""
    process = await serve(upstream_max_concurrency=0)
    await process.ready()
    database = process.state_dir / "fittengate.db"
    assert (await process.chat("first")).complete
    await until_rows(database, lambda found: len(found) == 1)
    count = 1
    for _ in range(20 if LONG else 2):
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(5):
                replies = await asyncio.gather(*(process.chat("x", stream=n % 2 == 0) for n in range(20)))
            assert {reply.status for reply in replies} == {200}
            count += 20
            await asyncio.sleep(0.3)
            holder.execute("ROLLBACK")
        await asyncio.sleep(0.1)
    found = await until_rows(database, lambda found: len(found) == count)
    assert max(Counter(found).values()) == 1
    cases(count)


def spoilt(database, damage):
    """Do to a database what the word says."""
    data = database.read_bytes()
    for file in database.parent.glob("fittengate.db*"):
        file.unlink()
    if damage == "directory":
        database.mkdir()
        return
    left = {
        "half": data[: len(data) // 2],
        "head": b"\xff" * 100 + data[100:],
        "rubbish": random.Random(1).randbytes(len(data)),
        "empty": b"",
    }
    database.write_bytes(left[damage])


@pytest.mark.parametrize("damage", ["half", "rubbish", "empty", "directory", "head"] if LONG else ["half"])
async def test_p12_a_database_that_is_none_costs_no_reply(serve, damage):
    """Found at the start as rubbish, cut in half, empty, a folder, or with its head overwritten: replies go on."""
    first = await serve()
    assert (await first.chat("before")).complete
    database = Path(first.state_dir / "fittengate.db")
    await until_rows(database, lambda found: len(found) == 1)
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    spoilt(database, damage)
    second = await serve()
    for stream in (True, False):
        assert (await second.chat("after", stream=stream)).complete
    if damage != "directory":
        # In a new database where the old one was set aside; a folder is left to whoever made it.
        await until_rows(database, lambda found: len(found) >= 2)
    assert (await second.chat("the next one")).complete
    second.signal(signal.SIGTERM)
    assert await second.ended() == 0
    assert "Traceback" not in second.stderr


def test_the_limit_on_files_is_one_that_this_system_has():
    """The trick above is no empty one: a process under such a limit cannot write a larger file."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); open('/dev/null', 'w').write('x' * 100);"
        "import tempfile; f = tempfile.TemporaryFile(buffering=0); f.write(bytes(10));\n"
        "try: f.write(b'x')\nexcept OSError as e: print(e.errno)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "27"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 10
