"""The reasoning beside an answer with calls: it waits while a call is open, and its end may be all that there is."""

from fittengate.core.events import Event, ThoughtDelta

_MAX_RESCUED = 262_144
"""Characters of reasoning that are kept in case the calls stand at its end."""


class Thoughts:
    """The reasoning of one reply. Law: all of it comes out, in order, and never inside a call."""

    def __init__(self) -> None:
        self._waiting: list[Event] = []
        self._kept: list[str] = []
        self._size = 0

    @property
    def text(self) -> str:
        """What was kept, up to its last _MAX_RESCUED characters or more."""
        return "".join(self._kept)

    def keep(self, event: Event) -> None:
        """Keep reasoning that came before anything else."""
        if not isinstance(event, ThoughtDelta):
            return
        self._kept.append(event.text)
        self._size += len(event.text)
        if self._size > 2 * _MAX_RESCUED:
            self._kept = [self.text[-_MAX_RESCUED:]]
            self._size = _MAX_RESCUED

    def wait(self, event: Event) -> None:
        """Take reasoning that has to come out later."""
        self._waiting.append(event)

    def settle(self, out: list[Event]) -> None:
        """Let go of the reasoning that waited."""
        if self._waiting:
            out += self._waiting
            self._waiting.clear()
