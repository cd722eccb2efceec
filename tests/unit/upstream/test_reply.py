"""The whole chain behind the client: bytes of a reply to events of the grammar."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.ask import Ask, ReplyFormat, Sampling, ToolUse
from fittengate.core.conversation import Conversation, Message, Text, ToolSpec
from fittengate.core.events import Began, Ended, TextDelta, ToolClosed, ToolDelta, ToolOpened, fold
from fittengate.core.reply import StopReason
from fittengate.prompting.render import render
from fittengate.upstream.fitten.reply import ReplyStream

TOOL = ToolSpec("run", "Run it.", b'{"type":"object","properties":{"cmd":{"type":"string"}},"required":["cmd"]}')
USAGE = b'{"usage":{"input_tokens":9,"output_tokens":4}}\n'


def deltas(*texts):
    return b"".join(json.dumps({"delta": text}).encode() + b"\n" for text in texts)


def stream(sampling=None, tools=(), **wishes):
    conversation = Conversation((Message("user", (Text("Hi"),)),), tools)
    ask = Ask(conversation, sampling=sampling or Sampling(), **wishes)
    return ReplyStream(ask, render(conversation), iter("abcdefgh").__next__, framed=True)


def run(pieces, **options):
    """Return (events, fault) of a reply whose bytes come in pieces."""
    made, events = stream(**options), []
    for piece in pieces:
        events += made.feed(piece, 0.0)
    events += made.close()
    return events, made.fault


def test_a_good_reply_begins_and_ends_once():
    """Began first, Ended last, the service's own usage."""
    events, fault = run([deltas("a", "b"), USAGE])
    assert fault is None
    assert [type(event) for event in (events[0], events[-1])] == [Began, Ended]
    assert (events[-1].usage.input_tokens, events[-1].usage.estimated) == (9, False)
    assert fold(events).text == "ab"


@pytest.mark.parametrize("tools", [(), (TOOL,)])
def test_a_reply_that_is_nothing_but_a_role_tag_begins_and_ends(tools):
    """The grammar of events holds where nothing was said, too."""
    events, fault = run([deltas("<|end|>")], tools=tools)
    assert fault is None
    assert [type(event) for event in events] == [Began, Ended]


def test_p1_a_broken_reply_has_no_end_and_its_open_call_is_not_completed():
    """P1: half a command is none, whatever closers the reader could think of."""
    call = '<tool_calls>\n<invoke name="run">\n<parameter name="cmd">rm -rf /tmp</parameter>'
    events, fault = run([deltas(call), b'{"error":"boom"}\n'], tools=(TOOL,))
    assert fault is not None
    assert not [event for event in events if isinstance(event, Ended | ToolClosed)]


@pytest.mark.parametrize(
    ("sampling", "text", "reason", "tokens"),
    [
        (Sampling(None, ("STOP",)), "ab", StopReason.STOP_SEQUENCE, None),
        (Sampling(1), "abST", StopReason.LENGTH, 1),
    ],
)
def test_a_reply_that_we_cut_ends_at_once_with_an_estimate(sampling, text, reason, tokens):
    """The usage line does not come any more, and no more than the limit is reported."""
    made = stream(sampling)
    events = made.feed(deltas("ab", "STOP and more"), 0.0)
    assert made.ended
    assert fold(events).text == text
    assert events[-1].reason is reason
    assert events[-1].usage.estimated
    assert tokens is None or events[-1].usage.output_tokens == tokens
    assert made.feed(deltas("late"), 0.0) == []


CALL = '<tool_calls>\n<invoke name="run">\n<parameter name="cmd">ls</parameter>\n</invoke>\n</tool_calls>'


@pytest.mark.parametrize(
    ("texts", "options", "said"),
    [
        (("Hi.", "\n<|user|>\nMore?"), {}, "Hi."),
        (("Hi.", "\n<|user|>\nMore?"), {"tools": (TOOL,)}, "Hi."),
        (
            (CALL.replace("</tool_calls>", ""), '<invoke name="run">'),
            {"tools": (TOOL,), "tool_use": ToolUse(parallel=False)},
            "",
        ),
        ((CALL, "\n<tool_results>\nfile.txt"), {"tools": (TOOL,)}, ""),
        (('{"a": [', "1]}", " is what you"), {"reply_format": ReplyFormat()}, '{"a": [1]}'),
    ],
    ids=["turn", "turn behind tools", "one call only", "invented result", "value"],
)
def test_p1_whichever_part_ends_a_reply_it_has_its_end_at_once(texts, options, said):
    """P1: whoever reads the service stops there, and what it would have said of the tokens is estimated."""
    made = stream(**options)
    events = made.feed(deltas(texts[0]), 0.0)
    assert not made.ended
    events += made.feed(deltas(*texts[1:]) + USAGE, 0.0)
    assert made.ended
    assert isinstance(events[-1], Ended)
    assert events[-1].usage.estimated
    assert fold(events).text == said
    assert made.feed(deltas("late") + USAGE, 0.0) == made.close() == []


