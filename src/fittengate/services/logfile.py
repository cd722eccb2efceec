"""The log's file: private, rotated by size, and patient with a disk that fails.

Law: a whole batch is written or the call raises; a file that was moved or removed by somebody else is left alone, and a
new one begun. Belongs to one thread.
"""

import contextlib
import os
import stat
from pathlib import Path

from fittengate.services.files import MODE

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class RotatedFile:
    """A file that is renamed to ``.1`` when it is full, ``.1`` to ``.2``, and so on."""

    def __init__(self, path: Path | str, most_bytes: int, kept: int) -> None:
        self._path = Path(path)
        self._most = most_bytes
        self._kept = kept
        self._handle: int | None = None
        self._size = 0
        self._regular = True
        self._torn = False

    def write(self, data: bytes) -> None:
        """Append ``data``, which ends with a line. Raises OSError; part of ``data`` may be in the file then."""
        try:
            self._ready(len(data))
            assert self._handle is not None  # noqa: S101
            # What a failed write left unfinished must not run into the next line.
            rest = memoryview(b"\n" + data if self._torn else data)
            while rest:
                done = os.write(self._handle, rest)
                self._size += done
                rest = rest[done:]
                self._torn = bool(rest)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = None

    def _ready(self, coming: int) -> None:
        if self._handle is not None and not self._still_there():
            self.close()
        if self._handle is None:
            self._open()
        if self._regular and self._size and self._size + coming > self._most:
            self.close()
            self._rotate()
            self._open()

    def _open(self) -> None:
        self._handle = os.open(self._path, FLAGS, MODE)
        found = os.fstat(self._handle)
        # A terminal or a pipe is neither measured nor renamed.
        self._regular = stat.S_ISREG(found.st_mode)
        self._size = found.st_size

    def _still_there(self) -> bool:
        """Tell whether the path still leads to the open file; programs that rotate logs rename it."""
        assert self._handle is not None  # noqa: S101
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._handle))
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
