"""Limits on a fleet's server: what the property test does not come to. Real server, the time is the tests'."""

import asyncio
import contextlib

import msgspec
import pytest

from fakes.line import until
from fakes.valkey import name, valkey
from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import Usage
from fittengate.services.clock import SystemClock
from fittengate.services.fleet_batch import MAX_BATCH, Batch
from fittengate.services.fleet_limits import FleetLimits
from fittengate.services.fleet_room import Place
from fittengate.services.fleet_script import LAPSE_SECONDS, LIMITS, program
from fittengate.services.limits import ACCOUNT, LocalLimits, Need
from fittengate.services.meter import month_of
from fittengate.services.valkey import FleetDownError, Valkey, script

PROGRAM = script(program("{redis.call('GET', 'clock:s'), 0}"))
START = 20_000 * 86_400 + 40_000


class Clock:
    """The time of replicas, which is not that of the server."""

    def __init__(self):
        self.seconds = 1000.0

    def now(self):
        return START + self.seconds

    def monotonic(self):
        return self.seconds


class Two:
    """Two replicas of one fleet."""

    def __init__(self, server, account, program):
        self.server = server
        self.prefix = name()
        self.said = []
        self.valkeys = [Valkey(server.url, lambda *words, **_: self.said.append(words)) for _ in range(2)]
        self.set_clock(START)
        self.one, self.other = (
            FleetLimits(LocalLimits(account, Clock()), one, self.prefix, f"r{at}", 0.5, print, program)
            for at, one in enumerate(self.valkeys)
        )

    def set_clock(self, seconds):
        self.server.ask("SET", "clock:s", int(seconds))

    async def told(self, *replicas):
        for replica in replicas or (self.one, self.other):
            replica._bell.set()
            await until(lambda replica=replica: not replica._pending() and not replica._sending)

    async def pass_to(self, seconds):
        """Let it be so many seconds after the start, by all clocks; both let themselves be heard of."""
        self.set_clock(START + seconds)
        for replica in (self.one, self.other):
            replica.local._clock.seconds = 1000.0 + seconds
            replica._beats_now()
        await self.told()

    def meter(self, owner):
        return msgspec.msgpack.decode(self.server.ask("GET", f"{self.prefix}:meter:{owner}"), strict=False)

    async def close(self):
        for replica in (self.one, self.other):
            await replica.close()
        for one in self.valkeys:
            await one.close()


@pytest.fixture(scope="module")
def server():
    """Run a server for this module."""
    with valkey() as one:
        yield one


@pytest.fixture
async def fleet(server):
    """Give what makes two replicas, with limits of the account."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(where=server, program=PROGRAM, **account):
            made = Two(where, Allowance(**account), program)
            stack.push_async_callback(made.close)
            return made

        yield make


def caller(who="ci", **limits):
    return Caller(who, owner=who, allowance=Allowance(**limits))


async def refusal(limits, who, need=Need()):
    with pytest.raises(Fault) as caught:
        await limits.admit(who, need)
    return caught.value


async def test_places_of_a_replica_that_died_are_free_again_after_a_while(fleet):
    """Nothing is heard of it any more; what was reserved for its requests stays counted."""
    two = await fleet()
    who = caller(concurrency=1, tokens_per_day=1000)
    await two.one.admit(who, Need(10, 90))
    two.one._timer.cancel()
    assert (await refusal(two.other, who, Need(10, 90))).kind is FaultKind.POLICY_RATE
    two.set_clock(START + LAPSE_SECONDS - 1)
    await refusal(two.other, who, Need(10, 90))
    two.set_clock(START + LAPSE_SECONDS + 1)
    await two.other.admit(who, Need(10, 90))
    assert two.other.used("ci")["tokens_per_day"] == 200
    assert two.other.used("ci")["concurrency"] == 1


async def test_places_of_a_replica_that_lets_itself_be_heard_of_stay_its_own(fleet):
    """However long a request runs; and after the server has forgotten everything they are its own again."""
    two = await fleet()
    who = caller(concurrency=1)
    lease = await two.one.admit(who, Need())
    for step in range(1, 4):
        two.set_clock(START + step * (LAPSE_SECONDS - 1))
        two.one._beats_now()
        await two.told()
        await refusal(two.other, who)
    two.server.ask("DEL", f"{two.prefix}:meter:ci", f"{two.prefix}:replicas")
    two.one._beats_now()
    await two.told()
    await refusal(two.other, who)
    lease.release()
    await two.told()
    (await two.other.admit(who, Need())).release()


async def test_a_minute_goes_by_the_servers_clock(fleet):
    """The replicas' clocks stand still; a server whose clock is put back counts nothing for longer than a minute."""
    two = await fleet()
    who = caller(rpm=1, tpm=500)
    (await two.one.admit(who, Need(10, 10))).release()
    refused = await refusal(two.other, who, Need(10, 10))
    assert refused.retry_after == 60
    two.set_clock(START + 59)
    assert (await refusal(two.other, who, Need(10, 10))).retry_after == 1
    two.set_clock(START + 60)
    (await two.other.admit(who, Need(10, 10))).release()
    two.set_clock(START - 500_000)
    assert (await refusal(two.one, who, Need(10, 10))).retry_after == 60
    two.set_clock(START - 500_000 + 60)
    await two.one.admit(who, Need(10, 10))


