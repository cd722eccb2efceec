"""A ledger of a million rows: what it costs to add to it, and to ask it. Run by ``make chaos``."""

import random
import time

import pytest

from fittengate.core.caller import Receipt
from fittengate.core.reply import Usage
from fittengate.services.postgres import PostgresServer
from fittengate.services.receipt_rows import packed, store, sweep, usage
from fittengate.services.store import Database, SqliteFile

MILLION = 1_000_000
BATCH = 512
START = 1_700_000_000
SECONDS = 90 * 86_400
"""The rows are spread over so long."""


def batch(first, chance):
    found = []
    for number in range(first, first + BATCH):
        at = START + SECONDS * number / MILLION
        tokens = Usage(chance.randrange(5000), chance.randrange(500))
        name, key, model = f"req_{chance.getrandbits(96):024x}", f"key-{chance.randrange(20)}", f"model-{number % 3}"
        receipt = Receipt(
            at, name, key, "openai_chat", "POST", "/v1", 200, "complete", model, tokens, 0.5, 2.0, "SDK/1", None, None
        )
        found.append((number, packed(receipt)))
    return found


def added(database, first, batches, chance):
    """Add so many batches; return the next number and the time of a row in microseconds, here and at the server."""
    ready = [batch(first + at * BATCH, chance) for at in range(batches)]
    # A server works in other processes: for what it does there is only the clock on the wall.
    clock = time.process_time if isinstance(database.place, SqliteFile) else time.perf_counter
    began = clock()
    for one in ready:
        with database.begin() as connection:
            assert store(connection, "journal", one, START) == (BATCH, 0)
    return first + batches * BATCH, (clock() - began) * 1e6 / (batches * BATCH)


def table_bytes(database):
    with database.begin() as connection:
        return connection.exec_driver_sql("SELECT pg_total_relation_size('receipts')").scalar()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_million_receipts_cost_what_a_thousand_do(tmp_path, request, kind):
    """A row costs the same to add behind a million as behind a thousand; usage of all is there within a second."""
    chance = random.Random(5)
    path = tmp_path / "million.db"
    database = Database(path if kind == "sqlite" else PostgresServer(request.getfixturevalue("postgres")))
    number, _ = added(database, 1, 2, chance)
    early = []
    for _ in range(5):
        number, cost = added(database, number, 8, chance)
        early.append(cost)
    while number < MILLION:
        number, _ = added(database, number, 20, chance)
    late = []
    for _ in range(5):
        number, cost = added(database, number, 8, chance)
        late.append(cost)
    times = {}
    for by in ("day", "key", "model"):
        for _ in range(3):
            began = time.perf_counter()
            with database.begin() as connection:
                found = usage(connection, by)
            times[by] = min(times.get(by, 9.0), time.perf_counter() - began)
        assert sum(row.requests for row in found) == number - 1
    began = time.perf_counter()
    gone = sweep(database, START + SECONDS / 100)
    swept = time.perf_counter() - began
    print(f"\na row: {min(early):.1f} us behind a thousand, {min(late):.1f} us behind a million")
    print("usage: " + ", ".join(f"by {by} {seconds:.2f} s" for by, seconds in times.items()))
    size = path.stat().st_size if kind == "sqlite" else table_bytes(database)
    print(f"{kind}: {size / number:.0f} bytes a row; {gone} rows swept in {swept:.2f} s")
    assert min(late) < 1.5 * min(early)
    assert times["day"] <= 1.0
    database.close()
