"""What a fleet's server answers about owners of limits, and the tallies that it comes to."""

from msgspec import Struct

from fittengate.services.meter import Now
from fittengate.services.tally import Tally, Waits


class Seen(Struct, frozen=True, array_like=True):
    """One owner after an admission or a refusal; times in milliseconds."""

    use: int
    """Where the tokens are noted in the minute; 0 where none are."""
    requests: int
    requests_reset: int
    requests_wait: int
    """Until there is room for what was asked; -1 means never."""
    tokens: int
    tokens_reset: int
    tokens_wait: int
    running: int
    day: int
    """Tokens of the day, and of the month."""
    month: int

    @property
    def tally(self) -> Tally:
        """What counts of the owner."""
        return Tally(self.requests, self.tokens, self.running, self.day, self.month)

    @property
    def waits(self) -> Waits:
        """When the minutes have room for what was asked."""
        return Waits(_seconds(self.requests_wait), _seconds(self.tokens_wait))


class Admission(Struct, frozen=True, array_like=True):
    """What became of one request."""

    admitted: int
    tokens: int
    """What was reserved, or was to be."""
    room: int
    """Most tokens of each answer; -1 where that is no matter of limits."""
    seen: list[Seen]
    """One for each owner, in the order in which they were asked about."""


class Counted(Struct, frozen=True, array_like=True):
    """What counts of one owner's tokens after a batch."""

    minute: int
    day: int
    month: int


class Told(Struct, frozen=True, array_like=True):
    """The answer to a batch."""

    ms: int
    """The server's time, in milliseconds since the epoch."""
    day: int
    month: int
    admissions: list[Admission]
    late: bool
    """It came too late, and nothing of it was done."""
    noted: list[int]
    """In which use of the minute each correction upwards is noted, in the order in which they were told."""
    counted: list[Counted]
    """One for each owner that the batch was about, in the order in which they were told."""

    def now(self) -> Now:
        """Return the moment of the answer, by the server's clock."""
        return Now(self.ms / 1000, self.ms / 1000, self.day, self.month)


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000
