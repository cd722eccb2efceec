"""The reader alone, over the whole table of cases: every way of cutting an answer gives what the case says."""

import json
import random
from collections import Counter

import pytest

from fakes.call_cases import CASES, TOOLS, Case, Cut
from fittengate.core.events import TextDelta, ThoughtDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened
from fittengate.prompting.reader import Reader

READ = [case for case in CASES if not case.voiced]


def read(case: Case, pieces):
    """Return what the pieces come to, and the reader, closed."""
    reader = Reader(TOOLS, case.use, lambda: "id", case.tags, json_reply=case.json_reply)
    events = reader.feed([ThoughtDelta(case.thought)]) if case.thought else []
    for piece in pieces:
        events = events + reader.feed([TextDelta(piece)])
    out, name, fragments = [], "", []
    for event in events + reader.close():
        match event:
            case TextDelta(text):
                out.append((out.pop() if out and isinstance(out[-1], str) else "") + text)
            case ToolOpened():
                name, fragments = event.name, []
            case ToolDelta(fragment):
                fragments.append(fragment)
            case ToolClosed():
                out.append((name, json.loads("".join(fragments))))
            case ToolAborted():
                out.append(Cut(name, "".join(fragments)))
    return out, reader


def cuts(text, dice):
    """Give the text whole, by character, in two at every place, and at random places."""
    yield [text] if text else []
    yield list(text)
    for at in range(1, len(text)):
        yield [text[:at], text[at:]]
    for _ in range(8):
        places = sorted(dice.sample(range(len(text) + 1), min(len(text), dice.randint(2, 9))))
        pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
        yield [piece for piece in pieces if piece]


@pytest.mark.parametrize("case", READ, ids=lambda case: case.fact)
def test_an_answer_is_what_its_case_says_however_it_is_cut(case):
    """P2: whole, by character, in two at every place and at random; its oddities are counted alike."""
    for pieces in cuts(case.answer, random.Random(case.fact)):
        out, reader = read(case, pieces)
        assert out == list(case.gives), pieces
        assert reader.ended is case.ended
        assert reader.counts == Counter(case.troubles)


@pytest.mark.parametrize("case", READ, ids=lambda case: case.fact)
def test_each_beginning_of_an_answer_is_read_the_same_whole_and_by_character(case):
    """Where an answer was cut short matters; how it came does not. A dozen and more beginnings of each case."""
    step = max(1, len(case.answer) // 16)
    for end in range(1, len(case.answer), step):
        whole, reader = read(case, [case.answer[:end]])
        single, other = read(case, case.answer[:end])
        assert (whole, reader.ended, reader.counts) == (single, other.ended, other.counts)


def test_every_oddity_has_a_case():
    """What is counted in operation is shown by an answer."""
    from fittengate.prompting.trouble import Trouble

    assert {trouble for case in CASES for trouble in case.troubles} == set(Trouble)


def test_facts_are_told_once():
    """The table has no case twice."""
    assert len({case.fact for case in CASES}) == len(CASES)
