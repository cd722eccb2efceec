"""Writing an answer of Ollama's: as lines, one for each piece, and as one object.

Shapes from Ollama's API reference. Text stands under ``response`` where a prompt was asked, and in a ``message`` in
chat: a :data:`Shape` puts it there. Counts are those of the events; times are the server's, in nanoseconds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from fittengate.core.events import (
    Ended,
    Event,
    RefusalDelta,
    TextDelta,
    ThoughtDelta,
    ToolAborted,
    ToolClosed,
    ToolDelta,
    ToolOpened,
)
from fittengate.core.faults import Fault
from fittengate.core.reply import Reply, ReplyCall, StopReason, Usage
from fittengate.dialects._ollama import Load, error_body, moment
from fittengate.dialects.base import Head
from fittengate.lib import ndjson
from fittengate.lib.jsonio import one_line, to_json

Shape: TypeAlias = Callable[[str, str, bool], dict[str, Any]]
"""Gives the fields that carry text and reasoning; the flag adds an empty ``tool_calls``, which calls will replace."""

_REASONS: Mapping[StopReason, str] = {
    StopReason.DONE: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.LENGTH: "length",
    StopReason.TOOL_CALLS: "stop",
}

_NO_CALLS = b'"tool_calls":[]'


def whole(reply: Reply, ask: Any, head: Head, shape: Shape) -> bytes:
    """Return the body of an unstreamed reply."""
    thought = reply.thought if ask.wishes.show_thoughts else ""
    said = shape(reply.text or reply.refusal, thought, bool(reply.calls))
    body = to_json(_front(head) | said | _end(head, ask, reply.reason, reply.usage))
    return _with_calls(body, [_call(index, call) for index, call in enumerate(reply.calls)])


def _front(head: Head) -> dict[str, Any]:
    return {"model": head.model, "created_at": moment(head.created)}


def _end(head: Head, ask: Any, reason: StopReason, usage: Usage) -> dict[str, Any]:
    word = _REASONS[reason] if not isinstance(ask, Load) else "unload" if ask.unload else "load"
    # Clients divide by these times: one that was not measured, or is too short, is a nanosecond.
    first, total = [max(1, round(seconds * 1e9)) for seconds in head.times()]
    return {
        "done": True,
        "done_reason": word,
        "total_duration": total,
        "load_duration": 0,
        "prompt_eval_count": usage.input_tokens,
        "prompt_eval_duration": first,
        "eval_count": usage.output_tokens,
        "eval_duration": max(1, total - first),
    }


def _call(index: int, call: ReplyCall) -> bytes:
    # Arguments are JSON already, but a model may have written them on several lines.
    given = one_line(call.arguments or "{}")
    form = b'{"id":%s,"function":{"index":%d,"name":%s,"arguments":%s}}'
    return form % (to_json(f"call_{call.id}"), index, to_json(call.name), given)


def _with_calls(body: bytes, calls: list[bytes]) -> bytes:
    # The place cannot stand in a text, where quotation marks are escaped.
    return body if not calls else body.replace(_NO_CALLS, b'"tool_calls":[%s]' % b",".join(calls), 1)


class LineWriter:
    """Writes a line for each piece of text, of reasoning, and for each call once it is whole.

    Law: ``close`` comes once, after Ended, and says why the reply ended; or ``fault`` once; and nothing after either.
    """

    __slots__ = ("_arguments", "_ask", "_calls", "_ended", "_front", "_head", "_open", "_shape")

    def __init__(self, ask: Any, head: Head, shape: Shape) -> None:
        self._ask = ask
        self._head = head
        self._front = _front(head)
        self._shape = shape
        self._ended: Ended | None = None
        self._open: ToolOpened | None = None
        self._arguments: list[str] = []
        self._calls = 0

    def feed(self, events: Sequence[Event], /) -> bytes:
        """Return the lines of these events; none for Began, Ended, and a call that is not whole yet or was cut off."""
        return b"".join([self._line(event) for event in events])

    def _line(self, event: Event) -> bytes:
        match event:
            case TextDelta(text) | RefusalDelta(text):
                return self._piece(text, "")
            case ThoughtDelta(text):
                return self._piece("", text) if self._ask.wishes.show_thoughts else b""
            case ToolOpened():
                self._open, self._arguments = event, []
            case ToolDelta(fragment):
                self._arguments.append(fragment)
            case ToolClosed() if self._open is not None:
                call = ReplyCall(self._open.id, self._open.name, "".join(self._arguments))
                self._open = None
                line = _with_calls(self._piece("", "", calls=True), [_call(self._calls, call)])
                self._calls += 1
                return line
            case ToolAborted():
                self._open = None
            case Ended():
                self._ended = event
            case _:
                pass  # Began says nothing
        return b""

    def close(self) -> bytes:
        """Return the last line. Raises ValueError unless Ended was fed: a broken reply has no clean ending."""
        ended, self._ended = self._ended, None
        if ended is None:
            raise ValueError("the reply has not ended: it cannot be closed")
        end = _end(self._head, self._ask, ended.reason, ended.usage)
        return ndjson.line(to_json(self._front | self._shape("", "", False) | end))

    def fault(self, fault: Fault) -> bytes:
        """Return the line with the error; after it there is no last one, for the reply is not whole."""
        self._ended = None
        return ndjson.line(error_body(fault))

    def _piece(self, text: str, thought: str, *, calls: bool = False) -> bytes:
        return ndjson.line(to_json(self._front | self._shape(text, thought, calls) | {"done": False}))
