"""Kept responses: in memory at once, in the database soon, for their owner alone, whatever the database does."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Record
from fittengate.services import responses as responses_module
from fittengate.services.response_rows import Row as StoredRow
from fittengate.services.response_rows import insert, sweep
from fittengate.services.responses import MAX_ROW_BYTES, Responses
from fittengate.services.store import Database, StoreDownError

ANN, BOB = "owner-ann", "owner-bob"
DAY = 86_400


class Clock:
    """A clock that stands where it is put; its other reading goes on by itself."""

    def __init__(self):
        self.at = 1_000_000_000.0

    def now(self):
        return self.at

    def monotonic(self):
        import time

        return time.monotonic()


class Said(list):
    """What the log was told."""

    def __call__(self, level, event, **fields):
        self.append((level, event))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said():
    return Said()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fittengate.db"


def opener(opened, clock, said, monkeypatch):
    monkeypatch.setattr(responses_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(responses_module, "MAX_RETRY_SECONDS", 0.02)
    monkeypatch.setattr("fittengate.services.store.BUSY_SECONDS", 0.05)
    made = []

    def one(database=True, days=90.0):
        made.append(Responses(opened() if database else None, clock, said, days))
        return made[-1]

    yield one
    for store in made:
        store.close()


@pytest.fixture
def make(path, clock, said, monkeypatch):
    """Give what opens a store on the same file; all are closed with the test."""
    yield from opener(lambda: Database(path), clock, said, monkeypatch)


@pytest.fixture
def make_either(where, clock, said, monkeypatch):
    """Give what opens a store in the same database, of either kind; all are closed with the test."""
    yield from opener(where.database, clock, said, monkeypatch)


def record(name, previous=None, given=b"[]", response=b"{}"):
    return Record(f"resp_{name}", previous and f"resp_{previous}", given, response)


async def until(condition):
    """Wait for what another thread does."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def written(store):
    await until(lambda: not store._rows and not store._queue)


async def test_a_response_is_there_at_once_and_after_a_restart(make_either):
    """It is answered from memory until it is in the file, and from the file by the next process."""
    store = make_either()
    one = record("one", given=b'["\xc3\xa9"]', response=b'{"a":1}')
    store.put(one, ANN)
    assert await store.find("resp_one", ANN) == one
    await written(store)
    assert await store.find("resp_one", ANN) == one
    store.close()
    assert await make_either().find("resp_one", ANN) == one


async def test_what_is_put_just_before_the_end_is_written(make_either):
    """Closing writes what waits."""
    store = make_either()
    for number in range(500):
        store.put(record(str(number)), ANN)
    store.close()
    assert await make_either().find("resp_499", ANN) is not None
    assert store.lost == 0


@pytest.mark.parametrize("database", [True, False])
async def test_a_conversation_is_followed_to_its_beginning(make, database):
    """Oldest first, itself last, also where a part is in memory and a part in the file; branches do not mix."""
    store = make(database=database)
    a, b, c, side = record("a"), record("b", "a"), record("c", "b"), record("side", "a")
    store.put(a, ANN)
    store.put(side, ANN)
    if database:
        await written(store)
    store.put(b, ANN)
    store.put(c, ANN)
    assert await store.chain("resp_c", ANN) == (a, b, c)
    if database:
        await written(store)
        assert await store.chain("resp_c", ANN) == (a, b, c)
    assert await store.chain("resp_side", ANN) == (a, side)


@pytest.mark.parametrize("database", [True, False])
async def test_nobody_else_sees_a_response(make, database):
    """Another key finds nothing, deletes nothing, and cannot go on with it, in memory or in the file."""
    store = make(database=database)
    store.put(record("a"), ANN)
    store.put(record("b", "a"), BOB)
    for _ in range(2):
        assert await store.find("resp_a", BOB) is None
        assert await store.chain("resp_a", BOB) == ()
        assert await store.chain("resp_b", BOB) == ()
        assert not await store.delete("resp_a", BOB)
        assert await store.find("resp_a", ANN) is not None
        if database:
            await written(store)


@pytest.mark.parametrize("database", [True, False])
async def test_a_deleted_response_is_gone(make, database):
    """At once, for good, and with it the conversations that went on from it."""
    store = make(database=database)
    store.put(record("a"), ANN)
    store.put(record("b", "a"), ANN)
    assert await store.delete("resp_a", ANN)
    assert not await store.delete("resp_a", ANN)
    assert await store.find("resp_a", ANN) is None
    assert await store.chain("resp_b", ANN) == ()
    assert await store.find("resp_b", ANN) is not None
    if database:
        store.close()
        assert await make().find("resp_a", ANN) is None


