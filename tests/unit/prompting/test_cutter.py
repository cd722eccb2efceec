"""Stop sequences and token limits in the stream. What holds for every text stands in the property tests."""

import time

import pytest

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
        ("abc", ("ab", "abc"), "", "abc"),
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
    ("text", "limit", "left"),
    [
        ("abcdefgh", 1, "abcd"),
        ("abcd", 1, "abcd"),
        ("你好吗", 2, "你好"),
        ("ab你", 1, "ab"),
        ("a😀b", 1, "a"),
        ("é\ud800x", 1, "é\ud800x"),
    ],
)
def test_the_token_limit_cuts_at_once(text, limit, left):
    """Four bytes are a token, no character is cut in two, and the cut does not wait for more text."""
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


def test_nothing_comes_after_the_cut():
    """Neither later events nor what is in the same piece, and the close adds nothing."""
    cutter = Cutter(Sampling(1, ("X",)))
    assert cutter.feed([TextDelta("aX"), ThoughtDelta("t"), TextDelta("b")]) == [TextDelta("a")]
    assert cutter.reason is StopReason.STOP_SEQUENCE
    assert cutter.feed([TextDelta("c")]) == []
    assert cutter.close() == []
    assert cutter.reason is StopReason.STOP_SEQUENCE


def test_what_was_held_at_the_limit_is_dropped():
    """The limit cuts what is in front of it as well as what comes later."""
    cutter = Cutter(Sampling(1, ("X-Y",)))
    assert cutter.feed([TextDelta("abcdX-")]) == [TextDelta("abcd")]
    assert cutter.close() == []
    assert (cutter.reason, cutter.stop_sequence) == (StopReason.LENGTH, None)


def test_a_limit_reached_before_a_stop_sequence_is_the_reason():
    """The text before it used the limit up: so it says however the text came."""
    for events in ([TextDelta("abcdSTOP")], [TextDelta(char) for char in "abcdSTOP"]):
        assert run(events, stop=("STOP",), limit=1) == ("abcd", "", StopReason.LENGTH, None)


def test_deltas_under_the_limit_pass_as_they_are():
    """The very list comes back, and what was spent is counted in whole tokens."""
    cutter = Cutter(Sampling(100))
    deltas = [TextDelta("ab"), ThoughtDelta("cd"), TextDelta("你")]
    assert cutter.feed(deltas) is deltas
    assert cutter.spent == 2
    assert cutter.feed([TextDelta("x" * 1000)]) == [TextDelta("x" * 393)]
    assert cutter.spent == 100


def test_a_call_parts_the_text_that_a_stop_sequence_could_stand_in():
    """What is held comes before the call opens."""
    opened = ToolOpened(0, "i", "run")
    cutter = Cutter(Sampling(None, ("STOP",)))
    assert cutter.feed([TextDelta("aST"), opened, ToolDelta("{}"), ToolClosed(), TextDelta("OP")]) == [
        TextDelta("a"),
        TextDelta("ST"),
        opened,
        ToolDelta("{}"),
        ToolClosed(),
        TextDelta("OP"),
    ]
    assert cutter.close() == []


def test_a_shorter_stop_sequence_counts_where_the_longer_one_does_not_come():
    """At the close, before a thought and before other text."""
    for last in ([], [ThoughtDelta("t")], [TextDelta("x")]):
        assert run([TextDelta("abc"), *last], stop=("b", "abcd")) == ("a", "", StopReason.STOP_SEQUENCE, "b")


def test_time_is_linear_whatever_the_stop_sequence():
    """A long one that nearly repeats itself costs no more for each character than a short one."""
    stop = "a" * 20_000 + "b" + "a" * 20_000
    text = "a" * 20_000 + "b" + "a" * 19_999 + "c"
    cutter = Cutter(Sampling(None, (stop, "ab" * 20_000)))
    began = time.process_time()
    for _ in range(10):
        for at in range(0, len(text), 1000):
            cutter.feed([TextDelta(text[at : at + 1000])])
    assert time.process_time() - began < 5  # about 0.2 s; a search that starts anew at every delta takes minutes
    assert not cutter.ended


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
    assert cutter.ended
    assert cutter.reason is StopReason.LENGTH


def test_text_cut_behind_a_closed_call_aborts_nothing():
    """The call was complete before the limit was."""
    cutter = Cutter(Sampling(1))
    out = cutter.feed([ToolOpened(0, "i", "run"), ToolDelta("{}"), ToolClosed(), TextDelta("abc")])
    assert out[-2:] == [ToolClosed(), TextDelta("ab")]
    assert cutter.ended


class Room:
    """Some tokens, and more of them while there are any."""

    def __init__(self, answer, *steps):
        self.answer = answer
        self.steps = list(steps)

    def more(self):
        return self.steps.pop(0) if self.steps else 0


@pytest.mark.parametrize("pieces", [1, 3, 100])
@pytest.mark.parametrize(
    ("most", "room", "length", "left"),
    [
        (100, Room(2, 3, 1), 24, []),
        (100, Room(2, 3, 30), 60, []),
        # As far as it may go, whatever is to be had.
        (4, Room(2, 30, 30), 16, [30]),
        (4, Room(4, 30), 16, [30]),
        (None, Room(2, 1), 12, []),
        # What is not needed is not asked for.
        (100, Room(20, 30), 60, [30]),
    ],
)
@pytest.mark.parametrize("stop", [(), ("zz",)])
def test_an_answer_grows_as_long_as_there_is_room(pieces, most, room, length, left, stop):
    """It is cut where no more is to be had; the pieces that it comes in do not matter."""
    text = "abcdef" * 10
    room = Room(room.answer, *room.steps)
    cutter = Cutter(Sampling(most, stop), room)
    size = max(1, len(text) // pieces)
    out = []
    for at in range(0, len(text), size):
        out += cutter.feed([TextDelta(text[at : at + size])])
    out += [] if cutter.ended else cutter.close()
    assert "".join(event.text for event in out) == text[:length]
    assert cutter.ended == (length < len(text))
    assert room.steps == left
    if cutter.ended:
        assert (cutter.reason, cutter.most) == (StopReason.LENGTH, length // 4)
