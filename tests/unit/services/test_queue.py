"""Turns at the service: bounded, fair, and never lost."""

import asyncio
import contextlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fittengate.core.faults import Fault, FaultKind
from fittengate.services.queue import LANES, Turns, kind_of
from fittengate.services.shares import KINDS, other

LANE_OF = {"completion": "completion", "chat": "interactive"}


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_free_turn_is_taken_at_once():
    """No waiting up to the bound, of which one turn is kept for completion."""
    turns = Turns(3, 0, 0)
    assert turns.try_enter()
    assert turns.try_enter()
    assert not turns.try_enter()
    assert turns.running == 2
    assert turns.try_enter(1, "completion")
    assert not turns.try_enter(1, "completion")
    turns.leave()
    assert turns.try_enter()


async def test_zero_means_no_limit():
    """With 0 calls at a time everybody is let in."""
    turns = Turns(0, 0, 0)
    for _ in range(1000):
        await turns.enter("a")
    assert turns.running == 1000
    for _ in range(1000):
        turns.leave()
    assert turns.running == 0


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back():
    """Whoever finds the queue full does not wait."""
    turns = Turns(1, 1, 0)
    turns.try_enter()
    waiting = asyncio.create_task(turns.enter("a"))
    await settle()
    assert turns.waiting == 1
    assert turns.waiting_lanes == {"completion": 0, "interactive": 1, "background": 0}
    assert turns.running_kinds == {"chat": 1, "completion": 0}
    with pytest.raises(Fault) as caught:
        await turns.enter("b")
    assert caught.value.kind is FaultKind.GATEWAY_BUSY
    assert caught.value.retry_after >= 1
    turns.leave()
    await waiting


async def test_a_long_wait_ends_in_a_fault():
    """After queue_timeout the place in the queue is free again."""
    turns = Turns(1, 1, 0.01)
    turns.try_enter()
    with pytest.raises(Fault) as caught:
        await turns.enter("a")
    assert caught.value.kind is FaultKind.GATEWAY_BUSY
    assert caught.value.retry_after >= 1
    assert (turns.running, turns.waiting) == (1, 0)


async def test_callers_take_turns():
    """Twenty requests of one caller do not stand before the one of another; each caller's own come in order."""
    turns = Turns(1, 100, 0)
    turns.try_enter()
    order = []

    async def ask(caller, number):
        await turns.enter(caller)
        order.append(caller + str(number))
        turns.leave()

    tasks = [asyncio.create_task(ask("busy", number)) for number in range(4)]
    await settle()
    tasks += [asyncio.create_task(ask(caller, number)) for caller in "xy" for number in range(2)]
    await settle()
    turns.leave()
    await asyncio.gather(*tasks)
    assert order == ["busy0", "x0", "y0", "busy1", "x1", "y1", "busy2", "busy3"]
    assert (turns.running, turns.waiting) == (0, 0)


async def test_a_turn_given_to_somebody_who_just_left_is_handed_on():
    """Cancelled after the turn was given, and before the task ran: the next one has it."""
    turns = Turns(1, 10, 0)
    turns.try_enter()
    first, second = asyncio.create_task(turns.enter("a")), asyncio.create_task(turns.enter("b"))
    await settle()
    turns.leave()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert (turns.running, turns.waiting) == (1, 0)


async def test_somebody_who_is_about_to_leave_is_given_no_turn():
    """Cancelled, but still in line when a turn is given back: the next one has it."""
    turns = Turns(1, 10, 0)
    turns.try_enter()
    first, second = asyncio.create_task(turns.enter("a")), asyncio.create_task(turns.enter("b"))
    await settle()
    first.cancel()
    turns.leave()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert (turns.running, turns.waiting) == (1, 0)


async def test_several_turns_are_given_at_once_or_not_at_all():
    """Who needs three waits for three, and nobody overtakes, so that it does not wait for ever."""
    turns = Turns(3, 10, 0)
    turns.try_enter()
    three = asyncio.create_task(turns.enter("a", 3))
    await settle()
    assert not turns.try_enter()
    one = asyncio.create_task(turns.enter("b"))
    await settle()
    assert (turns.running, turns.waiting) == (1, 2)
    turns.leave()
    await three
    assert (turns.running, turns.waiting) == (3, 1)
    turns.leave(3)
    await one
    assert (turns.running, turns.waiting) == (1, 0)


