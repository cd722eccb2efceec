"""Where the bytes of one exchange are noted on their way, for whoever looks for a mistake later.

Who keeps them, for how long and how many is the keeper's business; who notes them never waits and never fails. The
tape of the exchange at hand is found by :data:`TAPE`, which tasks that work for the exchange take over from it: a call
to the service may run in one of its own, and nothing between it and the client needs to know.
"""

from contextvars import ContextVar
from typing import Protocol


class Pieces(Protocol):
    """Takes a stream piece by piece."""

    def add(self, now: float, data: bytes) -> None:
        """Note a piece and when it came or went, in seconds of the event loop's clock."""
        ...


class CallTape(Protocol):
    """Takes one call to the service."""

    @property
    def raw(self) -> Pieces:
        """Return what takes the body of the reply, as it comes."""
        ...

    def replied(self, now: float, status: int) -> None:
        """Note that the head of a reply came."""
        ...


class Tape(Protocol):
    """Takes what one exchange sends to the service."""

    def call(self, now: float, path: str, body: bytes) -> CallTape | None:
        """Note that a request is sent; return what takes its reply, None where nothing more is kept.

        ``path`` tells what was called and holds neither query nor account.
        """
        ...


TAPE: ContextVar[Tape | None] = ContextVar("tape", default=None)
"""The tape of the exchange that the current task works for; None where nothing is kept."""
