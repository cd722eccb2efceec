"""``serve --workers``: several processes on one port, looked after by a parent."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
from pathlib import Path

import pytest

from fakes.line import KEY, until
from fakes.running import environment, start_process
from fakes.valkey import valkey
from fittengate.services.clock import SystemClock
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.store import Database
from fittengate.simulator import Plan


@pytest.fixture
def server():
    """Run a server for this test alone."""
    with valkey() as one:
        yield one


def children(one):
    """Return the workers of a parent."""
    pid = one.process.pid
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def gone(pid):
    return not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"server_workers": 2}, "fleet.url"),
        ({"server_workers": 3, "fleet_url": "redis://localhost", "upstream_max_concurrency": 2}, "max_concurrency"),
        ({"server_workers": 0}, "server.workers"),
        ({"fleet_url": "https://localhost"}, "redis://host:port"),
        ({"fleet_url": "redis://:secret-word@"}, "redis://host:port"),
        ({"fleet_url": "redis://:secret-word@localhost/0?socket_timeout=x"}, "redis://host:port"),
        ({"fleet_url": "redis://:secret-word@localhost/0?ssl_ca_certs=ca.pem"}, "redis://host:port"),
        ({"fleet_url": "rediss://:secret-word@localhost/0?ssl_cert_reqs=none"}, "ssl_ca_certs"),
    ],
)
async def test_workers_that_could_not_keep_limits_together_are_refused(simulator, tmp_path, given, reason):
    """One line that says why, exit code 2, and no password."""
    state = tmp_path / "state"
    one = await start_process(environment(simulator, state, **given), state)
    assert await one.ended() == 2
    assert reason in one.stderr
    assert "secret-word" not in one.stderr
    assert "Traceback" not in one.stderr


async def test_workers_share_one_login_and_one_key_and_are_started_anew(serve, simulator, server):
    """All is made once; a worker that is killed takes no waiting connection with it, and another one takes its place."""
    simulator.plan("login", Plan(delay_ms=100))
    one = await serve("--workers", "2", fleet_url=server.url, server_api_key=None, upstream_queue=100)
    assert one.stderr.count("a key was made") == 1
    assert len(json.loads((one.state_dir / "keys.json").read_text())) == 1
    key = (one.state_dir / "first-key").read_text().strip()
    before = children(one)
    assert len(before) == 2
    bearer = f"x-api-key: {key}\r\n"

    async def ask():
        return (await one.request("POST", "/v1/chat/completions", BODY, key=None, headers=bearer)).status

    assert set(await asyncio.gather(*(ask() for _ in range(40)))) == {200}
    assert simulator.counters.requests["login"] == 1
    os.kill(before[0], signal.SIGKILL)
    assert set(await asyncio.gather(*(ask() for _ in range(20)))) == {200}
    await one.says(r"worker \d was ended by SIGKILL; another one takes its place")
    await until(lambda: len(children(one)) == 2)
    assert before[1] in children(one)
    assert one.stderr.count("listening on") == 1
    one.signal(signal.SIGTERM)
    assert await one.ended() == 0
    assert "Traceback" not in one.stderr


BODY = json.dumps({"model": "fitten-code", "messages": [{"role": "user", "content": "Hi"}]}).encode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_p7_workers_finish_what_runs_before_they_stop(serve, simulator, server, number):
    """P7: the parent passes the signal on once, and ends with 0 after the last worker."""
    one = await serve("--workers", "2", fleet_url=server.url)
    workers = children(one)
    # Of groups of their own: Ctrl-C at the terminal is the parent's to pass on.
    assert [os.getpgid(pid) for pid in workers] == workers
    simulator.plan("chat", Plan(text="one two three", interval_ms=200))
    reply = asyncio.create_task(one.chat("x", stream=True))
    await simulator.wait_requests("chat")
    one.signal(number)
    assert (await reply).body.endswith(b"data: [DONE]\n\n")
    assert await one.ended() == 0
    assert all(gone(pid) for pid in workers)


async def test_workers_stop_when_their_parent_is_gone(serve, server):
    """A parent that was killed leaves nobody behind on the port."""
    one = await serve("--workers", "2", fleet_url=server.url)
    workers = children(one)
    await one.ready()
    one.process.kill()
    await until(lambda: all(gone(pid) for pid in workers))


async def test_workers_that_cannot_start_end_the_whole(simulator, tmp_path, server):
    """What a person has to put right is said, with the exit code of a single process."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "keys.json").write_text("no JSON")
    environ = environment(simulator, state, fleet_url=server.url, server_workers=2)
    one = await start_process(environ, state)
    assert await one.ended() == 1
    assert "keys.json" in one.stderr
    assert "Traceback" not in one.stderr
    assert KEY not in one.stderr


async def test_it_does_not_matter_which_worker_is_asked_for_an_exchange(serve, server, tmp_path, simulator):
    """Each recorder is one worker's: the list has what all of them answered, and every exchange is found, by name too."""
    store = KeyStore(Database(tmp_path / "state" / "fittengate.db"), SystemClock(), secrets.token_bytes, 90)
    (tmp_path / "state").mkdir(mode=0o700, exist_ok=True)
    admin, _ = store.create(KeyWish(name="chief", scopes=("admin",)))
    store.close()
    one = await serve("--workers", "3", fleet_url=server.url)
    await one.ready()
    simulator.plan("chat", Plan(text="Hi", first_ms=50), times=None)
    names = [f"mine:{number}" for number in range(24)]

    async def ask(name):
        return (await one.request("POST", "/v1/chat/completions", BODY, headers=f"x-request-id: {name}\r\n")).status

    assert set(await asyncio.gather(*map(ask, names))) == {200}
    for _ in range(5):
        listed = (await one.request("GET", "/admin/api/exchanges", key=admin)).json
        assert {line["id"] for line in listed["data"]} == set(names)
        assert listed["bytes"] >= sum(line["bytes"] for line in listed["data"])
    for name in names:
        found = await one.request("GET", f"/admin/api/exchanges/{name.replace(':', '%3A')}", key=admin)
        assert json.loads(found.json["files"]["exchange.json"])["request_id"] == name
    missing = await one.request("GET", "/admin/api/exchanges/nobodys", key=admin)
    assert (missing.status, "No exchange of this id" in missing.error["message"]) == (404, True)
