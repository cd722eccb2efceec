"""The journal: receipts on their way to the store, safe from the end of the process, whatever ends it (P8).

Law: :meth:`Journal.append` copies into memory that the system keeps, and does nothing else: no system call, no waiting,
no failing. Records have numbers that only grow; the store knows up to which number it has those of each journal, so one
that is read twice is stored once. When every segment is full, or none could be made, records wait in memory, in order and
up to a bound: they would not outlive the process, and :attr:`Journal.waiting` says how many there are.

Each process has a directory of its own below the common one, and holds a lock in it. A directory whose lock can be had was
left behind: :func:`left_behind` gives it to whoever moves its records on.
"""

import shutil
import threading
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fittengate.services.files import MODE
from fittengate.services.journal_format import (
    HEAD_BYTES,
    first_number,
    framed,
    records,
    whole_segment,
)
from fittengate.services.segment import Segment

if TYPE_CHECKING:
    from filelock import BaseFileLock

SPARE_SEGMENTS = 2
"""So many are ready before they are needed: some seconds of the fastest traffic."""

MAX_SEGMENTS = 64
"""64 MB: half a million receipts wait on the disk for a store that is down."""

MAX_WAITING = 20_000
"""Receipts in memory at most, some 4 MB."""

READ_BYTES = 256 * 1024

_LOCK = "lock"
_SUFFIX = ".journal"


class Journal:
    """The journal of this process. Anybody appends; one thread takes, is done with what it took, and provides."""

    def __init__(self, root: Path, name: str, max_segments: int = MAX_SEGMENTS) -> None:
        """``root`` is the directory of all journals. Nothing is made yet: :meth:`provide` does that."""
        self.name = name
        """Nobody else's, ever."""
        self.lost = 0
        """Records that found no room in memory either."""
        self._directory = root / name
        self._max_segments = max_segments
        self._mutex = threading.Lock()
        self._next = 1
        self._done = 0
        self._current: Segment | None = None
        self._full: deque[Segment] = deque()
        self._free: deque[Segment] = deque()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._files = 0
        self._made = 0
        # What was taken last, and is not done with: from which segment (None: from memory), and where its records end.
        self._reading: Segment | None = None
        self._start = 0
        self._from_memory = False
        self._ends: list[int] = []
        self._lock: BaseFileLock | None = None

    @property
    def waiting(self) -> int:
        """Return how many records are in memory alone."""
        return len(self._waiting)

    @property
    def depth(self) -> int:
        """Return how many records nobody is done with, on the disk and in memory."""
        return self._next - 1 - self._done - self.lost

    def append(self, payload: bytes) -> None:
        """Keep a record of at most MAX_PAYLOAD_BYTES. Never waits, never raises."""
        with self._mutex:
            number = self._next
            self._next = number + 1
            # Those that wait go first: numbers only grow.
            if not self._waiting and self._write(number, payload):
                return
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append((number, payload))
            else:
                self.lost += 1

    def take(self, most: int) -> list[tuple[int, bytes]]:
        """Return number and payload of the oldest records that nobody is done with yet, ``most`` at most."""
        with self._mutex:
            data = self._unread()
            self._from_memory = not data
            if self._from_memory:
                return list(islice(self._waiting, most))
        found: list[tuple[int, bytes]] = []
        self._ends = []
        for number, payload, end in islice(records(data, 0), most):
            found.append((number, payload))
            self._ends.append(end)
        return found

    def done(self, batch: list[tuple[int, bytes]]) -> None:
        """Give up the room of the batch that was taken last: all of it is in the store. Raises OSError."""
        spent: list[Segment] = []
        with self._mutex:
            self._done += len(batch)
            if self._from_memory:
                for _ in batch:
                    self._waiting.popleft()
            else:
                self._start += self._ends[len(batch) - 1]
                while self._full and self._full[0].last <= batch[-1][0]:
                    segment = self._full.popleft()
                    if segment is self._reading:
                        self._reading = None
                    if len(self._free) < SPARE_SEGMENTS:
                        self._free.append(segment)
                    else:
                        spent.append(segment)
                self._write_waiting()
        for segment in spent:
            self._files -= 1
            segment.remove()

    def provide(self) -> None:
        """Have spare segments ready. Raises OSError when the disk does not give them; try again then."""
        if self._lock is None:
            self._lock = _locked(self._directory)
        while self._files < self._max_segments and len(self._free) < SPARE_SEGMENTS:
            segment = Segment(self._directory / f"{self._made:06d}{_SUFFIX}")
            self._made += 1
            self._files += 1
            with self._mutex:
                self._free.append(segment)
                self._write_waiting()

    def close(self) -> None:
        """Let go of the files. They stay for the next process, unless everything in them is done with."""
        with self._mutex:
            left = bool(self._unread()) or bool(self._waiting)
            for segment in filter(None, (self._current, *self._full, *self._free)):
                segment.close()
            self._current = self._reading = None
            self._full.clear()
            self._free.clear()
        if self._lock is not None:
            if not left:
                shutil.rmtree(self._directory, ignore_errors=True)
            self._lock.release()
            self._lock = None

    def _write(self, number: int, payload: bytes) -> bool:
        record = framed(number, payload)
        if self._current is not None:
            if self._current.put(number, record):
                return True
            if not self._free:
                return False
            self._full.append(self._current)
        elif not self._free:
            return False
        self._current = self._free.popleft()
        self._current.begin(number)
        return self._current.put(number, record)

    def _write_waiting(self) -> None:
        while self._waiting and self._write(*self._waiting[0]):
            self._waiting.popleft()

    def _unread(self) -> bytes:
        """Return bytes that begin with the oldest record nobody is done with; none where all are done with."""
        if self._reading is None or self._reading.end == self._start:
            # In the order of time. What is before the segment that was read last has been given up.
            rest = [segment for segment in (*self._full, self._current) if segment is not None]
            if self._reading is not None:
                rest = rest[rest.index(self._reading) + 1 :]
            if not rest:
                return b""
            self._reading, self._start = rest[0], HEAD_BYTES
        return self._reading.read(self._start, READ_BYTES)


def left_behind(root: Path, move: Callable[[str, list[tuple[int, bytes]]], int], most: int) -> int:
    """Pass on what processes that ended have left, by the name of their journal and ``most`` records at a time.

    Records that were passed on before may be among them. What was passed on is deleted, journal by journal; whatever
    ``move`` raises comes out, and that journal stays. Returns the sum of what ``move`` returned. Raises OSError.
    """
    count = 0
    for directory in sorted(root.iterdir()) if root.is_dir() else ():
        try:
            lock = _locked(directory, make=False)
        except OSError:
            # Its process lives, or somebody else is at it.
            continue
        try:
            # In the order in which they were written, which is not that of their names: they are used again.
            segments = [(_first_number(path), path) for path in directory.glob(f"*{_SUFFIX}")]
            for _first, path in sorted(segments):
                whole = list(whole_segment(path.read_bytes()))
                for at in range(0, len(whole), most):
                    count += move(directory.name, whole[at : at + most])
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            lock.release()
    return count


def _first_number(path: Path) -> int:
    with path.open("rb") as file:
        return first_number(file.read(HEAD_BYTES)) or 0


def _locked(directory: Path, *, make: bool = True) -> "BaseFileLock":
    """Return the lock of a journal's directory. Raises OSError; TimeoutError, which is one, when another holds it."""
    from filelock import FileLock  # 40 ms to import

    if make:
        # What is made on the way to a directory has not its mode.
        for made in (directory.parent, directory):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(directory / _LOCK, timeout=0, mode=MODE, thread_local=False)
    lock.acquire()
    return lock
