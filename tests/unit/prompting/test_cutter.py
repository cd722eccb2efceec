"""Stop sequences and token limits in the stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.ask import Sampling
from fittengate.core.events import TextDelta, ThoughtDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened
from fittengate.core.reply import StopReason
from fittengate.prompting.cutter import Cutter


def run(events, *, stop=(), limit=None):
    """Return (text, thought, reason, stop sequence) after feeding the events one by one."""
    cutter, out = Cutter(Sampling(limit, stop)), []
    for event in events:
        out += cutter.feed([event])
    out += [] if cutter.ended else cutter.close()
    text = "".join(event.text for event in out if isinstance(event, TextDelta))
    thought = "".join(event.text for event in out if isinstance(event, ThoughtDelta))
    return text, thought, cutter.reason, cutter.stop_sequence


@pytest.mark.parametrize(
    ("text", "stops", "left", "met"),
    [
        ("one STOP two", ("STOP",), "one ", "STOP"),
        ("one STO", ("STOP",), "one STO", None),
        ("STOP", ("STOP",), "", "STOP"),
        ("abc", ("c", "bc", "abcd"), "a", "bc"),
        ("abcd", ("c", "abcd"), "", "abcd"),
        ("abce", ("c", "abcd"), "ab", "c"),
        ("ab", ("ab", "abc"), "", "ab"),
        ("abd", ("ab", "abc"), "", "ab"),
        ("aab", ("ab",), "a", "ab"),
        ("x\n\ny", ("\n\n",), "x", "\n\n"),
        ("", ("x",), "", None),
    ],
)
def test_the_first_stop_sequence_by_place_then_the_longest_cuts_the_text(text, stops, left, met):
    """The stop sequence itself is not part of the text, however the text was cut."""
    for events in ([TextDelta(text)] if text else [], [TextDelta(char) for char in text]):
        got = run(events, stop=stops)
        assert (got[0], got[3]) == (left, met)
        assert got[2] is (None if met is None else StopReason.STOP_SEQUENCE)


def test_only_the_possible_beginning_of_a_stop_sequence_is_held_back():
    """Text is not delayed by the length of the stop sequence."""
    cutter = Cutter(Sampling(None, ("###END",)))
    assert cutter.feed([TextDelta("hello")]) == [TextDelta("hello")]
    assert cutter.feed([TextDelta("a #")]) == [TextDelta("a ")]
    assert cutter.feed([TextDelta("##x")]) == [TextDelta("###x")]


def test_reasoning_is_not_searched_and_does_not_overtake():
    """A stop sequence in a thought is no stop; held text comes before the thought."""
    assert run([ThoughtDelta("STOP"), TextDelta("aST"), ThoughtDelta("t"), TextDelta("OPb")], stop=("STOP",)) == (
        "aSTOPb",
        "STOPt",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("text", "limit", "left"), [("abcdefgh", 1, "abcd"), ("abcd", 1, "abcd"), ("你好吗", 2, "你好"), ("ab你", 1, "ab")]
)
def test_the_token_limit_cuts_at_once(text, limit, left):
    """Four ASCII characters or one other are a token; the cut does not wait for more text."""
    for events in ([TextDelta(text)], [TextDelta(char) for char in text]):
        assert run(events, limit=limit) == (left, "", StopReason.LENGTH, None)


def test_under_the_limit_nothing_is_cut():
    """The reply ends by itself."""
    assert run([TextDelta("abc")], limit=1) == ("abc", "", None, None)


def test_reasoning_counts_towards_the_limit():
    """The limit is on everything that was made."""
    assert run([ThoughtDelta("abcd"), TextDelta("efgh"), TextDelta("i")], limit=2) == (
        "efgh",
        "abcd",
        StopReason.LENGTH,
        None,
    )


def test_a_call_cut_in_its_middle_is_aborted():
    """Half a command must not be carried out; a closed one stands."""
    cutter = Cutter(Sampling(2))
    out = cutter.feed(
        [
            ToolOpened(0, "i", "run"),
            ToolDelta("{}"),
            ToolClosed(),
            ToolOpened(1, "j", "run"),
            ToolDelta('{"cmd":"rm -rf'),
        ]
    )
    assert isinstance(out[-1], ToolAborted)
    assert out[2] == ToolClosed()
    assert out[-2] == ToolDelta('{"cmd"')


STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=4)


@given(st.text("ab\nc", max_size=20), STOPS, st.none() | st.integers(1, 4), st.data())
def test_cuts_do_not_matter(text, stops, limit, data):
    """P2: the outcome is that of a plain search over the whole text."""
    places = [(text.find(stop), -len(stop), stop) for stop in stops if stop in text]
    expected, met = (text[: min(places)[0]], min(places)[2]) if places else (text, None)
    if limit is not None and (len(expected) > limit * 4 or (len(expected) == limit * 4)):
        expected, met = expected[: limit * 4], None
    pieces, rest = [], text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces.append(TextDelta(rest[:size]))
        rest = rest[size:]
    got = run(pieces, stop=tuple(stops), limit=limit)
    assert (got[0], got[3]) == (expected, met)
