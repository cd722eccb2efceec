"""Several answers in one reply of OpenAI's formats: the writers of the single ones, joined."""

from collections.abc import Sequence
from typing import Protocol

from fittengate.core.events import Ended, Event, OfChoice
from fittengate.core.faults import Fault
from fittengate.core.reply import Usage


class ChoiceWriter(Protocol):
    """Writes one of the answers under its index."""

    def feed(self, events: Sequence[Event], /) -> bytes:
        """Return the chunks of these events."""
        ...

    def finish(self) -> bytes:
        """Return the chunk that says why this answer ended. Raises ValueError unless Ended was fed."""
        ...

    def end(self, usage: Usage) -> bytes:
        """Return what ends the reply as a whole."""
        ...

    def fault(self, fault: Fault) -> bytes:
        """Return the error event of the reply as a whole."""
        ...


class ChoicesChunkWriter:
    """Writes chunks as they come, each under its answer's index; usage and terminator once, after all of them."""

    def __init__(self, writers: Sequence[ChoiceWriter]) -> None:
        self._writers = writers
        self._usage: Usage | None = None

    def feed(self, events: Sequence[OfChoice | Ended], /) -> bytes:
        """Return the chunks of these events; an answer that has ended gets its finish chunk at once."""
        out: list[bytes] = []
        for event in events:
            if isinstance(event, OfChoice):
                writer = self._writers[event.index]
                out.append(writer.feed(event.events))
                if isinstance(event.events[-1], Ended):
                    out.append(writer.finish())
            else:
                self._usage = event.usage
        return b"".join(out)

    def close(self) -> bytes:
        """Return usage, if it was asked for, and the terminator.

        Raises ValueError unless the reply's own Ended was fed: what did not end well has no clean ending.
        """
        usage, self._usage = self._usage, None
        if usage is None:
            raise ValueError("the reply has not ended: it cannot be closed")
        return self._writers[0].end(usage)

    def fault(self, fault: Fault) -> bytes:
        """Return the error event; after it there is no terminator."""
        self._usage = None
        return self._writers[0].fault(fault)
