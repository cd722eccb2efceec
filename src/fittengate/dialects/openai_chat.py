"""OpenAI's chat completions: ``POST /v1/chat/completions``, whole and streamed.

Shapes from OpenAI's API reference (chat, "Create chat completion" and "Streaming"); ``reasoning_content`` is DeepSeek's
addition to it, which most clients know. Reading stands in ``_openai_reading``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fittengate.core.ask import Ask, Several
from fittengate.core.caller import Scope
from fittengate.core.events import (
    Began,
    Ended,
    Event,
    RefusalDelta,
    TextDelta,
    ThoughtDelta,
    ToolClosed,
    ToolDelta,
    ToolOpened,
)
from fittengate.core.faults import Fault
from fittengate.core.limits import LimitState
from fittengate.core.reply import Reply, StopReason, Usage, usage_of_all
from fittengate.dialects._openai import error_body, limit_headers, usage_object
from fittengate.dialects._openai_choices import ChoicesChunkWriter
from fittengate.dialects._openai_reading import read
from fittengate.dialects._openai_tools import FunctionsAsk
from fittengate.dialects.base import EVENTS, Head, StreamForm
from fittengate.lib import sse
from fittengate.lib.jsonio import delicate, to_json

_encode = msgspec.json.Encoder().encode


class OpenAIChat:
    """The dialect. Holds nothing, so one serves every request."""

    name: str = "openai_chat"
    paths: tuple[str, ...] = ("/v1/chat/completions", "/chat/completions", "/v1/v1/chat/completions")

    id_headers: tuple[bytes, ...] = ()
    scope: Scope = "chat"
    tells_input: bool = False
    form: StreamForm = EVENTS

    def read(self, body: bytes) -> Ask | Several:
        """Return what the client wants. Raises Fault: caller_bad_request, caller_unsupported."""
        return read(body)

    def writer(self, ask: Ask, head: Head) -> "ChunkWriter":
        """Return the writer of a streamed reply."""
        return ChunkWriter(head, ask)

    def whole(self, reply: Reply, ask: Ask, head: Head) -> bytes:
        """Return the body of an unstreamed reply: one ``chat.completion``."""
        return self._body([_choice(0, reply, ask)], reply.usage, head)

    def choices_writer(self, asks: Several, head: Head) -> ChoicesChunkWriter:
        """Return the writer of a streamed reply with several answers."""
        return ChoicesChunkWriter([ChunkWriter(head, ask, index) for index, ask in enumerate(asks.asks)])

    def whole_choices(self, replies: Sequence[Reply], asks: Several, head: Head) -> bytes:
        """Return the body of an unstreamed reply with several answers; its usage is that of all of them."""
        made = [_choice(index, reply, asks.asks[index]) for index, reply in enumerate(replies)]
        return self._body(made, usage_of_all(reply.usage for reply in replies), head)

    def _body(self, made: list[dict[str, Any]], usage: Usage, head: Head) -> bytes:
        return to_json(
            {
                "id": f"chatcmpl-{head.id}",
                "object": "chat.completion",
                "created": head.created,
                "model": head.model,
                "choices": made,
                "usage": usage_object(usage),
            }
        )

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        return error_body(fault, request_id)

    def status(self, fault: Fault) -> int:
        """Return the fault's own status: OpenAI has none of its own for any kind."""
        return fault.status

    def limit_headers(self, state: LimitState) -> list[tuple[bytes, bytes]]:
        """Return OpenAI's ``x-ratelimit-*``."""
        return limit_headers(state)


_FINISH: Mapping[StopReason, str] = {
    StopReason.DONE: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.LENGTH: "length",
    StopReason.TOOL_CALLS: "tool_calls",
}

_CALL_ID = "call_"

# The form of an event is sse.data's alone: what it puts before and after a payload is taken from it, once.
_BEFORE, _AFTER = sse.data(b"\0").split(b"\0")

_DONE = sse.data(b"[DONE]")

_DELTA = b'"delta":{'
_OPENING = _DELTA + b'"role":"assistant","content":"","refusal":null'
_REFUSING = _DELTA + b'"role":"assistant","content":null,"refusal":""'
_REFUSAL = _DELTA + b'"refusal":'
_TEXT = _DELTA + b'"content":'
_THOUGHT = _DELTA + b'"reasoning_content":'
_CALL = _DELTA + b'"tool_calls":['
_CALL_END = b"}}]"
_FUNCTION = _DELTA + b'"function_call":'
_CLOSE = b'},"logprobs":null,"finish_reason":null}]'


def _finish(reason: StopReason, ask: Any) -> str:
    """Return OpenAI's word for the end; a call that ``tool_choice`` named is the whole answer and no reason to stop."""
    if reason is StopReason.TOOL_CALLS:
        if ask.tool_use.choice == "named":
            return "stop"
        if isinstance(ask, FunctionsAsk):
            return "function_call"
    return _FINISH[reason]


