"""A small private file for what the gateway has learned and can learn again: losing it costs nothing but time."""

from pathlib import Path

from fittengate.services.files import read_private, write_private

MAX_BYTES = 65_536
"""Thirty-two models come to under 8 KB; a larger file is not ours."""


class NoteFile:
    """Implements the NoteStore protocol with one file; its directory has to exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        """Return what was saved last; None when nothing was. Raises OSError, ValueError when it is too large."""
        try:
            return read_private(self._path, MAX_BYTES)
        except FileNotFoundError:
            return None

    def save(self, data: bytes) -> None:
        """Replace what is saved, atomically and readable by its owner alone. Raises OSError."""
        write_private(self._path, data)
