"""What the fleet's program counts in Lua, on a real server, against what one process counts in Python: to the number."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fakes.line import until
from fakes.valkey import name, valkey
from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault
from fittengate.core.reply import Usage
from fittengate.services.fleet_limits import FleetLimits
from fittengate.services.fleet_script import program
from fittengate.services.limits import LocalLimits, Need
from fittengate.services.valkey import Valkey, script

PROGRAM = script(program("{redis.call('GET', 'twin:s'), redis.call('GET', 'twin:us')}"))

START = datetime(2024, 2, 28, 23, 57, tzinfo=UTC).timestamp()
"""Three minutes before a leap day, a day and three minutes before the end of a month."""

DAY = 86_400

PATIENCE = 30.0
"""Seconds for the server to answer: a machine that stands still for a while is no outage here."""


class Clock:
    """Both readings of the one time that there is; in eighths of a second, which floats and milliseconds have alike."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return START + self.seconds

    def monotonic(self):
        return self.now()


# Few numbers, so that limits are met exactly and minutes end to the moment; 0 and None are for no limit.
most = st.sampled_from([0, 0, 0, 100, 200, 300, 1100, 2500, 5000])
allowances = st.builds(
    Allowance,
    rpm=st.sampled_from([0, 0, 1, 2, 4]),
    tpm=most,
    concurrency=st.sampled_from([0, 0, 1, 2, 4]),
    tokens_per_day=most,
    tokens_per_month=most,
)
needs = st.builds(
    Need,
    prompt=st.sampled_from([50, 50, 100, 1, 0, None]),
    output=st.sampled_from([None, None, 50, 100, 1000]),
    requests=st.sampled_from([1, 1, 1, 0, 2]),
    slots=st.sampled_from([1, 1, 1, 0, 2]),
    answers=st.sampled_from([1, 1, 1, 2, 3]),
)
used = st.sampled_from([0, 50, 100, 150, 1000, 1074, 1100, 2500])
eighths = st.sampled_from([1, 3, 4, 7, 8, 9, 240, 471, 472, 479, 480, 481, 8 * DAY])


def told(fault):
    """Return all that a refusal says."""
    return fault.kind, fault.message, fault.code, fault.retry_after, fault.limits


