"""OpenAI's chat completions: ``POST /v1/chat/completions``, whole and streamed.

Shapes from OpenAI's API reference (chat, "Create chat completion" and "Streaming"); ``reasoning_content`` is DeepSeek's
addition to it, which most clients know. Reading is strict about what it understands and says the place of what is
wrong; what it does not know it leaves alone and reports.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fittengate.core.ask import Ask, Sampling, Wishes
from fittengate.core.conversation import Conversation, Image, Message, Part, Role, Text, Thought
from fittengate.core.events import (
    Ended,
    Event,
    TextDelta,
    ThoughtDelta,
    ToolClosed,
    ToolDelta,
    ToolOpened,
)
from fittengate.core.faults import Fault
from fittengate.core.reply import Reply, StopReason
from fittengate.dialects._openai import (
    Check,
    bad,
    between,
    delicate,
    error_body,
    flag,
    known,
    look_over,
    model_name,
    of_type,
    read_object,
    refused,
    shown,
    stops,
    to_json,
    unsupported,
    usage_object,
    whole_number,
)
from fittengate.dialects.base import Head
from fittengate.lib import sse

_encode = msgspec.json.Encoder().encode


class OpenAIChat:
    """The dialect. Holds nothing, so one serves every request."""

    name: str = "openai_chat"
    paths: tuple[str, ...] = ("/v1/chat/completions", "/chat/completions", "/v1/v1/chat/completions")

    def read(self, body: bytes) -> Ask:
        """Return what the client wants. Raises Fault: caller_bad_request, caller_unsupported.

        Where both ``max_tokens`` and ``max_completion_tokens`` are given the smaller one counts, so that both hold.
        """
        fields = read_object(body)
        ignored = look_over(fields, _FIELDS)
        get = fields.get
        limits = [
            whole_number(fields[name], name, 1)
            for name in ("max_tokens", "max_completion_tokens")
            if get(name) is not None
        ]
        options = get("stream_options") or {}
        return Ask(
            Conversation(_messages(get("messages"))),
            model_name(get("model")),
            Sampling(min(limits, default=None), stops(get("stop"))),
            Wishes(flag(get("stream"), "stream"), flag(options.get("include_usage"), "stream_options.include_usage")),
            ignored,
        )

    def writer(self, ask: Ask, head: Head) -> "ChunkWriter":
        """Return the writer of a streamed reply."""
        return ChunkWriter(head, include_usage=ask.wishes.include_usage)

    def whole(self, reply: Reply, ask: Ask, head: Head) -> bytes:  # noqa: ARG002 - other dialects need the ask
        """Return the body of an unstreamed reply: one ``chat.completion``."""
        message: dict[str, Any] = {
            "role": "assistant",
            # Null beside calls, as OpenAI has it; an answer of no words is an empty string.
            "content": reply.text or (None if reply.calls else ""),
            "refusal": None,
            "annotations": [],
        }
        if reply.thought:
            message["reasoning_content"] = reply.thought
        if reply.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments or "{}"},
                }
                for call in reply.calls
            ]
        finish = _FINISH[reply.reason]
        return to_json(
            {
                "id": f"chatcmpl-{head.id}",
                "object": "chat.completion",
                "created": head.created,
                "model": head.model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
                "usage": usage_object(reply.usage),
            }
        )

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        return error_body(fault, request_id)

    def status(self, fault: Fault) -> int:
        """Return the fault's own status: OpenAI has none of its own for any kind."""
        return fault.status


# --- reading ---------------------------------------------------------------------------------------------------------


