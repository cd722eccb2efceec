"""What the service sends that is not known of it, through the whole gateway."""

import json
import secrets

import pytest

from fakes.running import running
from fittengate.services.clock import SystemClock
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.store import Database
from fittengate.simulator import Plan

LINES = ('{"delta":"Hi","mood":"HERON"}', '{"kingfisher":{"name":"HERON"}}', '{"delta":" there"}', '{"delta":""}')


@pytest.fixture
async def told(simulator, tmp_path):
    """Run a gateway; give it, and what the account's state says of the service."""
    store = KeyStore(Database(tmp_path / "fittengate.db"), SystemClock(), secrets.token_bytes, 90)
    admin, _ = store.create(KeyWish(name="chief", scopes=("admin",)))
    store.close()
    async with running(simulator, store={"url": f"sqlite:///{tmp_path}/fittengate.db"}) as gateway:

        async def ask():
            return (await gateway.request("GET", "/admin/api/account", key=admin)).json["drift"]

        ask.gateway = gateway
        yield ask


async def test_a_new_field_and_a_new_line_are_counted_and_the_answer_goes_on(told, simulator):
    """Whole and streamed; names and types are shown, and no word."""
    simulator.plan("chat", Plan(lines=LINES), times=2)
    assert await told() == {"counts": {}, "seen": []}
    assert (await told.gateway.chat()).text == "Hi there"
    assert (await told.gateway.chat(stream=True)).text == "Hi there"
    found = await told()
    assert found["counts"] == {"field": 2, "line": 2}
    assert {one["sample"] for one in found["seen"]} == {"chat line: mood", "{kingfisher: {name: text of #}}"}
    assert {one["count"] for one in found["seen"]} == {2}
    assert "HERON" not in json.dumps(found)


async def test_a_new_line_before_the_reply_broke_off_is_counted_too(told, simulator):
    """A reply that never had an event is what a changed service looks like."""
    simulator.plan("chat", Plan(lines=('{"kingfisher":1}',)), times=None)
    assert (await told.gateway.chat()).status == 502
    assert (await told())["counts"]["line"] >= 1


async def test_a_new_status_is_counted(told, simulator):
    """Of chat and of completion; known ones are not."""
    simulator.plan("chat", Plan(status=451))
    simulator.plan("chat", Plan(status=429))
    simulator.plan("completion", Plan(status=418))
    await told.gateway.chat()
    await told.gateway.chat()
    body = json.dumps({"model": "fitten-completion", "prompt": "x = ", "suffix": "\n"}).encode()
    await told.gateway.request("POST", "/v1/completions", body)
    assert {one["sample"] for one in (await told())["seen"]} == {"chat: status 451", "completion: status 418"}


async def test_the_log_has_a_line_for_a_new_kind_and_a_file_keeps_it(serve, simulator):
    """Doctor reads the file without a key, also when the gateway has ended."""
    simulator.plan("chat", Plan(lines=LINES), times=None)
    process = await serve()
    await process.chat()
    process.signal(15)
    await process.ended()
    assert process.stderr.count("mood") == 1
    kept = json.loads((process.state_dir / "drift.json").read_text())["seen"]
    assert {one["kind"] for one in kept} == {"field", "line"}
    assert (process.state_dir / "drift.json").stat().st_mode & 0o077 == 0
    again = await serve()
    await again.chat()
    again.signal(15)
    await again.ended()
    kept = json.loads((process.state_dir / "drift.json").read_text())["seen"]
    assert {one["count"] for one in kept} == {2}
