"""Whether a place is code: fences, inline code, and long texts in small pieces."""

import random
import sys

import pytest

from fittengate.prompting.code import MAX_LINE_CHARS, CodeTracker


def inside(*pieces):
    tracker = CodeTracker()
    for piece in pieces:
        tracker.later(piece)
    return tracker.inside()


@pytest.mark.parametrize(
    "text",
    [
        "```",
        "```py",
        "```\n",
        "   ~~~ a`b",
        "~~~\n```\n",
        "````\n```\n",
        "a `b",
        "a `b` ``c",
        "```\n``` x\n",
        "x\n~~~ ",
    ],
)
def test_what_follows_an_open_fence_or_backtick_is_code(text):
    """Whole and character by character."""
    assert inside(text)
    assert inside(*text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "    ```\n",
        "```a`\n",
        "```\n```",
        "```\n`````  ",
        "~~~\n  ~~~\n",
        "a `b\n",
        "a `b`",
        "``",
        "~~",
        "x ```y```",
    ],
)
def test_what_follows_closed_code_is_not(text):
    """A fence's end needs no line break behind it; four spaces make no fence; a line's end ends inline code."""
    if text in {"``", "~~"}:
        assert inside(text) is (text == "``")  # two backticks are one run, open until the next
        return
    assert not inside(text)
    assert not inside(*text)


@pytest.mark.parametrize("long", ["x", "`", "~", " ", "`x", "x`", "``` "])
@pytest.mark.parametrize("start", ["", "```", "   ~~~~", "x`", "~~~\n", "````\n"])
@pytest.mark.parametrize("end", ["", "`", "\n", " \n", "x\n", "\n```", "\n~~~~"])
def test_a_long_line_is_the_same_in_one_piece_and_in_many(start, long, end):
    """Lines are kept short inside, which nobody can see from outside."""
    text = start + long * (3 * MAX_LINE_CHARS) + end
    # A line that comes whole and ends is never shortened; one that comes in pieces is, many times.
    cuts = sorted(random.Random(len(text)).sample(range(len(text)), 40))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for after in ("", "\n", "`", "x `\n", "\n```\n"):
        assert inside(*pieces, after) is inside(text + after), (pieces[:2], after)


@pytest.mark.parametrize("words", ["a`b`", "a`b", "ab"])
def test_a_long_line_behind_backticks_is_a_fence_unless_it_has_some_more(words):
    """However often the line was shortened on the way."""
    text = "```" + words * 1001 + "x" * 3000 + "\n"
    assert inside(*text) is (words == "ab")
    assert inside(text) is (words == "ab")


def test_memory_is_bounded():
    """A megabyte without a line break, in small pieces and in large ones, leaves next to nothing behind."""
    for size in (1, 5000):
        tracker = CodeTracker()
        for _ in range(1_000_000 // size // (20 if size == 1 else 1)):
            tracker.later("a`~"[:size] * (size // 3 or 1))
        kept = sum(map(sys.getsizeof, tracker._pieces)) + sys.getsizeof(tracker._line)
        assert kept < 20_000
