"""Laws of asking again: whatever the replies are, what is delivered is one reply by the grammar of events."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from contract.replies import WORDS, replies
from fittengate.core.ask import Ask, ReplyFormat, Sampling, ToolUse, Wishes
from fittengate.core.conversation import Conversation, Message, Text, ToolSpec
from fittengate.core.events import (
    Began,
    Ended,
    RefusalDelta,
    TextDelta,
    ThoughtDelta,
    ToolAborted,
    ToolClosed,
    ToolDelta,
    ToolOpened,
    fold,
)
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.prompting.again import Accept, ToolsAgain
from fittengate.prompting.again_json import JsonAgain
from property.test_jsontext import SOUP, texts

FOR_ALL = settings(max_examples=150, deadline=None)
TOOLS = (ToolSpec("tool-0", "A tool.", b'{"type":"object","required":["a"]}'),)
QUESTION = (Message("user", (Text("Go."),)),)
FAULT = Fault(FaultKind.UPSTREAM_BROKEN, "The service broke off.")
USES = st.sampled_from([ToolUse(), ToolUse("required"), ToolUse("named", "tool-0"), ToolUse("none")])


@st.composite
def odd_replies(draw):
    """Make a reply that may have lost a call, or be silent, or break off (then it has no Ended)."""
    events = draw(replies())
    if draw(st.booleans()):
        keep = draw(st.sampled_from([(ThoughtDelta,), (TextDelta, ThoughtDelta), ()]))
        events = [event for event in events if isinstance(event, (*keep, Began, Ended))]
    lost = draw(st.sampled_from([None, "broken", "unwanted"]))
    ended = events[-1]
    events[-1] = Ended(ended.reason, ended.usage, ended.stop_sequence, lost)
    return events if draw(st.integers(0, 5)) else events[: draw(st.integers(0, len(events) - 1))]


def delivered(again, given):
    """Feed replies as they are wanted; return the events that are delivered, or the fault that ends them."""
    passed = []
    for reply in given:
        for event in reply:
            passed += again.feed([event])
        whole = reply and isinstance(reply[-1], Ended)
        try:
            decided = again.close() if whole else again.failed(FAULT)
        except Fault as fault:
            return fault
        if isinstance(decided, Accept):
            return passed + decided.events
    raise AssertionError("too many replies are wanted")


def check_grammar(events):
    assert isinstance(events[0], Began)
    assert isinstance(events[-1], Ended)
    assert not any(isinstance(event, Began) for event in events[1:])
    assert not any(isinstance(event, Ended) for event in events[:-1])
    is_open, calls = False, 0
    for event in events[1:-1]:
        match event:
            case ToolOpened():
                assert not is_open
                assert event.index == calls
                is_open, calls = True, calls + 1
            case ToolDelta():
                assert is_open
            case ToolClosed() | ToolAborted():
                assert is_open
                is_open = False
            case _:
                assert not is_open
    assert not is_open


@FOR_ALL
@given(st.lists(odd_replies(), min_size=2, max_size=2), USES, st.booleans(), st.sampled_from([None, 3]))
def test_with_tools_one_grammatical_reply_is_delivered(given, use, stream, limit):
    """After two calls at most; every call that comes whole came so from the service."""
    ask = Ask(Conversation(QUESTION, TOOLS), sampling=Sampling(limit), wishes=Wishes(stream), tool_use=use)
    events = delivered(ToolsAgain(ask), given)
    if isinstance(events, Fault):
        assert events is FAULT
        return
    check_grammar(events)
    # Words of an earlier reply may have gone out before: where a call stands among them is the client's reply's alone.
    sent = [(call.id, call.name, call.arguments) for reply in given for call in _calls(reply)]
    reply = fold(events)
    assert all((call.id, call.name, call.arguments) in sent for call in reply.calls)
    places = [call.at for call in reply.calls]
    assert places == sorted(places)
    assert all(at <= len(reply.text) for at in places)


def _calls(reply):
    ended = [] if reply and isinstance(reply[-1], Ended) else [Ended(StopReason.DONE, Usage(0, 0))]
    return fold([*reply, *ended]).calls


@FOR_ALL
@given(
    st.lists(texts() | SOUP | WORDS, min_size=3, max_size=3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, b"{}", b'{"type":"array"}', b'{"type":"object","required":["a"]}']),
)
def test_with_a_form_what_is_delivered_is_json_or_a_refusal_or_a_fault(given, stream, strict, schema):
    """After three calls at most, whatever the model writes."""
    ask = Ask(
        Conversation(QUESTION),
        wishes=Wishes(stream),
        reply_format=ReplyFormat(None, "", schema, strict),
    )
    end = Ended(StopReason.DONE, Usage(1, 1))
    feed = [[Began(), *map(TextDelta, text), end] for text in given]
    events = delivered(JsonAgain(ask), feed)
    if isinstance(events, Fault):
        assert events.kind is FaultKind.OUTPUT_INVALID
        return
    check_grammar(events)
    reply = fold(events)
    if any(isinstance(event, RefusalDelta) for event in events):
        assert schema is not None
        assert reply.text == ""
        assert reply.refusal
    else:
        value = json.loads(reply.text)
        assert isinstance(value, dict | list)
