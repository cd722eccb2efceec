"""Completions that come, are shared, superseded, left and answered in any order: no call and no turn is ever lost."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fittengate.core.ask import FillAsk
from fittengate.core.caller import Caller
from fittengate.core.events import Began, Ended, TextDelta, fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.server.typing import Typing
from fittengate.services.clock import SystemClock
from fittengate.services.memory import Memory
from fittengate.services.queue import Turns

TEXT = "abab"
KEYS = ("one", "two")


class Held:
    """An upstream that answers when it is let; it knows which calls are open."""

    def __init__(self):
        self.open = []

    async def complete(self, fill):
        """Yield the answer once it is let."""
        go = asyncio.get_running_loop().create_future()
        self.open.append((fill, go))
        try:
            yield [Began()]
            await go
            yield [TextDelta(TEXT), Ended(StopReason.DONE, Usage(5, 1, estimated=True))]
        finally:
            self.open.remove((fill, go))


class TypingMachine(RuleBasedStateMachine):
    """Readers of two keys and two files, with few turns."""

    MOST, QUEUE = 3, 2

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.upstream = Held()
        self.turns = Turns(self.MOST, self.QUEUE, 0)
        self.typing = Typing(self.upstream, self.turns, Memory(SystemClock()))
        self.tasks = []
        self.charged = 0
        self.answered = 0

    async def ask(self, key, fill):
        filling = await self.typing.begin(fill, Caller(key, owner=key))
        events = filling.events()
        got = []
        try:
            async for batch in events:
                got += batch
        finally:
            await events.aclose()
            filling.leave()
        reply = fold(got)
        # What is served, inserted here, gives a file that an answer to some beginning of it gave.
        made = fill.prefix + reply.text
        assert any(made == fill.prefix[:at] + TEXT for at in range(len(fill.prefix) + 1))
        self.charged += reply.usage.input_tokens > 0

    def turn_loop(self, times):
        async def run():
            for _ in range(times):
                await asyncio.sleep(0)

        if times:
            self.loop.run_until_complete(run())

    @rule(
        key=st.sampled_from(KEYS),
        name=st.sampled_from(["", "a.py", "b.py"]),
        prefix=st.sampled_from(["x", "xa", "xab", "xb", "y"]),
        steps=st.integers(0, 3),
    )
    def come(self, key, name, prefix, steps):
        self.tasks.append(self.loop.create_task(self.ask(key, FillAsk(prefix, "", name))))
        self.turn_loop(steps)

    @rule(which=st.integers(0), steps=st.integers(0, 3))
    def go_away(self, which, steps):
        alive = [task for task in self.tasks if not task.done()]
        if alive:
            alive[which % len(alive)].cancel()
        self.turn_loop(steps)

    @rule(which=st.integers(0), fails=st.booleans(), steps=st.integers(0, 3))
    def answer(self, which, fails, steps):
        waiting = [go for _, go in self.upstream.open if not go.done()]
        if waiting:
            go = waiting[which % len(waiting)]
            if fails:
                go.set_exception(Fault(FaultKind.UPSTREAM_BROKEN, "broken"))
            else:
                go.set_result(None)
                self.answered += 1
        self.turn_loop(steps)

    @invariant()
    def bounds_hold(self):
        # Completion has all turns but the one that is kept for chat.
        assert 0 <= self.turns.running < self.MOST
        assert len(self.upstream.open) <= self.turns.running
        assert 0 <= self.turns.waiting <= self.QUEUE
        assert self.charged <= self.answered

    @rule()
    def come_to_rest(self):
        self.turn_loop(25)
        waiting = [task for task in self.tasks if not task.done()]
        assert len(self.upstream.open) == self.turns.running
        assert bool(waiting) == bool(self.turns.running + self.turns.waiting)
        assert len(self.typing._calls) == len(self.typing._tasks) == self.turns.running + self.turns.waiting

    def teardown(self):
        for task in self.tasks:
            task.cancel()
        self.turn_loop(25)
        for task in self.tasks:
            assert task.done()
            if not task.cancelled() and (error := task.exception()) is not None:
                assert isinstance(error, Fault), error
        typing = self.typing
        assert (self.turns.running, self.turns.waiting, self.upstream.open) == (0, 0, [])
        assert (typing._calls, typing._files, typing._tasks) == ({}, {}, set())
        self.loop.close()


TestTyping = TypingMachine.TestCase
TestTyping.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
