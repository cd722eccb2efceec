"""Open files: where a position is, and what changes make of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.cli.documents import MAX_DOCUMENTS, Change, Documents, Place, offset_of, units_of

LETTERS = st.sampled_from(["a", "é", "你", "😀", "\n", "\r", "\r\n", "\f", "\x85", "\u2028", "\v", "\0", "\ud800"])
TEXTS = st.lists(LETTERS, max_size=20).map("".join)
ENCODINGS = ["utf-8", "utf-16", "utf-32"]


def place_of(text, at, encoding):
    """Return the place of an offset, found the other way round."""
    before = text[:at].replace("\r\n", "\n").replace("\r", "\n")
    line = before.count("\n")
    return Place(line, units_of(before.rpartition("\n")[2], encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.data())
def test_every_place_is_found_again(encoding, data):
    """A form feed, a NEL and what else Python cuts lines at end no line; characters count in the agreed units."""
    text = data.draw(TEXTS)
    at = data.draw(st.integers(0, len(text)))
    if text[at - 1 : at + 1] != "\r\n":
        assert offset_of(text, place_of(text, at, encoding), encoding) == at


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.data())
def test_changes_make_the_text_that_the_editor_has(encoding, data):
    """What stands around any place, after any changes, is what stands there in the editor."""
    text = data.draw(TEXTS)
    documents = Documents()
    documents.put("file:///a", text)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        if "\r\n" in (text[start - 1 : start + 1], text[end - 1 : end + 1]):
            continue
        new = data.draw(TEXTS)
        places = [place_of(text, at, encoding) for at in (start, end)]
        documents.change("file:///a", [Change(*places, new)], encoding)
        text = text[:start] + new + text[end:]
    before, after = documents.around("file:///a", Place(10**6, 0), encoding)
    assert (before, after) == (text, "")


def test_a_place_beyond_the_end_is_the_end():
    """Of its line, or of the file; a cursor within a pair is after it."""
    assert offset_of("ab\ncd", Place(0, 99)) == 2
    assert offset_of("ab\ncd", Place(9, 0)) == 5
    assert offset_of("é\ncd", Place(0, 99)) == 1
    assert offset_of("😀b", Place(0, 1)) == 1
    assert offset_of("ab\r\ncd", Place(1, 1)) == 5


def test_files_are_forgotten_when_closed_and_when_there_are_too_many():
    """P6: the oldest goes first; changes to what is not open do nothing."""
    documents = Documents()
    documents.change("file:///x", [Change(None, None, "x")])
    assert documents.around("file:///x", Place(0, 0)) is None
    for number in range(MAX_DOCUMENTS + 1):
        documents.put(f"file:///{number}", "")
    assert documents.around("file:///0", Place(0, 0)) is None
    assert documents.around("file:///1", Place(0, 0)) == ("", "")
    documents.change("file:///1", [Change(None, None, "new"), Change(Place(0, 0), Place(0, 1), "N")])
    assert documents.around("file:///1", Place(0, 1)) == ("N", "ew")
    documents.drop("file:///1")
    assert documents.around("file:///1", Place(0, 0)) is None
