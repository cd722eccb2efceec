"""Small private files: written whole or not at all, and never readable by others, not even for a moment."""

import contextlib
import os
import tempfile
import time
from pathlib import Path

MODE = 0o600

STALE_SECONDS = 60.0
"""A temporary file older than this was left by a process that died: no write takes so long."""


def write_private(path: Path, data: bytes) -> None:
    """Replace a file's content atomically with mode 0600. Raises OSError; the old file is untouched then.

    A process that dies at any moment leaves the old content or the new one. The directory has to exist.
    """
    # mkstemp creates with 0600, exclusively, and follows no link.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sweep(path)


def read_private(path: Path, most_bytes: int) -> bytes:
    """Return a file's content; a mode that lets others read is narrowed. Raises OSError, ValueError when too large.

    What a link leads to keeps its mode: it is not ours, and others may have to read it.
    """
    with path.open("rb") as file:
        if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077 and not path.is_symlink():
            # Copied by hand or restored from a backup. Where the file is another user's there is nothing to be done.
            with contextlib.suppress(PermissionError):
                os.fchmod(file.fileno(), MODE)
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"larger than {most_bytes} bytes")
    return data


def _sweep(path: Path) -> None:
    # What a killed process left holds secrets, if only for its owner to read.
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                left.unlink()
