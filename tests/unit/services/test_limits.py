"""Limits: reserved before, settled after, given back on every way; a key's and the account's together."""

import asyncio

import pytest

from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import Usage
from fittengate.services import limits as limits_module
from fittengate.services.limits import LocalLimits, Need
from fittengate.services.tally import USUAL_OUTPUT

MIDNIGHT = 1_000_000_000 // 86_400 * 86_400


class Clock:
    """Two readings that are moved by hand."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return MIDNIGHT + self.seconds

    def monotonic(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def limits_of(clock, **account):
    return LocalLimits(Allowance(**account), clock)


def caller(name="ci", **limits):
    return Caller(name, owner=f"owner-{name}", allowance=Allowance(**limits))


def refused(limits, who, need=Need()):
    with pytest.raises(Fault) as caught:
        limits.admit_now(who, need)
    return caught.value


def used(limits, who, period="days"):
    return sum(getattr(limits._meters[who.owner], period).of.values())


def test_nothing_applies_to_a_caller_without_limits(clock):
    """Neither a lease nor an estimate is needed; one limit of the account is enough to need both."""
    assert not limits_of(clock).apply_to(caller())
    assert limits_of(clock).apply_to(caller(rpm=1))
    assert limits_of(clock, concurrency=1).apply_to(caller())
    assert not limits_of(clock, rpm=1).count_tokens_of(caller(concurrency=1))
    assert limits_of(clock, tokens_per_month=1).count_tokens_of(caller())
    assert limits_of(clock).count_tokens_of(caller(tpm=1))


def test_requests_at_a_time_are_given_back_once(clock):
    """However often the end is said."""
    limits, who = limits_of(clock), caller(concurrency=2)
    first, _second = limits.admit_now(who, Need()), limits.admit_now(who, Need())
    fault = refused(limits, who)
    assert (fault.kind, fault.retry_after) == (FaultKind.POLICY_RATE, 1)
    assert "2 requests at a time (concurrency)" in fault.message
    first.release()
    first.release()
    limits.admit_now(who, Need())
    refused(limits, who)


def test_what_was_really_used_takes_the_place_of_what_was_reserved(clock):
    """The first time it is said."""
    limits, who = limits_of(clock), caller(tokens_per_day=1000)
    lease = limits.admit_now(who, Need(100, 500))
    assert used(limits, who) == 600
    lease.settle(Usage(90, 10))
    lease.settle(Usage(1, 1))
    lease.release()
    assert used(limits, who) == used(limits, who, "months") == 100


def test_what_was_not_settled_is_given_back(clock):
    """The request never reached the service."""
    limits, who = limits_of(clock), caller(tpm=1000)
    limits.admit_now(who, Need(100, 500)).release()
    assert used(limits, who) == 0
    assert limits.state(who).tokens.remaining == 1000


def test_what_nobody_counted_is_what_was_reserved(clock):
    """To leave before the end is no way past a limit."""
    limits, who = limits_of(clock), caller(tpm=1000)
    lease = limits.admit_now(who, Need(100, 500))
    lease.settle(None)
    lease.release()
    assert limits.state(who).tokens.remaining == 400


def test_an_answer_without_a_limit_reserves_what_is_usual_or_left(clock):
    """1,024 tokens, or what is left if that is less; and it ends where what is left ends."""
    limits, who = limits_of(clock), caller(tokens_per_day=3000)
    lease = limits.admit_now(who, Need(500))
    assert used(limits, who) == 500 + USUAL_OUTPUT
    assert lease.output == 2500
    second = limits.admit_now(who, Need(1000))
    assert used(limits, who) == 3000
    assert second.output == 476
    assert refused(limits, who, Need(1)).kind is FaultKind.POLICY_QUOTA
    assert limits.admit_now(caller("other", tpm=5000), Need(100, 50)).output is None


def test_an_answer_that_grows_reserves_more_until_nothing_is_left(clock):
    """Of the key and of the account; what it came to takes the place of all of it."""
    limits, who = limits_of(clock, tokens_per_month=3000), caller(tokens_per_day=10_000, tpm=10_000)
    lease = limits.admit_now(who, Need(100))
    assert (lease.answer, lease.reserved) == (USUAL_OUTPUT, 100 + USUAL_OUTPUT)
    clock.seconds = 30
    assert lease.more() == USUAL_OUTPUT
    assert limits.state(who).tokens.remaining == 3000 - 100 - 2 * USUAL_OUTPUT
    assert refused(limits, who, Need(1000)).kind is FaultKind.POLICY_QUOTA
    assert lease.more() == 3000 - 100 - 2 * USUAL_OUTPUT
    assert lease.more() == 0
    lease.settle(Usage(90, 2500))
    lease.release()
    assert (used(limits, who), limits._all.tokens.total, lease.more()) == (2590, 2590, 0)


def test_two_that_grow_cannot_have_the_same_tokens(clock):
    """Whoever asks first has them; what one gives back the other may have."""
    limits, who = limits_of(clock), caller(tpm=3000)
    first, second = limits.admit_now(who, Need(100)), limits.admit_now(who, Need(100))
    assert (first.more(), second.more()) == (3000 - 200 - 2 * USUAL_OUTPUT, 0)
    first.release()
    assert second.more() == USUAL_OUTPUT


def test_what_was_reserved_later_is_given_back_first(clock):
    """It counts for longest: what was really used leaves the minute with the admission."""
    limits, who = limits_of(clock), caller(tpm=5000)
    lease = limits.admit_now(who, Need(100))
    clock.seconds = 50
    lease.more()
    lease.settle(Usage(100, 1000))
    clock.seconds = 60
    assert limits.state(who).tokens.remaining == 5000


def test_what_grows_after_midnight_is_the_day_of_its_admission(clock):
    """As everything that an answer comes to: the new day is not asked, and not changed."""
    limits, who = limits_of(clock), caller(tokens_per_day=2000)
    clock.seconds = 86_400 - 5
    lease = limits.admit_now(who, Need(100))
    clock.seconds += 10
    assert (lease.more(), lease.more()) == (2000 - 100 - USUAL_OUTPUT, 0)
    assert limits.state(who).tokens.remaining == 2000


def test_what_alone_exceeds_the_rest_is_refused(clock):
    """The prompt with the least answer, or with the answer that was asked for, must fit."""
    limits, who = limits_of(clock), caller(tokens_per_day=1000)
    limits.admit_now(who, Need(100, 300)).settle(None)
    refused(limits, who, Need(600))
    refused(limits, who, Need(500, 101))
    limits.admit_now(who, Need(599))


def test_a_quota_is_told_in_more_than_a_minute(clock):
    """Agents then stop at once: until midnight, or a minute and a second where midnight is near."""
    limits, who = limits_of(clock), caller(tokens_per_day=100)
    clock.seconds = 86_400 - 7200
    limits.admit_now(who, Need(50, 50)).settle(None)
    fault = refused(limits, who, Need(50, 50))
    assert (fault.kind, fault.retry_after, fault.should_retry) == (FaultKind.POLICY_QUOTA, 7200, False)
    assert "100 tokens a day (UTC) (tokens_per_day)" in fault.message
    clock.seconds = 86_400 - 5
    assert refused(limits, who, Need(50, 50)).retry_after == 61
    clock.seconds = 86_400
    limits.admit_now(who, Need(50, 50))


def test_what_never_fits_is_not_tried_again(clock):
    """More than the limit itself: waiting does not help, and the answer says so."""
    limits, who = limits_of(clock), caller(tpm=100)
    fault = refused(limits, who, Need(80, 21))
    assert (fault.status, fault.retry_after, fault.should_retry) == (429, 61, False)
    assert "this request alone may come to 101" in fault.message


def test_a_rate_is_told_in_a_minute_at_most(clock):
    """And to wait so long is enough."""
    limits, who = limits_of(clock), caller(rpm=2)
    limits.admit_now(who, Need())
    clock.seconds = 20
    limits.admit_now(who, Need())
    fault = refused(limits, who)
    assert (fault.kind, fault.retry_after, fault.should_retry) == (FaultKind.POLICY_RATE, 40, None)
    clock.seconds += fault.retry_after
    limits.admit_now(who, Need())
    refused(limits, who)


def test_what_is_refused_is_not_counted(clock):
    """Neither for the key nor for the account: a client that keeps asking does not shut itself out."""
    limits, who, other = limits_of(clock, rpm=2), caller(rpm=1), caller("other")
    limits.admit_now(who, Need())
    for _ in range(10):
        refused(limits, who)
    limits.admit_now(other, Need())
    fault = refused(limits, other)
    assert "All keys together" in fault.message
    assert "limits.account_rpm" in fault.message
    assert limits._all.requests.total == 2


def test_a_further_call_is_no_further_request(clock):
    """It needs tokens alone."""
    limits, who = limits_of(clock), caller(rpm=1, concurrency=1, tpm=1000)
    limits.admit_now(who, Need(10, 10))
    limits.admit_now(who, Need(10, 10, requests=0, slots=0)).release()
    assert limits._meters[who.owner].running == 1


def test_the_tightest_limit_is_the_state(clock):
    """Of key and account; in the fault too."""
    limits, who = limits_of(clock, rpm=10, tokens_per_day=100), caller(rpm=20)
    limits.admit_now(who, Need(30, 40))
    state = limits.state(who)
    assert (state.requests.limit, state.requests.remaining) == (10, 9)
    assert (state.tokens.limit, state.tokens.remaining, state.tokens.resets_in) == (100, 30, 86_400)
    assert refused(limits, who, Need(30, 40)).limits == state
    assert limits_of(clock).state(caller(concurrency=1)) is None


async def test_p9_a_thousand_at_once_do_not_pass_a_budget(clock):
    """P9: nothing comes between the look at what is left and the taking of it."""
    limits, who = limits_of(clock, tokens_per_day=10_000), caller()

    async def ask():
        lease = await limits.admit(who, Need(20, 30))
        await asyncio.sleep(0)
        lease.settle(Usage(20, 25))
        lease.release()

    done = await asyncio.gather(*(ask() for _ in range(1000)), return_exceptions=True)
    assert all(one is None or isinstance(one, Fault) for one in done)
    assert done.count(None) == 200
    assert sum(limits._all.days.of.values()) == 200 * 45


def test_meters_on_which_nothing_counts_are_thrown_away(clock, monkeypatch):
    """P6: and no other ones."""
    monkeypatch.setattr(limits_module, "MANY_METERS", 5)
    limits = limits_of(clock)
    limits.admit_now(caller("spent", tokens_per_day=100), Need(1, 1)).settle(None)
    running = limits.admit_now(caller("running", concurrency=1), Need())
    for number in range(20):
        clock.seconds += 61
        limits.admit_now(caller(f"k{number}", rpm=1), Need()).release()
    assert {"owner-spent", "owner-running"} < limits._meters.keys()
    assert len(limits._meters) <= 6
    running.release()
