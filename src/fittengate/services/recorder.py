"""The flight recorder: the last exchanges, kept in memory for whoever has to say what went wrong.

Laws: all that is kept, of exchanges under way and of ended ones, is never more than ``bytes`` (P6); where room is
needed, the oldest ended exchange goes; where there is none left to go, what comes is not kept, and counted. Nothing is
written anywhere, and nothing leaves but by ``services/bundle.py``.
"""

from collections import deque

from msgspec import Struct

from fittengate.core.caller import Receipt
from fittengate.services.tape import ADVANCE_BYTES, TAPE_BYTES, Tape


class RecorderOptions(Struct, frozen=True):
    """How much is kept."""

    exchanges: int
    """Most exchanges after their end."""
    bytes: int
    """Of all together."""
    artifact_bytes: int
    """Of each artifact: a longer one is kept by its beginning and its end."""


class Recorder:
    """Keeps exchanges. Belongs to the event loop."""

    def __init__(self, options: RecorderOptions) -> None:
        self.used = 0
        """Bytes granted, in all."""
        self.missed = 0
        """Exchanges that there was no room for."""
        self._options = options
        self._running: dict[Tape, None] = {}
        self._ended: deque[Tape] = deque()

    def begin(self, request_id: str, dialect: str, at: float, began: float) -> Tape | None:
        """Return what an exchange is noted on, ``end`` is owed; None where there is no room."""
        if not self._granted(TAPE_BYTES + ADVANCE_BYTES):
            self.missed += 1
            return None
        tape = Tape(request_id, dialect, at, began, self._granted, self._options.artifact_bytes)
        self._running[tape] = None
        return tape

    def end(self, tape: Tape, receipt: Receipt | None, now: float) -> None:
        """Note that an exchange has ended, and what it came to."""
        tape.ended, tape.receipt = now, receipt
        del self._running[tape]
        self._ended.append(tape)
        if len(self._ended) > self._options.exchanges:
            self._drop()

    def find(self, request_id: str) -> Tape | None:
        """Return the newest exchange of that id, ended or not; None where there is none."""
        return next((tape for tape in self.newest() if tape.id == request_id), None)

    def newest(self) -> list[Tape]:
        """Return all exchanges, the last that began first."""
        return sorted([*self._running, *self._ended], key=lambda tape: -tape.began)

    def _granted(self, count: int) -> bool:
        used = self.used + count
        while used > self._options.bytes:
            if not self._ended:
                return False
            self._drop()
            used = self.used + count
        self.used = used
        return True

    def _drop(self) -> None:
        tape = self._ended.popleft()
        self.used -= tape.taken
        tape.wipe()
