"""A ledger of a million rows: what it costs to add to it, and to ask it. Run by ``make chaos``."""

import random
import time

from fittengate.core.caller import Receipt
from fittengate.core.reply import Usage
from fittengate.services.receipt_rows import packed, store, sweep, usage
from fittengate.services.store import Database

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
    """Add so many batches; return the next number and the CPU time of a row in microseconds."""
    ready = [batch(first + at * BATCH, chance) for at in range(batches)]
    began = time.process_time()
    for one in ready:
        with database.begin() as connection:
            assert store(connection, "journal", one, START) == (BATCH, 0)
    return first + batches * BATCH, (time.process_time() - began) * 1e6 / (batches * BATCH)


def test_a_million_receipts_cost_what_a_thousand_do(tmp_path):
    """A row costs the same to add behind a million as behind a thousand; usage of all is there within a second of CPU time."""
    chance = random.Random(5)
    path = tmp_path / "million.db"
    database = Database(path)
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
            began = time.process_time()
            with database.begin() as connection:
                found = usage(connection, by)
            times[by] = min(times.get(by, 9.0), time.process_time() - began)
        assert sum(row.requests for row in found) == number - 1
    began = time.perf_counter()
    gone = sweep(database, START + SECONDS / 100)
    swept = time.perf_counter() - began
    print(f"\na row: {min(early):.1f} us behind a thousand, {min(late):.1f} us behind a million")
    print("usage: " + ", ".join(f"by {by} {seconds:.2f} s" for by, seconds in times.items()))
    print(f"{path.stat().st_size / number:.0f} bytes a row; {gone} rows swept in {swept:.2f} s")
    assert min(late) < 1.5 * min(early)
    assert times["day"] <= 1.0
    database.close()