def machine_on(server):  # noqa: C901 - a machine is a class
    """Return the machine, on this server."""

    class Twins(RuleBasedStateMachine):
        """The same is asked of a replica, which asks the server, and of limits of one process."""

        leases = Bundle("leases")

        @initialize(own=st.tuples(allowances, allowances), account=st.one_of(st.just(Allowance()), allowances))
        def begin(self, own, account):
            self.clock = Clock()
            self.callers = [Caller(who, owner=who, allowance=one) for who, one in zip("ab", own, strict=True)]
            self.loop = asyncio.new_event_loop()
            self.alone = LocalLimits(account, self.clock)
            self.loop.run_until_complete(self._begin(account))

        async def _begin(self, account):
            self.valkey = Valkey(server.url, self._failed)
            self.valkey.seconds = PATIENCE
            await self._set_clock()
            self.fleet = FleetLimits(
                LocalLimits(account, self.clock), self.valkey, name(), "twin", 1.0, self._failed, PROGRAM
            )
            # Time is the machine's: nobody is to be heard of by another one.
            self.fleet._timer.cancel()

        @staticmethod
        def _failed(*words, **more):
            raise AssertionError(words, more)

        async def _set_clock(self):
            ms = round(self.clock.now() * 1000)
            await self.valkey.command("MSET", "twin:s", ms // 1000, "twin:us", ms % 1000 * 1000)

        async def _told(self):
            """Wait until the server has been told everything, and has said how things stand."""
            self.fleet._beats_now()
            await until(lambda: not self.fleet._pending() and not self.fleet._sending, PATIENCE, pause=0)

        @rule(target=leases, caller=st.integers(0, 1), need=needs)
        def admit(self, caller, need):
            return self.admitted(self.callers[caller], need)

        @rule(caller=st.integers(0, 1), need=needs, pauses=st.lists(st.sampled_from([1, 7, 8, 9]), min_size=2))
        def hurry(self, caller, need, pauses):
            """Ask one after the other, so that the minute has many uses, some of them together."""
            for parts in pauses[:6]:
                pair = self.admitted(self.callers[caller], need)
                self.end(pair, spent=True, tell=False)
                self.wait(parts)

        def admitted(self, caller, need):
            if not self.alone.apply_to(caller):
                return None
            if not self.alone.count_tokens_of(caller):
                need = Need(None, requests=need.requests, slots=need.slots)
            here, expected = self.asked_of(self.alone, caller, need)
            there, found = self.asked_of(self.fleet, caller, need)
            assert self.fleet.alone == 0
            assert found == expected
            self.compare(caller)
            if here is None:
                return None
            assert (there.output, there.answer, there.reserved) == (here.output, here.answer, here.reserved)
            return caller, here, there

        def asked_of(self, limits, caller, need):
            """Return the lease, and what the refusal says; one of them is None."""
            try:
                return self.loop.run_until_complete(limits.admit(caller, need)), None
            except Fault as fault:
                return None, told(fault)

        def compare(self, caller):
            assert self.fleet.state(caller) == self.alone.state(caller)
            for one in self.alone.of(caller):
                assert self.fleet.used(one.owner) == self.alone.used(one.owner)

        @rule(pair=leases, used=used, tell=st.booleans())
        def settle(self, pair, used, tell):
            if pair is not None:
                for lease in pair[1:]:
                    lease.settle(Usage(used, 0))
                self.tell(tell)

        def tell(self, tell):
            """Let the server know now; or later, together with what comes next."""
            if tell:
                self.loop.run_until_complete(self._told())

        @rule(pair=leases, tell=st.booleans())
        def grow(self, pair, tell):
            # An answer with a limit of its own, and one that no limit is for, has all that it may have.
            if pair is not None and pair[1].output is not None:
                self.loop.run_until_complete(self._told())
                _, here, there = pair
                assert there.more() == here.more()
                assert there.reserved == here.reserved
                self.tell(tell)

        @rule(pair=consumes(leases), spent=st.booleans(), tell=st.booleans())
        def end(self, pair, spent, tell):
            if pair is not None:
                for lease in pair[1:]:
                    if spent:
                        lease.settle(None)
                    lease.release()
                self.tell(tell)

        @rule(parts=eighths)
        def wait(self, parts):
            self.loop.run_until_complete(self._pass(parts / 8))

        async def _pass(self, seconds):
            # What the server is told later counts from later on.
            await self._told()
            self.clock.seconds += seconds
            await self._set_clock()
            await self._told()

        @precondition(lambda self: hasattr(self, "clock"))
        @rule(caller=st.integers(0, 1))
        def look(self, caller):
            """Ask for nothing, and compare everything."""
            caller = self.callers[caller]
            if self.alone.apply_to(caller):
                nothing = Need(None, requests=0, slots=0)
                self.alone.admit_now(caller, nothing).release()
                self.loop.run_until_complete(self.fleet.admit(caller, nothing)).release()
                self.compare(caller)

        def teardown(self):
            if hasattr(self, "fleet"):
                self.loop.run_until_complete(self._end())
                self.loop.close()

        async def _end(self):
            await self.fleet.close()
            await self.valkey.close()

    return Twins


@pytest.fixture(scope="module")
def server():
    """Run a server for all examples; each has a fleet of its own there."""
    with valkey() as one:
        yield one


def test_the_server_counts_as_one_process_does(server):
    """Any order of admissions, growth, settlements, ends and time: what is admitted, reserved, refused and told is equal."""
    run_state_machine_as_test(
        machine_on(server), settings=settings(max_examples=25, stateful_step_count=40, deadline=None)
    )
