"""Steering over HTTP, and the simulator as a process."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from fittengate.simulator import Simulator


async def test_plans_can_be_queued_over_http(client):
    """One, or several at once."""
    assert await client.json("POST", "/_sim/next", {"route": "chat", "plan": {"text": "one"}}) == (200, {"queued": 1})
    more = [{"route": "chat", "plan": {"raw": "eA=="}}, {"route": "chat", "plan": {"status": 503}, "times": 2}]
    assert await client.json("POST", "/_sim/next", more) == (200, {"queued": 2})
    assert await client.text() == "one"
    assert await client.body() == b"x"
    for status in (503, 503, 200):
        async with client.chat() as reply:
            assert reply.status == status


async def test_the_scenario_can_be_replaced_over_http(client):
    """As JSON or TOML; tokens stay good; an empty body is the default."""
    assert (await client.json("POST", "/_sim/scenario", {"defaults": {"chat": {"text": "x"}}}))[0] == 200
    assert await client.text() == "x"
    async with client.session.post(
        "/_sim/scenario", data='[defaults.chat]\ntext = "y"', headers={"Content-Type": "application/toml"}
    ) as reply:
        assert reply.status == 200
    assert await client.text() == "y"
    async with client.session.post("/_sim/scenario") as reply:
        assert reply.status == 200
    assert "simulator" in await client.text()


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/_sim/scenario", {"tokens": {"lifes": 9}}, "lifes"),
        ("/_sim/scenario", {"defaults": {"chatt": {}}}, "chatt"),
        ("/_sim/next", {"route": "chat", "plan": {"texts": ""}}, "texts"),
        ("/_sim/next", {"route": "chat"}, "plan"),
        ("/_sim/next", [{"route": "chatt", "plan": {}}], "chatt"),
        ("/_sim/next", {"route": "chat", "plan": {}, "times": 0}, "times"),
        ("/_sim/expire?kind=all", None, "kind"),
        ("/_sim/refuse?seconds=x", None, "seconds"),
    ],
)
async def test_mistakes_are_named(client, path, body, part):
    """Nothing is changed."""
    status, said = await client.json("POST", path, body)
    assert status == 400
    assert part in said["detail"]
    assert "simulator" in await client.text()


async def test_the_log_tells_requests_and_counters(client):
    """Of one route or of all; control requests are not in it."""
    await client.text("hi")
    _, said = await client.json("GET", "/_sim/log?route=chat")
    assert [record["route"] for record in said["requests"]] == ["chat"]
    assert said["requests"][0]["turns"][-1] == {"role": "user", "text": "hi"}
    assert (said["counters"]["chats"], said["counters"]["logins"], said["held"]) == (1, 1, 0)
    _, said = await client.json("GET", "/_sim/log")
    assert [record["route"] for record in said["requests"]] == ["login", "chat"]
    await client.json("POST", "/_sim/reset")
    assert (await client.json("GET", "/_sim/log"))[1]["requests"] == []
    assert (await client.json("GET", "/_sim/counters"))[1]["connections"] == 1


async def test_stalls_are_released_and_tokens_expired_over_http(client):
    """As through the methods."""
    await client.json("POST", "/_sim/next", {"route": "chat", "plan": {"text": "a b", "cut": "stall", "cut_after": 1}})
    asked = asyncio.create_task(client.text())
    await client.sim.wait_held()
    assert (await client.json("POST", "/_sim/release"))[1] == {"released": 1}
    assert await asked == "a b"
    await client.json("POST", "/_sim/expire?kind=access")
    async with client.chat() as reply:
        assert reply.status == 401
    made = client.sim.counters.connections_made
    reader, writer = await asyncio.open_connection("127.0.0.1", client.sim.port)
    await client.sim.log.wait(lambda: client.sim.counters.connections_made > made, 5)
    assert (await client.json("POST", "/_sim/close-idle"))[1]["closed"] >= 1
    assert await reader.read() == b""
    writer.close()
    assert (await client.json("POST", "/_sim/refuse?seconds=0"))[0] == 200
    await client.json("GET", "/_sim/log")


async def test_pages_and_unknown_paths_have_no_business_here(client):
    """A browser's request names its page."""
    assert (await client.json("GET", "/_sim/log", headers={"Origin": "http://127.0.0.1"}))[0] == 403
    assert (await client.json("GET", "/_sim/nothing"))[0] == 404
    assert (await client.json("GET", "/_sim/next"))[0] == 404


async def test_other_machines_have_no_business_here(client, monkeypatch):
    """Whatever the service itself is bound to."""
    (connection,) = client.sim.connections
    real = connection.transport

    class Far:
        def __getattr__(self, name):
            return getattr(real, name)

        def get_extra_info(self, name, default=None):
            return ("192.0.2.1", 1) if name == "peername" else real.get_extra_info(name, default)

    monkeypatch.setattr(connection, "transport", Far())
    assert (await client.json("GET", "/_sim/log"))[0] == 403
    assert await client.text("repeat: a") == "a"


async def test_waiting_for_requests_and_streams(client):
    """Tests need no sleeps."""
    asked = asyncio.create_task(client.text("repeat: a"))
    (record,) = await client.sim.wait_requests("chat")
    assert record.route == "chat"
    await asked
    await client.sim.wait_no_streams()
    with pytest.raises(TimeoutError):
        await client.sim.wait_requests("models", seconds=0.01)


async def test_it_serves_on_an_ipv6_address():
    """Written in brackets."""
    sim = Simulator()
    try:
        await sim.start("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    assert sim.base_url == f"http://[::1]:{sim.port}"
    await sim.stop()


def start_process(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "fittengate.simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )


def test_the_process_says_where_it_listens_and_ends_cleanly(tmp_path):
    """One line on standard output; the scenario is in force; SIGTERM is an end like any other."""
    (tmp_path / "s.toml").write_text('[defaults.unknown]\nbody = "from the file"\n')
    process = start_process("--port", "0", "--scenario", str(tmp_path / "s.toml"))
    with process:
        try:
            line = process.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:")
            with urllib.request.urlopen(line.split()[-1] + "/x", timeout=5) as reply:
                assert reply.read() == b"from the file"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stdout.read() == process.stderr.read() == ""


def test_the_process_fails_with_one_line(tmp_path):
    """A bad scenario is 2, a port in use is 1."""
    (tmp_path / "s.json").write_text(json.dumps({"nonsense": 1}))
    bad = start_process("--scenario", str(tmp_path / "s.json"))
    assert (bad.communicate(timeout=10)[1].count("\n"), bad.returncode) == (1, 2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = start_process("--port", str(taken.getsockname()[1]))
        error = busy.communicate(timeout=10)[1]
    assert (error.count("\n"), busy.returncode) == (1, 1)
    assert "--port" in error
