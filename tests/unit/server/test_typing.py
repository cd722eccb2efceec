"""Completions of a reader who types: shared, superseded, remembered, and never crossed between keys."""

import asyncio

import pytest

from fittengate.core.ask import FillAsk, Sampling
from fittengate.core.caller import Caller
from fittengate.core.events import Began, Ended, TextDelta, fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.server.typing import FILE_CHARS, Typing, file_of, same_file
from fittengate.services.clock import SystemClock
from fittengate.services.memory import Memory
from fittengate.services.queue import Turns

ONE, TWO = Caller("one", owner="1"), Caller("two", owner="2")
HEAD = "import os\nimport sys\n\n\ndef main(arguments: list[str]) -> int:\n" + "    # a line\n" * 20


class Scripted:
    """An upstream whose answers come when they are let; it notes which calls are open."""

    def __init__(self):
        self.asked = []
        self.open = 0
        self.go = asyncio.Event()
        self.rest = asyncio.Event()
        self.rest.set()
        self.fault = None

    async def complete(self, fill):
        """Yield the answer, the same for all, in three pieces."""
        self.asked.append(fill)
        self.open += 1
        try:
            yield [Began()]
            await self.go.wait()
            if self.fault is not None:
                raise self.fault
            yield [TextDelta("foo(")]
            yield [TextDelta("bar)"), Ended(StopReason.DONE, Usage(10, 2, estimated=True))]
            await self.rest.wait()
        finally:
            self.open -= 1


@pytest.fixture
async def upstream():
    return Scripted()


def made(upstream, most=0, queue=10):
    turns = Turns(most, queue, 1)
    return Typing(upstream, turns, Memory(SystemClock())), turns


async def read(filling):
    events = []
    source = filling.events()
    try:
        async for batch in source:
            events += batch
    finally:
        await source.aclose()
    return fold(events)


def reading(filling):
    return asyncio.create_task(read(filling))


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_equal_requests_share_a_call_and_its_cost(upstream):
    """Both get the whole answer, also the one that came later; the prompt is charged once."""
    typing, turns = made(upstream)
    first = reading(await typing.begin(FillAsk("x = "), ONE))
    await settle()
    filling = await typing.begin(FillAsk("x = "), ONE)
    second = reading(filling)
    upstream.go.set()
    one, two = await first, await second
    assert (one.text, two.text, filling.source) == ("foo(bar)", "foo(bar)", "shared")
    assert (one.usage, two.usage) == (Usage(10, 2, estimated=True), Usage(0, 2, estimated=True))
    assert (len(upstream.asked), upstream.open, turns.running) == (1, 0, 0)


async def test_a_shared_call_is_closed_when_its_last_reader_leaves(upstream):
    """One leaves, the other goes on; both leave, and it is closed before they are gone. Nothing is remembered of it."""
    typing, turns = made(upstream)
    tasks = [reading(await typing.begin(FillAsk("x = "), ONE)) for _ in range(2)]
    await settle()
    tasks[0].cancel()
    await settle()
    assert upstream.open == 1
    tasks[1].cancel()
    await asyncio.wait({tasks[1]})
    assert (upstream.open, turns.running) == (0, 0)
    # Who comes now does not join a call that is being closed.
    filling = await typing.begin(FillAsk("x = "), ONE)
    assert filling.source is None
    filling.leave()
    await settle()
    assert (upstream.open, turns.running) == (0, 0)


@pytest.mark.parametrize("steps", range(4))
async def test_a_call_that_is_left_at_once_keeps_no_turn(upstream, steps):
    """Also where its task has not begun, or is just beginning."""
    typing, turns = made(upstream, most=3)
    filling = await typing.begin(FillAsk("x = "), ONE)
    for _ in range(steps):
        await asyncio.sleep(0)
    filling.leave()
    filling.leave()
    await settle()
    assert (turns.running, upstream.open) == (0, 0)


@pytest.mark.parametrize("steps", range(4))
async def test_a_newer_request_about_the_file_ends_the_older_one(upstream, steps):
    """All who read the older one are told; it is closed, and its turn is there for the newer one."""
    typing, turns = made(upstream, most=2, queue=0)
    older = [reading(await typing.begin(FillAsk("x = ", file_name="a.py"), ONE)) for _ in range(2)]
    for _ in range(steps):
        await asyncio.sleep(0)
    newer = reading(await typing.begin(FillAsk("x = f", file_name="a.py"), ONE))
    for task in older:
        with pytest.raises(Fault) as caught:
            await task
        assert caught.value.kind is FaultKind.CALLER_SUPERSEDED
    await settle()
    assert (upstream.open, turns.running) == (1, 1)
    upstream.go.set()
    assert (await newer).text == "foo(bar)"
    assert typing.counts == {"called": 2, "shared": 1, "superseded": 1}


async def test_one_that_waits_for_a_turn_is_superseded_too(upstream):
    """It leaves the queue and never calls."""
    typing, turns = made(upstream, most=2)
    assert turns.try_enter(1, "completion")
    waiting = asyncio.create_task(typing.begin(FillAsk("x = ", file_name="a.py"), ONE))
    await settle()
    newer = asyncio.create_task(typing.begin(FillAsk("x = f", file_name="a.py"), ONE))
    with pytest.raises(Fault) as caught:
        await waiting
    assert caught.value.kind is FaultKind.CALLER_SUPERSEDED
    await settle()
    assert (turns.waiting, len(upstream.asked)) == (1, 0)
    turns.leave(1, "completion")
    upstream.go.set()
    assert (await read(await newer)).text == "foo(bar)"
    assert [fill.prefix for fill in upstream.asked] == ["x = f"]


