"""Tallies: what is left, what is reserved, and where a correction belongs. Room and refusals: ``test_meter.py``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.caller import Allowance
from fittengate.core.limits import Standing
from fittengate.services.tally import USUAL_OUTPUT, Tally, Waits, least, reservation, spread, state_of


class Never:
    """A moment from which the calendar is far away."""

    def until_tomorrow(self):
        return 1000.0

    def until_next_month(self):
        return 9000.0


@pytest.mark.parametrize(
    ("allowance", "left"),
    [
        (Allowance(rpm=1, concurrency=1), None),
        (Allowance(tpm=100), 90),
        (Allowance(tpm=100, tokens_per_day=25), 5),
        (Allowance(tpm=100, tokens_per_day=25, tokens_per_month=20), -10),
    ],
)
def test_what_is_left_is_the_least_of_all_limits_on_tokens(allowance, left):
    """Perhaps less than nothing: what was used may be more than was reserved."""
    assert Tally(5, 10, 5, 20, 30).left(allowance) == left


def test_of_owners_the_one_with_the_least_counts():
    """Those without a limit do not; without any limit there is no least."""
    assert least([None, 5, -2, None]) == -2
    assert least([None, None]) is None
    assert least([]) is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((None, None, 1, 50), (0, None)),
        ((10, 20, 1, 5), (30, None)),
        ((10, None, 2, None), (10 + 2 * USUAL_OUTPUT, None)),
        ((10, None, 1, 110), (110, 100)),
        ((10, None, 3, 110), (109, 33)),
        ((10, None, 1, 5000), (10 + USUAL_OUTPUT, 4990)),
        ((10, None, 2, 4), (12, 1)),
    ],
)
def test_what_is_reserved_and_where_an_answer_is_cut(asked, found):
    """Cut where nothing is left; an answer has one token at least, and then it is refused for what it comes to."""
    assert reservation(*asked) == found


@given(st.integers(-500, 500), st.lists(st.integers(1, 100), max_size=6))
def test_a_correction_comes_out_of_what_grew_last(change, amounts):
    """All of it goes somewhere; of no part more is taken back than it had, but of the first, and the newest goes first."""
    grown = list(enumerate(amounts))
    parts = spread(change, "first", grown)
    assert sum(part for _, part in parts) == change
    taken = {place: -part for place, part in parts if place != "first"}
    assert list(taken) == sorted(taken, reverse=True)
    assert all(taken[place] <= amounts[place] for place in taken)
    assert [place for place, _ in grown] == [place for place in range(len(amounts)) if place not in taken]
    if "first" in dict(parts):
        assert change > 0 or not grown


def test_of_several_reasons_the_longest_is_told():
    """What never fits is longer than anything."""
    tally = Tally(5, 100, 2, 100, 100)
    allowance = Allowance(rpm=5, tpm=100, concurrency=2, tokens_per_day=100)
    refusal = tally.refusal(allowance, (1, 1, 10), Waits(20.0, 30.0), Never())
    assert (refusal.limit, refusal.seconds) == ("tokens_per_day", 1000.0)
    refusal = tally.refusal(allowance, (1, 1, 101), Waits(20.0, None), Never())
    assert (refusal.limit, refusal.most, refusal.seconds) == ("tpm", 100, None)
    assert tally.refusal(Allowance(), (1, 1, 10), Waits(None, None), Never()) is None


def test_the_state_is_the_tightest_of_all():
    """Of one owner as it is; of several the one of which the least is left; None where nothing is limited."""
    one, other = Standing(10, 5, 1.0), Standing(100, 3, 2.0)
    assert state_of([(one, None)], 7.0).requests is one
    assert state_of([(one, other), (other, one)], 7.0).requests is other
    assert state_of([(one, other), (other, one)], 7.0).tokens is other
    assert state_of([(None, None)], 7.0) is None
    assert state_of([], 7.0) is None
