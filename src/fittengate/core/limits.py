"""Where a caller stands with its limits, for the headers of an answer; and the room that an answer has."""

from typing import Protocol

from msgspec import Struct


class Standing(Struct, frozen=True):
    """One limit now."""

    limit: int
    remaining: int
    """Never less than 0."""
    resets_in: float
    """Seconds until all of it is there again, if nothing more is used."""


class LimitState(Struct, frozen=True):
    """The tightest limit of each sort that applies to a caller."""

    requests: Standing | None
    """None where requests are not limited."""
    tokens: Standing | None
    """None where tokens are not limited."""
    at: float
    """When this was so, in seconds since the epoch."""


class Room(Protocol):
    """The tokens that are reserved for one answer. It may grow past them, as long as there are more to be had."""

    answer: int
    """Tokens that are reserved for it from the start."""

    def more(self) -> int:
        """Reserve some more; return how many, 0 where nothing is left. Never waits, never fails."""
        ...
