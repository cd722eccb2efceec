"""The deadlines of one call, with the clock moved by hand."""

import asyncio

import pytest

from fittengate.core.faults import FaultKind
from fittengate.lib.timers import Timer
from fittengate.upstream.fitten.watch import Deadlines, Watch


class Hands:
    """The loop's clock and the timers, both moved by hand; ``wait`` is a call that waits for the service."""

    def __init__(self, monkeypatch):
        self.now, self.started, self.due = 1000.0, [], None
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    def start(self, seconds, callback):
        self.started.append(seconds)
        self.due = self.now + seconds
        self.timer = Timer(self.due, callback)
        return self.timer

    async def pass_by(self, seconds):
        """Let time pass, and ring whenever a timer is due."""
        end = self.now + seconds
        while self.due is not None and self.due <= end:
            self.now, self.due = self.due, None
            self.timer.callback()
            await asyncio.sleep(0)
        self.now = end
        await asyncio.sleep(0)

    async def call(self, deadlines, *, first_byte=None):
        """Return a watch and the task that waits under it; the task gives the fault of a missed deadline."""
        made = asyncio.get_running_loop().create_future()

        async def wait():
            watch = Watch(self, asyncio.get_running_loop(), deadlines)
            watch.waiting = True
            made.set_result(watch)
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                fault = watch.late()
                if fault is None:
                    raise
                assert asyncio.current_task().cancelling() == 0
                return fault

        task = asyncio.create_task(wait())
        return await made, task


@pytest.fixture
def hands(monkeypatch, anyio_backend):
    return lambda: Hands(monkeypatch)


@pytest.mark.parametrize(
    ("deadlines", "seconds", "name"),
    [
        (Deadlines(3, 0, 0), 3, "first_token_timeout"),
        (Deadlines(0, 0, 4), 4, "total_timeout"),
        (Deadlines(3, 9, 9), 3, "first_token_timeout"),
        (Deadlines(9, 9, 4), 4, "total_timeout"),
        (Deadlines(4, 0, 4), 4, "total_timeout"),
    ],
)
async def test_a_missed_deadline_ends_the_wait_with_a_fault_that_names_its_setting(hands, deadlines, seconds, name):
    """At its time and not before; the cancellation is taken back, and told once."""
    by = hands()
    watch, task = await by.call(deadlines)
    await by.pass_by(seconds - 0.01)
    assert not task.done()
    await by.pass_by(0.01)
    fault = await task
    assert fault.kind is FaultKind.UPSTREAM_LATE
    assert name in fault.message
    assert f" {seconds} s" in fault.message
    assert watch.late() is None


async def test_silence_counts_from_the_last_byte_and_only_after_the_first(hands):
    """Keep-alives are life: each begins the silence anew. Before the first byte there is none to measure."""
    by = hands()
    watch, task = await by.call(Deadlines(60, 5, 0))
    await by.pass_by(30)
    for _ in range(4):
        watch.heard(by.now)
        watch.waiting = True
        await by.pass_by(4)
    assert not task.done()
    await by.pass_by(0.9)
    assert not task.done()
    await by.pass_by(0.11)
    assert "idle_timeout" in (await task).message


async def test_keep_alives_are_no_word_and_a_word_ends_the_wait_for_one(hands):
    """The deadline of the first word stands whatever else comes, until the word does."""
    by = hands()
    watch, task = await by.call(Deadlines(10, 5, 0))
    for _ in range(3):
        await by.pass_by(3)
        watch.heard(by.now)
        watch.waiting = True
    await by.pass_by(1)
    assert "first_token_timeout" in (await task).message
    by = hands()
    watch, task = await by.call(Deadlines(10, 5, 30))
    watch.spoke()
    for _ in range(7):
        await by.pass_by(4)
        watch.heard(by.now)
        watch.waiting = True
    assert not task.done()
    await by.pass_by(2)
    assert "total_timeout" in (await task).message


async def test_while_the_client_is_waited_for_no_deadline_counts(hands):
    """It is looked at again a few times a second, not all the time; once the service is waited for, it counts."""
    by = hands()
    watch, task = await by.call(Deadlines(0, 0, 10))
    watch.waiting = False
    await by.pass_by(60)
    assert not task.done()
    assert min(by.started) >= 0.2
    assert len(by.started) < 300
    watch.waiting = True
    await by.pass_by(0.21)
    assert "total_timeout" in (await task).message


async def test_without_deadlines_there_is_no_timer(hands):
    """0 seconds means none, for each of them and for all."""
    by = hands()
    watch, task = await by.call(Deadlines(0, 0, 0))
    assert by.started == []
    watch.stop()
    task.cancel()
    await asyncio.wait({task})


async def test_a_call_that_has_ended_is_watched_no_longer(hands):
    """Its timer is given back, and one that rings in that moment ends nobody's wait."""
    by = hands()
    watch, task = await by.call(Deadlines(3, 0, 0))
    bucket = {by.timer: None}
    by.timer._bucket = bucket
    watch.stop()
    assert not bucket
    await by.pass_by(5)
    assert not task.done()
    assert watch.late() is None
    task.cancel()
    await asyncio.wait({task})


async def test_p3_the_cancellation_of_a_client_that_leaves_is_not_taken_for_a_deadline(hands):
    """P3: it goes on as what it is."""
    by = hands()
    watch, task = await by.call(Deadlines(3, 0, 0))
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    watch.stop()
