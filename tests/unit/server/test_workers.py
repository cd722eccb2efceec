"""How the parent of workers divides and waits; what it does with processes is in tests/e2e/test_workers.py."""

import pytest

from fittengate.server import workers
from fittengate.server.workers import GOOD_SECONDS, MOST_WAIT_SECONDS, Workers, share


@pytest.fixture
def clock(monkeypatch):
    """Give the time as the parent reads it, in a list."""
    now = [1000.0]
    monkeypatch.setattr(workers.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("most", "count"), [(8, 3), (4, 4), (9, 2), (5, 1)])
def test_what_all_may_have_is_divided_without_a_rest(most, count):
    """Nobody gets nothing, and together it is the whole."""
    shares = [share(most, number, count) for number in range(count)]
    assert sum(shares) == most
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1


def test_no_limit_stays_none():
    """0 divided is 0, which means none."""
    assert share(0, 1, 4) == 0


def test_a_worker_that_crashes_at_its_start_is_waited_for_longer_each_time(clock):
    """A second, two, four, and half a minute at most; one that lived for a while is replaced at once."""
    said = []
    parent = Workers(2, said.append)
    place = parent._places[0]
    waits = []
    for _ in range(8):
        place.starts, place.began = place.starts + 1, clock[0]
        parent._ended(place, -11)
        waits.append(place.due - clock[0])
    assert waits == [1, 2, 4, 8, 16, MOST_WAIT_SECONDS, MOST_WAIT_SECONDS, MOST_WAIT_SECONDS]
    place.began = clock[0] - GOOD_SECONDS
    parent._ended(place, -11)
    assert place.due == clock[0]
    assert "worker 1 was ended by SIGSEGV; another one takes its place at once" in said
    place.began = clock[0]
    parent._ended(place, 0)
    assert place.due == clock[0]


def test_only_a_first_start_that_fails_ends_the_whole(clock):
    """Later, what a person has to put right may be put right by a person: it is tried again."""
    parent = Workers(1, lambda _line: None)
    place = parent._places[0]
    place.starts, place.began = 2, clock[0]
    parent._ended(place, 1)
    assert parent._failed is None
    place.starts = 1
    parent._ended(place, 2)
    assert parent._failed == 2
    assert parent._stopping
