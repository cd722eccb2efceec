"""Laws of the chat dialect that hold for every input."""

import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract.replies import JSON, WORDS, cuts
from fittengate.core.ask import Ask
from fittengate.core.conversation import Text
from fittengate.core.events import Began, Ended, TextDelta, ThoughtDelta
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.dialects._openai_reading import FIELDS
from fittengate.dialects.base import Head
from fittengate.dialects.openai_chat import OpenAIChat

# No deadline: a busy machine is no failure.
FOR_ALL = settings(deadline=None)
CHAT = OpenAIChat()
HEAD = Head("id24", 0, "m")
END = Ended(StopReason.DONE, Usage(1, 1))
MESSAGE_KEYS = ["role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio"]
PART_KEYS = ["type", "text", "image_url", "refusal", "input_audio", "file"]
TYPES = st.sampled_from(["text", "image_url", "refusal", "input_audio", "file", "other"])
PARTS = st.fixed_dictionaries(
    {"type": TYPES | JSON},
    optional={"text": WORDS | JSON, "refusal": WORDS | JSON, "image_url": st.fixed_dictionaries({"url": JSON}) | JSON},
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "developer", "tool", "function"]) | JSON},
    optional={"content": WORDS | st.lists(PARTS | JSON, max_size=3) | JSON}
    | {key: JSON for key in MESSAGE_KEYS if key not in {"role", "content"}},
)


def joined(stream, key):
    """Return what a client has that joins one sort of delta."""
    found = []
    for line in stream.decode().split("\n\n"):
        if line and line != "data: [DONE]":
            found += [choice["delta"].get(key, "") for choice in json.loads(line[6:])["choices"]]
    return "".join(found)


def read_or_fault(fields):
    fault = None
    try:
        ask = CHAT.read(msgspec.json.encode(fields))
    except Fault as found:
        fault = found
    if fault is None:
        assert isinstance(ask, Ask)
        assert all(name.isascii() and name.isprintable() for name in ask.ignored)
        return ask
    assert fault.kind in {FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED}
    assert fault.param is not None, "what is wrong with a field has a place"
    return fault


@FOR_ALL
@given(data=st.data(), words=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
@example(data=None, words="你好\u2028👩‍👩‍👧‍👦\0")
def test_the_place_of_a_cut_does_not_matter(data, words):
    """P2: however the text is cut into deltas, a client that joins them has the text."""
    for kind, key in ((TextDelta, "content"), (ThoughtDelta, "reasoning_content")):
        pieces = list(words) if data is None else data.draw(cuts(words, 12))
        writer = CHAT.writer(Ask(conversation=None), HEAD)
        stream = writer.feed([Began(), *map(kind, pieces), END]) + writer.close()
        assert joined(stream, key) == words


@settings(FOR_ALL, max_examples=150)
@given(field=st.sampled_from(sorted(FIELDS)), value=JSON)
def test_any_value_in_any_field_is_read_or_refused(field, value):
    """P11: whatever stands in a field, the answer is an Ask or a fault that names a place in that field."""
    outcome = read_or_fault({"messages": [{"role": "user", "content": "x"}]} | {field: value})
    if isinstance(outcome, Fault):
        assert outcome.param.startswith(field)


@settings(FOR_ALL, max_examples=150)
@given(messages=st.lists(MESSAGES | JSON, max_size=4))
def test_any_messages_are_read_or_refused(messages):
    """P11: whatever stands among the messages, the answer is an Ask or a fault that names the place."""
    outcome = read_or_fault({"messages": messages})
    if isinstance(outcome, Ask):
        assert len(outcome.conversation.messages) == len(messages)
    else:
        assert outcome.param.startswith("messages")


@FOR_ALL
@given(fields=st.dictionaries(st.text(max_size=80), JSON, max_size=50))
def test_unknown_fields_change_nothing_but_the_report(fields):
    """Fields that nobody documented are listed and have no other effect."""
    unknown = {key: value for key, value in fields.items() if key not in FIELDS}
    base = {"messages": [{"role": "user", "content": "x"}]}
    ask = read_or_fault(base | unknown)
    assert isinstance(ask, Ask)
    assert msgspec.structs.replace(ask, ignored=()) == read_or_fault(base)
    assert len(ask.ignored) == min(32, sum(value is not None for value in unknown.values()))


@FOR_ALL
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5))
def test_text_arrives_as_it_was_sent(texts):
    """No character of a message is lost or changed, as a string or in parts."""
    content = [{"type": "text", "text": text} for text in texts]
    messages = [{"role": "user", "content": content}, *({"role": "system", "content": text} for text in texts)]
    parts, *strings = (message.parts for message in read_or_fault({"messages": messages}).conversation.messages)
    assert parts == tuple(map(Text, texts))
    assert strings == [(Text(text),) for text in texts]


@pytest.mark.parametrize("depth", [10, 100, 1_000, 100_000])
@pytest.mark.parametrize("key", ["messages", "metadata", "unknown"])
def test_depth_is_survived_everywhere(depth, key):
    """P11: nesting of any depth, in a field that is read or in one that is not, is read or refused."""
    bomb = b'{"messages":[{"role":"user","content":"x"}],"%s":%s%s}' % (key.encode(), b"[" * depth, b"]" * depth)
    fault = None
    try:
        CHAT.read(bomb)
    except Fault as found:
        fault = found
    if depth > 10_000 or key == "messages":
        assert fault is not None
        assert fault.kind is FaultKind.CALLER_BAD_REQUEST