def _stream_options(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    for key, option in value.items():
        # A wish that is off is honoured by doing nothing.
        if key != "include_usage" and option is not None and option is not False:
            ignored.append(f"{name}.{shown(key)}")


def _n(value: Any, name: str, _ignored: list[str]) -> None:
    if whole_number(value, name, 1) > 1:
        raise unsupported("Only one choice can be made. Set n to 1, or send the request n times.", name)


def _seed(value: Any, name: str, ignored: list[str]) -> None:
    whole_number(value, name)
    ignored.append(name)


def _logit_bias(value: Any, name: str, _ignored: list[str]) -> None:
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    if value:
        raise unsupported("Token probabilities cannot be changed. Leave logit_bias out.", name)


def _logprobs(value: Any, name: str, _ignored: list[str]) -> None:
    if flag(value, name):
        raise unsupported("Token probabilities are not known. Leave logprobs out.", name)


def _top_logprobs(value: Any, name: str, _ignored: list[str]) -> None:
    if whole_number(value, name, 0):
        raise unsupported("Token probabilities are not known. Leave top_logprobs out.", name)


def _modalities(value: Any, name: str, _ignored: list[str]) -> None:
    if type(value) is not list:
        raise bad(f"{name} must be a list.", name)
    for index, item in enumerate(value):
        if type(item) is not str:
            raise bad("A modality must be a string.", f"{name}[{index}]")
        if item != "text":
            raise unsupported("Only text can be produced.", f"{name}[{index}]")


def _tools(value: Any, name: str, _ignored: list[str]) -> None:
    if type(value) is not list:
        raise bad(f"{name} must be a list.", name)
    if value:
        raise unsupported(f"Tool calls are not supported yet. Leave {name} out.", name)


def _tool_choice(value: Any, name: str, _ignored: list[str]) -> None:
    if value == "required" or type(value) is dict:
        raise unsupported(f"Tool calls are not supported yet. Leave {name} out.", name)
    if value not in ("auto", "none"):
        raise bad(f"{name} must be auto, none, required or an object.", name)


def _response_format(value: Any, name: str, _ignored: list[str]) -> None:
    kind = value.get("type") if type(value) is dict else None
    if kind in ("json_object", "json_schema"):
        raise unsupported("Structured output is not supported yet. Leave response_format out.", name)
    if kind != "text":
        raise bad("response_format must be an object with type text, json_object or json_schema.", name)


_FIELDS: Mapping[str, Check] = {
    # Read by OpenAIChat.read.
    "messages": known,
    "model": known,
    "stream": known,
    "stream_options": _stream_options,
    "max_tokens": known,
    "max_completion_tokens": known,
    "stop": known,
    # The service has no such switches, and the answer stays an answer without them: ignored and reported.
    "temperature": between(0, 2),
    "top_p": between(0, 1),
    "presence_penalty": between(-2, 2),
    "frequency_penalty": between(-2, 2),
    "seed": _seed,
    "reasoning_effort": of_type(str, report=True),
    "verbosity": of_type(str, report=True),
    "moderation": of_type(dict, report=True),
    # They promise nothing about the answer: ignored in silence.
    "user": of_type(str),
    "safety_identifier": of_type(str),
    "metadata": known,
    "store": of_type(bool),
    "service_tier": of_type(str),
    "prediction": of_type(dict),
    "prompt_cache_key": of_type(str),
    "prompt_cache_options": of_type(dict),
    "prompt_cache_retention": of_type(str),
    "parallel_tool_calls": of_type(bool),
    # To ignore these would change or claim something: refused, unless they ask for nothing.
    "n": _n,
    "logit_bias": _logit_bias,
    "logprobs": _logprobs,
    "top_logprobs": _top_logprobs,
    "modalities": _modalities,
    "audio": refused("Audio output is"),
    "web_search_options": refused("Web search is"),
    "tools": _tools,
    "functions": _tools,
    "tool_choice": _tool_choice,
    "function_call": _tool_choice,
    "response_format": _response_format,
}

_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def _messages(value: Any) -> tuple[Message, ...]:
    if value is None:
        raise bad("messages is missing.", "messages")
    if type(value) is not list:
        raise bad("messages must be a list.", "messages")
    if not value:
        raise bad("messages must not be empty.", "messages")
    return tuple([_message(item, index) for index, item in enumerate(value)])


def _message(item: Any, index: int) -> Message:
    if type(item) is not dict:
        raise bad("A message must be an object.", f"messages[{index}]")
    role = item.get("role")
    ours = _ROLES.get(role) if type(role) is str else None
    if ours is None:
        if role in ("tool", "function"):
            raise unsupported("Tool results are not supported yet.", f"messages[{index}].role")
        raise bad("role must be system, developer, user, assistant or tool.", f"messages[{index}].role")
    content = item.get("content")
    parts: tuple[Part, ...]
    if type(content) is str:
        parts = (Text(content),) if content else ()
    elif content is None:
        parts = ()
    elif type(content) is list:
        parts = _parts(content, f"messages[{index}].content")
    else:
        raise bad("content must be a string, a list of parts or null.", f"messages[{index}].content")
    if ours == "assistant" and (len(item) > 2 or type(content) is not str):
        parts = _of_assistant(item, parts, index)
    return Message(ours, parts)


def _of_assistant(item: dict[str, Any], parts: tuple[Part, ...], index: int) -> tuple[Part, ...]:
    """Return the parts of an earlier answer with its reasoning before them and a refusal after them."""
    for name in ("tool_calls", "function_call", "audio"):
        # Clients that dump the SDK's own objects send empty values for what was not there.
        if item.get(name) not in (None, [], {}):
            what = "Audio is not supported." if name == "audio" else "Tool calls are not supported yet."
            raise unsupported(what, f"messages[{index}].{name}")
    # Clients hand reasoning back under either name. In any other form it is another vendor's, and of no use here.
    thought = item.get("reasoning_content") or item.get("reasoning")
    if type(thought) is str and thought:
        parts = (Thought(thought), *parts)
    refusal = item.get("refusal")
    if refusal is not None and type(refusal) is not str:
        raise bad("refusal must be a string.", f"messages[{index}].refusal")
    return (*parts, Text(refusal)) if refusal else parts


def _parts(content: list[Any], path: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for index, item in enumerate(content):
        if type(item) is not dict:
            raise bad("A content part must be an object.", f"{path}[{index}]")
        kind = item.get("type")
        if kind in ("text", "refusal"):
            text = item.get(kind)
            if type(text) is not str:
                raise bad(f"{kind} must be a string.", f"{path}[{index}].{kind}")
            if text:
                parts.append(Text(text))
        elif kind == "image_url":
            parts.append(_image(item.get("image_url"), f"{path}[{index}].image_url"))
        elif kind in ("input_audio", "file"):
            raise unsupported(f"Content of type {kind} is not supported.", f"{path}[{index}].type")
        else:
            raise bad("type must be text, image_url or refusal.", f"{path}[{index}].type")
    return tuple(parts)


def _image(value: Any, path: str) -> Image:
    if type(value) is not dict:
        raise bad("image_url must be an object with a url.", path)
    url = value.get("url")
    if type(url) is not str or not url:
        raise bad("url must be a data URL, or the address of an image.", f"{path}.url")
    detail = value.get("detail")
    if detail is not None and type(detail) is not str:
        raise bad("detail must be a string.", f"{path}.detail")
    return Image(url, f"{path}.url")


# --- writing ---------------------------------------------------------------------------------------------------------

_FINISH: Mapping[StopReason, str] = {
    StopReason.DONE: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.LENGTH: "length",
    StopReason.TOOL_CALLS: "tool_calls",
}

# The form of an event is sse.data's alone: what it puts before and after a payload is taken from it, once.
_BEFORE, _AFTER = sse.data(b"\0").split(b"\0")

_DONE = sse.data(b"[DONE]")

_DELTA = b'{"index":0,"delta":{'
_OPENING = _DELTA + b'"role":"assistant","content":"","refusal":null'
_TEXT = _DELTA + b'"content":'
_THOUGHT = _DELTA + b'"reasoning_content":'
_CALL = _DELTA + b'"tool_calls":['
_CLOSE = b'},"logprobs":null,"finish_reason":null}]'


class ChunkWriter:
    """Writes ``chat.completion.chunk`` events.

    Law: the first chunk says who speaks and comes with the first event after Began; then one chunk for each delta; then
    ``close`` once, after Ended, or ``fault`` once, and nothing after either. Every chunk carries the same id.
    """

    __slots__ = ("_call", "_close", "_empty_call", "_ended", "_include_usage", "_start", "_started", "_tail")

    def __init__(self, head: Head, *, include_usage: bool) -> None:
        form = b'%s{"id":"chatcmpl-%s","object":"chat.completion.chunk","created":%d,"model":%s,"choices":['
        self._start = form % (_BEFORE, head.id.encode(), head.created, to_json(head.model))
        self._tail = (b',"usage":null}' if include_usage else b"}") + _AFTER
        self._close = _CLOSE + self._tail
        self._include_usage = include_usage
        self._started = False
        self._ended: Ended | None = None
        self._call = 0
        self._empty_call = False

    def feed(self, events: Sequence[Event], /) -> bytes:
        """Return the chunks of these events; none for Began and Ended."""
        out: list[bytes] = []
        put = out.append
        text = self._start + _TEXT
        close = self._close
        for event in events:
            kind = type(event)
            if kind is TextDelta or kind is ThoughtDelta:
                if not self._started:
                    put(self._opening())
                put(text if kind is TextDelta else self._start + _THOUGHT)
                said: str = event.text  # type: ignore[union-attr]
                put(_encode(said) if said.isascii() or delicate(said) is None else to_json(said))
                put(close)
            elif kind is Ended:
                self._ended = event  # type: ignore[assignment]
            else:
                put(self._feed_call(event))
        return b"".join(out)

    def close(self) -> bytes:
        """Return the finish chunk, the usage chunk if it was asked for, and ``[DONE]``.

        Raises ValueError unless Ended was fed: a reply that did not end well has no clean ending.
        """
        ended, self._ended = self._ended, None
        if ended is None:
            raise ValueError("the reply has not ended: it cannot be closed")
        finish = b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"%s"}]' % _FINISH[ended.reason].encode()
        out = [b"" if self._started else self._opening(), self._start, finish, self._tail]
        if self._include_usage:
            out += (self._start, b'],"usage":', to_json(usage_object(ended.usage)), b"}", _AFTER)
        out.append(_DONE)
        return b"".join(out)

    def fault(self, fault: Fault) -> bytes:
        """Return the error event; after it there is no ``[DONE]``, for the reply is not whole."""
        self._ended = None
        return sse.data(error_body(fault))

    def _opening(self) -> bytes:
        self._started = True
        return self._start + _OPENING + self._close

    def _feed_call(self, event: Event) -> bytes:
        match event:
            case ToolOpened(index, call_id, name):
                self._call = index
                self._empty_call = True
                function = {"name": name, "arguments": ""}
                delta: dict[str, Any] = {"index": index, "id": call_id, "type": "function", "function": function}
            case ToolDelta(fragment):
                self._empty_call = False
                delta = {"index": self._call, "function": {"arguments": fragment}}
            case ToolClosed() if self._empty_call:
                # Clients parse the arguments in any case, and nothing at all is not JSON.
                delta = {"index": self._call, "function": {"arguments": "{}"}}
            case _:
                return b""  # Began says nothing, nor does the end of a call, whether it was closed or cut off
        return (b"" if self._started else self._opening()) + self._start + _CALL + to_json(delta) + b"]" + self._close
