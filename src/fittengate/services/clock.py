"""The machine's clock. Everybody else is handed one."""

import time


class SystemClock:
    """Time as the machine has it (``lib/clock.py`` says what the two readings are for)."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some fixed moment, never less than before."""
        return time.monotonic()
