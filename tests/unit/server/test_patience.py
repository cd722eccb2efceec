"""How long a client is waited for."""

import asyncio

import pytest

from fittengate.server.patience import TAKE_BYTES, Patience, Phase, State, Sweep, Wait

BOUNDS = Patience(head=10, body_idle=5, body=20, write=5, idle=30)


def overdue_at(*seen, patience=BOUNDS):
    """Return the first moment at which a connection is overdue that stood so, at each second from 0 on; None: never."""
    wait = Wait()
    for now, state in enumerate(seen):
        if wait.overdue(state, now, patience):
            return now
    return None


@pytest.mark.parametrize(("phase", "bound"), [(Phase.HEAD, 10), (Phase.BODY, 5), (Phase.WRITE, 5), (Phase.IDLE, 30)])
def test_each_phase_has_a_bound_of_its_own(phase, bound):
    """What does not move is overdue after exactly so long."""
    assert overdue_at(*[State(phase, 1, 100)] * 40) == bound


@pytest.mark.parametrize("phase", list(Phase))
def test_a_bound_of_0_is_none(phase):
    """Without bounds nobody is ever overdue, and nobody is looked at."""
    assert overdue_at(*[State(phase, 1, 100)] * 1000, patience=Patience()) is None
    assert Patience().sweep == 0


def test_our_own_work_is_nobodys_delay():
    """Time in which the client cannot do anything does not count, and what it waited before is forgotten."""
    assert overdue_at(*[State(Phase.WORK, 0)] * 1000) is None
    head = [State(Phase.HEAD, 1)] * 8
    assert overdue_at(*head, State(Phase.WORK, 0), *head) is None


def test_a_body_that_comes_in_pieces_has_time_but_an_end():
    """Each piece begins the pause anew; the whole is bounded all the same."""
    assert overdue_at(*[State(Phase.BODY, 1, number // 4) for number in range(40)]) == 20
    assert overdue_at(*[State(Phase.BODY, 1, number // 4) for number in range(20)]) is None


def test_the_next_request_begins_anew():
    """A new spell of the same phase is a new wait."""
    assert overdue_at(*[State(Phase.HEAD, number // 9) for number in range(40)]) is None
    assert overdue_at(*[State(Phase.IDLE, number // 20) for number in range(90)]) is None


def test_a_reader_must_take_a_measure_in_each_spell():
    """Crumbs are too little: so much must leave the buffer in ``write`` seconds."""
    crumbs = [State(Phase.WRITE, 1, 10 * TAKE_BYTES - number * TAKE_BYTES // 8) for number in range(40)]
    assert overdue_at(*crumbs) == 5
    slow = [State(Phase.WRITE, 1, 10 * TAKE_BYTES - number * TAKE_BYTES // 4) for number in range(40)]
    assert overdue_at(*slow) is None


def test_connections_are_looked_at_often_enough():
    """At least four times within the shortest bound, at most twenty times a second, at least once a second."""
    assert Patience(head=60, write=2).sweep == 0.5
    assert Patience(head=0.01).sweep == 0.05
    assert Patience(idle=75).sweep == 1


async def test_the_sweep_gives_up_what_is_overdue_and_stops():
    """It looks at whatever connections there are; after ``stop`` it does not."""

    class One:
        def __init__(self):
            self.wait = Wait()
            self.given_up = asyncio.Event()

        def state(self):
            return State(Phase.HEAD, 1)

        def give_up(self, phase):
            assert phase is Phase.HEAD
            self.given_up.set()

    ones = set()
    sweep = Sweep(Patience(head=0.1), lambda: ones)
    sweep.start(asyncio.get_running_loop())
    first, second = One(), One()
    ones.add(first)
    await asyncio.wait_for(first.given_up.wait(), 2)
    sweep.stop()
    ones.add(second)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(second.given_up.wait(), 0.3)
