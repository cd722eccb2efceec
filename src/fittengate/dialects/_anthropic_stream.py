"""Writing a message of Anthropic's Messages API: as a stream of events, and as one object.

Shapes from Anthropic's API reference ("Streaming Messages", "Create a Message").
"""

from collections.abc import Sequence
from typing import Any

import msgspec

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
from fittengate.core.reply import Reply
from fittengate.dialects._anthropic import error_body, opening_usage, signature, stop_reason, usage_object
from fittengate.dialects.base import Head
from fittengate.lib import sse
from fittengate.lib.jsonio import delicate, to_json

_encode = msgspec.json.Encoder().encode

_TEXT = {"type": "text", "text": ""}
_THINKING = {"type": "thinking", "thinking": "", "signature": ""}

# The form of an event is sse.event's alone: what it puts around a payload is taken from it, once.
_BEFORE, _AFTER = sse.event(b"content_block_delta", b"\0").split(b"\0")

_STOP = sse.event(b"message_stop", b'{"type":"message_stop"}')


class MessageWriter:
    """Writes the events of a message.

    Law: ``message_start`` comes with the first event after Began. Then blocks, one open at a time, each with the next
    index: start, deltas, stop. Then ``close`` once, after Ended, or ``fault`` once, and nothing after either.
    """

    __slots__ = (
        "_called",
        "_ended",
        "_head",
        "_index",
        "_kind",
        "_prefix",
        "_refused",
        "_said",
        "_show_thoughts",
        "_started",
    )

    def __init__(self, head: Head, *, show_thoughts: bool) -> None:
        self._head = head
        self._show_thoughts = show_thoughts
        self._started = False
        self._ended: Ended | None = None
        self._index = -1
        self._kind = ""
        """Type of the open block; empty where none is open."""
        self._prefix = b""
        """What stands before the text of each delta of the open block."""
        self._said = False
        """The open block has had a delta."""
        self._called = False
        self._refused = False

    def feed(self, events: Sequence[Event], /) -> bytes:
        """Return the events of the message; none for Began and Ended."""
        out: list[bytes] = []
        for event in events:
            kind = type(event)
            if kind is TextDelta:
                if self._kind != "text":
                    out.append(self._open("text", _TEXT, "text_delta", "text"))
                out.append(self._delta(event.text))  # type: ignore[union-attr]
            elif kind is ThoughtDelta:
                if not self._show_thoughts:
                    out.append(self._start())
                    continue
                if self._kind != "thinking":
                    out.append(self._open("thinking", _THINKING, "thinking_delta", "thinking"))
                out.append(self._delta(event.text))  # type: ignore[union-attr]
            elif kind is ToolDelta:
                out.append(self._delta(event.fragment))  # type: ignore[union-attr]
            elif kind is Ended:
                self._ended = event  # type: ignore[assignment]
            else:
                out.append(self._feed_other(event))
        return b"".join(out)

    def close(self) -> bytes:
        """Return the end of the open block, ``message_delta`` with reason and usage, and ``message_stop``.

        Raises ValueError unless Ended was fed: a reply that did not end well has no clean ending.
        """
        ended, self._ended = self._ended, None
        if ended is None:
            raise ValueError("the reply has not ended: it cannot be closed")
        delta = {
            "type": "message_delta",
            "delta": {
                "stop_reason": stop_reason(ended.reason, called=self._called, refused=self._refused),
                "stop_sequence": ended.stop_sequence,
            },
            "usage": usage_object(ended.usage),
        }
        return self._start() + self._close() + sse.event(b"message_delta", to_json(delta)) + _STOP

    def fault(self, fault: Fault) -> bytes:
        """Return the error event; after it there is no ``message_stop``, for the reply is not whole."""
        self._ended = None
        return sse.event(b"error", error_body(fault))

    def _start(self) -> bytes:
        """Return ``message_start``, the first time."""
        if self._started:
            return b""
        self._started = True
        opening = _message(self._head, [], None, None, opening_usage(self._head.input_tokens))
        return sse.event(b"message_start", b'{"type":"message_start","message":%s}' % to_json(opening))

    def _open(self, kind: str, block: dict[str, Any], delta: str, field: str) -> bytes:
        """Return the end of the open block and the start of the next one."""
        before = self._start() + self._close()
        self._index += 1
        self._kind = kind
        self._said = False
        form = b'%s{"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'
        self._prefix = form % (_BEFORE, self._index, delta.encode(), field.encode())
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        return before + sse.event(b"content_block_start", to_json(start))

    def _delta(self, text: str) -> bytes:
        self._said = True
        said = _encode(text) if text.isascii() or delicate(text) is None else to_json(text)
        return self._prefix + said + b"}}" + _AFTER

    def _close(self) -> bytes:
        """Return the end of the open block, if one is open."""
        if not self._kind:
            return b""
        signed = b""
        if self._kind == "thinking":
            mark = {"type": "signature_delta", "signature": signature(self._head.id)}
            delta = {"type": "content_block_delta", "index": self._index, "delta": mark}
            signed = sse.event(b"content_block_delta", to_json(delta))
        self._kind = ""
        return signed + sse.event(b"content_block_stop", b'{"type":"content_block_stop","index":%d}' % self._index)

    def _feed_other(self, event: Event) -> bytes:
        match event:
            case RefusalDelta(text):
                # The vendor has no other place for it: text it is, and the reason says what kind.
                self._refused = True
                opening = b"" if self._kind == "text" else self._open("text", _TEXT, "text_delta", "text")
                return opening + self._delta(text)
            case ToolOpened(_, call_id, name):
                block = {"type": "tool_use", "id": _call_id(call_id), "name": name, "input": {}}
                return self._open("tool_use", block, "input_json_delta", "partial_json")
            case ToolClosed():
                self._called = True
                return (b"" if self._said else self._delta("{}")) + self._close()
            case ToolAborted():
                # No arguments at all would be read as an empty object, and half a call must never look whole.
                return (b"" if self._said else self._delta("{")) + self._close()
            case _:
                return b""  # Began says nothing


