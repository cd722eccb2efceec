"""``fittengate doctor`` against each thing that can be wrong: one line says what, and what to do."""

import asyncio
import json
import os
import re
import socket
import sqlite3

import pytest

from fakes.certificates import self_signed
from fakes.running import PASSWORD, USERNAME, run_command
from fittengate.services.files import write_private
from fittengate.simulator import Plan


class Doctor:
    """Runs the command with a home of its own."""

    def __init__(self, path, base_url):
        self.path = path
        self.state = path / "state"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(path),
            "FITTENGATE_SERVER_STATE_DIR": str(self.state),
            "FITTENGATE_SERVER_PORT": "0",
            "FITTENGATE_UPSTREAM_BASE_URL": base_url,
            "FITTENGATE_ACCOUNT_USERNAME": USERNAME,
            "FITTENGATE_ACCOUNT_PASSWORD": PASSWORD,
        }

    async def __call__(self, *arguments, **settings):
        """Return the exit code and, of the report for programs, the state and text of each finding by what it is about."""
        environ = {**self.environ, **settings}
        code, out, err = await run_command(environ, self.path, "doctor", "--json", *arguments)
        assert err == ""
        assert PASSWORD not in out
        report = json.loads(out)
        found = {}
        for one in report["findings"]:
            found.setdefault(one["what"], []).append((one["state"], one["text"]))
        assert report["ok"] == all(state != "fail" for lines in found.values() for state, _ in lines)
        assert report["ok"] == (code == 0)
        return code, {what: lines[-1] for what, lines in found.items()}


@pytest.fixture
def doctor(simulator, tmp_path):
    return Doctor(tmp_path, simulator.base_url)


async def test_a_healthy_gateway_is_called_so_with_few_calls(doctor, simulator):
    """Each part is asked once: login, account, refresh, models, three questions, version and completion."""
    code, found = await doctor()
    assert code == 0
    assert {state for state, _ in found.values()} == {"ok"}
    requests = dict(simulator.counters.requests)
    assert requests.pop("chat") == 3
    assert set(requests.values()) == {1}
    assert sum(requests.values()) <= 8


async def test_offline_nothing_is_sent(doctor, simulator):
    """What is on this machine is looked at, and the rest is said to be left out."""
    code, found = await doctor("--offline")
    assert code == 0
    assert "--offline" in found["service"][1]
    assert not {"name", "login", "chat"} & found.keys()
    assert sum(simulator.counters.requests.values()) == 0


async def test_the_model_is_not_asked_where_that_is_not_wanted(doctor, simulator):
    """The account is looked at all the same."""
    _, found = await doctor("--no-chat")
    assert {"login", "refresh", "models"} <= found.keys()
    assert not {"tools", "completion"} & found.keys()
    assert simulator.counters.requests["chat"] == simulator.counters.requests["completion"] == 0


BROKEN = [
    ("login", {"status": 401}, "login", "fail", "account.username"),
    ("refresh", {"status": 401}, "refresh", "fail", "fittengate login"),
    ("refresh", {"status": 503, "page": "503"}, "refresh", "warn", "moment"),
    ("models", {"status": 404}, "models", "warn", "upstream.models_url"),
    ("models", {"json": {"other": []}}, "models", "warn", "upstream.models_url"),
    ("chat", {"status": 429}, "chat", "fail", "Wait"),
    ("chat", {"status": 500, "page": "500"}, "chat", "fail", "out of order"),
    ("chat", {"lines": ('{"detail":"no"}',)}, "chat", "fail", "error"),
    ("chat", {"cut": "close", "cut_after": 1}, "chat", "fail", ""),
    ("chat", {"text": "I will not call anything."}, "tools", "warn", "agents"),
    ("completion", {"status": 500, "page": "500"}, "completion", "fail", ""),
    ("completion", {"body": "<html>"}, "completion", "fail", ""),
    ("user_info", {"page": "portal"}, "login", "fail", ""),
]


@pytest.mark.parametrize(("route", "plan", "what", "state", "advice"), BROKEN)
async def test_a_fault_of_the_service_is_a_line_of_its_own(doctor, simulator, route, plan, what, state, advice):
    """Nothing else is called wrong because of it, unless it needs it, and the line says what to do."""
    simulator.plan(route, Plan(**plan), times=None)
    code, found = await doctor(FITTENGATE_UPSTREAM_RETRIES="0")
    assert found[what][0] == state
    assert advice in found[what][1]
    assert code == (1 if state == "fail" or (what == "chat") else 0)
    others = set(found) - {what, "tools", "protocol"}
    assert {found[other][0] for other in others} == {"ok"}


