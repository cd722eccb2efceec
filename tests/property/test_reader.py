"""Laws of the reader: what it makes of an answer depends on the text alone, and calls survive being written.

Those on the order of events, and on arguments that parse or never do, are held by ``fed``, and so by every test here.
"""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import ToolSpec
from fittengate.core.events import TextDelta, ThoughtDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened
from fittengate.prompting.reader import Reader
from fittengate.prompting.syntax import Tags, collides, render_calls
from fittengate.prompting.trouble import Trouble
from fittengate.prompting.values import Schemas


def tool(name, required=(), **types):
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in types.items()},
        "required": list(required),
    }
    return ToolSpec(name, "", json.dumps(schema).encode())


TOOLS = (tool("write", ["path"], path="string", content="string", n="integer"), tool("ls"), tool("run", cmd="string"))


def fed(pieces, tools=TOOLS, tags=Tags(), use=ToolUse()):
    """Return what the pieces come to, the end included: texts, reasoning and calls in order, and whether it ended.

    Holds two laws. A call begins before its arguments, indexes rise by one, and at most one call is open. The pieces of a
    call that was ended join to the JSON of its arguments; those of one that was cut off never do.
    """
    reader, events = Reader(tools, use, lambda: "id", tags), []
    for piece in pieces:
        events += reader.feed([piece if not isinstance(piece, str) else TextDelta(piece)])
    events += reader.close()
    out, opened, fragments = [], None, []
    for event in events:
        match event:
            case TextDelta(text) | ThoughtDelta(text):
                assert opened is None, "nothing but pieces of a call while one is open"
                assert text, "a delta is never empty"
                if out and out[-1][0] is type(event):
                    text = out.pop()[1] + text
                out.append((type(event), text))
            case ToolOpened(index, _, name):
                assert opened is None
                assert index == sum(one[0] in {ToolClosed, ToolAborted} for one in out)
                opened, fragments = name, []
            case ToolDelta(fragment):
                assert opened is not None
                assert fragment
                fragments.append(fragment)
            case ToolClosed():
                out.append((ToolClosed, opened, json.loads("".join(fragments))))
                opened = None
            case ToolAborted():
                with pytest.raises(ValueError):
                    json.loads("".join(fragments))
                out.append((ToolAborted, opened, "".join(fragments)))
                opened = None
    assert opened is None
    return out, reader.ended, reader.counts


ANT = "antml:"
SOUP = st.sampled_from(
    [
        "<tool_calls>", "</tool_calls>", "<function_calls>", '<invoke name="write">', '<invoke name="ls">', "</invoke>",
        '<parameter name="path">', '<parameter name="content">', '<parameter name="n">', "</parameter>", "<", "</", ">",
        "<![CDATA[", "]]>", "]]", '<invoke tool_name="run">', "<arguments>", "</arguments>", '{"cmd":"x"}', '{"cmd":"',
        "<tool_call>", "</tool_call>", '{"name":"run","arguments":{}}', "<function=run>", "<parameter=cmd>",
        "</function>", "<run", ' cmd="', " cmd", " =", '"', "/>", "<run>", "<cmd>", "</cmd>", "</run>", "\n", " ", "\n\n", "a", "é😀",
        "```", "```xml\n", "\n```\n", "~~~\n", "`", "[", "{", "<tool_results>", "<｜DSML｜invoke", "</｜DSML｜invoke>",
        f"<{ANT}", f"</{ANT}", 'invoke name="run">', 'parameter name="cmd">', "invoke>", "parameter>", "<minimax:tool_call>",
        "</minimax:tool_call>", "</function_call>", "<function_call>", '{"tool":"run","args":', "}", '"n":"12"', ",", "<tool_response>", ":",
        "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>run<｜tool▁sep｜>{}<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>",
        "<|end|>", "<tool_calls.k7>", '<invoke.k7 name="ls">', "</invoke.k7>", '<parameter.k7 name="q">',
        "</parameter.k7>", "</tool_calls.k7>", "12", "null",
        "<think>", "</think>", "<tool_call>run", "<arg_key>cmd</arg_key>", "<arg_value>", "</arg_value>", "'", "\\", "[TOOL_CALLS]",
        "run[ARGS]", "<|python_tag|>", "<|tool_calls_section_begin|>", "<|tool_call_begin|>run:0<|tool_call_argument_begin|>{}",
    ]
)  # fmt: skip
ANSWERS = st.lists(SOUP, max_size=24).map("".join)
BLOCKS = st.lists(SOUP, max_size=14).map(
    lambda parts: '<tool_calls>\n<invoke name="write">\n<parameter name="content">' + "".join(parts)
)
TAGS = st.sampled_from([Tags(), Tags(), Tags("k7")])
USES = st.sampled_from([ToolUse(), ToolUse(), ToolUse(parallel=False), ToolUse("none"), ToolUse("named", "ls")])


