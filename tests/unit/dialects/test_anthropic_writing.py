"""Messages answers: events in their order, the whole message, errors and their statuses."""

import json

import pytest

from fittengate.core.ask import Ask, Wishes
from fittengate.core.events import (
    Began,
    Ended,
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
from fittengate.dialects.anthropic_messages import AnthropicMessages
from fittengate.dialects.base import Head

MESSAGES = AnthropicMessages()
HEAD = Head("id24", 1767225600, "claude-x", 120)
CALL = [ToolOpened(0, "aa", "f"), ToolDelta('{"p":'), ToolDelta("1}"), ToolClosed()]


def ask(*, show=True):
    return Ask(conversation=None, wishes=Wishes(show_thoughts=show))


def end(reason=StopReason.DONE, stop=None):
    return Ended(reason, Usage(100, 20, 5), stop)


def written(*events, show=True):
    """Return the events of a reply as (name, data)."""
    writer = MESSAGES.writer(ask(show=show), HEAD)
    stream = (writer.feed([Began(), *events]) + writer.close()).decode()
    return [
        (name[7:], json.loads(data[6:])) for name, data in (block.split("\n") for block in stream.split("\n\n")[:-1])
    ]


def whole(*events, show=True):
    return json.loads(MESSAGES.whole(fold([Began(), *events]), ask(show=show), HEAD))


def shape(*events, show=True):
    """Return name and index of each event."""
    return [(name.removeprefix("content_block_"), data.get("index")) for name, data in written(*events, show=show)]


def test_blocks_come_one_after_another():
    """Requirement 19: each block starts, has its deltas and stops before the next one, under rising indexes."""
    assert shape(ThoughtDelta("a"), ThoughtDelta("b"), TextDelta("c"), *CALL, *CALL, TextDelta("d"), end()) == [
        ("message_start", None),
        ("start", 0),
        ("delta", 0),
        ("delta", 0),
        ("delta", 0),
        ("stop", 0),
        ("start", 1),
        ("delta", 1),
        ("stop", 1),
        ("start", 2),
        ("delta", 2),
        ("delta", 2),
        ("stop", 2),
        ("start", 3),
        ("delta", 3),
        ("delta", 3),
        ("stop", 3),
        ("start", 4),
        ("delta", 4),
        ("stop", 4),
        ("message_delta", None),
        ("message_stop", None),
    ]


def test_the_type_of_an_event_is_said_twice():
    """Requirement 19: SDKs read the event line, others the data: both say the same."""
    assert all(name == data["type"] for name, data in written(ThoughtDelta("a"), TextDelta("b"), *CALL, end()))


def test_usage_stands_at_both_ends():
    """Requirement 19: the start tells an estimate of the prompt, the end what the reply came to."""
    events = dict(written(TextDelta("a"), end()))
    cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    assert events["message_start"]["message"]["usage"] == {"input_tokens": 120, "output_tokens": 0, **cached}
    spent = {"input_tokens": 100, "output_tokens": 20, "output_tokens_details": {"thinking_tokens": 5}, **cached}
    assert events["message_delta"]["usage"] == spent
    assert whole(TextDelta("a"), end())["usage"] == spent


def test_a_call_starts_empty_and_grows():
    """Requirement 19: input begins as an empty object and comes as pieces of JSON."""
    _, start, one, two, *_ = [data for _, data in written(*CALL, end())]
    assert start["content_block"] == {"type": "tool_use", "id": "toolu_aa", "name": "f", "input": {}}
    assert [one["delta"], two["delta"]] == [
        {"type": "input_json_delta", "partial_json": piece} for piece in ('{"p":', "1}")
    ]


def test_a_whole_message_has_the_blocks_of_a_stream():
    """Requirement 20: text between and behind calls stands where it came, in one mode as in the other."""
    said = [TextDelta("a"), TextDelta("b"), *CALL, TextDelta("\nc"), *CALL, *CALL, TextDelta("\nd"), TextDelta("e")]
    found = [data for name, data in written(ThoughtDelta("t"), *said, end()) if name.startswith("content_block")]
    streamed = []
    for data in found:
        if "content_block" in data:
            streamed.append([data["content_block"]["type"], ""])
        elif "delta" in data:
            streamed[-1][1] += "".join(
                [str(data["delta"].get(key, "")) for key in ("thinking", "text", "partial_json")]
            )
    content = whole(ThoughtDelta("t"), *said, end())["content"]
    told = [[block["type"], block.get("text", block.get("thinking", '{"p":1}'))] for block in content]
    assert told == streamed
    assert [kind for kind, _ in told] == ["thinking", "text", "tool_use", "text", "tool_use", "tool_use", "text"]


def test_a_call_without_arguments_has_an_empty_object():
    """Clients that parse what they joined get an object in any case."""
    events = [ToolOpened(0, "aa", "f"), ToolClosed(), end()]
    assert [data["delta"]["partial_json"] for name, data in written(*events) if name == "content_block_delta"] == ["{}"]
    assert whole(*events)["content"] == [{"type": "tool_use", "id": "toolu_aa", "name": "f", "input": {}}]


@pytest.mark.parametrize("pieces", [[], ['{"command":"rm -rf /'], ["{"]])
def test_half_a_call_never_parses(pieces):
    """A call that was cut off is closed as a block but not as JSON; a whole message leaves it out."""
    events = [TextDelta("a"), ToolOpened(0, "aa", "f"), *map(ToolDelta, pieces), ToolAborted(), end(StopReason.LENGTH)]
    found = written(*events)
    joined = "".join(data["delta"].get("partial_json", "") for name, data in found if name == "content_block_delta")
    with pytest.raises(json.JSONDecodeError):
        json.loads(joined)
    assert joined, "nothing at all is read as an empty object"
    assert [name for name, _ in found[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    assert [block["type"] for block in whole(*events)["content"]] == ["text"]


def test_reasoning_is_signed():
    """Clients keep the signature and send it back, so that there is always one, the same in both modes."""
    _, start, _, mark, stop, *_ = [data for _, data in written(ThoughtDelta("hm"), TextDelta("a"), end())]
    assert start["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert (mark["delta"]["type"], stop["type"]) == ("signature_delta", "content_block_stop")
    block = whole(ThoughtDelta("hm"), TextDelta("a"), end())["content"][0]
    assert block == {"type": "thinking", "thinking": "hm", "signature": mark["delta"]["signature"]}
    assert block["signature"]


def test_reasoning_is_hidden_unless_it_was_asked_for():
    """Requirement 40: without thinking there is no thinking block, though the message starts with the first thought."""
    assert shape(ThoughtDelta("a"), end(), show=False) == [
        ("message_start", None),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert MESSAGES.writer(ask(show=False), HEAD).feed([Began(), ThoughtDelta("a")]).startswith(b"event: message_start")
    assert whole(ThoughtDelta("a"), TextDelta("b"), end(), show=False)["content"] == [{"type": "text", "text": "b"}]


def test_an_empty_answer_has_no_block():
    """A reply without a word is a message with no content, streamed or not."""
    assert [name for name, _ in written(end())] == ["message_start", "message_delta", "message_stop"]
    assert whole(end())["content"] == []


@pytest.mark.parametrize(
    ("reason", "stop", "calls", "told"),
    [
        (StopReason.DONE, None, [], "end_turn"),
        (StopReason.DONE, None, CALL, "tool_use"),
        (StopReason.TOOL_CALLS, None, CALL, "tool_use"),
        (StopReason.TOOL_CALLS, None, [], "end_turn"),
        (StopReason.LENGTH, None, [], "max_tokens"),
        (StopReason.LENGTH, None, CALL, "max_tokens"),
        (StopReason.STOP_SEQUENCE, "END", [], "stop_sequence"),
    ],
)
def test_every_end_has_its_reason(reason, stop, calls, told):
    """Requirement 44: a whole call means tool_use, also a forced one; being cut off beats it."""
    events = [TextDelta("a"), *calls, end(reason, stop)]
    delta = dict(written(*events))["message_delta"]["delta"]
    assert delta == {"stop_reason": told, "stop_sequence": stop}
    message = whole(*events)
    assert {key: message[key] for key in delta} == delta


def test_a_message_is_complete():
    """Requirement 44: every key that the vendor sends is there, ids with the vendor's prefixes, the model as asked."""
    message = whole(TextDelta("a"), end())
    assert {key: message[key] for key in message if key != "usage"} == {
        "id": "msg_id24",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}],
        "model": "claude-x",
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }
    start = written(TextDelta("a"), end())[0][1]["message"]
    assert set(start) == set(message)
    assert (start["id"], start["content"], start["stop_reason"]) == ("msg_id24", [], None)


def test_arguments_are_passed_on_as_they_are():
    """Numbers, keys and their order stay as the model wrote them, in a whole message too."""
    given = '{"b":1.0,"a":1e999,"n":123456789012345678901234567890,"s":"\u2028\\u00e4"}'
    body = MESSAGES.whole(fold([Began(), ToolOpened(0, "a", "f"), ToolDelta(given), ToolClosed(), end()]), ask(), HEAD)
    assert b'"input":' + given.encode() + b"}]" in body


def test_words_of_the_reply_cannot_reach_its_frame():
    """Text that looks like a part of the message is text."""
    odd = '"content":[] event: message_stop\ndata: {}\n\n'
    head = Head("id24", 0, odd)
    for build in (TextDelta, ThoughtDelta):
        message = json.loads(MESSAGES.whole(fold([Began(), build(odd), end()]), ask(), head))
        assert (message["content"][0][message["content"][0]["type"]], message["model"]) == (odd, odd)


@pytest.mark.parametrize(
    ("kind", "status", "sort"),
    [
        (FaultKind.CALLER_BAD_REQUEST, 400, "invalid_request_error"),
        (FaultKind.CALLER_UNSUPPORTED, 400, "invalid_request_error"),
        (FaultKind.CALLER_TOO_LONG, 400, "invalid_request_error"),
        (FaultKind.CALLER_NO_KEY, 401, "authentication_error"),
        (FaultKind.CALLER_FORBIDDEN, 403, "permission_error"),
        (FaultKind.CALLER_NO_MODEL, 404, "not_found_error"),
        (FaultKind.CALLER_NO_ROUTE, 404, "not_found_error"),
        (FaultKind.CALLER_WRONG_METHOD, 405, "invalid_request_error"),
        (FaultKind.CALLER_BODY_TOO_LARGE, 413, "request_too_large"),
        (FaultKind.POLICY_RATE, 429, "rate_limit_error"),
        (FaultKind.POLICY_QUOTA, 429, "rate_limit_error"),
        (FaultKind.UPSTREAM_RATE, 429, "rate_limit_error"),
        (FaultKind.GATEWAY_BROKEN, 500, "api_error"),
        (FaultKind.UPSTREAM_BROKEN, 502, "api_error"),
        (FaultKind.UPSTREAM_LOGIN, 503, "api_error"),
        (FaultKind.UPSTREAM_LATE, 504, "timeout_error"),
        (FaultKind.GATEWAY_BUSY, 529, "overloaded_error"),
        (FaultKind.GATEWAY_DRAINING, 529, "overloaded_error"),
    ],
)
def test_errors_have_anthropics_types(kind, status, sort):
    """Requirement 6: type and status follow from the kind, in a stream as well as before it."""
    fault = Fault(kind, "Why.")
    assert MESSAGES.status(fault) == status
    body = json.loads(MESSAGES.error(fault, "r1"))
    assert body == {
        "type": "error",
        "error": {"type": sort, "message": body["error"]["message"]},
        "request_id": "r1",
    }
    assert body["error"]["message"].startswith("Why.")
    name, data = MESSAGES.writer(ask(), HEAD).fault(fault).decode().rstrip().split("\n")
    assert name == "event: error"
    assert json.loads(data[6:]) == {"type": "error", "error": body["error"]}


def test_a_prompt_that_is_too_long_says_both_numbers():
    """Requirement 8: clients look for these words, and shorten the conversation by the numbers."""
    fault = Fault(FaultKind.CALLER_TOO_LONG, "Shorten it.", param="messages", numbers=(210_000, 131_072))
    message = json.loads(MESSAGES.error(fault, "r"))["error"]["message"]
    assert message == "prompt is too long: 210000 tokens > 131072 maximum"
    unknown = json.loads(MESSAGES.error(Fault(FaultKind.CALLER_TOO_LONG, "Shorten it."), "r"))["error"]["message"]
    assert unknown == "Shorten it. (prompt is too long)"


@pytest.mark.parametrize(
    ("message", "param", "told"),
    [
        ("role is wrong.", "messages[0].role", "role is wrong. (messages[0].role)"),
        ("max_tokens is missing.", "max_tokens", "max_tokens is missing."),
        ("No.", None, "No."),
    ],
)
def test_the_place_of_a_fault_stands_in_its_message(message, param, told):
    """The error object has no field for the place, so the message ends with it where it does not name it already."""
    fault = Fault(FaultKind.CALLER_BAD_REQUEST, message, param=param)
    assert json.loads(MESSAGES.error(fault, "r"))["error"]["message"] == told