async def test_what_is_not_known_of_the_service_is_told(doctor, simulator):
    """In what doctor asks itself, and in what gateways noted before; by structure, without a word."""
    simulator.plan("chat", Plan(lines=('{"delta":"ready","mood":"HERON"}', '{"delta":""}')), times=None)
    _, found = await doctor()
    state, text = found["protocol"]
    assert state == "warn"
    assert "chat line: mood" in text
    assert "HERON" not in text
    doctor.state.mkdir(exist_ok=True)
    seen = [{"kind": "status", "sample": "chat: status 418", "count": 3, "first": 1e9, "last": 4e9}]
    write_private(doctor.state / "drift.json", json.dumps({"seen": seen}).encode())
    _, found = await doctor("--offline")
    assert "chat: status 418" in found["protocol"][1]
    assert "3 times" in found["protocol"][1]
    write_private(doctor.state / "drift.json", b"{")
    _, found = await doctor("--offline")
    assert found["protocol"][0] == "warn"


async def test_a_closed_port_and_a_name_that_is_none_are_told_apart(doctor, simulator):
    """And nothing that needs the service is tried."""
    await simulator.stop()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        code, found = await doctor(FITTENGATE_UPSTREAM_BASE_URL=url)
    assert (code, found["service"][0]) == (1, "fail")
    assert "no connection" in found["service"][1]
    assert "not tried" in found["login"][1]
    code, found = await doctor(FITTENGATE_UPSTREAM_BASE_URL="http://nowhere.invalid")
    assert (code, found["service"][0]) == (1, "fail")
    assert "cannot be resolved" in found["service"][1]


async def test_a_proxy_is_what_is_called_where_one_is_set(doctor, simulator):
    """The name and the connection that count are those of the proxy."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        url = "https://service.invalid"
        code, found = await doctor(FITTENGATE_UPSTREAM_BASE_URL=url, FITTENGATE_UPSTREAM_PROXY=proxy)
    assert code == 1
    assert "(proxy)" in found["name"][1]
    assert "no connection" in found["service"][1]


async def test_a_certificate_that_is_not_trusted_is_said_to_be_the_reason(doctor, tmp_path):
    """A company's proxy that breaks TLS open looks like this; the setting that helps is named."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(tmp_path))

    def drop(_reader, writer):
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        code, found = await doctor(FITTENGATE_UPSTREAM_BASE_URL=f"https://127.0.0.1:{port}")
    assert code == 1
    assert found["connection"][0] == "ok"
    assert "upstream.ca_file" in found["service"][1]


async def test_a_clock_that_is_off_is_compared_with_the_services(doctor, simulator):
    """By the date that the service sends."""
    simulator.plan("unknown", Plan(status=404, headers={"Date": "Sun, 09 Sep 2001 01:46:40 GMT"}), times=None)
    code, found = await doctor("--no-chat")
    assert (code, found["clock"][0]) == (0, "warn")
    assert re.search(r"\d+ s ahead of the service; set the clock", found["clock"][1])


async def test_a_store_that_is_damaged_or_of_another_version_is_told(doctor):
    """Each with the command that goes on from there."""
    doctor.state.mkdir(mode=0o700)
    path = doctor.state / "fittengate.db"
    path.write_bytes(b"no database at all" * 100)
    code, found = await doctor("--offline")
    assert code == 1
    assert found["store"][0] == "fail"
    assert "fittengate store check" in found["store"][1]
    assert path.read_bytes() == b"no database at all" * 100
    path.unlink()
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE alembic_version (version_num TEXT)")
        made.execute("INSERT INTO alembic_version VALUES ('9999')")
    made.close()
    _, found = await doctor("--offline")
    assert found["store"][0] == "fail"
    assert "newer fittengate" in found["store"][1]
    _, found = await doctor("--offline", FITTENGATE_STORE_URL="none")
    assert found["store"][0] == "ok"


async def test_a_journal_that_the_store_does_not_take_is_told(doctor):
    """So many segments are there only when the store is down, or slower than the traffic."""
    journal = doctor.state / "journal" / "abc"
    journal.mkdir(parents=True, mode=0o700)
    doctor.state.chmod(0o700)
    for number in range(40):
        (journal / f"{number:06d}.journal").write_bytes(b"")
    _, found = await doctor("--offline")
    assert found["journal"][0] == "warn"
    assert "store check" in found["journal"][1]


async def test_settings_that_are_wrong_are_findings_too(doctor):
    """All of them, for programs as for people."""
    code, found = await doctor("--port", "x")
    assert code == 1
    assert found["settings"][0] == "fail"
    assert "server.port" in found["settings"][1]
