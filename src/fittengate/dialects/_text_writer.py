"""Writing a reply that is text alone, as the formats for completions have it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from fittengate.core.events import Ended, Event, TextDelta
from fittengate.core.faults import Fault


class TextWriter(ABC):
    """Writes pieces of text.

    Law: one piece for each text, none for anything else; then ``close`` once, after Ended, or ``fault`` once, and
    nothing after either.
    """

    __slots__ = ("_ended",)

    def __init__(self) -> None:
        """Start with nothing written."""
        self._ended: Ended | None = None

    def feed(self, events: Sequence[Event], /) -> bytes:
        """Return the pieces of these events; none for what is no text."""
        out: list[bytes] = []
        for event in events:
            if isinstance(event, TextDelta):
                out.append(self._piece(event.text))
            elif isinstance(event, Ended):
                self._ended = event
        return b"".join(out)

    def close(self) -> bytes:
        """Return what ends a clean reply.

        Raises ValueError unless Ended was fed: a reply that did not end well has no clean ending.
        """
        return self._last(self._taken())

    def fault(self, fault: Fault) -> bytes:
        """Return the error event; after it there is no clean ending, for the reply is not whole."""
        self._ended = None
        return self._broken(fault)

    def _taken(self) -> Ended:
        """Return how the reply ended, the first time. Raises ValueError."""
        ended, self._ended = self._ended, None
        if ended is None:
            raise ValueError("the reply has not ended: it cannot be closed")
        return ended

    @abstractmethod
    def _piece(self, text: str) -> bytes:
        """Return a piece of text."""

    @abstractmethod
    def _last(self, ended: Ended) -> bytes:
        """Return everything that comes after the last piece of text."""

    @abstractmethod
    def _broken(self, fault: Fault) -> bytes:
        """Return the error event."""
