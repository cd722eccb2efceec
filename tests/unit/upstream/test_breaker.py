"""When the service is left alone, and how it is found out that it is back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.faults import Fault, FaultKind
from fittengate.upstream.breaker import PAUSE_MOST_SECONDS, PROBE_SECONDS, WINDOW_SECONDS, Breaker, Trial


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker("chat", 20, 5, clock)


def tell(breaker, how, times=1):
    for _ in range(times):
        how(breaker, breaker.enter())


def entered(breaker):
    """Return a ticket, or the fault."""
    try:
        return breaker.enter()
    except Fault as fault:
        return fault


def is_refused(breaker):
    found = entered(breaker)
    if isinstance(found, Fault):
        assert found.kind is FaultKind.UPSTREAM_DOWN
        assert found.retry_after >= 1
        return True
    breaker.left(found)
    return False


def opened(breaker):
    tell(breaker, Breaker.failed, 20)
    assert breaker.state == "open"
    return breaker


def test_half_of_twenty_failures_open_it(breaker):
    """Ten good calls and ten bad ones."""
    tell(breaker, Breaker.passed, 10)
    tell(breaker, Breaker.failed, 9)
    assert breaker.state == "closed"
    tell(breaker, Breaker.failed)
    assert breaker.state == "open"
    assert is_refused(breaker)
    assert breaker.refused == 1


def test_less_than_half_or_fewer_than_twenty_do_not(breaker):
    """A service that mostly works, and one that is seldom asked, are asked on."""
    tell(breaker, Breaker.failed, 19)
    assert breaker.state == "closed"
    other = Breaker("chat", 20, 5, Clock())
    tell(other, Breaker.passed, 41)
    tell(other, Breaker.failed, 40)
    assert other.state == "closed"


def test_old_failures_are_forgotten(breaker, clock):
    """What was more than half a minute ago does not count, good or bad."""
    tell(breaker, Breaker.failed, 19)
    clock.now += WINDOW_SECONDS + 4
    tell(breaker, Breaker.failed, 19)
    assert breaker.state == "closed"
    tell(breaker, Breaker.failed)
    assert breaker.state == "open"
    assert len(breaker._slots) <= 10


def test_failures_spread_over_the_window_count_together(breaker, clock):
    """One a second: after twenty it is open."""
    for _ in range(19):
        tell(breaker, Breaker.failed)
        clock.now += 1
    assert breaker.state == "closed"
    tell(breaker, Breaker.failed)
    assert breaker.state == "open"


def test_0_calls_never_open_it(clock):
    """The setting's 0 means none."""
    breaker = Breaker("chat", 0, 5, clock)
    tell(breaker, Breaker.failed, 1000)
    assert breaker.state == "closed"
    assert not breaker._slots


def test_a_single_stall_is_no_failure_and_repeated_ones_are(breaker):
    """A stall counts only if another one came since the last good call."""
    for _ in range(40):
        tell(breaker, Breaker.stalled)
        tell(breaker, Breaker.passed)
    assert breaker.state == "closed"
    other = Breaker("chat", 20, 5, Clock())
    tell(other, Breaker.stalled, 21)
    assert other.state == "open"


def test_calls_that_were_given_up_say_nothing(breaker):
    """Clients that leave neither open nor hold it closed."""
    tell(breaker, Breaker.left, 1000)
    tell(breaker, Breaker.failed, 20)
    assert breaker.state == "open"


def test_after_the_pause_one_probe_goes_and_no_other(breaker, clock):
    """A hundred callers at the same moment: one call."""
    opened(breaker)
    clock.now += 4.9
    assert is_refused(breaker)
    clock.now += 0.2
    probe = breaker.enter()
    assert breaker.state == "probing"
    assert all(is_refused(breaker) for _ in range(100))
    breaker.passed(probe)
    assert breaker.state == "closed"
    assert not is_refused(breaker)


def test_the_first_word_closes_it(breaker, clock):
    """Nobody waits for the end of a long reply; what becomes of it is old news."""
    opened(breaker)
    clock.now += 5
    probe = breaker.enter()
    breaker.spoke(probe)
    assert breaker.state == "closed"
    tell(breaker, Breaker.failed, 19)
    breaker.failed(probe)
    assert breaker.state == "closed"


def test_a_failed_probe_doubles_the_pause_up_to_a_minute(breaker, clock):
    """Five seconds, ten, twenty, forty, sixty, sixty; a good one sets it back."""
    opened(breaker)
    for pause in (5, 10, 20, 40, PAUSE_MOST_SECONDS, PAUSE_MOST_SECONDS):
        assert breaker.retry_after == pytest.approx(pause)
        clock.now += pause - 0.01
        assert is_refused(breaker)
        clock.now += 0.02
        breaker.failed(breaker.enter())
        assert breaker.state == "open"
    clock.now += PAUSE_MOST_SECONDS
    breaker.passed(breaker.enter())
    opened(breaker)
    assert breaker.retry_after == pytest.approx(5)


def test_a_probe_that_was_given_up_makes_room_for_the_next(breaker, clock):
    """Its client left: nothing is known, and nobody has to wait."""
    opened(breaker)
    clock.now += 5
    breaker.left(breaker.enter())
    breaker.passed(breaker.enter())
    assert breaker.state == "closed"


