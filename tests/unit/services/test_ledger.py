"""The ledger: receipts into the store, outages, full disks, retention."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from fakes.ledger import rows
from fakes.stores import SqliteStore
from fittengate.core.caller import Receipt
from fittengate.core.reply import Usage
from fittengate.services import journal as journal_module
from fittengate.services.clock import SystemClock
from fittengate.services.journal import Journal
from fittengate.services.ledger import Ledger
from fittengate.services.receipt_rows import packed, store, sweep, usage
from fittengate.services.store import Database, StoreDownError

DAY = 86_400


def receipt(name="r", at=1_700_000_000.0, caller="alice", model="fitten-code", outcome="complete", tokens=(10, 5)):
    return Receipt(
        at,
        name,
        caller,
        "openai_chat",
        "POST",
        "/v1/chat/completions",
        200,
        outcome,
        model,
        None if tokens is None else Usage(*tokens, estimated=outcome != "complete"),
        0.25,
        1.5,
        "OpenAI/Python",
        None,
        None,
    )


class Fixture:
    def __init__(self, path, where):
        self.path = path
        self.file = path / "store.db"
        self.where = where
        self.said = []
        self.made = []
        self.databases = []

    def say(self, level, event, **fields):
        self.said.append(event)

    def start(self, name="one", days=0):
        self.databases.append(self.where.database())
        ledger = Ledger(self.path / "journal", name, self.databases[-1], SystemClock(), self.say, days)
        self.made.append(ledger)
        return ledger

    def until(self, condition, seconds=5.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.names(), self.said)
            time.sleep(0.01)

    def rows(self, columns):
        return self.where.rows(f"SELECT {columns} FROM receipts ORDER BY at, request_id")

    def names(self):
        return [row[0] for row in self.rows("request_id")]

    def close(self):
        for ledger in self.made:
            ledger.close()
        for database in self.databases:
            database.close()


@pytest.fixture
def world(tmp_path):
    """Give a ledger over a file."""
    made = Fixture(tmp_path, SqliteStore(tmp_path / "store.db"))
    yield made
    made.close()


@pytest.fixture
def either(tmp_path, where):
    """Give a ledger over either kind of database."""
    made = Fixture(tmp_path, where)
    yield made
    made.close()


def filled(database, receipts, journal="j"):
    """Write receipts; the database is left open."""
    with database.begin() as connection:
        store(connection, journal, [(at, packed(one)) for at, one in enumerate(receipts, 1)], 1_700_000_000)
    return database


def test_a_receipt_is_in_the_store_within_a_second(either):
    """With all that its row has; long names are cut, the version of a client is left out."""
    ledger = either.start()
    ledger.add(receipt("a", caller="k" * 100, outcome="truncated", tokens=None))
    began = time.monotonic()
    either.until(lambda: len(either.names()) == 1)
    # Importing the database's library is no part of it.
    assert time.monotonic() - began < 2
    ledger.add(receipt("b"))
    began = time.monotonic()
    either.until(lambda: len(either.names()) == 2)
    assert time.monotonic() - began < 1
    columns = "at, request_id, key, dialect, model, outcome, input_tokens, output_tokens, estimated, first_ms, total_ms, client"
    assert either.rows(columns) == [
        (1_700_000_000_000, "a", "k" * 64, "openai_chat", "fitten-code", "truncated", 0, 0, 0, 250, 1500, "OpenAI"),
        (1_700_000_000_000, "b", "alice", "openai_chat", "fitten-code", "complete", 10, 5, 0, 250, 1500, "OpenAI"),
    ]


def test_closing_moves_what_is_left_and_leaves_no_file(either):
    """A clean end needs no replay: the rows are there and the journal's directory is gone."""
    ledger = either.start()
    for number in range(2000):
        ledger.add(receipt(f"r{number}"))
    ledger.close()
    assert len(either.names()) == 2000
    assert list((either.path / "journal").iterdir()) == []
    assert ledger.lost == 0