async def test_old_responses_are_not_found_and_then_removed(make_either, where, clock):
    """After the retention nobody finds them; the sweep takes them from the file. 0 keeps them for ever."""
    store, forever = make_either(days=1), make_either(days=0)
    store.put(record("old"), ANN)
    await written(store)
    clock.at += DAY + 1
    store.put(record("new"), ANN)
    await written(store)
    assert await store.find("resp_old", ANN) is None
    assert await store.chain("resp_old", ANN) == ()
    assert await forever.find("resp_old", ANN) is not None
    database = where.database()
    sweep(database, clock.at - DAY)
    database.close()
    assert await forever.find("resp_old", ANN) is None
    assert await forever.find("resp_new", ANN) is not None


def test_the_oldest_go_where_all_are_too_large(where):
    """Over the total the oldest rows are deleted, a few at a time, and the newest stay."""
    database = where.database()
    rows = [StoredRow(record(f"{number:03}", response=b"x" * 100), ANN, number) for number in range(100)]
    with database.begin() as connection:
        insert(connection, rows)
    sweep(database, 0, most_bytes=5_000)
    database.close()
    left = [name for (name,) in where.rows("SELECT id FROM responses ORDER BY id")]
    assert left[-1] == "resp_099"
    assert 20 <= len(left) <= 50


async def test_the_file_is_private(make, path):
    """Mode 0600, of the files beside it too, for they hold what people said."""
    old = os.umask(0)
    try:
        store = make()
        store.put(record("a"), ANN)
        await written(store)
        modes = {stat.S_IMODE(found.stat().st_mode) for found in path.parent.glob("fittengate.db*")}
    finally:
        os.umask(old)
    assert modes == {0o600}


@pytest.mark.parametrize("database", [True, False])
async def test_a_row_that_is_too_large_is_not_kept(make, said, database):
    """Nor is the loss a secret: it is counted and said."""
    store = make(database=database)
    store.put(record("big", response=b"x" * (MAX_ROW_BYTES + 1)), ANN)
    assert store.lost == 1
    assert await store.find("resp_big", ANN) is None
    await until(lambda: any("not kept" in event for _, event in said))


async def test_memory_is_bounded_while_the_database_is_down(make, path, said, monkeypatch):
    """P6, P12: what waits is bounded by number; the rest is counted as lost, and what waited is written later."""
    monkeypatch.setattr(responses_module, "MAX_WAITING", 10)
    path.mkdir()
    store = make()
    for number in range(15):
        store.put(record(str(number)), ANN)
    assert store.lost == 5
    assert await store.find("resp_9", ANN) is not None
    await until(lambda: any(level == "error" for level, _ in said))
    with pytest.raises(Fault) as down:
        await store.find("resp_nobody", ANN)
    assert down.value.kind is FaultKind.GATEWAY_BUSY
    path.rmdir()
    await written(store)
    assert await store.find("resp_9", ANN) is not None
    assert await store.find("resp_12", ANN) is None
    assert [event for level, event in said if level == "info"] == ["the store of responses works again"]


async def test_memory_is_bounded_in_bytes(make, monkeypatch):
    """P6: without a database the oldest make room for the newest."""
    monkeypatch.setattr(responses_module, "MAX_WAITING_BYTES", 1_000)
    store = make(database=False)
    for number in range(30):
        store.put(record(str(number), response=b"x" * 98), ANN)
    assert store._bytes <= 1_000
    assert await store.find("resp_29", ANN) is not None
    assert await store.find("resp_0", ANN) is None


