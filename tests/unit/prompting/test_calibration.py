"""What is learned from the service's own counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.prompting.calibration import (
    LEAST_FACTOR,
    MOST_FACTOR,
    SMALLEST,
    Learned,
    at_most,
    factor,
    is_sane,
    learn,
)
from fittengate.prompting.estimate import Estimates


def after(*prompts):
    """Return what is known after pairs of an estimate and a count."""
    known = Learned()
    for estimated, told in prompts:
        known = learn(known, estimated, told)
    return known


def test_nothing_learned_changes_nothing():
    """The factor of an unknown model is one, and the high estimate stays."""
    assert factor(Learned()) == 1
    assert at_most(Estimates(100, 130), 1.0) == 130


@pytest.mark.parametrize("ratio", [0.93, 1.1, 1.3])
def test_the_factor_comes_close_to_the_true_ratio(ratio):
    """Thirty prompts of an agent's size are enough for two percent."""
    known = after(*[(5000, round(5000 * ratio))] * 30)
    assert factor(known) == pytest.approx(ratio, rel=0.02)
    assert known.used == 30


def test_one_prompt_alone_does_not_decide():
    """A first prompt of a thousand tokens moves the factor by a good third of the way."""
    assert 1 < factor(after((1000, 1400))) < 1.15


def test_what_is_older_fades():
    """After a change of the model the new ratio wins within fifty prompts, however many came before."""
    known = after(*[(3000, 3000)] * 500, *[(3000, 3900)] * 50)
    assert factor(known) == pytest.approx(1.3, rel=0.04)


def test_small_and_odd_prompts_are_counted_and_left_out():
    """Under 200 tokens, under half and over twice: no sum moves."""
    known = after((SMALLEST - 1, SMALLEST - 1), (1000, 499), (1000, 2001), (1000, -80))
    assert known == Learned(too_small=1, too_odd=3)
    assert after((SMALLEST, SMALLEST), (1000, 500), (1000, 2000)).used == 3


prompts = st.tuples(st.integers(0, 10**7), st.integers(-(10**7), 10**8))


@given(st.lists(prompts, max_size=60))
def test_whatever_is_told_the_factor_and_the_sums_stay_in_bounds(told):
    """And what was learned is sane when it is read again."""
    known = after(*told)
    assert LEAST_FACTOR <= factor(known) <= MOST_FACTOR
    assert is_sane(known)
    assert known.used + known.too_small + known.too_odd == len(told)


@given(st.integers(1, 10**6), st.integers(0, 10**5), st.lists(prompts, max_size=10))
def test_requirement_43_a_count_is_never_below_the_one_that_nothing_was_learned_for(likely, more, told):
    """Requirement 43: learning only ever raises what count_tokens says, and keeps it growing with the input."""
    learned = factor(after(*told))
    count = at_most(Estimates(likely, likely + more), learned)
    assert count >= likely + more
    assert count >= likely * learned
    assert at_most(Estimates(likely + 1, likely + more + 1), learned) >= count


def test_sums_that_nobody_can_have_learned_are_not_sane():
    """A file that was edited does not decide."""
    assert not is_sane(Learned(0.0, 5.0))
    assert not is_sane(Learned(5.0, 1e9))