def test_a_journal_read_twice_is_stored_once(where):
    """The position of a journal is written with its rows: what was stored before is left out, also one by one."""
    database = filled(where.database(), [receipt("a"), receipt("b")])
    batch = [(1, packed(receipt("a"))), (2, packed(receipt("b"))), (3, packed(receipt("c"))), (4, b"rubbish")]
    for _ in range(2):
        with database.begin() as connection:
            again = store(connection, "j", batch, 0)
    assert again == (0, 0)
    with database.begin() as connection:
        assert store(connection, "j", [(5, b"rubbish")], 0) == (0, 1)
        store(connection, "other", [(1, packed(receipt("other")))], 0)
    database.close()
    assert where.rows("SELECT request_id FROM receipts ORDER BY 1") == [("a",), ("b",), ("c",), ("other",)]


def test_a_store_that_cannot_be_opened_is_tried_again_and_heals(world):
    """While a directory stands in the file's place everything waits in the journal; gone, all is there within 2 s."""
    world.file.mkdir()
    ledger = world.start()
    for number in range(3):
        ledger.add(receipt(f"r{number}"))
    world.until(lambda: any("cannot be used" in line for line in world.said))
    assert ledger.problem is None
    ledger.add(receipt("later"))
    assert ledger.store_problem
    assert ledger.depth == (4, 0)
    world.file.rmdir()
    world.until(lambda: len(world.names()) == 4, 2.0)
    world.until(lambda: "the ledger's store works again" in world.said)
    assert sum("cannot be used" in line for line in world.said) == 1
    assert not ledger.store_problem
    assert ledger.depth == (0, 0)


def test_what_waits_on_the_disk_when_the_process_ends_is_moved_by_the_next(world):
    """A store that is down until the very end costs nothing: the next process reads the journal."""
    world.file.mkdir()
    first = world.start("one")
    first.add(receipt("kept"))
    first.close()
    world.file.rmdir()
    world.start("two")
    world.until(lambda: world.names() == ["kept"])
    world.until(lambda: [path.name for path in (world.path / "journal").iterdir()] == ["two"])


def test_an_older_journal_is_read_whatever_is_in_it(world):
    """A record that is no receipt is counted and told; the ones beside it are stored."""
    left = Journal(world.path / "journal", "left")
    left.provide()
    for payload in (packed(receipt("a")), b"\xc1", packed(receipt("b"))):
        left.append(payload)
    left.close()
    ledger = world.start()
    world.until(lambda: world.names() == ["a", "b"])
    world.until(lambda: ledger.lost == 1)


FULL_DISK = """
import resource, sys, time
from pathlib import Path
from fittengate.services.clock import SystemClock
from fittengate.services.ledger import Ledger
from fittengate.services.store import Database
sys.path.insert(0, {tests!r})
sys.path.insert(0, {units!r})
from test_ledger import receipt
root = Path(sys.argv[1])
said = []
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
ledger = Ledger(root / "journal", "one", Database(root / "store.db"), SystemClock(), lambda *a, **k: said.append(a[1]), 0)
(root / "store.db").mkdir()
for number in range(50):
    ledger.add(receipt(f"r{{number}}"))
assert "receipts in memory alone: 50 (the disk gives the journal no room" in ledger.problem, ledger.problem
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
end = time.monotonic() + 2
while ledger.problem is not None:
    assert time.monotonic() < end, ledger.problem
    time.sleep(0.01)
(root / "store.db").rmdir()
time.sleep(2)
assert "the journal has room again" in said, said
ledger.close()
"""


@pytest.mark.skipif(os.name != "posix", reason="the limit that plays the full disk is POSIX's")
def test_a_full_disk_costs_no_receipt_and_heals(tmp_path):
    """Where files cannot grow receipts wait in memory, and it is said; with room again they are on the disk in 2 s."""
    from pathlib import Path

    code = FULL_DISK.format(tests=str(Path(__file__).parents[2]), units=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "store.db")) == 50


