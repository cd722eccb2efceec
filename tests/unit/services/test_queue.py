"""Turns at the service: bounded, fair, and never lost."""

import asyncio
import contextlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fittengate.core.faults import Fault, FaultKind
from fittengate.services.queue import Turns


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_free_turn_is_taken_at_once():
    """No waiting up to the bound, none beyond it."""
    turns = Turns(2, 0, 0)
    assert turns.try_enter()
    assert turns.try_enter()
    assert not turns.try_enter()
    assert turns.running == 2
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
    turns = Turns(3, 10, 0)
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
    three = asyncio.create_task(turns.enter("a", 3))
    await settle()
    for _ in range(4):
        await asyncio.wait_for(turns.enter("b", 1, "completion"), 1)
        turns.leave()
    fifth = asyncio.create_task(turns.enter("b", 1, "completion"))
    await settle()
    assert (turns.running, turns.waiting) == (1, 2)
    turns.leave()
    await three
    turns.leave(3)
    await fifth
    assert (turns.running, turns.waiting) == (1, 0)


async def order_of(turns, waiting):
    """Return in which order those who wait, each a lane and a number, get the one turn there is."""
    turns.try_enter()
    order = []

    async def ask(lane, number):
        await turns.enter(f"{lane}{number}", lane=lane)
        order.append((lane, number))
        turns.leave()

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


LANE_OF = {"a": "completion", "b": "interactive", "c": "background"}


class TurnsMachine(RuleBasedStateMachine):
    """Requests come, wait, are cancelled, time out and leave, in any order and between any two steps of the loop."""

    MOST, QUEUE, SECONDS = 3, 6, 10.0

    def __init__(self):
        super().__init__()
        self.loop = ManualLoop()
        self.turns = Turns(self.MOST, self.QUEUE, self.SECONDS)
        self.inside = []
        self.entered = []
        self.tasks = {}
        self.counts = {}
        self.most_seen = 0

    async def ask(self, number, caller, count):
        await self.turns.enter(caller, count, LANE_OF[caller])
        older = [t for n, (c, t) in self.tasks.items() if c == caller and n < number and n not in self.entered]
        # Whoever was given a turn may come to its next step only now; nobody older still waits for one.
        assert not [t for t in older if t._fut_waiter and not t._fut_waiter.done() and not t.cancelling()]
        self.entered.append(number)
        self.inside.append(number)
        self.counts[number] = count
        self.most_seen = max(self.most_seen, self.taken())
        try:
            await asyncio.Event().wait()
        finally:
            self.inside.remove(number)
            self.turns.leave(count)

    def taken(self):
        return sum(self.counts[number] for number in self.inside)

    def turn_loop(self, times):
        async def run():
            for _ in range(times):
                await asyncio.sleep(0)

        # Zero leaves what was just asked for undone, so that the next step comes before it.
        if times:
            self.loop.run_until_complete(run())

    @rule(caller=st.sampled_from("abc"), count=st.integers(1, 3), steps=st.integers(0, 2))
    def come(self, caller, count, steps):
        number = len(self.tasks)
        self.tasks[number] = (caller, self.loop.create_task(self.ask(number, caller, count)))
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
        if self.turns.waiting:
            wanted = next(iter(next(iter(self.turns._next().lines.values())).values()))
            assert self.turns.running + wanted > self.MOST

    @rule()
    def come_to_rest(self):
        self.turn_loop(12)
        waiting = [n for n, (_, task) in self.tasks.items() if not task.done() and n not in self.inside]
        assert self.turns.running == self.taken()
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
