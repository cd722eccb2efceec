"""Laws of the whole way of a reply, from the bytes of the service to those of each dialect, where calls are read."""

import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fittengate.core.ask import Ask, Sampling
from fittengate.core.conversation import Conversation, Message, Text
from fittengate.core.events import Began, Ended, TextDelta, ToolDelta
from fittengate.dialects import DIALECTS
from fittengate.dialects.base import Head
from fittengate.prompting.again import ToolsAgain
from fittengate.prompting.render import Rendered
from fittengate.upstream.fitten.reply import ReplyStream
from property.test_reader import ANSWERS

HELD = 64
"""Most characters of a string that wait for what comes next, white space aside."""

TOOL = {"name": "run", "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}}}
SCHEMA = TOOL["parameters"]
REQUESTS = {
    "openai_chat": {"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": TOOL}]},
    "openai_responses": {"input": "x", "tools": [{"type": "function", **TOOL}]},
    "anthropic_messages": {
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 100_000,
        "tools": [{"name": "run", "input_schema": SCHEMA}],
    },
}
# Other dialects have no tools.
WITH_TOOLS = [dialect for dialect in DIALECTS if dialect.name in REQUESTS]
FOR_EACH = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=WITH_TOOLS, ids=lambda dialect: dialect.name)
def dialect(request):
    return request.param


def asked(dialect) -> Ask:
    return dialect.read(json.dumps({"model": "m", "stream": True, **REQUESTS[dialect.name]}).encode())


def replying(ask: Ask) -> ReplyStream:
    return ReplyStream(ask, Rendered("", 0, ""), lambda: "0" * 24, framed=True, count=lambda text: 5)


def line(text: str) -> bytes:
    return json.dumps({"delta": text}).encode() + b"\n"


def arguments_in(body: bytes) -> str:
    """Return the pieces of arguments in bytes of a stream, joined."""
    found = []
    for row in body.split(b"\n"):
        if not row.startswith(b"data: {"):
            continue
        value = json.loads(row[6:])
        if value.get("type") == "response.function_call_arguments.delta":
            found.append(value["delta"])
        elif value.get("type") == "content_block_delta":
            found.append(value["delta"].get("partial_json", ""))
        for choice in value.get("choices", ()):
            found += [call["function"]["arguments"] for call in choice["delta"].get("tool_calls", ())]
    return "".join(found)


CODE = st.lists(
    st.sampled_from(
        [
            "x = 1\n", "if a < b:", "    ", "\n\n", '"quoted \\"', "é你😀", "\t", "<div>", "</div>", "<T>", "<", "</", "<p",
            "<|", "<|end|>", "<para", "</para", "the </parameter> tag;", "an </invoke> tag;", "<![CDATA[", "]]>", "&lt;",
            '<parameter name="x">', "a </parameter> b </parameter> c", "`", "```\n", "~~~", "\x01", "\u2028", "\r\n",
        ]
    ),
    max_size=30,
).map(lambda parts: "x" + "x".join(parts) + "x")  # fmt: skip


@FOR_EACH
@given(value=CODE)
def test_a_string_reaches_the_client_while_it_is_being_produced(dialect, value):
    """At most 64 characters, and white space, wait for what comes next; nothing has to be taken back."""
    seen, ask = '{"cmd": "', asked(dialect)
    stream, again, writer = replying(ask), ToolsAgain(ask), dialect.writer(ask, Head("0" * 24, 1, "m"))
    begun = ""
    for at, piece in enumerate(['<tool_calls>\n<invoke name="run">\n<parameter name="cmd">', *value]):
        begun += arguments_in(writer.feed(again.feed(stream.feed(line(piece), 0.0))))
        assert begun.startswith(seen) or not at
        said = json.loads(f'"{begun.removeprefix(seen)}"')
        assert value.startswith(said)
        assert len(value[len(said) : at].strip()) <= HELD


