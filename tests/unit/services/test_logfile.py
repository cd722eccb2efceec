"""The log's file: modes, rotation, and disks that fail."""

import os
import stat

import pytest

from fittengate.services.logfile import RotatedFile

posix = pytest.mark.skipif(os.name != "posix", reason="modes and devices are POSIX")


def line(number):
    return b"line %03d\n" % number


@posix
def test_p10_the_file_is_its_owner_s_alone(tmp_path):
    """P10: 0600 from the beginning, for every file of the rotation."""
    before = os.umask(0)
    try:
        file = RotatedFile(tmp_path / "x.log", 20, 2)
        for number in range(5):
            file.write(line(number))
        file.close()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_full_file_makes_room_and_the_oldest_goes(tmp_path):
    """Two lines fit; two old files are kept; no line is torn or lost before its time."""
    file = RotatedFile(tmp_path / "x.log", 20, 2)
    for number in range(9):
        file.write(line(number))
    file.close()
    assert (tmp_path / "x.log").read_bytes() == line(8)
    assert (tmp_path / "x.log.1").read_bytes() == line(6) + line(7)
    assert (tmp_path / "x.log.2").read_bytes() == line(4) + line(5)
    assert len(list(tmp_path.iterdir())) == 3


def test_what_was_there_before_counts(tmp_path):
    """A restart goes on in the same file, and does not let it grow beyond its size."""
    for number in range(3):
        file = RotatedFile(tmp_path / "x.log", 20, 2)
        file.write(line(number))
        file.close()
    assert (tmp_path / "x.log").read_bytes() == line(2)
    assert (tmp_path / "x.log.1").read_bytes() == line(0) + line(1)


def test_a_batch_larger_than_the_file_is_written_whole(tmp_path):
    """Rotation happens between batches only."""
    file = RotatedFile(tmp_path / "x.log", 20, 2)
    file.write(b"".join(map(line, range(10))))
    file.write(line(10))
    file.close()
    assert (tmp_path / "x.log").read_bytes() == line(10)
    assert (tmp_path / "x.log.1").read_bytes() == b"".join(map(line, range(10)))
    assert not (tmp_path / "x.log.2").exists()


@posix
def test_a_file_that_somebody_moved_is_left_alone(tmp_path):
    """Another program rotates, or somebody deletes: the next line begins a new file."""
    path = tmp_path / "x.log"
    file = RotatedFile(path, 1000, 2)
    file.write(line(0))
    path.rename(tmp_path / "moved")
    file.write(line(1))
    path.unlink()
    file.write(line(2))
    file.close()
    assert (tmp_path / "moved").read_bytes() == line(0)
    assert path.read_bytes() == line(2)


def test_a_write_that_fails_raises_and_the_next_one_may_work(tmp_path):
    """The directory is missing, then it is there."""
    file = RotatedFile(tmp_path / "later" / "x.log", 1000, 2)
    with pytest.raises(FileNotFoundError):
        file.write(line(0))
    (tmp_path / "later").mkdir()
    file.write(line(1))
    file.close()
    assert (tmp_path / "later" / "x.log").read_bytes() == line(1)


@posix
def test_what_is_no_regular_file_is_never_renamed(tmp_path):
    """A pipe, or a terminal, is neither measured nor rotated."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        file = RotatedFile(pipe, 10, 2)
        for number in range(5):
            file.write(line(number))
        file.close()
        assert os.read(reader, 1000) == b"".join(map(line, range(5)))
    finally:
        os.close(reader)
    assert list(tmp_path.iterdir()) == [pipe]


def test_half_a_line_is_not_joined_with_the_next(tmp_path, monkeypatch):
    """The disk fills up in the middle of a line: when it takes lines again, they begin at a new one."""
    file = RotatedFile(tmp_path / "x.log", 1000, 2)
    real = os.write
    answers = iter([5, None])

    def short(handle, data):
        most = next(answers)
        if most is None:
            raise OSError(28, "No space left on device")
        return real(handle, data[:most])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            file.write(line(0))
    file.write(line(1))
    file.write(line(2))
    file.close()
    assert (tmp_path / "x.log").read_bytes() == b"line \n" + line(1) + line(2)