def cut_up(text, dice):
    at, pieces = 0, []
    while at < len(text):
        size = dice.randint(1, 9)
        pieces.append(text[at : at + size])
        at += size
    return pieces


@given(ANSWERS | BLOCKS, TAGS, USES, st.randoms(use_true_random=False))
def test_p2_an_answer_is_read_the_same_however_it_is_cut(text, tags, use, dice):
    """Whole, by character, in two and at random cuts; and so is each of its beginnings. No soup stops it."""
    for beginning in (text, text[: dice.randint(0, len(text))]):
        expected = fed([beginning] if beginning else [], tags=tags, use=use)
        assert fed(beginning, tags=tags, use=use) == expected
        assert fed(cut_up(beginning, dice), tags=tags, use=use) == expected
        at = dice.randint(0, len(beginning))
        assert fed([piece for piece in (beginning[:at], beginning[at:]) if piece], tags=tags, use=use) == expected


@given(st.lists(st.tuples(st.sampled_from([TextDelta, TextDelta, ThoughtDelta]), ANSWERS.filter(bool)), max_size=5))
def test_p2_reasoning_between_pieces_of_an_answer_changes_neither(runs):
    """The answer is read as if no reasoning had come, and the reasoning comes out as it went in."""
    answer = "".join(text for kind, text in runs if kind is TextDelta)
    thought = "".join(text for kind, text in runs if kind is ThoughtDelta)
    got, ended, _ = fed([kind(char) for kind, text in runs for char in text])
    plain, plainly_ended, _ = fed([answer] if answer else [])
    assert ended is plainly_ended
    if not ended and any(one[0] is not ThoughtDelta for one in plain):
        assert "".join(one[1] for one in got if one[0] is ThoughtDelta) == thought
        assert "".join(one[1] for one in got if one[0] is TextDelta) == "".join(
            one[1] for one in plain if one[0] is TextDelta
        )
        assert [one for one in got if len(one) == 3] == [one for one in plain if len(one) == 3]


@given(st.text(st.characters(exclude_characters="<{[`~")))
def test_plain_text_comes_out_unchanged_and_but_for_white_space_at_once(text):
    """Nothing is held back but white space at the end, which a call would swallow."""
    reader = Reader(TOOLS, ToolUse(), lambda: "id", Tags())
    said = ""
    for at, char in enumerate(text):
        said += "".join(event.text for event in reader.feed([TextDelta(char)]))
        assert said.rstrip() == text[: at + 1].rstrip()
    assert said + "".join(event.text for event in reader.close()) == text