def _choice(index: int, reply: Reply, ask: Any) -> dict[str, Any]:
    """Return one answer of an unstreamed reply."""
    message: dict[str, Any] = {
        "role": "assistant",
        # Null beside calls, as OpenAI has it; an answer of no words is an empty string.
        "content": reply.text or (None if reply.calls or reply.refusal else ""),
        "refusal": reply.refusal or None,
        "annotations": [],
    }
    if reply.thought:
        message["reasoning_content"] = reply.thought
    if reply.calls and isinstance(ask, FunctionsAsk):
        call = reply.calls[0]
        message["function_call"] = {"name": call.name, "arguments": call.arguments or "{}"}
    elif reply.calls:
        message["tool_calls"] = [
            {
                "id": _CALL_ID + call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in reply.calls
        ]
    finish = _finish(reply.reason, ask)
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


class ChunkWriter:
    """Writes ``chat.completion.chunk`` events.

    Law: the first chunk says who speaks and comes with the first event after Began; then one chunk for each delta; then
    ``close`` once, after Ended, or ``fault`` once, and nothing after either. Every chunk carries the same id.
    """

    __slots__ = (
        "_arguments",
        "_ask",
        "_call",
        "_call_end",
        "_close",
        "_empty_call",
        "_ended",
        "_front",
        "_include_usage",
        "_start",
        "_started",
        "_tail",
        "_text",
    )

    def __init__(self, head: Head, ask: Any, index: int = 0) -> None:
        """``index`` is the answer's place among several."""
        include_usage = ask.wishes.include_usage
        form = b'%s{"id":"chatcmpl-%s","object":"chat.completion.chunk","created":%d,"model":%s,"choices":['
        self._front = form % (_BEFORE, head.id.encode(), head.created, to_json(head.model))
        self._start = b'%s{"index":%d,' % (self._front, index)
        self._text = self._start + _TEXT
        self._tail = (b',"usage":null}' if include_usage else b"}") + _AFTER
        self._close = _CLOSE + self._tail
        self._include_usage = include_usage
        self._ask = ask
        self._started = False
        self._ended: Ended | None = None
        self._call = 0
        self._arguments = b""
        """What stands before the text of each piece of the open call's arguments."""
        self._call_end = b"}" if isinstance(ask, FunctionsAsk) else _CALL_END
        """What stands after it."""
        self._empty_call = False

    def feed(self, events: Sequence[Event], /) -> bytes:
        """Return the chunks of these events; none for Began and Ended."""
        close = self._close
        if len(events) == 1 and self._started and type(event := events[0]) is TextDelta:
            # A delta that comes alone, and seldom: little code is fast code then.
            said = event.text
            encoded = _encode(said) if said.isascii() or delicate(said) is None else to_json(said)
            return b"%b%b%b" % (self._text, encoded, close)
        out: list[bytes] = []
        put = out.append
        text = self._text
        for event in events:
            kind = type(event)
            if kind is TextDelta or kind is ThoughtDelta:
                if not self._started:
                    put(self._opening())
                put(text if kind is TextDelta else self._start + _THOUGHT)
                said = event.text  # type: ignore[union-attr]
                put(_encode(said) if said.isascii() or delicate(said) is None else to_json(said))
                put(close)
            elif kind is ToolDelta:
                self._empty_call = False
                fragment: str = event.fragment  # type: ignore[union-attr]
                put(self._arguments)
                put(_encode(fragment) if fragment.isascii() or delicate(fragment) is None else to_json(fragment))
                put(self._call_end)
                put(close)
            elif kind is Ended:
                self._ended = event  # type: ignore[assignment]
            elif kind is not Began:
                put(self._feed_other(event))
        return b"".join(out)

    def close(self) -> bytes:
        """Return the finish chunk, the usage chunk if it was asked for, and ``[DONE]``.

        Raises ValueError unless Ended was fed: a reply that did not end well has no clean ending.
        """
        ended = self._ended
        return self.finish() + (b"" if ended is None else self.end(ended.usage))

    def finish(self) -> bytes:
        """Return the finish chunk alone. Raises ValueError unless Ended was fed."""
        ended, self._ended = self._ended, None
        if ended is None:
            raise ValueError("the reply has not ended: it cannot be closed")
        finish = b'"delta":{},"logprobs":null,"finish_reason":"%s"}]' % _finish(ended.reason, self._ask).encode()
        return b"".join((b"" if self._started else self._opening(), self._start, finish, self._tail))

    def end(self, usage: Usage) -> bytes:
        """Return what comes after every finish: the usage chunk if it was asked for, and ``[DONE]``."""
        if not self._include_usage:
            return _DONE
        return b"".join((self._front, b'],"usage":', to_json(usage_object(usage)), b"}", _AFTER, _DONE))

    def fault(self, fault: Fault) -> bytes:
        """Return the error event; after it there is no ``[DONE]``, for the reply is not whole."""
        self._ended = None
        return sse.data(error_body(fault))

    def _opening(self) -> bytes:
        self._started = True
        return self._start + _OPENING + self._close

    def _feed_other(self, event: Event) -> bytes:
        match event:
            case RefusalDelta(text):
                opening = b"" if self._started else self._start + _REFUSING + self._close
                self._started = True
                return opening + self._start + _REFUSAL + to_json(text) + self._close
            case ToolOpened(_, _, name) if isinstance(self._ask, FunctionsAsk):
                self._empty_call = True
                self._arguments = self._start + _FUNCTION + b'{"arguments":'
                return self._function(b'{"name":%s,"arguments":""}' % to_json(name))
            case ToolOpened(index, call_id, name):
                self._call = index
                self._empty_call = True
                self._arguments = self._start + _CALL + b'{"index":%d,"function":{"arguments":' % index
                form = b'{"index":%d,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}'
                delta = form % (index, to_json(_CALL_ID + call_id), to_json(name))
            case ToolClosed() if self._empty_call and isinstance(self._ask, FunctionsAsk):
                return self._function(b'{"arguments":"{}"}')
            case ToolClosed() if self._empty_call:
                # Clients parse the arguments in any case, and nothing at all is not JSON.
                delta = b'{"index":%d,"function":{"arguments":"{}"}}' % self._call
            case _:
                return b""  # the end of a call says nothing, whether it was closed or cut off
        return b"".join((b"" if self._started else self._opening(), self._start, _CALL, delta, b"]", self._close))

    def _function(self, call: bytes) -> bytes:
        """Return the chunk of a call in the older form; there is never more than one."""
        return b"".join((b"" if self._started else self._opening(), self._start, _FUNCTION, call, self._close))
