"""Laws of the Messages dialect that hold for every input."""

import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract.replies import JSON, WORDS, cuts
from fittengate.core.ask import Ask, Wishes
from fittengate.core.conversation import Text, ToolCall
from fittengate.core.events import Began, Ended, TextDelta, ThoughtDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.dialects.anthropic_messages import _FIELDS, AnthropicMessages
from fittengate.dialects.base import Head

# No deadline: a busy machine is no failure.
FOR_ALL = settings(deadline=None)
MESSAGES = AnthropicMessages()
HEAD = Head("id24", 0, "m")
BASE = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
END = Ended(StopReason.DONE, Usage(1, 1))
KINDS = st.sampled_from(
    [
        "text",
        "image",
        "document",
        "search_result",
        "tool_use",
        "tool_result",
        "tool_reference",
        "thinking",
        "redacted_thinking",
        "compaction",
        "tool_search_tool_result",
        "server_tool_use",
    ]
)
SOURCES = st.fixed_dictionaries(
    {"type": st.sampled_from(["base64", "url", "text", "content", "file"]) | JSON},
    optional={"media_type": st.just("image/png") | JSON, "data": WORDS | JSON, "url": WORDS | JSON, "content": JSON},
)
BLOCKS = st.deferred(
    lambda: st.fixed_dictionaries(
        {"type": KINDS | JSON},
        optional={
            "text": WORDS | JSON,
            "thinking": WORDS | JSON,
            "source": SOURCES | JSON,
            "content": WORDS | st.lists(BLOCKS | JSON, max_size=2) | JSON,
            "id": WORDS | JSON,
            "name": WORDS | JSON,
            "tool_name": WORDS | JSON,
            "tool_use_id": WORDS | JSON,
            "input": JSON,
            "title": JSON,
            "is_error": st.booleans() | JSON,
        },
    )
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | JSON},
    optional={"content": WORDS | st.lists(BLOCKS | JSON, max_size=3) | JSON},
)
TOOLS = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "DeferredToolPlaceholder"]) | JSON},
    optional={
        "type": st.sampled_from(["custom", "web_search_20250305", "function"]) | JSON,
        "input_schema": st.dictionaries(st.text(max_size=5), JSON, max_size=2) | JSON,
        "description": WORDS | JSON,
        "defer_loading": st.booleans() | JSON,
    },
)
CHOICES = st.fixed_dictionaries(
    {"type": st.sampled_from(["auto", "any", "tool", "none"]) | JSON},
    optional={"name": st.sampled_from(["a", "b"]) | JSON, "disable_parallel_tool_use": st.booleans() | JSON},
)


def read_or_fault(fields):
    fault = None
    try:
        ask = MESSAGES.read(msgspec.json.encode(fields))
    except Fault as found:
        fault = found
    if fault is None:
        assert isinstance(ask, Ask)
        assert all(name.isascii() and name.isprintable() for name in ask.ignored)
        assert len(ask.ignored) <= 32
        return ask
    assert fault.kind in {FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED}
    assert fault.param is not None, "what is wrong with a field has a place"
    return fault


def deltas(*events, show=True):
    """Return the deltas that a client sees, in order."""
    writer = MESSAGES.writer(Ask(conversation=None, wishes=Wishes(show_thoughts=show)), HEAD)
    stream = writer.feed([Began(), *events, END]) + writer.close()
    values = [json.loads(block.split("\ndata: ")[1]) for block in stream.decode().split("\n\n")[:-1]]
    return [value["delta"] for value in values if value["type"] == "content_block_delta"]