LIKE_OTHER_TYPES = [
    "12",
    "-1.5e3",
    " 7 ",
    "null",
    "true",
    "True",
    "None",
    "[1]",
    '{"a":1}',
    '"x"',
    '"12"',
    '"\\u00e9"',
    "NaN",
]
STRINGS = (
    st.text(max_size=30)
    | st.sampled_from(LIKE_OTHER_TYPES)
    | st.lists(
        st.sampled_from(
            [
                "\n",
                "\r",
                " ",
                "<",
                ">",
                '"',
                "\\",
                "&amp;",
                "</b>",
                "```",
                "<![CDATA[",
                "]]>",
                "<|end|>",
                "\u2028",
                "</parameter>",
                "</invoke>",
                "</tool_calls>",
                "<tool_calls>",
                '<invoke name="ls">',
                '<parameter name="x">',
                "null",
                "12",
                "x",
            ]
        ),
        max_size=10,
    ).map("".join)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.text(min_size=1, max_size=20) | st.sampled_from(["-i", 'a"b', "<x>", "a b", "&lt;", "\n"])
KINDS = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def declared(number, call, more):
    """Return a tool that allows what a call has, and ``more`` types for each parameter."""
    kinds = {key: sorted({KINDS.get(type(value), "null"), *more}) for key, value in call.items()}
    properties = {key: {"type": kind[0] if len(kind) == 1 else kind} for key, kind in kinds.items()}
    return ToolSpec(f"t{number}", "", json.dumps({"type": "object", "properties": properties}).encode())


@given(
    st.lists(st.dictionaries(KEYS.filter(str.strip), JSON, max_size=4), min_size=1, max_size=3),
    st.just(()) | st.lists(st.sampled_from(["string", "null", *KINDS.values()]), max_size=3),
    st.booleans(),
)
def test_calls_that_were_written_are_read_as_they_were(calls, more, by_character):
    """For arbitrary arguments of declared types, unions of them too; the suffix is on where texts have parts of our tags."""
    tools = [declared(number, call, more) for number, call in enumerate(calls)]
    written = json.dumps(calls, ensure_ascii=False)
    tags = Tags("zq9x") if collides(written) or any(collides(text) for text in strings(calls)) else Tags()
    block = render_calls(
        [(f"t{number}", json.dumps(call)) for number, call in enumerate(calls)], tags, Schemas(tools).of
    )
    out, ended, troubles = fed(block if by_character else [block], tools, tags)
    assert out == [(ToolClosed, f"t{number}", call) for number, call in enumerate(calls)]
    assert repr(out) == repr([(ToolClosed, f"t{number}", call) for number, call in enumerate(calls)]), "12 is not 12.0"
    assert not ended
    assert not troubles


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


MARKERS = [chr(0xE000 + number) for number in range(60)]
LOST = {Trouble.REPEATED_PARAMETER, Trouble.ABORTED, Trouble.UNWANTED}


@given(st.lists(SOUP, max_size=24), st.integers(0, 1), TAGS)
def test_every_character_lands_in_one_place(parts, skip, tags):
    """Text, a value, or behind the end: what is no part of a tag comes out once, and in order.

    Dropped is only what is counted as such: a parameter that came again, a value that could not be ended.
    """
    answer = "".join(
        part + mark * (number % 2 == skip) for number, (part, mark) in enumerate(zip(parts, MARKERS, strict=False))
    )
    out, ended, troubles = fed([answer] if answer else [], tags=tags)
    said = "".join(one[1] if len(one) == 2 else json.dumps(one[2], ensure_ascii=False) for one in out)
    found = [char for char in said if char in MARKERS]
    sent = [char for char in answer if char in MARKERS]
    assert len(set(found)) == len(found), "nothing comes out twice"
    if not ended and not LOST & troubles.keys():
        assert sorted(found) == sent
    if not any(one[0] in {ToolClosed, ToolAborted} for one in out):
        assert "".join(one[1] for one in out) == answer or ended


WORDS = st.lists(
    st.sampled_from(["a", " ", "\n", "<", "</", "<t", "<tool_calls", "<inv", "<invoke", "<|", ">", "é", "(", "<b>"])
).map(lambda parts: "x" + "".join(parts) + "x\n")


@given(WORDS, st.integers(0, 40))
def test_text_never_ends_in_the_beginning_of_what_became_a_call(words, space):
    """When a call begins, what was let out is the text before it, and no character of its tags."""
    block = '<tool_calls>\n<invoke name="ls">\n</invoke>\n</tool_calls>'
    reader, said = Reader(TOOLS, ToolUse(), lambda: "id", Tags()), ""
    for char in words + " " * space + block:
        events = reader.feed([TextDelta(char)])
        said += "".join(event.text for event in events if type(event) is TextDelta)
        if any(type(event) is ToolOpened for event in events):
            break
    assert said == words.rstrip()
    assert type(events[0]) is ToolOpened


@given(st.text() | ANSWERS, TAGS, USES)
def test_any_text_is_read_to_its_end(text, tags, use):
    """Nothing raises, and the reader is done when it is closed."""
    reader = Reader(TOOLS, use, lambda: "id", tags)
    events = reader.feed([TextDelta(text)] if text else []) + reader.close()
    assert not reader.in_call
    assert sum(type(event) is ToolOpened for event in events) == sum(
        type(event) in {ToolClosed, ToolAborted} for event in events
    )


def seconds(text, size):
    reader = Reader(TOOLS, ToolUse(), lambda: "id", Tags())
    pieces = [[TextDelta(text[at : at + size])] for at in range(0, len(text), size)]
    start = time.process_time()
    for piece in pieces:
        reader.feed(piece)
    reader.close()
    return time.process_time() - start


VALUE = '<tool_calls><invoke name="write"><parameter name="content">'


@pytest.mark.parametrize(
    ("before", "unit"),
    [
        ("", "word and word "),
        (VALUE, "code = code;\n"),
        (VALUE, "a < b </b> </parameter> "),
        (VALUE, "</parameter>"),
        (VALUE, "</parameter>\n</invoke>\n"),
        (VALUE, '<invoke name="x">'),
        (VALUE, "          "),
        (VALUE + "<![CDATA[", "</parameter>]]"),
        ('<tool_calls><invoke name="run"><arguments>{"cmd":"', "x </invoke> y "),
        ('<tool_call>{"name":"run","arguments":{"cmd":"', "long text </tool_call> "),
        ("", '\n<run cmd="x\n'),
        ("", "<tool_call>{\n"),
        ("", "<tool_calls>"),
        ('{"name":"run","arguments":{"cmd":"', "x"),
        ('{"name":"run","arguments":{"cmd":"', '\\"'),
        ("<tool_call>{'name':'run','a':'", "\\'"),
        ('<tool_call>{"name":"run","arguments":[', ", "),
        ("<tool_call><name>run</name><arguments>", " "),
        ("<tool_call>run\n", "<arg_key>cmd</arg_key>\n"),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "\n"),
        ("\n<think>\n", "<tool_call>{"),
    ],
)  # fmt: skip
def test_time_is_linear_in_the_text(before, unit):
    """Eight times the text takes not much more than eight times as long, in small pieces and in one."""
    for size in (7, 1 << 30):
        short, long = (before + unit * (chars // len(unit)) for chars in (6_000, 48_000))
        # The lowest of a few counts: other programs can only add to it.
        once = min(seconds(short, size) for _ in range(3))
        assert min(seconds(long, size) for _ in range(2)) < 24 * once + 0.05


def test_a_long_argument_costs_no_more_a_byte_than_a_short_one():
    """400 KB against 4 KB, in deltas of one size; three times as much is allowed, for other programs run, too."""
    unit = "    if value < limit and name != 'x':  # a comment\n"
    short, long = (VALUE + unit * (chars // len(unit)) for chars in (4_000, 400_000))
    few = min(sum(seconds(short, 200) for _ in range(20)) / 20 for _ in range(3))
    many = min(seconds(long, 200) for _ in range(2))
    assert many / len(long) < 3 * few / len(short)
