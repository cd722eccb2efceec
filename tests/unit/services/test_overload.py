"""Load is shed by degrees."""

import asyncio
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.faults import Fault, FaultKind
from fittengate.services.overload import (
    AGAIN_SECONDS,
    CALM_SECONDS,
    LEAST_GRADE,
    Load,
    Overload,
    Sampler,
    resident_bytes,
)

MOST = Load(lag=1, memory=1000, requests=100, queue=10)


def graded(load, most=MOST):
    overload = Overload(most)
    overload.observe(load, 0)
    return overload


@pytest.mark.parametrize(("share", "grade"), [(0, 0), (0.69, 0), (0.7, 1), (0.8, 2), (0.9, 3), (1, 4), (50, 4)])
@pytest.mark.parametrize("measure", ["lag", "memory", "requests"])
def test_each_measure_leads_to_each_grade(measure, share, grade):
    """The worst measure counts, and is named."""
    overload = graded(Load(**{measure: share * getattr(MOST, measure)}))
    assert overload.grade == grade
    assert overload.cause == (measure if grade else "")


def test_a_long_queue_turns_away_background_work_alone():
    """The queue has its own bounds for the others; it does not hide a worse measure either."""
    assert graded(Load(queue=1000)).grade == 2
    both = graded(Load(queue=1000, requests=91))
    assert (both.grade, both.cause) == (3, "requests")


def test_without_bounds_there_is_no_grade():
    """0 means that a measure is not looked at."""
    assert graded(Load(lag=9, memory=9e9, requests=9e9, queue=9e9), Load()).grade == 0


@pytest.mark.parametrize(
    ("grade", "shed"),
    [(0, set()), (1, set()), (2, {"background"}), (3, {"background", "interactive"}), (4, set(LEAST_GRADE))],
)
def test_what_can_wait_is_turned_away_first(grade, shed):
    """Background before interactive before completion; what was turned away is counted, and told when to come back."""
    overload = Overload(MOST)
    overload.grade = grade
    waits = {}
    for lane in LEAST_GRADE:
        if lane in shed:
            with pytest.raises(Fault) as caught:
                overload.check(lane)
            assert caught.value.kind is FaultKind.GATEWAY_BUSY
            waits[lane] = caught.value.retry_after
        else:
            overload.check(lane)
    assert set(overload.shed) == shed
    assert waits == {lane: AGAIN_SECONDS[lane] for lane in shed}
    assert len(set(AGAIN_SECONDS.values())) == len(AGAIN_SECONDS)


def test_it_rises_at_once_and_falls_step_by_step():
    """From full to idle: one grade after each calm spell."""
    overload = graded(Load(requests=100))
    seen = []
    for tick in range(1, 50):
        overload.observe(Load(), tick / 4)
        seen.append(overload.grade)
    assert seen == sorted(seen, reverse=True)
    steps = [seen.index(grade) for grade in (3, 2, 1, 0)]
    assert [later - earlier for earlier, later in pairwise(steps)] == [4 * CALM_SECONDS] * 3
    assert overload.cause == ""


def test_a_load_at_the_edge_does_not_make_it_flap():
    """Up and down by a little, for a minute: one change."""
    overload = Overload(MOST)
    changes = [overload.observe(Load(requests=89 if tick % 2 else 91), tick / 4) for tick in range(240)]
    assert sum(changes) == 1
    assert overload.grade == 3


@pytest.mark.parametrize(("load", "grade"), [(82, 3), (95, 3), (80, 2)])
def test_calm_is_unbroken(load, grade):
    """A load near a grade, or in it, begins the calm anew; one that is clearly below it is part of the calm."""
    overload = graded(Load(requests=95))
    overload.observe(Load(requests=10), 1.0)
    overload.observe(Load(requests=load), 2.0)
    overload.observe(Load(requests=10), 2.5)
    overload.observe(Load(requests=10), 1.0 + CALM_SECONDS)
    assert overload.grade == grade
    overload.observe(Load(requests=10), 2.5 + CALM_SECONDS)
    assert overload.grade == 2


def test_a_measure_that_leads_no_higher_keeps_no_higher_grade():
    """A queue that stays long calls for grade 2, so it does not hold a gateway at 3."""
    overload = graded(Load(requests=95))
    overload.observe(Load(queue=1000), 1.0)
    overload.observe(Load(queue=1000), 1.0 + CALM_SECONDS)
    assert overload.grade == 2


async def test_a_sampler_that_was_stopped_measures_no_more(monkeypatch):
    """Stopping one that was never started is no error."""
    monkeypatch.setattr("fittengate.services.overload.SAMPLE_SECONDS", 0.005)
    Sampler(Overload(MOST), lambda: (0, 0.0), print).stop()
    overload, _ = await sampled(lambda: asyncio.sleep(0), 0.0, MOST)
    await asyncio.sleep(0.03)
    assert sum(overload.lags.counts) == 0


@given(st.lists(st.floats(0, 2), min_size=1), st.integers(1, 8))
def test_the_grade_is_never_below_what_the_load_calls_for(shares, ticks):
    """Whatever the load does; and it never jumps down."""
    overload = Overload(Load(requests=100))
    now = 0.0
    for share in shares:
        before, now = overload.grade, now + ticks / 4
        changed = overload.observe(Load(requests=share * 100), now)
        assert overload.grade >= sum(share * 100 / 100 >= least for least in (0.7, 0.8, 0.9, 1.0))
        assert overload.grade >= before - 1
        assert changed == (overload.grade != before)


async def sampled(work, seconds, most):
    """Return what a sampler saw while ``work`` went on."""
    overload, told = Overload(most), []
    sampler = Sampler(overload, lambda: (7, 0.5), lambda one: told.append(one.grade))
    loop = asyncio.get_running_loop()
    sampler.start(loop)
    end = loop.time() + seconds
    try:
        while loop.time() < end:
            await work()
    finally:
        sampler.stop()
    return overload, told


async def test_the_sampler_measures_what_it_is_given():
    """Requests and the oldest wait come from outside, memory from the system."""

    async def idle():
        await asyncio.sleep(0.05)

    overload, told = await sampled(idle, 0.4, Load(memory=1e12, requests=7))
    assert (overload.load.requests, overload.load.queue) == (7, 0.5)
    assert 5e6 < overload.load.memory < 1e12
    assert told == [4]
    assert sum(overload.lags.counts) >= 1
    assert 0 <= overload.lags.total < 0.4


async def test_a_lag_that_stands_is_load():
    """The loop is blocked for longer than the bound, again and again."""

    async def busy():
        time.sleep(0.3)  # noqa: ASYNC251 - that is what is wrong with it
        await asyncio.sleep(0)

    overload, told = await sampled(busy, 1.6, Load(lag=0.1))
    assert overload.cause == "lag"
    assert told == [4]


async def test_a_hiccup_is_no_load():
    """The loop is blocked once."""
    pauses = [0.9]

    async def once():
        if pauses:
            time.sleep(pauses.pop())  # noqa: ASYNC251
        await asyncio.sleep(0.05)

    _, told = await sampled(once, 1.5, Load(lag=0.8))
    assert told == []


def test_resident_memory_is_told_in_bytes():
    """A Python with this test suite has some tens of megabytes."""
    assert 10e6 < resident_bytes() < 10e9
