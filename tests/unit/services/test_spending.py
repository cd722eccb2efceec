"""What was used of days and months outlives the process, whatever the store does."""

import asyncio

import pytest

from fakes.line import until
from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault
from fittengate.core.reply import Usage
from fittengate.services import spending as spending_module
from fittengate.services.limits import LocalLimits, Need
from fittengate.services.store import StoreDownError

DAY = 86_400
WHO = Caller("ci", owner="owner-ci", allowance=Allowance(tokens_per_day=1000))


class Clock:
    """A clock that stands where it is put; its other reading goes on by itself."""

    def __init__(self):
        self.at = 20_000.0 * DAY

    def now(self):
        return self.at

    def monotonic(self):
        import time

        return time.monotonic()


class Fragile:
    """A database that can be down."""

    there = True
    down = False

    def __init__(self, database):
        self.database = database

    def begin(self):
        if self.down:
            raise StoreDownError("disk on fire")
        return self.database.begin()

    def close(self):
        self.database.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said():
    return []


@pytest.fixture
async def make(where, clock, said):
    """Give what makes limits over the store; each is closed with the test."""
    made = []

    def limits(database=None, **account):
        made.append(LocalLimits(Allowance(**account), clock))
        made[-1].survive(database or where.database(), lambda level, text: said.append((level, text)))
        return made[-1]

    yield limits
    for one in made:
        await asyncio.to_thread(one.close)


async def use(limits, tokens, who=WHO):
    lease = await limits.admit(who, Need(tokens, 0))
    lease.settle(Usage(tokens, 0))
    lease.release()


def left(limits, who=WHO):
    return limits.state(who).tokens.remaining


def kept(where):
    rows = where.rows("SELECT owner, kind, tokens FROM spent")
    return {(owner, kind): tokens for owner, kind, tokens in rows}


async def test_what_was_used_counts_after_a_restart(make):
    """Of the key and of the account; a new day begins at nothing, the month goes on."""
    first = make(tokens_per_month=5000)
    await use(first, 700)
    await asyncio.to_thread(first.close)
    second = make(tokens_per_month=5000)
    with pytest.raises(Fault):
        await second.admit(WHO, Need(301, 0))
    assert left(second) == 300
    assert left(second, Caller("other", owner="other")) == 4300


async def test_a_change_is_written_within_a_second(make, where):
    """So a process that is killed forgets no more."""
    limits = make()
    lease = await limits.admit(WHO, Need(100, 400))
    await until(lambda: kept(where).get(("owner-ci", "day")) == 500, 1.0)
    lease.settle(Usage(100, 20))
    await until(lambda: kept(where) == {("owner-ci", "day"): 120, ("owner-ci", "month"): 120}, 1.0)


async def test_without_a_quota_nothing_is_kept(make, where, tmp_path):
    """Limits of a minute end with the process, and make no file."""
    limits = make(tpm=1000)
    await use(limits, 100, Caller("ci", owner="ci", allowance=Allowance(tpm=500)))
    await asyncio.to_thread(limits.close)
    assert kept(where) == {}
    assert not (tmp_path / "fittengate.db").exists()


async def test_a_store_that_is_down_stops_nobody(make, where, said, clock, monkeypatch):
    """P12: what was used is added up meanwhile, and what was used before is added when it can be read."""
    monkeypatch.setattr(spending_module, "KNOWN_SECONDS", 0.05)
    monkeypatch.setattr(spending_module, "RETRY_SECONDS", 0.05)
    before = make()
    await use(before, 300)
    await asyncio.to_thread(before.close)
    database = Fragile(where.database())
    database.down = True
    limits = make(database)
    await use(limits, 100)
    assert left(limits) == 900
    database.down = False
    await until(lambda: left(limits) == 600, 2.0)
    await until(lambda: kept(where)["owner-ci", "day"] == 400, 2.0)
    database.down = True
    await use(limits, 50)
    await until(lambda: len(said) == 3, 3.0)
    database.down = False
    await until(lambda: kept(where)["owner-ci", "day"] == 450, 2.0)
    await until(lambda: [level for level, _ in said] == ["error", "info", "error", "info"], 2.0)


async def test_p12_a_store_that_is_down_from_the_start_is_not_waited_for(make, where):
    """P12: what was used before cannot be known; requests go on at once all the same."""
    database = Fragile(where.database())
    database.down = True
    limits = make(database)
    async with asyncio.timeout(1):
        for _ in range(5):
            await use(limits, 100)
    assert left(limits) == 500


async def test_old_rows_are_deleted_and_do_not_count(make, where, clock):
    """After a month and more."""
    limits = make()
    await use(limits, 300)
    await asyncio.to_thread(limits.close)
    clock.at += 2 * DAY
    later = make()
    assert left(later) == 1000
    await use(later, 10)
    await asyncio.to_thread(later.close)
    clock.at += 39 * DAY
    await use(make(), 1)
    assert where.rows("SELECT count(*) FROM spent WHERE tokens >= 300 AND kind = 'day'") == [(0,)]
