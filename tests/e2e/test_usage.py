"""``fittengate usage`` and ``fittengate store`` as programs, beside a gateway that runs."""

import asyncio
import contextlib
import csv
import datetime as dt
import io
import json
import os
import sqlite3
import stat

import pytest

from fakes.ledger import rows, until_rows
from fakes.running import environment, run_command
from fittengate.services.tables import REVISION
from fittengate.simulator import Plan


class Shell:
    """Runs commands with one state directory."""

    def __init__(self, simulator, state):
        self.state = state
        state.mkdir(mode=0o700, exist_ok=True)
        self.environ = environment(simulator, state)

    async def run(self, *arguments, **settings):
        environ = {**self.environ, "PYTHONIOENCODING": "utf-8", **settings}
        return await run_command(environ, self.state.parent, *arguments)


@pytest.fixture
def shell(simulator, tmp_path):
    return Shell(simulator, tmp_path / "state")


async def used(serve, simulator):
    """Run a gateway and let two keys use it: three replies, one failure."""
    simulator.plan("chat", Plan(text="ok", input_tokens=100, output_tokens=7), times=3)
    process = await serve(server_api_key="first-key-of-two,second-key-of-two")
    body = b'{"model":"fitten-code","messages":[{"role":"user","content":"x"}]}'
    for key in ("first-key-of-two", "second-key-of-two", "second-key-of-two"):
        assert (await process.request("POST", "/v1/chat/completions", body, key=key)).status == 200
    assert (await process.request("POST", "/v1/messages", b"{}", key="first-key-of-two")).status == 400
    await until_rows(process.state_dir / "fittengate.db", lambda found: len(found) == 4, 3)
    return process


async def test_usage_in_every_form(serve, simulator, shell):
    """A table with bars, a plain JSON array and CSV with the same fields, one row for each key; days by default."""
    await used(serve, simulator)
    code, out, _ = await shell.run("usage", "--by", "key")
    heading, first, second = out.splitlines()
    assert code == 0
    assert heading.split() == ["KEY", "REQUESTS", "UNFINISHED", "INPUT", "OUTPUT", "ESTIMATED", "TOKENS"]
    assert first.split() == ["key-2", "2", "0", "200", "14", "0", "█" * 24]
    assert second.split() == ["key-1", "2", "1", "100", "7", "0", "█" * 12]
    wanted = [
        {"key": "key-2", "requests": 2, "unfinished": 0, "input_tokens": 200, "output_tokens": 14, "estimated": 0},
        {"key": "key-1", "requests": 2, "unfinished": 1, "input_tokens": 100, "output_tokens": 7, "estimated": 0},
    ]
    assert json.loads((await shell.run("usage", "--by", "key", "--json"))[1]) == wanted
    table = list(csv.DictReader(io.StringIO((await shell.run("usage", "--by", "key", "--csv"))[1])))
    assert table == [{name: str(value) for name, value in row.items()} for row in wanted]
    day = dt.datetime.now(dt.UTC).date().isoformat()
    found = json.loads((await shell.run("usage", "--json", "--since", "1d"))[1])
    # A midnight may have passed meanwhile.
    assert found[-1]["day"] == day
    assert sum(row["requests"] for row in found) == 4
    assert json.loads((await shell.run("usage", "--json", "--since", "2999-01-01"))[1]) == []
    models = (await shell.run("usage", "--by", "model", PYTHONIOENCODING="ascii"))[1].splitlines()
    assert [line.split()[0] for line in models] == ["MODEL", "fitten-code", "-"]
    assert models[1].endswith("#" * 24)


async def test_usage_without_anything_kept(shell):
    """No database yet is no error, and none is made; a store that is turned off and a wrong time are."""
    assert await shell.run("usage") == (0, "No requests.\n", "")
    assert await shell.run("usage", "--json") == (0, "[]\n", "")
    assert (await shell.run("usage", "--csv"))[1].count("\n") == 1
    assert not list(shell.state.iterdir())
    code, _, err = await shell.run("usage", FITTENGATE_STORE_URL="none")
    assert (code, "store.url is none" in err) == (1, True)
    code, _, err = await shell.run("usage", "--since", "yesterday")
    assert (code, "12h, 7d, 4w, 2026-01-31" in err) == (2, True)
    code, out, err = await shell.run("usage", "--json", "--csv")
    assert (code, out) == (2, "")
    assert "--json and --csv exclude each other" in err


async def test_the_store_is_checked_copied_and_migrated(serve, simulator, shell):
    """While the gateway runs: it is sound, a private copy is as good as it, and there is nothing to migrate."""
    process = await used(serve, simulator)
    file = process.state_dir / "fittengate.db"
    code, out, _ = await shell.run("store", "check")
    assert (code, out) == (0, f"{file} is sound and up to date: 4 receipts, 0 responses.\n")
    target = shell.state.parent / "copy.db"
    assert (await shell.run("store", "backup", str(target)))[0] == 0
    assert rows(target) == rows(file)
    if os.name == "posix":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    code, _, err = await shell.run("store", "backup", str(target))
    assert (code, "exists already" in err) == (1, True)
    code, _, err = await shell.run("store", "backup", str(shell.state / "nowhere" / "copy.db"))
    assert (code, len(err.splitlines())) == (1, 1)
    assert "nowhere/copy.db cannot be written" in err
    assert f"is up to date (revision {REVISION})" in (await shell.run("store", "migrate"))[1]
    body = b'{"model":"fitten-code","messages":[{"role":"user","content":"still here"}]}'
    assert (await process.request("POST", "/v1/chat/completions", body, key="first-key-of-two")).status == 200


