"""How workers ask each other; that processes do is in tests/e2e/test_workers.py."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from fittengate.server import siblings
from fittengate.server.siblings import MOST_AT_A_TIME, Inboxes, Siblings

DESCRIPTORS = Path("/proc/self/fd")


def opened():
    """Return how many descriptors this process has."""
    return len(list(DESCRIPTORS.iterdir()))


@contextlib.asynccontextmanager
async def workers(count):
    """Give what each of so many workers has, as if each had been forked."""
    inboxes = Inboxes(count)
    made = []
    for number in range(count):
        # A process has sockets of its own, so each worker here has copies.
        inbox = inboxes._pairs[number][0].dup()
        others = [pair[1].dup() for at, pair in enumerate(inboxes._pairs) if at != number]
        made.append(Siblings(inbox, others))
    inboxes.close()
    for one in made:
        one.answer(knows(b""))
    try:
        yield made
    finally:
        for one in made:
            await one.close()


def knows(answer):
    async def answerer(question):
        return answer and question + answer

    return answerer


async def test_every_other_worker_is_asked_and_nobody_itself():
    """An empty answer says that one knows nothing; large answers come whole."""
    large = b"!" * 3_000_000
    async with workers(3) as (first, second, third):
        first.answer(knows(b" of myself"))
        third.answer(knows(large))
        assert await first.ask(b"who?") == [b"", b"who?" + large]
        assert await second.ask(b"who?") == [b"who? of myself", b"who?" + large]


async def test_one_that_is_silent_is_waited_for_no_longer_than_that(monkeypatch):
    """Nor is one that is gone: a letter that nobody reads costs the time and no more."""
    monkeypatch.setattr(siblings, "SECONDS", 0.05)

    async def silent(_question):
        await asyncio.Event().wait()

    async with workers(3) as (first, second, third):
        second.answer(silent)
        asyncio.get_running_loop().remove_reader(third._inbox)
        assert await first.ask(b"who?") == [None, None]


async def test_so_many_questions_are_worked_on_at_a_time():
    """What comes beyond that is told at once that nothing is known."""
    ask = asyncio.Event()

    async def slow(question):
        await ask.wait()
        return question

    async with workers(2) as (first, second):
        second.answer(slow)
        asked = [asyncio.create_task(first.ask(b"%d" % number)) for number in range(MOST_AT_A_TIME + 2)]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        ask.set()
        answers = [(await one)[0] for one in asked]
    assert done
    assert sorted(answer for answer in answers if answer) == [b"%d" % number for number in range(MOST_AT_A_TIME)]
    assert answers.count(b"") == 2


async def test_a_question_that_is_too_long_gets_no_answer():
    """It is no reason to fail."""
    async with workers(2) as (first, _):
        assert await first.ask(b"x" * 10_000_000) == [None]


async def test_who_asks_and_leaves_is_no_trouble():
    """The answer has nowhere to go, and the next question is answered."""
    go = asyncio.Event()

    async def late(question):
        await go.wait()
        return question * 1_000_000

    async with workers(2) as (first, second):
        second.answer(late)
        asked = asyncio.create_task(first.ask(b"who?"))
        while not second._tasks:
            await asyncio.sleep(0)
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asked
        go.set()
        while second._tasks:
            await asyncio.sleep(0)
        assert await first.ask(b"again") == [b"again" * 1_000_000]


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="descriptors are counted on Linux")
async def test_nothing_stays_open():
    """Whatever was asked and answered."""
    before = opened()
    async with workers(3) as (first, second, _):
        second.answer(knows(b"!"))
        for _ in range(20):
            await first.ask(b"who?")
    assert opened() <= before