def test_nothing_begins_before_there_is_a_word_or_an_end():
    """P5 rests on this: whoever may try again is told of nothing, neither by half a line nor by a reply that breaks."""
    made = stream()
    assert made.feed(b'{"del', 0.0) == made.feed(b'ta": ""}\n', 0.0) == []
    assert made.feed(b'{"error":"boom"}\n', 0.0) == made.close() == []
    assert made.fault is not None
    events, fault = run([USAGE])
    assert fault is None
    assert [type(event) for event in events] == [Began, Ended]


def test_a_length_that_the_service_cut_to_counts_as_it_says():
    """Only a reply that we cut to the client's limit has as many tokens as that."""
    said = b'{"delta":"ab","finish_reason":"length","usage":{"input_tokens":9,"output_tokens":4}}\n'
    events, _ = run([said], sampling=Sampling(100))
    assert (events[-1].reason, events[-1].usage.output_tokens) == (StopReason.LENGTH, 4)
    assert not events[-1].usage.estimated


def test_what_the_service_does_not_count_is_estimated_and_marked():
    """A delta is a token at least, and every four characters are; each count that was told counts as told."""
    long, short = deltas("x" * 400), deltas(*"abcd")
    for body, output in ((long, 100), (short, 4), (deltas("x" * 396, *"abcd"), 100)):
        assert run([body])[0][-1].usage.output_tokens == output
    thought = b'{"reasoning_delta":"%b"}\n' % (b"x" * 400)
    found = run([thought + deltas("ok", "ok")])[0][-1].usage
    assert (found.output_tokens, found.reasoning_tokens) == (101, 1)
    for usage, told in ((b'"9","output_tokens":[]', (9, None)), (b'[],"output_tokens":"4"', (None, 4))):
        events, _ = run([deltas("ab") + b'{"usage":{"input_tokens":' + usage + b"}}\n"])
        found = events[-1].usage
        assert found.estimated
        assert told in ((found.input_tokens, None), (None, found.output_tokens))


def test_an_ordinary_delta_is_one_event_whether_or_not_its_length_counts():
    """The short way gives what the long one gives, and counts as it does."""
    for sampling in (None, Sampling(100)):
        made = stream(sampling)
        made.feed(deltas("a"), 0.0)
        assert made.one(deltas("b" * 40), 0.0) == TextDelta("b" * 40)
        assert made.usage().output_tokens == 41 // 4
    assert stream(tools=(TOOL,)).one(deltas("b"), 0.0) is None
    full = stream(Sampling(1))
    full.feed(deltas("a"), 0.0)
    assert full.one(deltas("b" * 40), 0.0) is None


def test_calls_end_a_reply_for_their_sake():
    """The id is the one handed in, the arguments are JSON."""
    events, _ = run([deltas(CALL), USAGE], tools=(TOOL,))
    assert ToolOpened(0, "a", "run") in events
    assert json.loads("".join(event.fragment for event in events if isinstance(event, ToolDelta))) == {"cmd": "ls"}
    assert events[-1].reason is StopReason.TOOL_CALLS


@given(
    st.lists(st.sampled_from(["a", " ", "<|end|>", "<", "STOP", "ST", "<think>", "</think>", "`"]), max_size=8),
    st.data(),
)
def test_p2_cuts_of_the_bytes_do_not_matter(texts, data):
    """P2: the folded reply is the same for every cut."""
    body, sampling = deltas(*texts) + USAGE, Sampling(3, ("STOP",))
    whole = fold(run([body], sampling=sampling)[0])
    at = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[i:j] for i, j in zip([0, *at], [*at, len(body)], strict=True)]
    cut = fold(run(pieces, sampling=sampling)[0])
    assert (cut.text, cut.thought, cut.reason, cut.stop_sequence) == (
        whole.text,
        whole.thought,
        whole.reason,
        whole.stop_sequence,
    )