async def test_those_behind_one_that_leaves_are_let_in():
    """A waiter for three turns that goes away does not leave the others waiting for turns that are free."""
    turns = Turns(4, 10, 0)
    turns.try_enter()
    three = asyncio.create_task(turns.enter("a", 3))
    await settle()
    two = asyncio.create_task(turns.enter("b", 2))
    await settle()
    three.cancel()
    with pytest.raises(asyncio.CancelledError):
        await three
    await two
    assert (turns.running, turns.waiting) == (3, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_neither_kind_has_all_turns(kind):
    """However many of one kind wait, the first of the other goes in at once."""
    turns = Turns(4, 100, 0)
    tasks = [asyncio.create_task(turns.enter(str(number), 1, LANE_OF[kind])) for number in range(10)]
    await settle()
    assert (turns.running, turns.waiting) == (3, 7)
    assert turns.try_enter(1, other(kind))
    assert not turns.try_enter(1, other(kind))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_needs_many_turns_is_not_passed_for_ever():
    """While a chat for three turns waits, completions have the one turn that is kept for them, and no more."""
    turns = Turns(4, 100, 0)
    for _ in range(3):
        assert turns.try_enter(1, "completion")
    three = asyncio.create_task(turns.enter("a", 3))
    await settle()
    turns.leave(1, "completion")
    assert not turns.try_enter(1, "completion")
    turns.leave(1, "completion")
    await three
    assert turns.running == 4


async def test_who_needs_every_turn_gets_them_when_nothing_else_runs():
    """As many answers as there are turns: nobody goes in before, not even where a turn is kept."""
    turns = Turns(2, 100, 0)
    turns.try_enter()
    both = asyncio.create_task(turns.enter("a", 2))
    await settle()
    assert not turns.try_enter(1, "completion")
    turns.leave()
    await both
    assert turns.running == 2


async def test_more_turns_than_there_are_is_refused():
    """Nobody waits for what can never come."""
    with pytest.raises(Fault) as caught:
        await Turns(2, 10, 0).enter("a", 3)
    assert (caught.value.kind, caught.value.param) == (FaultKind.CALLER_UNSUPPORTED, "n")
    await Turns(0, 10, 0).enter("a", 3)


async def test_a_better_lane_goes_past_one_that_needs_more_turns():
    """Nobody in a better lane waits for a turn that is free; whoever needs several is next after four of them."""
    turns = Turns(3, 20, 0)
    turns.try_enter()
    two = asyncio.create_task(turns.enter("a", 2, "background"))
    await settle()
    for _ in range(4):
        await asyncio.wait_for(turns.enter("b"), 1)
        turns.leave()
    fifth = asyncio.create_task(turns.enter("b"))
    await settle()
    assert (turns.running, turns.waiting) == (1, 2)
    turns.leave()
    await two
    turns.leave(2)
    await fifth
    assert (turns.running, turns.waiting) == (1, 0)


async def test_what_is_kept_for_completions_makes_nobody_impatient():
    """However many completions had the turn that is kept for them, people go before background work."""
    turns = Turns(2, 20, 0)
    turns.try_enter()
    background = asyncio.create_task(turns.enter("a", 1, "background"))
    people = asyncio.create_task(turns.enter("b"))
    await settle()
    turns.try_enter(1, "completion")
    for _ in range(8):
        completion = asyncio.create_task(turns.enter("c", 1, "completion"))
        await settle()
        turns.leave(1, "completion")
        await asyncio.wait_for(completion, 1)
    turns.leave()
    await settle()
    assert (people.done(), background.done()) == (True, False)
    turns.leave()
    await background


async def order_of(turns, waiting):
    """Return in which order those who wait, each a lane and a number, get the one turn there is."""
    turns.try_enter()
    order = []

    async def ask(lane, number):
        await turns.enter(f"{lane}{number}", lane=lane)
        order.append((lane, number))
        turns.leave(1, kind_of(lane))

    tasks = []
    for lane, number in waiting:
        tasks.append(asyncio.create_task(ask(lane, number)))
        await settle()
    turns.leave()
    await asyncio.gather(*tasks)
    assert (turns.running, turns.waiting) == (0, 0)
    return [lane for lane, _ in order]


async def test_better_lanes_go_first():
    """Completion before interactive before background, whoever came first."""
    waiting = [("background", 1), ("interactive", 1), ("completion", 1), ("interactive", 2)]
    assert await order_of(Turns(1, 10, 0), waiting) == ["completion", "interactive", "interactive", "background"]


async def test_no_lane_starves():
    """After four turns of better lanes the one that waits has the next; the worse lane first, for it waited longer."""
    many = [("completion", number) for number in range(12)]
    order = await order_of(Turns(1, 20, 0), [("background", 1), ("background", 2), ("interactive", 1), *many])
    assert order.index("background") == 4
    assert order.index("interactive") == 5
    assert order.index("background", 5) == 9
    assert order[:4] == ["completion"] * 4


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is moved by hand."""

    now = 0.0

    def time(self):
        return self.now


class TurnsMachine(RuleBasedStateMachine):
    """Requests come, wait, are cancelled, time out and leave, in any order and between any two steps of the loop."""

    MOST, QUEUE, SECONDS = 4, 6, 10.0

    def __init__(self):
        super().__init__()
        self.loop = ManualLoop()
        self.turns = Turns(self.MOST, self.QUEUE, self.SECONDS)
        self.inside = []
        self.entered = []
        self.tasks = {}
        self.counts = {}
        self.most_seen = 0

    async def ask(self, number, caller, count, lane):
        await self.turns.enter(caller, count, lane)
        older = [t for n, (who, t) in self.tasks.items() if who == (caller, lane) and n < number]
        older = [t for t in older if not t.done() and t not in {self.tasks[n][1] for n in self.entered}]
        # Whoever was given a turn may come to its next step only now; nobody older still waits for one.
        assert not [t for t in older if t._fut_waiter and not t._fut_waiter.done() and not t.cancelling()]
        kind = kind_of(lane)
        self.entered.append(number)
        self.inside.append(number)
        self.counts[number] = (count, kind)
        self.most_seen = max(self.most_seen, self.taken(*KINDS))
        try:
            await asyncio.Event().wait()
        finally:
            self.inside.remove(number)
            self.turns.leave(count, kind)

    def taken(self, *kinds):
        return sum(self.counts[number][0] for number in self.inside if self.counts[number][1] in kinds)

    def turn_loop(self, times):
        async def run():
            for _ in range(times):
                await asyncio.sleep(0)

        # Zero leaves what was just asked for undone, so that the next step comes before it.
        if times:
            self.loop.run_until_complete(run())

    @rule(caller=st.sampled_from("abc"), count=st.integers(1, 4), lane=st.sampled_from(LANES), steps=st.integers(0, 2))
    def come(self, caller, count, lane, steps):
        number = len(self.tasks)
        self.tasks[number] = ((caller, lane), self.loop.create_task(self.ask(number, caller, count, lane)))
        self.turn_loop(steps)

    @rule(which=st.integers(0), steps=st.integers(0, 2))
    def cancel(self, which, steps):
        alive = [task for _, task in self.tasks.values() if not task.done()]
        if alive:
            alive[which % len(alive)].cancel()
        self.turn_loop(steps)

    @rule(which=st.integers(0), steps=st.integers(0, 2))
    def finish(self, which, steps):
        if self.inside:
            self.tasks[self.inside[which % len(self.inside)]][1].cancel()
        self.turn_loop(steps)

    @rule(seconds=st.sampled_from([3.0, 11.0]), steps=st.integers(0, 2))
    def pass_time(self, seconds, steps):
        self.loop.now += seconds
        self.turn_loop(steps)

    @invariant()
    def bounds_hold(self):
        assert 0 <= self.turns.running <= self.MOST
        assert 0 <= self.turns.waiting <= self.QUEUE
        assert self.most_seen <= self.MOST
        running, shares = self.turns._shares.running, self.turns._shares
        heads = {kind: self.turns._next(kind).head()[2] for kind in KINDS if self.turns._next(kind)}
        for kind in KINDS:
            # Neither kind has all turns, but for a request that alone needs them.
            assert running[kind] < self.MOST or running[other(kind)] == 0
        for kind, count in heads.items():
            if max(heads.values()) < self.MOST and running[other(kind)] < self.MOST:
                # Who waits while none of its kind is inside waits for more than the turn that is kept for it.
                assert count > 1 or running[kind] > 0
        if (first := self.turns._next()) is not None:
            # Whose turn it is waits for turns that are not free, and for nothing else.
            assert not shares.fits(first.kind, first.head()[2])

    @rule()
    def come_to_rest(self):
        self.turn_loop(12)
        waiting = [n for n, (_, task) in self.tasks.items() if not task.done() and n not in self.inside]
        assert self.turns.running == self.taken(*KINDS)
        assert all(self.turns._shares.running[kind] == self.taken(kind) for kind in KINDS)
        assert self.turns.waiting == len(waiting)

    def teardown(self):
        self.turn_loop(12)
        # Nobody starves: as long as those inside leave, everybody gets in.
        for _ in range(len(self.tasks) + 1):
            for number in list(self.inside):
                self.tasks[number][1].cancel()
            self.turn_loop(4)
        for _, task in self.tasks.values():
            assert task.done()
            with contextlib.suppress(asyncio.CancelledError):
                assert task.exception() is None or task.exception().kind is FaultKind.GATEWAY_BUSY
        assert (self.turns.running, self.turns.waiting) == (0, 0)
        self.loop.close()


TestTurns = TurnsMachine.TestCase
TestTurns.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTurns.__doc__ = "No turn is lost, none is given twice, nobody starves."
