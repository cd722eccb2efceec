"""Ollama's ``POST /api/chat``: a conversation, with tools, whole and as lines.

Shapes from Ollama's API reference ("Generate a chat completion"). Tools are declared as OpenAI's. Calls have had ids
only of late: where a result names no call, it belongs to the first one that waits, of that tool if it names one.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from fittengate.core.ask import Ask, FillAsk
from fittengate.core.caller import Scope
from fittengate.core.conversation import Conversation, Image, Message, Role, Text, Thought, ToolCall, ToolResult
from fittengate.core.faults import Fault
from fittengate.core.limits import LimitState
from fittengate.core.reply import Reply
from fittengate.dialects import _ollama_lines
from fittengate.dialects._fields import MAX_IGNORED, Check, bad, known, look_over, read_object, text_of
from fittengate.dialects._ollama import (
    FIELDS,
    error_body,
    format_of,
    images_of,
    load,
    needed_model,
    sampling_of,
    wishes_of,
)
from fittengate.dialects._ollama_lines import LineWriter
from fittengate.dialects._openai import limit_headers
from fittengate.dialects._openai_tools import declared_tools, read_calls, read_tools
from fittengate.dialects.base import LINES, Head, StreamForm


class OllamaChat:
    """The dialect. Holds nothing, so one serves every request."""

    name: str = "ollama_chat"
    paths: tuple[str, ...] = ("/api/chat",)
    id_headers: tuple[bytes, ...] = ()
    scope: Scope = "chat"
    tells_input: bool = False
    form: StreamForm = LINES

    def read(self, body: bytes) -> Ask | FillAsk:
        """Return what the client wants. Raises Fault: caller_bad_request, caller_unsupported.

        A request without messages loads a model, of which there is nothing to do.
        """
        fields = read_object(body)
        ignored = list(look_over(fields, _FIELDS))
        get = fields.get
        model = needed_model(get("model"))
        wishes = wishes_of(fields)
        messages = _messages(get("messages"))
        tools, tool_use = read_tools({}, ignored, declared_tools(fields))
        sampling, reply_format = sampling_of(get("options")), format_of(get("format"))
        left_out = tuple(ignored[:MAX_IGNORED])
        if not messages:
            return load(model, wishes, left_out, get("keep_alive"))
        return Ask(Conversation(messages, tools), model, sampling, wishes, tool_use, left_out, reply_format)

    def writer(self, ask: Ask | FillAsk, head: Head) -> LineWriter:
        """Return the writer of a streamed reply."""
        return LineWriter(ask, head, _said)

    def whole(self, reply: Reply, ask: Ask | FillAsk, head: Head) -> bytes:
        """Return the body of an unstreamed reply."""
        return _ollama_lines.whole(reply, ask, head, _said)

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        return error_body(fault, request_id)

    def status(self, fault: Fault) -> int:
        """Return the fault's own status."""
        return fault.status

    def limit_headers(self, state: LimitState) -> list[tuple[bytes, bytes]]:
        """Return the headers that OpenAI has for it: Ollama has none."""
        return limit_headers(state)


def _said(text: str, thought: str, calls: bool) -> dict[str, Any]:  # noqa: FBT001 - the signature of shapes
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thought:
        message["thinking"] = thought
    if calls:
        message["tool_calls"] = []
    return {"message": message}


_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


class _Waiting:
    """The calls of the last answer that have no result so far.

    Law: a call is taken once, and the first that fits is. Places of calls that were taken another way are passed over
    when they are met, so that all takings together cost no more than there are calls and results.
    """

    def __init__(self, calls: Sequence[ToolCall] = ()) -> None:
        self._ids = {place: call.id for place, call in enumerate(calls)}
        """Of those that wait, by their places in the answer."""
        self._places: dict[tuple[str, str], deque[int]] = {}
        for place, call in enumerate(calls):
            for key in (("id", call.id), ("tool", call.name), ("tool", "")):
                self._places.setdefault(key, deque()).append(place)

    def take(self, call_id: str, tool: str) -> str:
        """Return the id of the call that a result belongs to: of this id, else of this tool; empty for none."""
        places = self._places.get(("id", call_id) if call_id else ("tool", tool), ())
        while places:
            found = self._ids.pop(places.popleft(), None)
            if found is not None:
                return found
        return call_id


def _messages(value: Any) -> tuple[Message, ...]:
    if value is None:
        return ()
    if type(value) is not list:
        raise bad("messages must be a list.", "messages")
    messages: list[Message] = []
    waiting = _Waiting()
    for index, item in enumerate(value):
        message = _message(item, f"messages[{index}]", waiting)
        if message.role == "assistant":
            waiting = _Waiting([part for part in message.parts if isinstance(part, ToolCall)])
        messages.append(message)
    return tuple(messages)


def _message(item: Any, place: str, waiting: _Waiting) -> Message:
    if type(item) is not dict:
        raise bad("A message must be an object.", place)
    role = item.get("role")
    content = text_of(item, "content", place)
    parts: tuple[Text | Image, ...] = ((Text(content),) if content else ()) + images_of(
        item.get("images"), f"{place}.images"
    )
    if role == "tool":
        tool = text_of(item, "tool_name", place) or text_of(item, "name", place)
        call_id = waiting.take(text_of(item, "tool_call_id", place), tool)
        return Message("user", (ToolResult(call_id, parts),))
    ours = _ROLES.get(role) if type(role) is str else None
    if ours is None:
        raise bad("role must be system, user, assistant or tool.", f"{place}.role")
    if ours != "assistant":
        return Message(ours, parts)
    thought = text_of(item, "thinking", place)
    calls = [_named(call, number) for number, call in enumerate(read_calls(item, place))]
    return Message(ours, (*((Thought(thought),) if thought else ()), *parts, *calls))


def _named(call: ToolCall, number: int) -> ToolCall:
    """Return a call with an id: its own, or one that is made from its place in the turn."""
    return call if call.id else ToolCall(f"call:{number}", call.name, call.arguments)


_FIELDS: Mapping[str, Check] = {**FIELDS, "messages": known, "tools": known}
