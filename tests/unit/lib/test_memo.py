"""What is remembered is what was made of the very same bytes."""

import pytest

from fittengate.lib.memo import Memo


def counting():
    """Return a function that keeps what it was given."""
    seen = []

    def make(data):
        seen.append(data)
        return data.decode()

    return make, seen


def test_the_same_bytes_are_looked_at_once():
    """Another object with the same bytes counts as the same."""
    make, seen = counting()
    memo = Memo(make, entries=4, most=1000)
    assert [memo.of(b"a" * 500) for _ in range(3)] == ["a" * 500] * 3
    assert len(seen) == 1


def test_bytes_that_differ_anywhere_are_never_taken_for_each_other():
    """Also where none of the samples lies."""
    memo = Memo(bytes.decode, entries=4, most=1000)
    for at in range(500):
        data = bytearray(b"a" * 500)
        data[at] = ord("b")
        assert memo.of(bytes(data)) == data.decode()
        assert memo.of(b"a" * 500) == "a" * 500


def test_so_many_are_kept_and_no_long_ones():
    """The oldest leaves; bytes over the bound are made anew each time (P6)."""
    make, seen = counting()
    memo = Memo(make, entries=2, most=10)
    for data in (b"one", b"two", b"three", b"three", b"one", b"x" * 11, b"x" * 11):
        memo.of(data)
    assert seen == [b"one", b"two", b"three", b"one", b"x" * 11, b"x" * 11]
    assert len(memo._kept) == 2


def test_what_making_raises_is_raised_and_nothing_is_kept():
    """A bad body is bad every time."""
    memo = Memo(bytes.decode, entries=2, most=10)
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            memo.of(b"\xff")
    assert memo._kept == {}