async def test_a_locked_database_holds_nobody_up(make, path):
    """P12: while another process locks the file, keeping goes on in memory; afterwards all of it is in the file."""
    store = make()
    store.put(record("a"), ANN)
    await written(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.put(record("b"), ANN)
    await until(lambda: store._down)
    assert await store.find("resp_b", ANN) is not None
    assert await store.find("resp_a", ANN) is not None
    other.execute("ROLLBACK")
    other.close()
    await written(store)
    assert await store.find("resp_b", ANN) is not None
    assert store.lost == 0


async def test_a_damaged_file_is_set_aside(make, path, said):
    """P12: what is no database is moved away, the log says where, and keeping goes on in a new file."""
    path.write_bytes(b"this is no database, and never was one; " * 100)
    store = make()
    store.put(record("a"), ANN)
    await written(store)
    assert await store.find("resp_a", ANN) is not None
    assert (path.parent / "fittengate.db.damaged").read_bytes().startswith(b"this is no database")
    assert any("fittengate.db.damaged" in event for _, event in said)


async def test_a_file_that_was_removed_is_made_anew(make, path):
    """What is written into a file without a name would be lost."""
    store = make()
    store.put(record("a"), ANN)
    await written(store)
    for found in path.parent.glob("fittengate.db*"):
        found.unlink()
    store.put(record("b"), ANN)
    await written(store)
    store.close()
    assert await make().find("resp_b", ANN) is not None


async def test_a_row_that_is_refused_takes_no_other_with_it(make_either, said):
    """Of a batch with a row that the database does not take, the rest is written; the one is counted as lost."""
    store = make_either()
    store.put(Record(None, None, b"[]", b"{}"), ANN)
    store.put(record("b"), ANN)
    await written(store)
    assert await store.find("resp_b", ANN) is not None
    await until(lambda: store.lost == 1)


async def test_a_row_that_was_written_before_is_no_loss(make_either):
    """A connection that broke may have written it: the row stays as it is, and nothing is counted."""
    store = make_either()
    for _ in range(2):
        store.put(record("a", response=b"1"), ANN)
        store.put(record("b"), ANN)
        await written(store)
    assert (await store.find("resp_a", ANN)).response == b"1"
    assert store.lost == 0


async def test_an_id_that_no_database_can_hold_is_nobodys(make_either):
    """A server takes no NUL in a text: that is no fault of ours, and no such response."""
    assert await make_either().find("resp_\0", ANN) is None


async def test_what_cannot_be_written_at_the_end_is_counted(make, path, said):
    """Closing does not wait for a database that is down."""
    path.mkdir()
    store = make()
    store.put(record("a"), ANN)
    store.close()
    assert store.lost == 1
    assert any("not kept" in event for _, event in said)


async def test_a_deletion_that_the_database_does_not_take_says_so(make, path, monkeypatch):
    """The response is out of reach at once; that it is still on the disk is told, and tried again."""
    monkeypatch.setattr(responses_module, "DELETE_SECONDS", 0.05)
    store = make()
    store.put(record("a"), ANN)
    await written(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.put(record("b", "a"), ANN)
    for name in ("resp_b", "resp_a"):
        with pytest.raises(Fault) as late:
            await store.delete(name, ANN)
        assert late.value.kind is FaultKind.GATEWAY_BUSY
        assert await store.find(name, ANN) is None
        assert await store.chain(name, ANN) == ()
        assert not await store.delete(name, ANN)
    other.execute("ROLLBACK")
    other.close()
    await until(lambda: not store._deleting)
    assert await store.find("resp_a", ANN) is None


async def test_a_conversation_without_end_is_refused(make_either, monkeypatch):
    """P6: what no prompt has room for is not read into memory."""
    monkeypatch.setattr("fittengate.services.response_rows.MAX_CHAIN", 5)
    store = make_either()
    store.put(record("0"), ANN)
    for number in range(1, 9):
        store.put(record(str(number), str(number - 1)), ANN)
    await written(store)
    assert len(await store.chain("resp_4", ANN)) == 5
    with pytest.raises(Fault) as long:
        await store.chain("resp_8", ANN)
    assert long.value.kind is FaultKind.CALLER_TOO_LONG


def test_an_error_of_the_database_quotes_nothing_of_a_row(path):
    """P10: statements are shown without their values."""
    database = Database(path)
    row = StoredRow(record("a", "secret-words"), ANN, 1)
    with database.begin() as connection:
        insert(connection, [row])
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE responses")
    connection.close()
    with pytest.raises(StoreDownError) as down, database.begin() as connection:
        insert(connection, [row])
    database.close()
    assert "secret-words" not in f"{down.value} {down.value.__cause__}"


def test_nothing_is_loaded_before_it_is_needed():
    """A gateway that keeps nothing never imports the database library."""
    code = "import sys, fittengate.server.assemble; print('sqlalchemy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"
    assert not [one for one in threading.enumerate() if one.name == "fittengate-store"]
