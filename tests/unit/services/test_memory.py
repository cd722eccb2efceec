"""Answers of the last minutes: what is served, for how long, and what is not kept at all."""

from fittengate.core.ask import FillAsk, Sampling
from fittengate.core.reply import StopReason
from fittengate.services.memory import (
    EMPTY_SECONDS,
    MAX_FILE_CHARS,
    MAX_TEXT_BYTES,
    SECONDS,
    Memory,
    place_of,
)


class HandClock:
    """A clock that is moved by hand."""

    at = 0.0

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


def at(prefix, suffix="", owner="one", **fields):
    return place_of(owner, FillAsk(prefix, suffix, **fields))


def remembering(prefix, text, suffix="", clock=None, **fields):
    memory = Memory(clock or HandClock())
    memory.remember(at(prefix, suffix, **fields), text, StopReason.DONE)
    return memory


def test_typing_on_and_deleting_back_are_served():
    """The prefix grew by the beginning of the answer, or shrank back to where it was given."""
    memory = remembering("x = ", "foo(bar)", "\n")
    assert memory.look(at("x = ", "\n")).text == "foo(bar)"
    assert memory.look(at("x = foo(", "\n")).text == "bar)"
    assert memory.look(at("x = f", "\n")).text == "oo(bar)"


def test_what_differs_is_not_served():
    """Another word typed, another suffix, key, name, language or wish; a prefix before the answer's; nothing left."""
    memory = remembering("x = ", "foo(bar)", "\n")
    for place in (
        at("x = fa", "\n"),
        at("y = f", "\n"),
        at("x = ", "\n\n"),
        at("x = ", "\n", owner="two"),
        at("x = ", "\n", file_name="a.py"),
        at("x = ", "\n", language="python"),
        at("x = ", "\n", sampling=Sampling(8)),
        at("x =", "\n"),
        at("x = foo(bar)", "\n"),
    ):
        assert memory.look(place) is None


def test_a_rest_that_repeats_the_line_is_not_served():
    """An editor has closed the bracket already: the service is asked, and decides."""
    memory = remembering("f(", "a))", ")\n")
    assert memory.look(at("f(a)", ")\n")) is None
    assert memory.look(at("f(a", ")\n")).text == "))"


def test_the_closest_answer_counts():
    """Of two that go on from a place the one that was given for more of it."""
    memory = remembering("a", "bcd")
    memory.remember(at("ab"), "cX", StopReason.DONE)
    assert memory.look(at("abc")).text == "X"
    assert memory.look(at("a")).text == "bcd"


def test_answers_grow_old_and_empty_ones_sooner():
    """Minutes for a text, seconds for none."""
    clock = HandClock()
    memory = remembering("a", "bc", clock=clock)
    memory.remember(at("z"), "", StopReason.DONE)
    clock.at = EMPTY_SECONDS
    assert memory.look(at("z")).text == ""
    assert memory.look(at("zz")) is None
    clock.at = EMPTY_SECONDS + 0.1
    assert memory.look(at("z")) is None
    clock.at = SECONDS
    assert memory.look(at("ab")).text == "c"
    clock.at = SECONDS + 0.1
    assert memory.look(at("ab")) is None
    assert (len(memory), memory.size) == (0, 0)


def test_long_files_and_answers_are_not_remembered():
    """What would cost too much to look at, or to keep; a long answer takes the earlier one of its place with it."""
    assert at("a" * MAX_FILE_CHARS) is not None
    assert at("a" * MAX_FILE_CHARS, "b") is None
    memory = remembering("a", "b")
    memory.remember(at("a"), "c" * (MAX_TEXT_BYTES + 1), StopReason.DONE)
    assert memory.look(at("a")) is None
    assert (len(memory), memory.size) == (0, 0)


def test_half_characters_and_nuls_are_like_any_other():
    """Half a surrogate pair before, in and after the answer stays what it is."""
    memory = remembering("\0\ud83d", "\ude00\0b", "\ud83d")
    assert memory.look(at("\0\ud83d\ude00", "\ud83d")).text == "\0b"
    # A whole character is not the same as its two halves.
    assert memory.look(at("\0😀", "\ud83d")) is None