@pytest.mark.parametrize(
    ("fill", "caller"),
    [
        (FillAsk("x = f", file_name="b.py"), ONE),
        (FillAsk("x = f", file_name="a.py"), TWO),
        (FillAsk("x = f"), ONE),
        (FillAsk("", file_name="a.py", sampling=Sampling(0)), ONE),
    ],
)
async def test_other_files_and_keys_are_left_alone(upstream, fill, caller):
    """Nor does one without a file name end it, nor one that only warms up."""
    typing, _ = made(upstream)
    older = reading(await typing.begin(FillAsk("x = ", file_name="a.py"), ONE))
    newer = reading(await typing.begin(fill, caller))
    await settle()
    upstream.go.set()
    assert (await older).text == (await newer).text == "foo(bar)"


async def test_a_file_without_a_name_is_known_by_its_ends(upstream):
    """How it begins and ends, where that says something; a small file is not told from another."""
    tail = "\n\nif __name__ == '__main__':\n" + "    main()\n" * 30

    def same(one, other, owner="1"):
        return same_file(file_of("1", FillAsk(*one)), file_of(owner, FillAsk(*other)))

    assert same((HEAD + "a", tail), (HEAD + "abc", "x" + tail))
    assert same(("imp", tail), ("import", tail))
    assert same((HEAD, ""), (HEAD + "abc", ""))
    assert not same((HEAD, tail), (HEAD, tail), "2")
    assert not same((HEAD, tail), ("#" + HEAD, tail))
    assert not same((HEAD, tail), (HEAD, tail + "#"))
    assert not same(("x = ", "\n"), ("x = f", "\n"))
    assert not same((" \n" * FILE_CHARS, "\n" * FILE_CHARS), (" \n" * FILE_CHARS + "x", "\n" * FILE_CHARS))
    typing, _ = made(upstream)
    older = reading(await typing.begin(FillAsk(HEAD + "a", tail), ONE))
    reading(await typing.begin(FillAsk(HEAD + "ab", tail), ONE))
    with pytest.raises(Fault):
        await older


async def test_typing_on_asks_nobody(upstream):
    """The rest comes from memory, takes no turn, costs its words alone, and ends what was under way."""
    typing, turns = made(upstream, most=1, queue=0)
    upstream.go.set()
    first = await read(await typing.begin(FillAsk("x = ", file_name="a.py"), ONE))
    assert first.text == "foo(bar)"
    upstream.go.clear()
    older = reading(await typing.begin(FillAsk("y = ", file_name="a.py"), ONE))
    await settle()
    filling = await typing.begin(FillAsk("x = foo", file_name="a.py"), ONE)
    reply = await read(filling)
    assert (reply.text, reply.usage, filling.source) == ("(bar)", Usage(0, 3, estimated=True), "hit")
    with pytest.raises(Fault):
        await older
    assert len(upstream.asked) == 2
    assert (await typing.begin(FillAsk("x = foo", file_name="a.py"), TWO)).source is None
    await typing.close()
    assert (turns.running, upstream.open) == (0, 0)


async def test_a_fault_reaches_every_reader_and_is_not_remembered(upstream):
    """Neither is an answer that broke off: the next request asks again."""
    typing, turns = made(upstream)
    upstream.fault = Fault(FaultKind.UPSTREAM_BROKEN, "broken")
    tasks = [reading(await typing.begin(FillAsk("x = "), ONE)) for _ in range(2)]
    upstream.go.set()
    for task in tasks:
        with pytest.raises(Fault) as caught:
            await task
        assert caught.value.kind is FaultKind.UPSTREAM_BROKEN
    upstream.fault = None
    assert (await read(await typing.begin(FillAsk("x = "), ONE))).text == "foo(bar)"
    assert (len(upstream.asked), turns.running) == (2, 0)


async def test_a_full_queue_is_told_before_an_answer_begins(upstream):
    """So that it has its own status; who leaves while waiting leaves nothing behind."""
    typing, turns = made(upstream, most=1, queue=0)
    assert turns.try_enter(1, "completion")
    with pytest.raises(Fault) as caught:
        await typing.begin(FillAsk("x = "), ONE)
    assert caught.value.kind is FaultKind.GATEWAY_BUSY
    typing, turns = made(upstream, most=1)
    assert turns.try_enter(1, "completion")
    waiting = asyncio.create_task(typing.begin(FillAsk("x = "), ONE))
    await settle()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert (turns.waiting, turns.running) == (0, 1)


async def test_an_answer_in_the_middle_can_be_superseded(upstream):
    """What was read stays read, and then comes the fault: never a clean end."""
    typing, _ = made(upstream)
    older = (await typing.begin(FillAsk("x = ", file_name="a.py"), ONE)).events()
    assert await anext(older) == [Began()]
    newer = await typing.begin(FillAsk("x = f", file_name="a.py"), ONE)
    with pytest.raises(Fault):
        await anext(older)
    newer.leave()


async def test_an_answer_that_has_ended_stays_whole(upstream):
    """A newer request that comes while the connection is still being put away takes nothing back."""
    typing, turns = made(upstream)
    upstream.rest.clear()
    upstream.go.set()
    older = (await typing.begin(FillAsk("x = ", file_name="a.py"), ONE)).events()
    events = []
    async for batch in older:
        events += batch
        if isinstance(events[-1], Ended):
            newer = await typing.begin(FillAsk("y = ", file_name="a.py"), ONE)
    assert fold(events).text == "foo(bar)"
    newer.leave()
    await settle()
    assert (turns.running, upstream.open) == (0, 0)