@given(ANSWERS.filter(lambda text: "<|" not in text and text.strip() and not text.lstrip().startswith("<think>")))
def test_without_tools_an_answer_comes_out_as_it_went_in(text):
    """Calls are looked for only where there are tools: whatever looks like one is text."""
    ask = Ask(Conversation((Message("user", (Text("x"),)),)))
    stream = replying(ask)
    events = stream.feed(b"".join(map(line, text)), 0.0) + stream.close()
    assert "".join(event.text for event in events if type(event) is TextDelta) == text
    assert not any(type(event) is ToolDelta for event in events)


@settings(max_examples=50)
@given(st.lists(ANSWERS.map(line) | st.binary(max_size=20), max_size=6).map(b"".join))
def test_whatever_the_service_sends_ends_in_one_way(data):
    """Any bytes: Began comes first and Ended last, each once; or a fault is set and Ended never comes."""
    stream = replying(asked(WITH_TOOLS[0]))
    events = stream.feed(data, 0.0) + stream.close()
    ends = [at for at, event in enumerate(events) if type(event) is Ended]
    assert ends == ([] if stream.fault is not None else [len(events) - 1])
    assert [at for at, event in enumerate(events) if type(event) is Began] == ([0] if events else [])


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                {"delta": "word"}, {"delta": " word"}, {"delta": " "}, {"delta": "\n"}, {"delta": ""}, {"delta": "<"},
                {"delta": "<|us"}, {"delta": "er|>"}, {"delta": "<think>"}, {"delta": "</think>"}, {"delta": "heartbeat"},
                {"delta": "heartbeat 1"}, {"delta": "h"}, {"delta": "a\0b"}, {"delta": "\ud83d"}, {"delta": "\ude00"},
                {"delta": "```\n"}, {"delta": "`<|user|>`"}, {"delta": None}, {"delta": 5}, {"reasoning_delta": "why"},
                {"delta": "both", "reasoning_delta": "why"}, {"delta": "a", "thinking_delta": ""}, {"delta": "a", "new": 1},
                {"delta": "a", "usage": {"input_tokens": 1, "output_tokens": 2}}, {"error": "no"}, [], "text",
            ]
        ),
        st.text(max_size=4).map(lambda text: {"delta": text}),
    ).map(lambda value: json.dumps(value).encode() + b"\n"),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    lines=PIECES,
    cuts=st.lists(st.integers(0, 200), max_size=6),
    sampling=st.builds(
        Sampling, st.none() | st.integers(1, 8) | st.just(10**6), st.sampled_from([(), (), ("wor",), ("d w", "h")])
    ),
    data=st.data(),
)
def test_the_short_way_of_a_delta_says_what_the_long_one_says(lines, cuts, sampling, data):
    """Bytes that are first shown to ``one`` become the events that ``feed`` alone makes of them, up to the last count.

    So also where the answer is cut at a length or at a stop sequence.
    """
    body = b"".join(lines)
    places = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    pieces = [body[a:b] for a, b in pairwise(places)] if data.draw(st.booleans()) else lines
    ask = Ask(Conversation((Message("user", (Text("x"),)),)), sampling=sampling)
    short, long = replying(ask), replying(ask)
    for at, piece in enumerate(pieces):
        # A heartbeat is told by the silence before it.
        now = at * data.draw(st.sampled_from([0.01, 3.0]))
        event = None if short.ended or short.fault is not None else short.one(piece, now)
        events = short.feed(piece, now) if event is None else [event]
        assert events == long.feed(piece, now)
    assert short.close() == long.close()
    assert (short.ended, repr(short.fault)) == (long.ended, repr(long.fault))
    assert {**short.decoder.__dict__, "fault": None} == {**long.decoder.__dict__, "fault": None}


def test_a_delta_far_from_the_limit_goes_the_short_way():
    """A token limit alone, as an answer has for its key's sake, keeps nothing from it until the limit comes near."""
    stream = replying(Ask(Conversation((Message("user", (Text("x"),)),)), sampling=Sampling(max_tokens=4)))
    assert stream.one(line("start"), 0.0) is None
    assert stream.feed(line("start"), 0.0) == [Began(), TextDelta("start")]
    assert stream.one(line(" more"), 0.0) == TextDelta(" more")
    assert stream.one(line(" until"), 0.0) is None
    assert stream.feed(line(" until"), 0.0)[:-1] == [TextDelta(" until")]
    assert stream.ended
