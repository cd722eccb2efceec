"""The law of the memory: what it serves gives the file that the first answer gave, and never somebody else's."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fittengate.core.ask import FillAsk, Sampling
from fittengate.core.reply import StopReason
from fittengate.services.memory import EMPTY_SECONDS, ENTRY_BYTES, MAX_PLACES, SECONDS, Memory, place_of

PIECES = st.lists(st.sampled_from(["a", "b", ")", " ", "\n", "\r\n", "😀", "é", "\0", "\ud83d", "\ude00"]), max_size=6)
TEXTS = PIECES.map("".join)
OWNERS = st.sampled_from(["one", "two"])
NAMES = st.sampled_from(["", "a.py", "b.py"])
SAMPLINGS = st.sampled_from([Sampling(), Sampling(5), Sampling(None, ("\n",)), Sampling(None, ("\ud83d",))])
ASKS = st.builds(FillAsk, TEXTS, TEXTS, NAMES, sampling=SAMPLINGS)


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.at = 1000.0

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


def same_wishes(one, other):
    return (one.file_name, one.sampling, one.suffix) == (other.file_name, other.sampling, other.suffix)


STEPS = st.one_of(
    st.tuples(st.just("answer"), OWNERS, ASKS, TEXTS),
    st.tuples(st.just("ask"), OWNERS, ASKS, st.none()),
    # Somebody types on in an answer of before, so much of it; perhaps in another file of the same length.
    st.tuples(st.just("type"), st.integers(0), st.integers(0, 8), st.sampled_from(["", "", "x", "\n"])),
    st.tuples(st.just("type"), st.integers(0), st.integers(0, 8), st.just("elsewhere")),
    st.tuples(st.just("wait"), st.floats(0, SECONDS), st.none(), st.none()),
)


@settings(max_examples=300)
@given(steps=st.lists(STEPS, max_size=25))
def test_what_is_served_gives_the_file_of_an_answer(steps):
    """Inserted at its cursor it gives the file that an answer to the same key, not too old, gave at its own."""
    clock = HandClock()
    memory = Memory(clock, entries=6, most=6 * (ENTRY_BYTES + 8))
    answers = []
    for what, first, second, third in steps:
        if what == "answer":
            memory.remember(place_of(first, second), third, StopReason.DONE)
            answers.append((first, second, third, clock.at))
        elif what == "wait":
            clock.at += first
        else:
            owner, fill = first, second
            if what == "type":
                if not answers:
                    continue
                owner, asked, text, _ = answers[first % len(answers)]
                before, more = (asked.prefix[::-1], "") if third == "elsewhere" else (asked.prefix, third)
                fill = FillAsk(before + text[:second] + more, asked.suffix, asked.file_name, sampling=asked.sampling)
            found = memory.look(place_of(owner, fill))
            if found is None:
                continue
            files = [
                ask.prefix + text + ask.suffix
                for who, ask, text, at in answers
                if who == owner and same_wishes(ask, fill) and clock.at - at <= (SECONDS if text else EMPTY_SECONDS)
            ]
            assert fill.prefix + found.text + fill.suffix in files
        assert len(memory) <= 6
        assert memory.size <= 6 * (ENTRY_BYTES + 8)


@given(ask=ASKS, text=TEXTS.filter(bool), typed=st.integers(0, 20))
def test_the_rest_of_an_answer_is_served(ask, text, typed):
    """Typed in part, or deleted back: the rest comes, but where nothing is left or it stands there already."""
    memory = Memory(HandClock())
    memory.remember(place_of("one", ask), text, StopReason.LENGTH)
    rest = text[typed:]
    place = place_of("one", FillAsk(ask.prefix + text[:typed], ask.suffix, ask.file_name, sampling=ask.sampling))
    found = memory.look(place)
    repeated = rest == place.line or (place.line.strip() and rest.strip() == place.line.strip())
    if not rest or repeated:
        assert found is None
    else:
        assert (found.text, found.reason) == (rest, StopReason.LENGTH)


@given(one=ASKS, other=ASKS, owners=st.tuples(OWNERS, OWNERS))
def test_places_are_equal_for_equal_requests_only(one, other, owners):
    """Key, file name, wishes and text: where one of them differs, nothing is shared."""
    same = owners[0] == owners[1] and same_wishes(one, other) and one.prefix == other.prefix
    assert (place_of(owners[0], one).id == place_of(owners[1], other).id) == same


def test_one_place_does_not_take_all_the_room():
    """Answers about one suffix are bounded, because they are looked at one by one; the newest stay."""
    memory = Memory(HandClock())
    for number in range(3 * MAX_PLACES):
        memory.remember(place_of("one", FillAsk("a" * number)), "bc", StopReason.DONE)
    assert len(memory) == MAX_PLACES
    assert memory.look(place_of("one", FillAsk("a"))) is None
    assert memory.look(place_of("one", FillAsk("a" * (3 * MAX_PLACES - 1)))).text == "bc"