async def test_an_old_and_a_damaged_store(shell):
    """A check changes neither: the old one is to be migrated, the damaged one stays where it is."""
    file = shell.state / "fittengate.db"
    assert "no database" in (await shell.run("store", "check"))[1]
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "CREATE TABLE responses (id VARCHAR(64) NOT NULL PRIMARY KEY, caller VARCHAR(64), previous VARCHAR(64),"
            " created BIGINT, size BIGINT, given BLOB, response BLOB)"
        )
    assert "at revision 0001, to be migrated" in (await shell.run("store", "check"))[1]
    assert f"went from revision 0001 to {REVISION}" in (await shell.run("store", "migrate"))[1]
    assert "up to date" in (await shell.run("store", "check"))[1]
    file.write_bytes(b"no database at all, and long enough to be looked at" * 100)
    code, _, err = await shell.run("store", "check")
    assert (code, "cannot be read" in err, "Traceback" in err) == (1, True, False)
    assert [path.name for path in shell.state.iterdir() if path.name.startswith("fittengate.db")] == ["fittengate.db"]


async def test_serve_migrates_by_itself(serve, simulator, shell):
    """A database of the version before is brought up a moment after the start, before anybody asks."""
    file = shell.state / "fittengate.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE responses (id VARCHAR(64) NOT NULL PRIMARY KEY, created BIGINT)")
    process = await serve()
    async with asyncio.timeout(5):
        while "up to date" not in (await shell.run("store", "check"))[1]:
            await asyncio.sleep(0.1)
    assert (await process.chat("x")).status == 200


async def test_readiness_says_when_receipts_might_be_lost(serve):
    """A journal that can have no file: replies go on, ``/readyz`` stays 200 and names what is wrong."""
    process = await serve()
    state = process.state_dir
    await process.ready()
    assert json.loads((await process.request("GET", "/readyz")).body) == {"status": "ready"}
    process.signal(15)
    assert await process.ended() == 0
    (state / "journal").rmdir()
    (state / "journal").write_bytes(b"in the way")
    (state / "fittengate.db").unlink(missing_ok=True)
    (state / "fittengate.db").mkdir()
    again = await serve()
    await again.ready()
    assert (await again.chat("x")).status == 200
    ready = await again.request("GET", "/readyz")
    assert ready.status == 200
    assert json.loads(ready.body)["ledger"].startswith("receipts in memory alone: 1 (the disk gives")
    (state / "journal").unlink()
    (state / "fittengate.db").rmdir()
    await until_rows(state / "fittengate.db", lambda found: len(found) == 1, 4)
    assert json.loads((await again.request("GET", "/readyz")).body) == {"status": "ready"}


async def test_the_commands_on_a_server(serve, simulator, shell, postgres, postgres_server):
    """Migrated, used, checked and summed up in PostgreSQL; backups are pg_dump's; no password is ever shown."""
    given = {"FITTENGATE_STORE_URL": postgres}
    said = []

    async def run(*arguments):
        done = await shell.run(*arguments, **given)
        said.extend(done[1:])
        return done

    assert "There is nothing in postgresql://" in (await run("store", "check"))[1]
    assert f"was made (revision {REVISION})" in (await run("store", "migrate"))[1]
    assert f"is up to date (revision {REVISION})" in (await run("store", "migrate"))[1]
    code, key, _ = await run("keys", "create", "--name", "laptop")
    assert code == 0
    process = await serve(store_url=postgres, server_api_key=None)
    reply = await process.request(
        "POST", "/v1/chat/completions", b'{"messages":[{"role":"user","content":"x"}]}', key=key.strip()
    )
    assert reply.status == 200
    # It is there after a second; each of these commands takes a while to start.
    async with asyncio.timeout(20):
        while "laptop" not in (await run("usage", "--by", "key"))[1]:
            await asyncio.sleep(0.1)
    code, out, _ = await run("store", "check")
    assert (code, "sound and up to date: 1 receipt," in out) == (0, True)
    code, _, err = await run("store", "backup", "copy.db")
    assert (code, "pg_dump" in err, err.count("\n")) == (1, True, 1)
    await asyncio.to_thread(postgres_server.stop)
    try:
        for command in (("store", "check"), ("store", "migrate"), ("usage",), ("keys", "list")):
            code, _, err = await run(*command)
            assert (code, err.count("\n")) == (1, 1), err
        assert "\nfail  store: " in (await run("doctor", "--offline"))[1]
    finally:
        await asyncio.to_thread(postgres_server.start)
    assert "a-pass-word" not in "".join(said) + process.stderr
    assert b"a-pass-word" not in b"".join(path.read_bytes() for path in process.state_dir.rglob("*") if path.is_file())