@pytest.mark.parametrize("day", [0, 10_956, 11_016, 19_782, 19_783, 20_000, 20_453, 47_540])
async def test_months_are_those_of_the_calendar(fleet, day):
    """The server counts days into months as the gateway does, leap years included."""
    two = await fleet()
    two.set_clock(day * 86_400 + 5)
    await two.one.admit(caller(tokens_per_month=100), Need(1, 1))
    assert list(two.meter("ci")["months"]) == [month_of(day)]
    assert list(two.meter("ci")["days"]) == [day]


async def test_one_who_leaves_while_waiting_keeps_nothing(fleet):
    """Whether the answer was on its way, or had just come."""
    two = await fleet()
    who = caller(concurrency=1)
    for turns in range(6):
        waiting = asyncio.create_task(two.one.admit(who, Need()))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await waiting).release()
        await two.told()
        (await two.other.admit(who, Need())).release()
        await two.told()


async def test_what_is_asked_at_once_goes_in_few_runs(fleet):
    """Three hundred who ask in one turn of the loop cost some round trips, and not three hundred."""
    two = await fleet()
    await two.told()
    before = two.server.calls("evalsha")
    who = caller(concurrency=1000)
    leases = await asyncio.gather(*(two.one.admit(who, Need()) for _ in range(300)))
    runs = two.server.calls("evalsha") - before
    assert runs <= 300 / MAX_BATCH + 4
    assert two.one.used("ci")["concurrency"] == 300
    for lease in leases:
        lease.release()
        lease.release()
    await two.told()
    assert not two.meter("ci")["running"]


async def test_both_or_neither(fleet):
    """What the account refuses is not taken from the key; the refusal names whose limit it is."""
    two = await fleet(rpm=1)
    await two.one.admit(caller("a", rpm=5), Need())
    refused = await refusal(two.other, caller("b", rpm=5))
    assert "limits.account_rpm" in refused.message
    assert refused.limits.requests.remaining == 0
    assert two.other.used("b")["rpm"] == 0


async def test_what_never_fits_is_told_so(fleet):
    """Coming back helps nobody: a quota, and more than a minute to wait."""
    two = await fleet()
    refused = await refusal(two.one, caller(tpm=100), Need(200, 10))
    assert refused.kind is FaultKind.POLICY_QUOTA
    assert refused.retry_after > 60
    assert refused.code == "rate_limit_exceeded"


async def test_without_a_limit_of_its_own_an_answer_ends_where_the_rest_does(fleet):
    """What is left is known to the server alone; another replica has used some of it."""
    two = await fleet()
    who = caller(tokens_per_day=1000)
    await two.one.admit(who, Need(100, 300))
    lease = await two.other.admit(who, Need(100))
    assert lease.output == 500
    assert lease.reserved == 600
    lease.settle(Usage(100, 50))
    lease.release()
    await two.told()
    assert list(two.meter("ci")["days"].values()) == [550]


async def test_an_answer_that_grows_reserves_more_in_the_fleet(fleet):
    """As far as was left when the server was asked last; it is told of it, and of what the answer came to."""
    two = await fleet()
    who = caller(tpm=3000)
    await two.one.admit(who, Need(100, 300))
    lease = await two.other.admit(who, Need(100))
    assert (lease.output, lease.answer, lease.reserved) == (2500, 1024, 1124)
    assert (lease.more(), lease.more(), lease.more()) == (1024, 452, 0)
    await two.told()
    assert two.meter("ci")["tokens"]["total"] == 3000
    assert (await refusal(two.one, who, Need(1, 1))).kind is FaultKind.POLICY_RATE
    lease.settle(Usage(100, 1300))
    lease.release()
    await two.told()
    assert two.meter("ci")["tokens"]["total"] == 1800


