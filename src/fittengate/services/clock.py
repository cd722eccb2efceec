"""The machine's clock. Everybody else is handed one."""

import time


class SystemClock:
    """Time as the machine has it (``lib/clock.py`` says what the two readings are for)."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    # Asked for several times in every request: the function itself, with nothing around it.
    monotonic = staticmethod(time.monotonic)
    """Seconds since some fixed moment, never less than before."""
