"""Names for requests and replies that nobody can guess and nobody else has."""

from collections.abc import Callable

TAIL_BYTES = 12
"""96 random bits: two equal ones are not to be expected in the life of any log."""

BLOCK = 256
"""So many are made at a time: one call of the system's source costs more than all the rest."""


class Ids:
    """Makes ids. ``random_bytes`` gives so many unguessable bytes, as ``secrets.token_bytes`` does."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._ready: list[str] = []

    def request_id(self) -> str:
        """Return a new id of a request: ``req_`` and 24 letters and digits."""
        return "req_" + self.tail()

    def tail(self) -> str:
        """Return 24 new letters and digits, for whatever a dialect puts before them."""
        if not self._ready:
            digits = self._random_bytes(TAIL_BYTES * BLOCK).hex()
            size = 2 * TAIL_BYTES
            self._ready = [digits[at : at + size] for at in range(0, len(digits), size)]
        return self._ready.pop()