async def test_an_answer_grows_with_what_others_have_given_back(fleet):
    """On its own replica at once, on another with the next beat; of the minute, the day and the month."""
    two = await fleet()
    who = caller(tpm=10_000, tokens_per_day=11_000, tokens_per_month=12_000)
    beside, away = await two.one.admit(who, Need(100, 4000)), await two.other.admit(who, Need(100, 4000))
    lease = await two.one.admit(who, Need(100))
    assert (lease.output, lease.reserved) == (1700, 1124)
    assert (lease.more(), lease.more()) == (676, 0)
    beside.settle(Usage(100, 100))
    beside.release()
    await two.told()
    assert [lease.more() for _ in range(5)] == [1024, 1024, 1024, 828, 0]
    away.release()
    await two.told()
    two.one._beats_now()
    await two.told()
    assert [lease.more() for _ in range(5)] == [1024, 1024, 1024, 1024, 4]
    await two.told()
    assert two.meter("ci")["tokens"]["total"] == next(iter(two.meter("ci")["days"].values())) == 10_000


async def test_an_answer_grows_on_when_a_minute_has_passed(fleet):
    """Whether or not anybody has asked since."""
    two = await fleet()
    who = caller(tpm=3000)
    lease = await two.one.admit(who, Need(100))
    assert (lease.more(), lease.more()) == (1024, 852)
    await two.told()
    assert lease.more() == 0
    await two.pass_to(59)
    assert lease.more() == 0
    await two.pass_to(60)
    assert [lease.more() for _ in range(4)] == [1024, 1024, 952, 0]


async def test_answers_of_several_keys_grow_within_what_is_left_to_all(fleet):
    """The account's limit is nobody's own: what grows for one key is not left for the next, told or not."""
    two = await fleet(tpm=10_000)
    await two.other.admit(caller("c"), Need(3000, 3000))
    first, second = await two.one.admit(caller("a"), Need(100)), await two.one.admit(caller("b", tpm=9000), Need(100))
    assert [first.more(), second.more()] == [1024, 728]
    assert [first.more(), second.more()] == [0, 0]
    await two.told()
    assert two.meter(ACCOUNT)["tokens"]["total"] == 10_000
    assert [first.more(), second.more()] == [0, 0]
    assert two.meter("b")["tokens"]["total"] == second.reserved == 1852


async def test_what_is_given_back_for_yesterday_changes_nothing_of_today(fleet):
    """A request begins before midnight and is settled after it, with less than was reserved."""
    two = await fleet()
    lease = await two.one.admit(caller(tokens_per_day=10_000), Need(100, 900))
    await two.told()
    await two.pass_to(86_400)
    lease.settle(Usage(100, 200))
    lease.release()
    await two.told()
    days = two.meter("ci")["days"]
    assert sorted(days.values()) in ([300], [0, 300])


async def grown(two, who, *times):
    """Return what the first replica admitted at 0 s, and what grew at these times; the server knows all of it."""
    lease = await two.one.admit(who, Need(100))
    for seconds in times:
        await two.pass_to(seconds)
        lease.more()
        await two.told()
    return lease


async def test_an_answer_that_was_settled_leaves_nothing_that_grew(fleet):
    """What it did not come to is taken from where it was noted last, so the minute is over when it should be."""
    two = await fleet()
    who = caller(tpm=100_000)
    lease = await grown(two, who, 20, 40, 55)
    # Nobody has told the number of this one yet.
    lease.more()
    lease.settle(Usage(100, 1124))
    lease.release()
    await two.told()
    assert [use[3] for use in two.meter("ci")["tokens"]["uses"]] == [1124, 100, 0, 0]
    two.one.touched(["ci"])
    await two.pass_to(70)
    assert two.meter("ci")["tokens"]["total"] == 100
    two.one.touched(["ci"])
    await two.pass_to(80)
    assert two.meter("ci")["tokens"]["total"] == 0


