"""Finding the JSON value in a text as it comes."""

import json
import time

import pytest

from fittengate.core.events import TextDelta, ThoughtDelta
from fittengate.prompting.jsontext import MAX_DEPTH, MAX_HELD, MAX_NUMBER, JsonCutter, JsonText


def read(*pieces, brackets="{["):
    """Return what comes out, the state, and the scanner."""
    one = JsonText(brackets)
    return "".join([one.feed(piece) for piece in pieces]), one.state, one


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":1}', '{"a":1}'),
        (
            ' \n{"a" : [1, -2.5e+3, true, null, "x\\u00e9\\n\\/"] } ',
            '{"a" : [1, -2.5e+3, true, null, "x\\u00e9\\n\\/"] }',
        ),
        ('Here you are:\n```json\n{"a": {}}\n```\nAnything else?', '{"a": {}}'),
        ("[]", "[]"),
        ('{"a": "}"} tail }', '{"a": "}"}'),
        ('As [the docs] say [1, 2]: {"a":1}', "[1, 2]"),
        ('See [the docs]: {"a":1}', '{"a":1}'),
        ('{name} is {"name": 0}', '{"name": 0}'),
        ('[{x} {"a": ""}', '{"a": ""}'),
    ],
)
def test_the_value_is_found_between_words_and_fences(text, value):
    """What is before and behind is dropped; words in brackets are no value."""
    out, state, one = read(text)
    assert (out, state) == (value, "done")
    assert text[one.start : one.end] == value
    json.loads(value)


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        ('{"say": "He said "hi" to me"}', '{"say": "He said '),
        ('{"a": "one\ntwo"}', '{"a": "one'),
        ('{"a": 1,}', '{"a": 1'),
        ('{"a": 01}', '{"a": '),
        ('{"a": 1.}', '{"a": '),
        ('{"a": nil}', '{"a": '),
        ("{'a': 1}", ""),
        ('{"a": "\\x"}', '{"a": "\\'),
        ('{"a": "\\u12g4"}', '{"a": "\\u12'),
        ('{"a" 1}', '{"a'),
        ('["a" "b"]', '["a'),
        ('{"a": 1]', '{"a": 1'),
        ('{"a": NaN}', '{"a": '),
        ('{"a": "b", c: 1}', '{"a": "b"'),
    ],
)
def test_what_is_no_json_is_noticed_where_it_stops_being_one(text, certain):
    """What came out is the beginning of some JSON; of what may have to be mended nothing has come out."""
    out, state, _ = read(text)
    assert out == certain
    assert state == ("violated" if certain else "seeking")


@pytest.mark.parametrize("text", ["", "Sorry, no.", "[", '{"a"', '{"a": tru', "no {brackets} here", "[[[[["])
def test_what_has_no_end_yet_is_not_done(text):
    """Neither words nor a beginning are a value."""
    assert read(text)[1] in ("seeking", "inside")


def test_a_quote_is_held_until_it_is_one():
    """What follows decides; so is a comma, a number and a word."""
    one = JsonText()
    assert one.feed('{"a": "b"') == '{"a": "b'
    assert one.feed(" ") == ""
    assert one.feed("}") == '" }'
    one = JsonText()
    assert one.feed("[1") == ""
    assert one.feed("2,") == "[12"
    assert one.feed(" tr") == ", "
    assert one.feed("ue]") == "true]"


def test_only_the_wanted_brackets_begin_a_value():
    """Where an object is wanted, a list before it is words."""
    assert read('Steps [1, 2]: {"a": 1}', brackets="{")[0] == '{"a": 1}'


def test_everything_that_is_held_has_a_bound():
    """Depth, numbers and white space beyond it are no JSON that anybody writes in earnest."""
    deep = '{"a":' * (MAX_DEPTH + 1)
    assert read(deep)[1] == "violated"
    assert read('{"a":' * MAX_DEPTH)[1] == "inside"
    assert read("[" + "1" * (MAX_NUMBER + 1))[1] == "seeking"
    assert read('["a"' + " " * (MAX_HELD + 1) + "]")[1] == "violated"
    assert read('["a"' + " " * MAX_HELD + "]")[1] == "done"


@pytest.mark.parametrize(
    "text", ["[" * 400_000, '{"a": "' + "x" * 400_000, '{"a":1}' + " {" * 200_000, '["a",' * 80_000]
)
def test_a_text_of_any_kind_takes_time_in_proportion_to_its_length(text):
    """Character by character, twice the text takes about twice the time."""

    def seconds(part):
        started = time.process_time()
        read(*part)
        return time.process_time() - started

    half, whole = (min(seconds(text[:size]) for _ in range(3)) for size in (len(text) // 2, len(text)))
    assert whole < 4 * half + 0.05


def test_the_cutter_ends_a_reply_at_the_last_bracket():
    """What follows is dropped; reasoning and words before the value pass, and nothing comes after the end."""
    cutter = JsonCutter("{")
    first = [ThoughtDelta("{}"), TextDelta('So: {"a"')]
    assert cutter.feed(first) is first
    assert not cutter.ended
    assert cutter.feed([TextDelta(": 1"), TextDelta('}\n```\nDone. {"b"'), TextDelta(": 2}")]) == [
        TextDelta(": 1"),
        TextDelta("}"),
    ]
    assert cutter.ended
