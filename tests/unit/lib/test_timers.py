"""Many deadlines on one timer."""

import asyncio

from fittengate.lib.timers import TICK_SECONDS, Timers


class Loop:
    """An event loop's clock and timers, moved by hand."""

    def __init__(self):
        self.now, self.handles = 100.0, []

    def time(self):
        return self.now

    def call_at(self, when, callback):
        handle = [when, callback, True]
        self.handles.append(handle)

        class Handle:
            def cancel(self):
                handle[2] = False

        return Handle()

    def run(self, seconds):
        end = self.now + seconds
        while due := [h for h in self.handles if h[2] and h[0] <= end]:
            first = min(due, key=lambda h: h[0])
            first[2] = False
            self.now = max(self.now, first[0])
            first[1]()
        self.handles = [h for h in self.handles if h[2]]
        self.now = end


def test_a_deadline_is_met_once_never_early_and_at_most_one_tick_late():
    """Deadlines in any order."""
    loop, met = Loop(), []
    timers = Timers(loop)
    for seconds in (5.0, 0.3, 1.0, 0.31, 0.0):
        timers.start(seconds, lambda s=seconds: met.append((s, loop.now - 100)))
    loop.run(10)
    assert [seconds for seconds, _ in met] == [0.0, 0.3, 0.31, 1.0, 5.0]
    assert all(seconds <= at <= seconds + TICK_SECONDS + 1e-9 for seconds, at in met)


def test_a_stopped_deadline_is_never_met_not_even_by_a_neighbour_of_its_tick():
    """Stopping works before, twice, and from another timer's callback."""
    loop, met = Loop(), []
    timers = Timers(loop)
    first = timers.start(1, lambda: (met.append("first"), second.stop()))
    second = timers.start(1, lambda: met.append("second"))
    third = timers.start(1, lambda: met.append("third"))
    third.stop()
    third.stop()
    loop.run(5)
    assert met == ["first"]
    first.stop()


def test_a_moved_deadline_is_met_at_its_new_time():
    """Moving away costs one number; the old tick only passes it on."""
    loop, met = Loop(), []
    timers = Timers(loop)
    timer = timers.start(1, lambda: met.append(loop.now - 100))
    loop.run(0.9)
    timer.when = loop.now + 3
    loop.run(2)
    assert met == []
    loop.run(2)
    assert len(met) == 1
    assert 3.9 <= met[0] <= 3.9 + TICK_SECONDS + 1e-9


def test_the_loop_has_one_timer_at_a_time_and_none_when_nothing_is_due():
    """Thousands of stopped deadlines leave nothing behind."""
    loop = Loop()
    timers = Timers(loop)
    for i in range(5000):
        timers.start(i % 50, lambda: None).stop()
    assert len([h for h in loop.handles if h[2]]) == 1
    loop.run(60)
    assert not [h for h in loop.handles if h[2]]
    assert not timers._buckets


async def test_it_works_on_a_real_loop():
    """The same with real time."""
    timers = Timers(asyncio.get_running_loop())
    met = asyncio.Event()
    timers.start(0.01, met.set)
    await asyncio.wait_for(met.wait(), 2)
    timers.start(1000, met.clear)
    timers.close()


def test_p6_what_was_stopped_takes_no_room_and_one_timer_of_the_loop_is_enough():
    """P6: a deadline that will not be met is let go at once, and so is the loop's timer that a sooner one replaces."""
    loop = Loop()
    timers = Timers(loop)
    for timer in [timers.start(seconds, list) for seconds in range(60, 0, -1)]:
        timer.stop()
        timer.stop()
    assert not any(timers._buckets.values())
    assert sum(handle[2] for handle in loop.handles) == 1
    met = []
    timers.start(5, lambda: met.append("late"))
    timers.close()
    loop.run(100)
    assert met == []
    timers.start(1, lambda: met.append("next"))
    loop.run(2)
    assert met == ["next"]
