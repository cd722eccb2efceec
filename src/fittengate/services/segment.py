"""One file of the journal: its room is taken from the disk when it is made, and it is written through memory.

What was copied into the map outlives the process, however it ends, and costs no system call. The room has to be real:
where a disk is full, writing into a hole of a mapped file would end the process.
"""

import mmap
import os
from pathlib import Path

from fittengate.services.files import MODE
from fittengate.services.journal_format import HEAD_BYTES, head

SEGMENT_BYTES = 1024 * 1024
"""Some nine thousand receipts."""


class Segment:
    """A mapped file. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        """Make the file and take its room. Raises OSError; then there is no file."""
        self.path = path
        self.end = 0
        """Where the next record goes; 0 while it is not in use."""
        self.last = 0
        """Number of the last record; meaningless while it is not in use."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), MODE)
        try:
            _take_room(handle)
            self._map = mmap.mmap(handle, SEGMENT_BYTES)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)

    def begin(self, first: int) -> None:
        """Use it, for the first time or again, for records from number ``first`` on."""
        self._map[:HEAD_BYTES] = head(first)
        self.end = HEAD_BYTES
        self.last = first - 1

    def put(self, number: int, record: bytes) -> bool:
        """Copy a record in; tell whether there was room."""
        end = self.end + len(record)
        if end > SEGMENT_BYTES:
            return False
        self._map[self.end : end] = record
        self.end = end
        self.last = number
        return True

    def read(self, start: int, most_bytes: int) -> bytes:
        """Return what was put in from ``start`` on, the last record of it perhaps in part."""
        return self._map[start : min(self.end, start + most_bytes)]

    def close(self) -> None:
        """Let go of the file; it stays where it is."""
        self._map.close()

    def remove(self) -> None:
        """Let go of the file and delete it. Raises OSError."""
        self.close()
        self.path.unlink(missing_ok=True)


def _take_room(handle: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, SEGMENT_BYTES)
        return
    left = SEGMENT_BYTES
    while left:
        left -= os.write(handle, bytes(left))
    os.fsync(handle)
