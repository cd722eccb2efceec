"""Private files: never wider than 0600, never half written."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fittengate.services.files import read_private, write_private

posix = pytest.mark.skipif(os.name != "posix", reason="modes and signals are POSIX")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_a_written_file_is_its_owner_s_alone(tmp_path):
    """The mode is 0600 whatever the umask and whatever the file was before."""
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_private(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_the_file_is_private_from_its_first_moment(tmp_path, monkeypatch):
    """When the first byte is written the file already has its mode."""
    seen = []
    real = os.fdopen

    def watching(handle, kind):
        seen.append(stat.S_IMODE(os.fstat(handle).st_mode))
        return real(handle, kind)

    monkeypatch.setattr(os, "fdopen", watching)
    before = os.umask(0)
    try:
        write_private(tmp_path / "secret", b"x")
    finally:
        os.umask(before)
    assert seen == [0o600]


@posix
def test_a_killed_writer_leaves_the_old_content(tmp_path):
    """Killed between writing and replacing: the old file is good, and the next write clears what was left."""
    path = tmp_path / "secret"
    write_private(path, b"old")
    code = (
        "import os, signal, sys; from pathlib import Path; from fittengate.services.files import write_private\n"
        "Path.replace = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_private(Path(sys.argv[1]), b'new')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = tmp_path.glob(".secret.*")
    assert left.read_bytes() == b"new"
    assert mode(left) == 0o600
    write_private(path, b"newer")
    assert left.exists(), "another process may still be writing it"
    os.utime(left, (0, 0))
    write_private(path, b"newest")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    """A full disk costs the new content, not the old, and leaves no temporary file."""
    path = tmp_path / "secret"
    write_private(path, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_reading_leaves_the_mode_of_what_a_link_leads_to(tmp_path):
    """It is another file, which others may have to read: root would close `/etc/passwd` to everybody."""
    (tmp_path / "other").write_bytes(b"x")
    (tmp_path / "other").chmod(0o644)
    (tmp_path / "link").symlink_to(tmp_path / "other")
    assert read_private(tmp_path / "link", 10) == b"x"
    assert mode(tmp_path / "other") == 0o644


@posix
def test_reading_narrows_a_mode_that_is_too_wide(tmp_path):
    """A file restored with 0644 is private again after the first look."""
    path = tmp_path / "secret"
    path.write_bytes(b"x" * 10)
    path.chmod(0o644)
    assert read_private(path, 10) == b"x" * 10
    assert mode(path) == 0o600
    with pytest.raises(ValueError, match="larger than 9 bytes"):
        read_private(path, 9)
    with pytest.raises(FileNotFoundError):
        read_private(Path(path.parent / "none"), 9)
