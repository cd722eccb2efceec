"""How long the server waits for a client: for a head, a body, its reading, its next request.

One sweep looks at all connections once in a while; there is no timer for each. A connection does nothing for it but
count what comes in. Law: only the client's own slowness counts. While we do not read because a request is at work, or
have not yet asked for the body that it holds back (RFC 9110, 10.1.1), its time stands still.
"""

import asyncio
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Protocol

from msgspec import Struct

TAKE_BYTES = 16 * 1024
"""A client that has an answer waiting must read so much in ``write`` seconds; the system tells of it in larger steps still."""

SWEEP_SECONDS = 1.0
SWEEP_LEAST_SECONDS = 0.05
"""Connections are looked at once a second, or more often where a bound is shorter than a few seconds."""


class Patience(Struct, frozen=True):
    """Seconds; 0 means for ever."""

    head: float = 0.0
    """From the connection, or the first byte, to the end of a request's head."""
    body_idle: float = 0.0
    """Between two pieces of a body."""
    body: float = 0.0
    """From the head to the end of the body."""
    write: float = 0.0
    """For the client to read :data:`TAKE_BYTES` of an answer that waits."""
    idle: float = 0.0
    """From an answer to the next request."""

    @property
    def sweep(self) -> float:
        """Return how often to look; 0 where there is nothing to look for."""
        bounds = [bound for bound in (self.head, self.body_idle, self.body, self.write, self.idle) if bound]
        return min(SWEEP_SECONDS, max(SWEEP_LEAST_SECONDS, min(bounds) / 4)) if bounds else 0.0


class Phase(Enum):
    """What a connection waits for."""

    WORK = auto()
    """For us."""
    HEAD = auto()
    BODY = auto()
    WRITE = auto()
    """For the client to read."""
    IDLE = auto()


class State(Struct, frozen=True):
    """How a connection stands."""

    phase: Phase
    spell: int
    """Another number means that the phase has begun anew since."""
    progress: int = 0
    """What tells that the client does something: in BODY bytes that came, in WRITE bytes that wait."""


class Wait:
    """What the sweeps have seen of one connection."""

    __slots__ = ("_mark", "_moved", "_phase", "_since", "_spell")

    def __init__(self) -> None:
        self._phase = Phase.WORK
        self._spell = -1
        self._since = 0.0
        self._moved = 0.0
        self._mark = 0

    def overdue(self, state: State, now: float, patience: Patience) -> bool:
        """Tell whether a bound has passed, for a connection that now stands so."""
        if state.phase is Phase.WORK:
            self._phase = Phase.WORK
            return False
        if state.phase is not self._phase or state.spell != self._spell:
            self._phase, self._spell, self._mark = state.phase, state.spell, state.progress
            self._since = self._moved = now
            return False
        if state.phase is Phase.HEAD:
            return _passed(self._since, now, patience.head)
        if state.phase is Phase.IDLE:
            return _passed(self._since, now, patience.idle)
        moved = state.progress != self._mark if state.phase is Phase.BODY else self._mark - state.progress >= TAKE_BYTES
        if moved:
            self._mark, self._moved = state.progress, now
        if state.phase is Phase.WRITE:
            return _passed(self._moved, now, patience.write)
        return _passed(self._moved, now, patience.body_idle) or _passed(self._since, now, patience.body)


def _passed(since: float, now: float, bound: float) -> bool:
    return bool(bound) and now - since >= bound


class Watched(Protocol):
    """A connection as the sweep sees it."""

    wait: Wait

    def state(self) -> State:
        """Return how it stands."""
        ...

    def give_up(self, phase: Phase) -> None:
        """End it: its client was waited for long enough."""
        ...


class Sweep:
    """Looks at connections again and again. ``stop`` is owed after ``start``."""

    def __init__(self, patience: Patience, connections: Callable[[], Iterable[Watched]]) -> None:
        self._patience = patience
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look from now on, if there is any bound."""
        if every := self._patience.sweep:
            self._timer = loop.call_later(every, self._look, loop)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.start(loop)
        now, patience = loop.time(), self._patience
        for one in tuple(self._connections()):
            state = one.state()
            if one.wait.overdue(state, now, patience):
                one.give_up(state.phase)