def test_too_many_in_memory_are_counted_and_told(world, monkeypatch):
    """P6: without room anywhere, receipts beyond the bound are lost; how many is known."""
    monkeypatch.setattr(journal_module, "MAX_WAITING", 10)
    monkeypatch.setattr(journal_module, "MAX_SEGMENTS", 0)
    world.file.mkdir()
    monkeypatch.setattr(Journal, "provide", lambda self: None)
    ledger = world.start()
    for number in range(15):
        ledger.add(receipt(f"r{number}"))
    assert ledger.lost == 5
    assert ledger.problem == "receipts in memory alone: 10 (the journal is full)"
    world.until(lambda: any("5 receipts were lost" in line for line in world.said))
    world.file.rmdir()
    world.until(lambda: len(world.names()) == 10)
    assert ledger.problem is None


def test_adding_never_waits_for_the_store(either):
    """While another process holds the database for writing, a receipt is taken in far less than a millisecond."""
    ledger = either.start()
    ledger.add(receipt("first"))
    either.until(lambda: either.names() == ["first"])
    with either.where.locked("receipts"):
        ledger.add(receipt("second"))
        time.sleep(0.6)
        times = []
        for number in range(200):
            began = time.perf_counter()
            ledger.add(receipt(f"r{number}"))
            times.append(time.perf_counter() - began)
        assert sorted(times)[100] < 0.0005
    either.until(lambda: len(either.names()) == 202, 2.5)


def test_several_threads_may_add(world):
    """None is lost or doubled."""
    ledger = world.start()

    def add(thread):
        for number in range(500):
            ledger.add(receipt(f"{thread}-{number}"))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    ledger.close()
    assert len(set(world.names())) == len(world.names()) == 2000


def test_usage_sums_by_day_key_and_model(where):
    """Days are those of UTC, in order; keys and models come with the most tokens first."""
    at = 1_700_006_400.0  # a midnight
    database = filled(
        where.database(),
        [
            receipt("1", at - 1, "alice", tokens=(1, 2)),
            receipt("2", at, "bob", "deepseek-v3", tokens=(100, 50)),
            receipt("3", at + 5, "alice", outcome="cancelled", tokens=(3, 4)),
            receipt("4", at + 6, "bob", "", outcome="failed", tokens=None),
        ],
    )

    def told(*arguments):
        with database.begin() as connection:
            found = usage(connection, *arguments)
        return [
            (row.name, row.requests, row.unfinished, row.input_tokens, row.output_tokens, row.estimated)
            for row in found
        ]

    assert told("day") == [("2023-11-14", 1, 0, 1, 2, 0), ("2023-11-15", 3, 2, 103, 54, 1)]
    assert told("key") == [("bob", 2, 1, 100, 50, 0), ("alice", 2, 1, 4, 6, 1)]
    assert [row[0] for row in told("model")] == ["deepseek-v3", "fitten-code", ""]
    assert told("day", at) == [("2023-11-15", 3, 2, 103, 54, 1)]
    assert told("day", None, "alice") == [("2023-11-14", 1, 0, 1, 2, 0), ("2023-11-15", 1, 1, 3, 4, 1)]
    database.close()


def test_old_receipts_and_the_oldest_of_too_many_are_deleted(where):
    """Retention goes by when the request came; the cap keeps the newest; journals without receipts are forgotten."""
    now = 1_700_000_000
    database = filled(where.database(), [receipt(f"r{day}", now - day * DAY) for day in range(1200)])
    assert sweep(database, now - 1000.5 * DAY) == 199
    assert sweep(database, 0, most_rows=10) == 991
    left = where.rows("SELECT request_id FROM receipts ORDER BY 1")
    assert left == sorted((f"r{day}",) for day in range(10))
    assert sweep(database, now + 1) == 10
    with database.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM journals").scalar() == 0
    # Its number is not given again.
    filled(database, [receipt("new")])
    assert where.rows("SELECT journal FROM receipts") == [(2,)]
    database.close()


def test_a_store_of_a_later_version_is_not_touched(tmp_path):
    """What a newer program made is left alone, and the message says so."""
    path = tmp_path / "a.db"
    filled(Database(path), [receipt("a")]).close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with (
        pytest.raises(StoreDownError, match="newer fittengate"),
        contextlib.closing(Database(path)) as newer,
        newer.begin(),
    ):
        pass
    assert len(rows(path)) == 1