def message(reply: Reply, head: Head, *, show_thoughts: bool) -> bytes:
    """Return a whole message: reasoning where it is wanted, then text and calls in their order."""
    blocks: list[Any] = []
    if reply.thought and show_thoughts:
        blocks.append(to_json({"type": "thinking", "thinking": reply.thought, "signature": signature(head.id)}))
    text, said = reply.text or reply.refusal, 0
    for call in reply.calls:
        if piece := text[said : call.at]:
            blocks.append(to_json({"type": "text", "text": piece}))
        said = call.at
        # Arguments are JSON already: read and written again they could only lose.
        given = call.arguments.encode("utf-8", "replace") or b"{}"
        form = b'{"type":"tool_use","id":%s,"name":%s,"input":%s}'
        blocks.append(form % (to_json(_call_id(call.id)), to_json(call.name), given))
    if rest := text[said:]:
        blocks.append(to_json({"type": "text", "text": rest}))
    reason = stop_reason(reply.reason, called=bool(reply.calls), refused=bool(reply.refusal))
    # The blocks are JSON already, the rest is not: they go where the empty list stands, before any word of the reply.
    body = to_json(_message(head, [], reason, reply.stop_sequence, usage_object(reply.usage)))
    return body.replace(b'"content":[]', b'"content":[%s]' % b",".join(blocks), 1)


def _message(
    head: Head, content: list[Any], reason: str | None, stop: str | None, usage: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": f"msg_{head.id}",
        "type": "message",
        "role": "assistant",
        "content": content,
        "model": head.model,
        "stop_reason": reason,
        "stop_sequence": stop,
        "usage": usage,
    }


def _call_id(tail: str) -> str:
    return f"toolu_{tail}"
