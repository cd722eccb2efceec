"""What time is, as a value that is handed in: nobody below the server reads a clock of its own accord."""

from typing import Protocol


class Clock(Protocol):
    """Two readings of time."""

    def now(self) -> float:
        """Seconds since the epoch, as the machine believes; may jump. For dates and for the ``exp`` of a token."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. For durations and deadlines."""
        ...
