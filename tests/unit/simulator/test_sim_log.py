"""What the log keeps and what it forgets."""

import asyncio

import pytest

from fittengate.simulator import fingerprint
from fittengate.simulator.log import Log, Record


def record(route="chat", body=b"{}"):
    return Record(
        route=route, method="POST", path="/p", query_string="&&a=1&b=", headers={}, body=body, body_size=len(body),
        at=0.0, arrived=0.0,
    )  # fmt: skip


def test_the_newest_records_are_kept():
    """Counters go on counting."""
    log = Log(3, 1000)
    for route in ("a", "b", "c", "d", "d"):
        log.add(record(route))
    assert [one.route for one in log.records()] == ["c", "d", "d"]
    assert len(log.records("d")) == 2
    assert log.counters.requests["a"] == 1


def test_bodies_are_kept_up_to_the_limit_and_the_oldest_are_lost_first():
    """Records stay, bare."""
    log = Log(10, 25)
    for _ in range(4):
        log.add(record(body=b"0123456789"))
    assert [len(one.body) for one in log.records()] == [0, 0, 10, 10]
    log.add(record(body=b"x" * 30))
    assert [len(one.body) for one in log.records()] == [0, 0, 0, 0, 0]
    log.add(record(body=b"y"))
    assert log.records()[-1].body == b"y"


def test_limits_hold_together():
    """Dropping bare records does not confuse the count of bytes."""
    log = Log(2, 15)
    for size in (10, 10, 10, 3, 4, 20, 5):
        log.add(record(body=b"x" * size))
        assert sum(len(one.body) for one in log.records()) <= 15
    assert [len(one.body) for one in log.records()] == [0, 5]


def test_secrets_are_kept_as_fingerprints():
    """Equal secrets can be compared, none can be read."""
    log = Log(10, 10_000)
    log.add(record("login", b'{"username": "u", "password" : "p\\"w"}'))
    log.add(record("refresh_refresh", b'"a.b.c"'))
    log.add(record("chat", b'{"inputs": "", "password": "x"}'))
    login, refresh, chat = log.records()
    assert login.json == {"username": "u", "password": fingerprint('p"w')}
    assert refresh.json == fingerprint("a.b.c")
    assert chat.json["password"] == "x"


def test_a_record_shows_query_turns_and_json():
    """Read when looked at."""
    one = record(body=b'{"inputs": "<|user|>\\nhi\\n<|end|>\\n<|assistant|>"}')
    assert one.query == {"a": "1", "b": ""}
    assert one.turns == (("user", "hi"),)
    assert one.view()["turns"] == [{"role": "user", "text": "hi"}]
    assert record(body=b"[1]").turns == ()
    assert record(body=b"{").json is None


async def test_waiting_ends_when_the_condition_holds_or_time_is_over():
    """Several may wait."""
    log = Log(10, 1000)
    waits = [asyncio.create_task(log.wait(lambda n=n: log.counters.requests["chat"] >= n, 5)) for n in (1, 2)]
    await asyncio.sleep(0)
    log.add(record())
    await waits[0]
    assert not waits[1].done()
    log.add(record())
    await waits[1]
    with pytest.raises(TimeoutError):
        await log.wait(lambda: False, 0.01)
    log.changed()
