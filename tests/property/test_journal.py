"""The journal under any order of use, and its segments torn anywhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fittengate.services import segment
from fittengate.services.journal import Journal, left_behind
from fittengate.services.journal_format import HEAD_BYTES, framed, head, whole_segment

SMALL = 200
"""Bytes of a segment here: a handful of records."""

PAYLOADS = st.lists(st.binary(max_size=60), min_size=1, max_size=8)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", SMALL)


def laid_out(payloads, first=1):
    """Return a segment with these records, and where each ends."""
    data, ends = head(first), []
    for number, payload in enumerate(payloads, first):
        data += framed(number, payload)
        ends.append(len(data))
    return data, ends


@given(PAYLOADS, st.integers(1, 2**63))
def test_a_segment_cut_at_any_byte_gives_what_was_whole(payloads, first):
    """Zeros from any byte on: every record before it is read, none behind it, and none is made up."""
    data, ends = laid_out(payloads, first)
    for cut in range(len(data) + 1):
        torn = data[:cut].ljust(len(data) + 40, b"\0")
        whole = [(first + at, payload) for at, payload in enumerate(payloads) if ends[at] <= cut]
        # Bytes that were zero anyway are not missed when they are cut.
        found = list(whole_segment(torn))
        if cut >= HEAD_BYTES:
            assert found[: len(whole)] == whole
        assert found == [(first + at, payload) for at, payload in enumerate(payloads)][: len(found)]


@given(PAYLOADS, PAYLOADS)
def test_a_segment_used_again_does_not_show_what_it_held_before(before, after):
    """Records of an earlier use lie behind the new ones, whole perhaps: their numbers are too low to be read."""
    old, _ = laid_out(before, first=1)
    new, _ = laid_out(after, first=100)
    mixed = new + old[len(new) :]
    assert list(whole_segment(mixed)) == list(enumerate(after, 100))


@given(PAYLOADS, st.data())
def test_a_changed_byte_is_never_read_as_a_record(payloads, data):
    """Whichever byte is changed, what is read is a beginning of what was written."""
    written, _ = laid_out(payloads)
    at = data.draw(st.integers(0, len(written) - 1))
    broken = bytearray(written)
    broken[at] ^= data.draw(st.integers(1, 255))
    # The last bytes of a head mean nothing.
    wanted = list(enumerate(payloads, 1))
    found = list(whole_segment(bytes(broken)))
    assert found == wanted[: len(found)]


STEPS = st.lists(
    st.sampled_from(("append", "append", "append", "take", "done", "provide", "full", "room")), max_size=60
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_a_journal_gives_everything_once_and_in_order(steps, tmp_path_factory):
    """Appending, taking and disks that fill and empty in any order: in the end all came, in order, and none twice."""
    root = tmp_path_factory.mktemp("journals")
    journal = Journal(root, "mine", max_segments=4)
    journal.provide()
    appended, stored, taken = [], [], []
    for number, step in enumerate(steps):
        if step == "append":
            payload = b"%d" % number * 7
            journal.append(payload)
            appended.append(payload)
        elif step == "take":
            taken = journal.take(3)
            assert taken == journal.take(3)
        elif step == "done" and taken:
            journal.done(taken)
            stored += taken
            taken = []
        elif step == "full":
            journal._max_segments = 0
        elif step in {"room", "provide"}:
            taken = []
            journal._max_segments = 4 if step == "room" else journal._max_segments
            journal.provide()
    waiting = journal.waiting
    last = stored[-1][0] if stored else 0
    journal.close()
    rest = []
    left_behind(root, lambda _name, batch: rest.extend(batch) or len(batch), 2)
    # What waited in memory is what a process that dies loses; everything else was on the disk.
    found = [payload for _, payload in stored] + [payload for number, payload in rest if number > last]
    assert found == appended[: len(appended) - waiting]
    assert not list(root.iterdir())
