"""The official SDK's helpers on top of the dialect: whatever they send is read, whatever is written they read."""

import json

import anthropic
import httpx2
import pytest

from fittengate.core.conversation import ToolCall, ToolResult
from fittengate.core.events import Began, Ended, TextDelta, ThoughtDelta, ToolClosed, ToolDelta, ToolOpened, fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.dialects.anthropic_messages import AnthropicMessages
from fittengate.dialects.base import Head

MESSAGES = AnthropicMessages()
USER = {"role": "user", "content": "hi"}
END = Ended(StopReason.DONE, Usage(9, 4))


class Gateway:
    """Answers the SDK's requests from prepared replies, and keeps what it asked for."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asks = []
        self.statuses = []
        http = httpx2.Client(transport=httpx2.MockTransport(self.answer))
        self.client = anthropic.Anthropic(
            api_key="k", base_url="http://gateway.invalid", max_retries=0, http_client=http
        )

    def answer(self, request):
        status, sort, body = 200, "application/json", b""
        try:
            if request.url.path in MESSAGES.count_paths:
                self.asks.append(MESSAGES.read_count(request.content, {}))
                body = MESSAGES.count_body(17)
            else:
                assert request.url.path in MESSAGES.paths
                ask = MESSAGES.read(request.content)
                self.asks.append(ask)
                sort, body = self.reply(ask)
        except Fault as fault:
            status, body = MESSAGES.status(fault), MESSAGES.error(fault, "r1")
        self.statuses.append(status)
        return httpx2.Response(status, headers={"content-type": sort}, content=body)

    def reply(self, ask):
        events = [Began(), *self.replies.pop(0)]
        head = Head("id24", 0, ask.model, 12)
        if not ask.wishes.stream:
            return "application/json", MESSAGES.whole(fold(events), ask, head)
        writer = MESSAGES.writer(ask, head)
        return "text/event-stream", writer.feed(events) + writer.close()


def call(arguments):
    return [
        ToolOpened(0, "c0ffee", "add"),
        ToolDelta(arguments[:4]),
        ToolDelta(arguments[4:]),
        ToolClosed(),
        Ended(StopReason.TOOL_CALLS, Usage(9, 4)),
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_the_tool_runner_falls_back_from_threads_and_finishes(stream):
    """Requirement 42: the runner opens a thread, is refused, sends everything itself and gets through its loop."""
    given = []

    @anthropic.beta_tool
    def add(a: int, words: str) -> str:
        """Add words to a number."""
        given.append((a, words))
        return "four"

    arguments = json.dumps({"a": 2, "words": '你好 \u2028 "q" \\ </parameter>'}, ensure_ascii=False)
    gateway = Gateway(call(arguments), [TextDelta("It is "), TextDelta("four."), END])
    runner = gateway.client.beta.messages.tool_runner(
        model="fitten-code", max_tokens=99, tools=[add], messages=[USER], stream=stream
    )
    assert runner.until_done().content[0].text == "It is four."
    assert given == [(2, json.loads(arguments)["words"])]
    assert gateway.statuses == [400, 200, 200]
    user, assistant, result = gateway.asks[-1].conversation.messages
    assert user.role == "user"
    (sent,) = assistant.parts
    assert isinstance(sent, ToolCall)
    assert (sent.id, sent.name, json.loads(sent.arguments)) == ("toolu_c0ffee", "add", json.loads(arguments))
    assert [type(part) for part in result.parts] == [ToolResult]
    assert result.parts[0].call_id == "toolu_c0ffee"
    assert [tool.name for tool in gateway.asks[-1].conversation.tools] == ["add"]


def test_the_stream_helper_sees_text_and_reasoning():
    """Requirement 19: the helper's own events carry what was said, and its final message the usage of the end."""
    gateway = Gateway([ThoughtDelta("hm"), TextDelta("Hel"), TextDelta("lo"), END])
    with gateway.client.messages.stream(
        model="m", max_tokens=9, messages=[USER], thinking={"type": "adaptive"}
    ) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert {"thinking", "signature", "text", "content_block_stop", "message_stop"} <= set(kinds)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert (message.content[0].thinking, message.content[1].text) == ("hm", "Hello")
    assert (message.usage.input_tokens, message.usage.output_tokens, message.stop_reason) == (9, 4, "end_turn")


def test_tokens_are_counted():
    """Requirement 43: the SDK's count has its own path and body."""
    gateway = Gateway()
    count = gateway.client.messages.count_tokens(model="m", messages=[USER], system="s")
    assert count.input_tokens == 17
    assert [message.role for message in gateway.asks[0].conversation.messages] == ["system", "user"]


def test_a_bare_request_fails_in_the_sdks_words():
    """Requirement 6: the SDK finds class, message and type of an error."""
    with pytest.raises(anthropic.BadRequestError) as caught:
        Gateway().client.messages.create(model="m", max_tokens=0, messages=[USER])
    assert caught.value.type == "invalid_request_error"
    assert caught.value.api_message == "max_tokens must be at least 1."


def test_a_broken_stream_raises_in_the_sdk():
    """Requirement 13: an error in the middle of a stream is an exception with its message, never a short answer."""
    gateway = Gateway()
    writer = MESSAGES.writer(
        MESSAGES.read(json.dumps({"max_tokens": 1, "messages": [USER]}).encode()), Head("i", 0, "m")
    )
    body = writer.feed([Began(), TextDelta("Hel")])
    body += writer.fault(Fault(FaultKind.UPSTREAM_BROKEN, "The service broke off."))
    gateway.reply = lambda ask: ("text/event-stream", body)
    with (
        pytest.raises(anthropic.APIStatusError, match=r"The service broke off\."),
        gateway.client.messages.stream(model="m", max_tokens=1, messages=[USER]) as stream,
    ):
        stream.get_final_message()
