"""The journal: segments, their lock, and what is left behind."""

import os
import stat

import pytest

from fittengate.services import journal as journal_module
from fittengate.services import segment
from fittengate.services.journal import Journal, left_behind
from fittengate.services.journal_format import HEAD_BYTES, framed, head, whole_segment


def collected(root):
    found = []

    def move(name, batch):
        found.extend((name, payload) for _, payload in batch)
        return len(batch)

    assert left_behind(root, move, 100) == len(found)
    return found


def test_records_outlive_a_journal_that_was_not_closed(tmp_path):
    """What was appended is in files of mode 0600 at once; who finds the directory unlocked reads it and deletes it."""
    journal = Journal(tmp_path, "mine")
    journal.provide()
    for number in range(5):
        journal.append(b"%d" % number)
    files = list((tmp_path / "mine").glob("*.journal"))
    assert len(files) == 2
    if os.name == "posix":
        assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "mine").iterdir()} == {0o600}
        assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o700
    assert sum(path.read_bytes().count(b"\0" * 1000) > 0 for path in files) == 2
    journal._lock.release()
    assert collected(tmp_path) == [("mine", b"%d" % number) for number in range(5)]
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_the_directory_of_all_journals_is_private_too(tmp_path):
    """The first journal makes it, with the mode of everything else that is kept: a state directory may let a group in."""
    Journal(tmp_path / "journal", "mine").provide()
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700


def test_a_journal_in_use_is_left_alone(tmp_path):
    """As long as its process holds the lock, nobody else reads or removes it."""
    journal = Journal(tmp_path, "mine")
    journal.provide()
    journal.append(b"x")
    assert collected(tmp_path) == []
    assert journal.take(9) == [(1, b"x")]
    journal.close()
    assert collected(tmp_path) == [("mine", b"x")]


def test_what_cannot_be_passed_on_stays(tmp_path):
    """When the store refuses, the journal is still there for the next try."""
    journal = Journal(tmp_path, "mine")
    journal.provide()
    journal.append(b"x")
    journal.close()

    def refuse(name, batch):
        raise RuntimeError("down")

    with pytest.raises(RuntimeError):
        left_behind(tmp_path, refuse, 10)
    assert collected(tmp_path) == [("mine", b"x")]


def test_full_segments_make_records_wait_in_memory_and_room_brings_them_back(tmp_path, monkeypatch):
    """Beyond the last segment records wait, in order and up to the bound, and are written when one is free again."""
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(journal_module, "MAX_WAITING", 3)
    journal = Journal(tmp_path, "mine", max_segments=2)
    journal.provide()
    for number in range(12):
        journal.append(b"%02d" % number)
    # 24 bytes of head and 18 for each record: four fit.
    assert (journal.waiting, journal.lost, journal.depth) == (3, 1, 11)
    batch = journal.take(100)
    assert [payload for _, payload in batch] == [b"00", b"01", b"02", b"03"]
    journal.done(batch)
    assert journal.waiting == 0
    seen = [payload for _, payload in batch]
    while batch := journal.take(100):
        seen += [payload for _, payload in batch]
        journal.done(batch)
    assert seen == [b"%02d" % number for number in range(11)]
    assert journal.depth == 0


def test_without_any_room_records_go_from_memory(tmp_path):
    """Where the disk gives no segment at all, what waits is taken from memory; later numbers are still higher."""
    journal = Journal(tmp_path, "mine", max_segments=0)
    journal.provide()
    journal.append(b"a")
    journal.append(b"b")
    batch = journal.take(1)
    assert batch == [(1, b"a")]
    journal.done(batch)
    journal._max_segments = 4
    journal.provide()
    journal.append(b"c")
    assert journal.waiting == 0
    assert journal.take(9) == [(2, b"b"), (3, b"c")]


def test_a_segment_without_room_leaves_no_file_and_none_keeps_a_descriptor(tmp_path, monkeypatch):
    """A full disk gets no empty files, one with each try; a mapped file needs its descriptor no longer."""
    before = os.dup(0)
    os.close(before)
    segment.Segment(tmp_path / "good").remove()

    def full(*_given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segment, "_take_room", full)
    with pytest.raises(OSError, match="No space"):
        segment.Segment(tmp_path / "bad")
    assert not list(tmp_path.iterdir())
    after = os.dup(0)
    os.close(after)
    assert after == before, "the lowest number that is free is the same"


@pytest.mark.skipif(os.name != "posix", reason="blocks are POSIX's")
@pytest.mark.parametrize("way", ["asked for", "written"])
def test_the_room_of_a_segment_is_real(tmp_path, monkeypatch, way):
    """Every block is there before the first record, also where the system cannot be asked for them: no hole to die in."""
    if way == "written":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    made = segment.Segment(tmp_path / "one")
    assert made.path.stat().st_size == segment.SEGMENT_BYTES
    assert made.path.stat().st_blocks * 512 >= segment.SEGMENT_BYTES
    made.remove()


def test_segments_are_used_again_and_spare_ones_removed(tmp_path, monkeypatch):
    """After a rush the directory shrinks to what is in use and two spare files."""
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 100)
    journal = Journal(tmp_path, "mine")
    for number in range(400):
        journal.append(b"%02d" % (number % 100))
        journal.provide()
    assert len(list((tmp_path / "mine").glob("*.journal"))) == 64
    while batch := journal.take(50):
        journal.done(batch)
    assert len(list((tmp_path / "mine").glob("*.journal"))) <= 4
    journal.close()
    assert not list(tmp_path.iterdir())


def test_a_segment_of_another_form_is_not_read():
    """A later version may lay its records out in another way, and says so in the first bytes."""
    data = head(1) + framed(1, b"x")
    assert list(whole_segment(data)) == [(1, b"x")]
    assert list(whole_segment(b"fgjourn2" + data[8:])) == []
    assert list(whole_segment(data[: HEAD_BYTES - 1])) == []