@FOR_ALL
@given(data=st.data(), words=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
@example(data=None, words="你好\u2028👩‍👩‍👧‍👦\0")
def test_the_place_of_a_cut_does_not_matter(data, words):
    """P2: however words or arguments are cut into deltas, a client that joins them has them."""
    pieces = list(words) if data is None else data.draw(cuts(words, 12))
    for kind, key in ((TextDelta, "text"), (ThoughtDelta, "thinking"), (ToolDelta, "partial_json")):
        events = [kind(piece) for piece in pieces]
        if kind is ToolDelta:
            events = [ToolOpened(0, "a", "f"), *events, ToolClosed()]
        assert "".join(delta.get(key, "") for delta in deltas(*events)) == words


@FOR_ALL
@given(arguments=st.dictionaries(st.text(max_size=5), JSON, max_size=3), data=st.data())
def test_a_call_that_is_cut_off_anywhere_never_parses(arguments, data):
    """Half a call never looks whole, wherever in its arguments it ends."""
    text = json.dumps(arguments)
    half = text[: data.draw(st.integers(0, len(text) - 1))]
    events = [ToolOpened(0, "a", "f"), *([ToolDelta(half)] if half else []), ToolAborted()]
    joined = "".join(delta["partial_json"] for delta in deltas(*events))
    with pytest.raises(json.JSONDecodeError):
        json.loads(joined)
    assert joined


@FOR_ALL
@given(thoughts=st.lists(WORDS, max_size=4), words=st.lists(WORDS, max_size=4))
def test_hidden_reasoning_never_shows(thoughts, words):
    """Without a wish for reasoning a client sees the answer alone."""
    events = [ThoughtDelta(thought) for thought in thoughts] + [TextDelta(word) for word in words]
    assert deltas(*events, show=False) == [{"type": "text_delta", "text": word} for word in words]


@settings(FOR_ALL, max_examples=150)
@given(field=st.sampled_from(sorted(_FIELDS)), value=JSON)
def test_any_value_in_any_field_is_read_or_refused(field, value):
    """P11: whatever stands in a field, the answer is an Ask or a fault that names a place in that field."""
    outcome = read_or_fault(BASE | {field: value})
    if isinstance(outcome, Fault):
        assert outcome.param.startswith(field)


@settings(FOR_ALL, max_examples=150)
@given(messages=st.lists(MESSAGE | JSON, max_size=4))
def test_any_messages_are_read_or_refused(messages):
    """P11: whatever stands among the messages, the answer is an Ask or a fault that names the place."""
    outcome = read_or_fault(BASE | {"messages": messages})
    if isinstance(outcome, Ask):
        assert len(outcome.conversation.messages) == len(messages)
    else:
        assert outcome.param.startswith("messages")


@settings(FOR_ALL, max_examples=150)
@given(tools=st.lists(TOOLS | JSON, max_size=4), choice=st.none() | CHOICES)
def test_any_tools_are_read_or_refused(tools, choice):
    """P11: whatever stands among the tools, the answer is an Ask whose choice can be met, or a fault with its place."""
    outcome = read_or_fault(BASE | {"tools": tools, "tool_choice": choice})
    if isinstance(outcome, Fault):
        assert outcome.param.startswith(("tools", "tool_choice"))
        return
    names = [tool.name for tool in outcome.conversation.tools]
    assert len(set(names)) == len(names)
    assert "DeferredToolPlaceholder" not in names
    assert names or outcome.tool_use.choice in {"auto", "none"}
    assert outcome.tool_use.name is None or outcome.tool_use.name in names


@FOR_ALL
@given(fields=st.dictionaries(st.text(max_size=80), JSON, max_size=50))
def test_unknown_fields_change_nothing_but_the_report(fields):
    """Fields that nobody documented are listed and have no other effect."""
    unknown = {key: value for key, value in fields.items() if key not in _FIELDS}
    ask = read_or_fault(BASE | unknown)
    assert isinstance(ask, Ask)
    assert msgspec.structs.replace(ask, ignored=()) == read_or_fault(BASE)
    assert len(ask.ignored) == min(32, sum(value is not None for value in unknown.values()))


@FOR_ALL
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5))
def test_text_arrives_as_it_was_sent(texts):
    """No character of a message is lost or changed, as a string or in blocks."""
    content = [{"type": "text", "text": text} for text in texts]
    messages = [{"role": "user", "content": content}, *({"role": "system", "content": text} for text in texts)]
    outcome = read_or_fault(BASE | {"messages": messages, "system": content})
    first, second, *strings = (message.parts for message in outcome.conversation.messages)
    assert first == second == tuple(map(Text, texts))
    assert strings == [(Text(text),) for text in texts]


@FOR_ALL
@given(arguments=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON, max_size=4))
def test_arguments_arrive_as_they_were_sent(arguments):
    """The arguments of an earlier call are the same value in the same order."""
    block = {"type": "tool_use", "id": "t", "name": "f", "input": arguments}
    outcome = read_or_fault(BASE | {"messages": [{"role": "assistant", "content": [block]}]})
    (call,) = outcome.conversation.messages[0].parts
    assert isinstance(call, ToolCall)
    assert json.dumps(json.loads(call.arguments)) == json.dumps(json.loads(msgspec.json.encode(arguments)))


@pytest.mark.parametrize("depth", [10, 100, 900, 990, 1_000, 100_000])
@pytest.mark.parametrize("holder", ["tool", "input", "content", "metadata", "unknown"])
def test_depth_is_survived_everywhere(depth, holder):
    """P11: nesting of any depth, in what is read or in what is not, is read or refused."""
    bomb = b'{"a":' * depth + b"1" + b"}" * depth
    message = b'{"role":"user","content":"x"}'
    if holder == "input":
        message = b'{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":%s}]}' % bomb
    elif holder == "content":
        message = b'{"role":"user","content":%s}' % bomb
    body = b'{"max_tokens":9,"messages":[%s]' % message
    if holder == "tool":
        body += b',"tools":[{"name":"f","input_schema":%s}]' % bomb
    elif holder in {"metadata", "unknown"}:
        body += b',"%s":%s' % (holder.encode(), bomb)
    fault = None
    try:
        MESSAGES.read(body + b"}")
    except Fault as found:
        fault = found
    if depth > 10_000 or holder == "content":
        assert fault is not None
    if fault is not None:
        assert fault.kind is FaultKind.CALLER_BAD_REQUEST
