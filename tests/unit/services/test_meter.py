"""Meters: minutes that slide, days and months by the calendar, what is taken back, and clocks that jump."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.caller import Allowance
from fittengate.services.meter import KEPT_PERIODS, Meter, Now, Totals, Window, day_of, month_of


def at(monotonic=0.0, epoch=1_000_000_000.0):
    return Now(monotonic, epoch, day_of(epoch), month_of(day_of(epoch)))


def epoch(*date):
    return datetime(*date, tzinfo=UTC).timestamp()


# Parts of a second that floats add up without rounding: else the test's own minute is a little off.
PAUSES = st.integers(0, 20 * 1024).map(lambda parts: parts / 1024)


@given(st.lists(st.tuples(PAUSES, st.integers(1, 5)), max_size=60))
def test_no_sixty_seconds_hold_more_than_the_limit(uses):
    """Wherever they begin: every use that was admitted is compared with all that came in the minute before it."""
    window, most, now, admitted = Window(), 10, 0.0, []
    for pause, amount in uses:
        now += pause
        if most - window.count(now) >= amount:
            window.add(amount, now)
            admitted.append((now, amount))
    for end, _ in admitted:
        assert sum(amount for when, amount in admitted if end - 60 < when <= end) <= most


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=40), st.integers(1, 12))
def test_whoever_waits_as_long_as_told_is_admitted(uses, amount):
    """Not sooner than needed by more than the second in which uses are one; never for more than the limit itself."""
    window, most, now = Window(), 10, 0.0
    for pause, used in uses:
        now += pause
        if most - window.count(now) >= used:
            window.add(used, now)
    wait = window.wait(amount, most, now)
    if amount > most:
        assert wait is None
        return
    assert 0 <= wait <= 60
    assert (wait == 0) == (most - window.count(now) >= amount)
    assert most - window.count(now + wait + 1e-6) >= amount


def test_a_window_stays_small():
    """However much is used, it remembers a minute second by second."""
    window = Window()
    for number in range(100_000):
        window.count(number / 100)
        window.add(1, number / 100)
    assert len(window._uses) <= 62
    assert 6000 <= window.total <= 6100


def test_what_is_taken_back_counts_no_more():
    """In the minute in which it was used; later it does not count anyhow, and is not taken back from others."""
    window = Window()
    use = window.add(10, 0.0)
    window.add(5, 2.0)
    window.correct(use, -7, 3.0)
    assert 20 - window.count(3.0) == 12
    assert 20 - window.count(61.0) == 15
    window.correct(use, -3, 61.0)
    assert 20 - window.count(61.0) == 15
    window.count(100.0)
    window.correct(use, -3, 100.0)
    assert 20 - window.count(100.0) == 20


def test_more_than_was_reserved_counts_from_now_on():
    """A long reply that grew beyond its reservation is not forgotten with the minute in which it began."""
    window = Window()
    use = window.add(10, 0.0)
    window.count(90.0)
    window.correct(use, 30, 90.0)
    assert 100 - window.count(90.0) == 70
    assert window.resets_in(90.0) == 60


def test_a_day_and_a_month_are_the_calendars():
    """By UTC, to the second, leap days included."""
    now = at(epoch=epoch(2024, 2, 28, 23, 59, 59))
    assert (now.until_tomorrow(), now.until_next_month()) == (1, 86_401)
    assert at(epoch=epoch(2023, 12, 31)).until_next_month() == 86_400
    assert at(epoch=epoch(2024, 1, 1)).month == at(epoch=epoch(2023, 12, 31)).month + 1


ALL = Allowance(rpm=2, tpm=100, concurrency=1, tokens_per_day=150, tokens_per_month=170)


@pytest.mark.parametrize(
    ("allowance", "tokens", "limit", "seconds"),
    [
        (Allowance(rpm=1), 60, "rpm", 60),
        (Allowance(concurrency=1), 60, "concurrency", 1),
        (Allowance(tpm=100), 60, "tpm", 60),
        (Allowance(tpm=100), 101, "tpm", None),
        (Allowance(tokens_per_day=100), 60, "tokens_per_day", 3600),
        (Allowance(tokens_per_day=100), 101, "tokens_per_day", None),
        (Allowance(tokens_per_month=100), 60, "tokens_per_month", 3600 + 86_400),
        (Allowance(rpm=1, tpm=100, tokens_per_day=100, concurrency=1), 60, "tokens_per_day", 3600),
    ],
)
def test_a_refusal_names_the_limit_that_lasts_longest(allowance, tokens, limit, seconds):
    """And after how long it is worth asking again; None where that never helps."""
    meter, now = Meter(), at(epoch=epoch(2024, 4, 29, 23))
    assert meter.refusal(allowance, 1, 1, 60, now) is None
    meter.take(1, 1, 60, now)
    refusal = meter.refusal(allowance, 1, 1, tokens, now)
    assert (refusal.limit, refusal.seconds) == (limit, seconds)


def test_the_tightest_limit_on_tokens_is_shown():
    """Of the minute, the day and the month the one of which the least is left."""
    meter, now = Meter(), at(epoch=epoch(2024, 4, 29, 23))
    meter.take(1, 1, 60, now)
    requests, tokens = meter.standing(ALL, now)
    assert (requests.limit, requests.remaining, requests.resets_in) == (2, 1, 60)
    assert (tokens.limit, tokens.remaining) == (100, 40)
    later = at(61.0, epoch(2024, 4, 29, 23, 1, 1))
    meter.take(1, 0, 60, later)
    _, tokens = meter.standing(ALL, at(200.0, epoch(2024, 4, 29, 23, 3, 20)))
    assert (tokens.limit, tokens.remaining) == (150, 30)
    _, tokens = meter.standing(ALL, at(4000.0, epoch(2024, 4, 30, 0, 1)))
    assert (tokens.limit, tokens.remaining) == (170, 50)
    assert meter.standing(Allowance(concurrency=3), now) == (None, None)


def test_a_clock_that_jumps_loses_no_total():
    """Back over midnight and forth again: each day has what was used on it, and none is locked for ever."""
    meter, allowance = Meter(), Allowance(tokens_per_day=100)
    monday, tuesday, far = epoch(2024, 4, 29, 12), epoch(2024, 4, 30, 12), epoch(2038, 1, 1)
    meter.take(1, 0, 90, at(0.0, monday))
    for jump in (tuesday, far):
        assert meter.refusal(allowance, 1, 0, 90, at(1.0, jump)) is None
        meter.take(1, 0, 90, at(1.0, jump))
    for back in (monday, tuesday, far):
        assert meter.refusal(allowance, 1, 0, 90, at(2.0, back)).limit == "tokens_per_day"
    wednesday = epoch(2024, 5, 1, 12)
    assert meter.refusal(allowance, 1, 0, 90, at(3.0, wednesday)) is None


def test_a_jump_of_the_calendar_leaves_the_minutes_alone():
    """They go by the clock that cannot jump."""
    meter, allowance = Meter(), Allowance(rpm=1, tpm=100)
    meter.take(1, 0, 90, at(0.0, epoch(2024, 4, 29)))
    assert meter.refusal(allowance, 1, 0, 90, at(59.0, epoch(2030, 1, 1))) is not None
    assert meter.refusal(allowance, 1, 0, 90, at(60.0, epoch(2000, 1, 1))) is None


def test_few_periods_are_remembered():
    """P6: and what is taken back of a forgotten one is forgotten too."""
    totals = Totals()
    for period in range(100):
        totals.add(period, 10)
    assert len(totals.of) == KEPT_PERIODS
    totals.add(0, -10)
    assert 0 not in totals.of
    totals.add(99, -4)
    assert totals.of[99] == 6


def test_a_correction_belongs_to_the_day_of_the_admission():
    """A reply that ends after midnight changes the day on which it began."""
    meter = Meter()
    before, after = at(0.0, epoch(2024, 4, 29, 23, 59)), at(120.0, epoch(2024, 4, 30, 0, 1))
    entry = meter.take(1, 1, 50, before)
    meter.correct(entry, -30, after.monotonic)
    assert meter.days.of == {before.day: 20}
    assert meter.months.of == {before.month: 20}


limits = st.sampled_from([0, 1, 5, 40, 100])


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 1), st.integers(0, 30)), max_size=20),
    st.builds(Allowance, rpm=limits, tpm=limits, concurrency=limits, tokens_per_day=limits, tokens_per_month=limits),
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 60)),
)
def test_the_fast_answer_is_the_full_one(uses, allowance, need):
    """There is room exactly where there is no reason to refuse."""
    meter, now = Meter(), at()
    for pause, slots, tokens in uses:
        now = at(now.monotonic + pause, now.epoch + pause)
        meter.take(1, slots, tokens, now)
        assert meter.tally(now).has_room(allowance, *need) == (meter.refusal(allowance, *need, now) is None)