async def test_an_answer_that_is_settled_after_its_minute_leaves_nothing_that_grew(fleet):
    """What it had at its admission counts no more; what others use meanwhile is left alone."""
    two = await fleet()
    who = caller(tpm=100_000)
    lease = await grown(two, who, 50, 55, 59)
    await two.other.admit(who, Need(200, 300))
    await two.pass_to(62)
    lease.settle(Usage(100, 1200))
    lease.release()
    await two.told()
    assert [use[3] for use in two.meter("ci")["tokens"]["uses"]] == [176, 0, 500]
    assert list(two.meter("ci")["days"].values()) == [1800]
    await two.pass_to(119)
    assert two.meter("ci")["tokens"]["total"] == 0


async def test_alone_an_answer_grows_within_the_share(fleet):
    """Those that were admitted before, too; what grew is told when the server is back, and then all may be used again."""
    with valkey() as server:
        two = await fleet(server)
        who = caller(tpm=10_000, tokens_per_day=20_000)
        first, second = await two.one.admit(who, Need(100)), await two.other.admit(who, Need(100))
        server.stop()
        for replica in (two.one, two.other):
            await until(lambda replica=replica: not replica._valkey.up)
        for lease in (first, second):
            while lease.more():
                pass
        assert (first.reserved, second.reserved) == (5000, 5000)
        # However little a share is, it is a limit.
        await refusal(two.one, caller("little", tokens_per_day=1), Need(1, 1))
        # Another key has a share of its own.
        late = await two.one.admit(caller("late", tpm=6000), Need(100))
        assert late.output == 2900
        while late.more():
            pass
        assert late.reserved == 3000
        server.start()
        two.set_clock(START)
        await until(lambda: two.one._valkey.up and two.other._valkey.up)
        await two.told()
        assert two.meter("ci")["tokens"]["total"] == 10_000
        await two.pass_to(0)
        assert (first.more(), second.more()) == (0, 0)
        while late.more():
            pass
        assert late.reserved == 6000
        await two.told()
        assert two.meter("late")["tokens"]["total"] == 6000


async def test_alone_a_share_of_what_was_left_of_the_day_holds(fleet):
    """Half of what was left when the server went away; what was used meanwhile is told when it is back."""
    with valkey() as server:
        two = await fleet(server, LIMITS)
        who = caller(tokens_per_day=1000)
        two.one.local._clock = two.other.local._clock = SystemClock()
        (await two.one.admit(who, Need(100, 100))).settle(Usage(150, 50))
        await two.told()
        server.hold()
        lease = await two.one.admit(who, Need(100, 300))
        assert not two.one._valkey.up
        assert (await refusal(two.one, who, Need(1, 1))).kind is FaultKind.POLICY_QUOTA
        lease.settle(Usage(100, 100))
        lease.release()
        assert two.one.alone == 2
        server.go_on()
        await until(lambda: two.one._valkey.up)
        await two.told()
        assert sum(two.meter("ci")["days"].values()) == 400
        assert two.one.account == two.one.local.account == Allowance()
        assert len(two.said) == 2


async def test_an_answer_that_is_none_makes_a_replica_go_on_alone(fleet, capsys):
    """A defect holds nobody up: the share holds, it is said once, and the next answer that is good ends it."""
    two = await fleet()
    who = caller(rpm=10)
    before = await two.one.admit(caller("before", tpm=4000), Need(100))
    good, two.one._program = two.one._program, script("return 'none'")
    for _ in range(5):
        await two.one.admit(who, Need())
    await refusal(two.one, who)
    assert capsys.readouterr().out.count("this replica goes on by itself") == 1
    assert (before.more(), before.more()) == (2000 - 1124, 0)
    two.one._program = good
    await two.one.admit(who, Need())
    assert two.one.alone == 6


@pytest.mark.parametrize(("sent", "owed"), [(True, 30), (False, -20)])
async def test_what_broke_off_is_told_again_only_where_that_frees_nothing(fleet, sent, owed):
    """The server may have done it: twice too much is harmless, twice too little is not."""
    two = await fleet()
    batch = Batch(two.one.local, "r0", beat=False)
    batch.add_change(Place("ci", 1, 20_000, 24_000), -50)
    batch.add_change(Place("ci", 2, 20_000, 24_000), 30)
    two.one._broke_off(batch, FleetDownError("gone", sent=sent))
    assert two.one._owed == {("ci", 20_000, 24_000): owed}