def test_a_probe_that_says_nothing_is_not_waited_for(breaker, clock):
    """After a while the next one goes; what the first one says then is old news."""
    opened(breaker)
    clock.now += 5
    first = breaker.enter()
    clock.now += PROBE_SECONDS - 0.1
    assert is_refused(breaker)
    clock.now += 0.2
    second = breaker.enter()
    breaker.failed(first)
    assert breaker.state == "probing"
    breaker.stalled(second)
    assert breaker.state == "open"


def test_old_news_changes_nothing(breaker, clock):
    """Calls that began before it opened end as they like."""
    old = [breaker.enter() for _ in range(50)]
    opened(breaker)
    for ticket in old[:25]:
        breaker.passed(ticket)
    assert breaker.state == "open"
    clock.now += 5
    breaker.passed(breaker.enter())
    for ticket in old[25:]:
        breaker.failed(ticket)
    assert breaker.state == "closed"


@pytest.mark.parametrize("how", [Breaker.passed, Breaker.failed, Breaker.stalled, Breaker.spoke, Breaker.left])
def test_a_call_from_before_a_pause_says_nothing_of_the_probe(breaker, clock, how):
    """However it ends while the probe is under way: the probe's own end counts."""
    late = breaker.enter()
    opened(breaker)
    clock.now += 5
    probe = breaker.enter()
    how(breaker, late)
    assert (breaker.state, breaker.opened) == ("probing", 1)
    breaker.passed(probe)
    assert breaker.state == "closed"
    how(breaker, late)
    how(breaker, probe)
    tell(breaker, Breaker.failed, 19)
    assert breaker.state == "closed"


def test_a_stall_from_before_a_pause_is_forgotten(breaker, clock):
    """The service is back: the next stall is a single one again."""
    breaker.stalled(breaker.enter())
    opened(breaker)
    clock.now += 5
    breaker.passed(breaker.enter())
    tell(breaker, Breaker.failed, 19)
    breaker.stalled(breaker.enter())
    assert breaker.state == "closed"


def test_whoever_is_refused_is_told_when_the_pause_is_over(breaker, clock):
    """And at least a second, so that nobody comes back at once."""
    opened(breaker)
    for passed, left in ((0.0, 5.0), (2.0, 3.0), (2.5, 1.0)):
        clock.now += passed
        assert entered(breaker).retry_after == left


def test_each_change_is_told(breaker, clock):
    """Once each, with the state in place."""
    told = []
    breaker.changed = lambda one: told.append(one.state)
    opened(breaker)
    clock.now += 5
    breaker.failed(breaker.enter())
    clock.now += 10
    breaker.passed(breaker.enter())
    assert told == ["open", "probing", "open", "probing", "closed"]
    assert breaker.opened == 2


def test_a_try_is_told_once(breaker):
    """The first word counts; a try that was not begun has nothing to tell."""
    trial = Trial(breaker)
    trial.tell(Breaker.failed)
    for _ in range(20):
        trial.begin()
        trial.tell(Breaker.passed)
        trial.tell(Breaker.failed)
    assert breaker.state == "closed"
    for _ in range(20):
        assert breaker.state == "closed"
        trial.begin()
        trial.tell(Breaker.failed)
    assert breaker.state == "open"


def test_the_first_word_of_a_try_closes_it_and_so_does_its_end(breaker, clock):
    """A request that was let through as the probe; before it has begun it has no word."""
    opened(breaker)
    clock.now += 5
    trial = Trial(breaker)
    trial.spoke()
    assert breaker.state == "open"
    trial.begin()
    assert breaker.state == "probing"
    trial.spoke()
    assert breaker.state == "closed"
    opened(breaker)
    clock.now += 5
    trial = Trial(breaker)
    trial.begin()
    trial.tell(Breaker.passed)
    assert breaker.state == "closed"


def test_while_it_is_open_no_trial_is_made(breaker):
    """A request is refused before anything is done for it."""
    opened(breaker)
    with pytest.raises(Fault, match="chat"):
        Trial(breaker)


@given(st.lists(st.tuples(st.sampled_from(["passed", "failed", "stalled", "left", "begin"]), st.floats(0, 10))))
def test_whatever_happens_it_opens_and_lets_calls_through_again(steps):
    """In any course of events at most one probe is under way, and after a minute without calls one may go."""
    clock = Clock()
    breaker = Breaker("chat", 5, 1, clock)
    tickets = []
    for how, seconds in steps:
        clock.now += seconds
        if how == "begin" or not tickets:
            before = breaker.state
            found = entered(breaker)
            if isinstance(found, Fault):
                assert before != "closed"
                assert 1 <= found.retry_after <= PAUSE_MOST_SECONDS
                continue
            tickets.append(found)
            if before != "closed":
                assert is_refused(breaker)
        else:
            getattr(breaker, how)(tickets.pop(0))
    clock.now += PAUSE_MOST_SECONDS + 1
    breaker.passed(breaker.enter())
    assert breaker.state == "closed"
