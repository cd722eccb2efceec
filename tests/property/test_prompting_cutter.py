"""P2 for the cutter: however a reply is cut, it ends where a plain search over the whole says."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.ask import Sampling
from fittengate.core.events import TextDelta, ThoughtDelta
from fittengate.core.reply import StopReason
from fittengate.prompting.cutter import Cutter

WORDS = st.text("ab\n", max_size=12) | st.text("ab你é😀", max_size=6)
REPLIES = st.lists(st.tuples(st.sampled_from([TextDelta, TextDelta, ThoughtDelta]), WORDS), max_size=4)
STOPS = st.lists(st.text("ab", min_size=1, max_size=4) | st.text("ab\n你", min_size=1, max_size=5), max_size=4).map(
    tuple
)
LIMITS = st.none() | st.integers(1, 6)


def merged(deltas):
    full = [(kind, text) for kind, text in deltas if text]
    return [(kind, "".join(text for _, text in run)) for kind, run in groupby(full, key=lambda delta: delta[0])]


def plainly(runs, stops, limit):
    """Return the deltas before the cut, the reason and the stop sequence: searched at leisure, counted by character."""
    out, left = [], None if limit is None else limit * 4
    for kind, text in runs:
        places = [(text.find(stop), -len(stop), stop) for stop in stops if stop in text and kind is TextDelta]
        end, _, met = min(places, default=(len(text), 0, None))
        for char in text[:end]:
            if left is not None:
                if len(char.encode()) > left:
                    return merged(out), StopReason.LENGTH, None
                left -= len(char.encode())
            out.append((kind, char))
            if left == 0:
                return merged(out), StopReason.LENGTH, None
        if met is not None:
            return merged(out), StopReason.STOP_SEQUENCE, met
    return merged(out), None, None


def cut_up(runs, dice):
    """Return the runs as small deltas in batches of a few."""
    batches = [[]]
    for kind, text in runs:
        at = 0
        while at < len(text):
            size = dice.randint(1, 4)
            batches[-1].append(kind(text[at : at + size]))
            at += size
            if dice.random() < 0.5:
                batches.append([])
    return batches


def fed(batches, stops, limit):
    cutter, out = Cutter(Sampling(limit, stops)), []
    for batch in batches:
        out += cutter.feed(batch)
    out += cutter.close()
    assert all(event.text for event in out), "a delta is never empty"
    assert cutter.ended is (cutter.reason is not None)
    if limit is not None:
        assert cutter.spent <= limit
    return merged((type(event), event.text) for event in out), cutter.reason, cutter.stop_sequence


@given(REPLIES, STOPS, LIMITS, st.randoms(use_true_random=False))
def test_p2_the_cut_is_at_the_same_place_however_the_reply_came(reply, stops, limit, dice):
    """Stop sequences and limit together, reasoning between, whole, by character and in random batches."""
    runs = merged(reply)
    expected = plainly(runs, stops, limit)
    assert fed([[kind(text)] for kind, text in runs], stops, limit) == expected
    assert fed([[kind(char)] for kind, text in runs for char in text], stops, limit) == expected
    assert fed(cut_up(runs, dice), stops, limit) == expected


@given(st.text("ab\n", max_size=15), st.text("ab\n", min_size=1, max_size=5))
def test_only_the_longest_possible_beginning_of_a_stop_sequence_is_held_back(text, stop):
    """Everything before it has come out, at every moment."""
    cutter, out = Cutter(Sampling(None, (stop,))), ""
    for at, char in enumerate(text, 1):
        out += "".join(event.text for event in cutter.feed([TextDelta(char)]))
        if cutter.ended:
            break
        longest = max(size for size in range(len(stop)) if text[:at].endswith(stop[:size]))
        assert out == text[: at - longest]
