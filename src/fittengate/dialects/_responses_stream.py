"""Events of one reply as the event stream of a response.

Shapes from OpenAI's API reference (responses, "Streaming events").
"""

from collections import Counter
from collections.abc import Iterable, Sequence
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
from fittengate.core.reply import Reply, StopReason
from fittengate.dialects._openai import error_body
from fittengate.dialects._responses_ask import ResponsesAsk, ToolForm
from fittengate.dialects._responses_object import Frame, error_object
from fittengate.dialects._responses_output import (
    BuiltinCallItem,
    CallItem,
    CustomCallItem,
    Item,
    MessageItem,
    ReasoningItem,
    RefusalItem,
    SearchCallItem,
)
from fittengate.dialects.base import Head
from fittengate.lib import sse
from fittengate.lib.jsonio import delicate, read_object, to_json

_encode = msgspec.json.Encoder().encode

_CALLS: dict[str, type[CallItem]] = {
    "function": CallItem,
    "custom": CustomCallItem,
    "search": SearchCallItem,
    "builtin": BuiltinCallItem,
}


class ResponseWriter:
    """Writes the events of a response.

    Law: ``response.created`` and ``response.in_progress`` come with the first event after Began; items come one after
    the other, each ended before the next one begins; then ``close`` once, after Ended, or ``fault`` once, and nothing
    after either. Every event carries the next number. A call that was cut off is never ended and not part of the
    response.
    """

    __slots__ = (
        "_after",
        "_ask",
        "_before",
        "_between",
        "_cut",
        "_ended",
        "_forms",
        "_frame",
        "_item",
        "_items",
        "_next",
        "_number",
        "_started",
        "_tail",
        "response",
    )

    def __init__(self, head: Head, ask: ResponsesAsk) -> None:
        self.response = b""
        """The whole response, once it is closed."""
        self._ask = ask
        self._tail = head.id
        self._frame = Frame(ask, head)
        self._forms: dict[str, ToolForm] | None = None
        self._number = 0
        self._next = 0
        """Index of the next item."""
        self._items: list[bytes] = []
        """Items that have ended."""
        self._item: Item | None = None
        self._before = self._between = self._after = b""
        """What stands before a delta's number, between the number and the text, and after the delta."""
        self._started = False
        self._ended: Ended | None = None
        self._cut = False

    def feed(self, events: Sequence[Event], /) -> bytes:
        """Return what is told of these events; nothing for Began and Ended."""
        out: list[bytes] = []
        for event in events:
            kind = type(event)
            if kind is TextDelta:
                if type(self._item) is not MessageItem:
                    out.append(self._open(MessageItem(self._tail, self._next)))
                out.append(self._say(event.text))  # type: ignore[union-attr]
            elif kind is ThoughtDelta:
                if type(self._item) is not ReasoningItem:
                    ask = self._ask
                    item = ReasoningItem(self._tail, self._next, summarised=ask.summarised, sealed=ask.sealed)
                    out.append(self._open(item))
                out.append(self._say(event.text))  # type: ignore[union-attr]
            elif kind is ToolDelta:
                out.append(self._say(event.fragment))  # type: ignore[union-attr]
            elif kind is Ended:
                self._ended = event  # type: ignore[assignment]
            else:
                out.append(self._feed_call(event))
        return b"".join(out)

    def close(self) -> bytes:
        """Return the end of the open item, and the whole response: completed, or incomplete where it was cut.

        Raises ValueError unless Ended was fed: a reply that did not end well has no clean ending.
        """
        ended, self._ended = self._ended, None
        if ended is None:
            raise ValueError("the reply has not ended: it cannot be closed")
        cut = self._cut or ended.reason is StopReason.LENGTH
        out = [self._start(), self._close("incomplete" if cut else "completed")]
        if not self._items and not cut:
            # An answer of no words: clients look for a message.
            out += (self._open(MessageItem(self._tail, self._next)), self._close("completed"))
        status, reason = ("incomplete", "max_output_tokens") if cut else ("completed", None)
        self.response = self._frame.response(status, self._items, usage=ended.usage, incomplete=reason)
        out.append(self._event(b"response." + status.encode(), b'"response":' + self.response))
        return b"".join(out)

    def fault(self, fault: Fault) -> bytes:
        """Return the failed response, with what had been ended of it, and an error; the reply is not whole.

        Programs that know ``response.failed`` stop there. There are libraries that pass over it and take the half answer
        for a whole one; at the event ``error`` the vendor's SDKs, which they stand on, raise. Its fields are told twice,
        as the vendor's reference has them and as its service sends them.
        """
        self._ended = None
        failed = self._frame.response("failed", self._items, fault=fault)
        error = read_object(error_body(fault, prompt="input"))["error"]
        told = to_json({**error_object(fault), "param": error["param"], "error": error})[1:-1]
        return b"".join(
            (
                self._start(),
                self._event(b"response.failed", b'"response":' + failed),
                self._event(b"error", told),
            )
        )

    def _start(self) -> bytes:
        """Return the first two events, the first time."""
        if self._started:
            return b""
        self._started = True
        begun = b'"response":' + self._frame.response("in_progress", [])
        return self._event(b"response.created", begun) + self._event(b"response.in_progress", begun)

    def _open(self, item: Item) -> bytes:
        """Return the end of the open item and the beginning of the next one."""
        before = self._start() + self._close("completed")
        self._item = item
        self._next += 1
        kind = f"response.{item.delta}".encode()
        at = to_json(item.at)[1:-1] + (b',"logprobs":[]' if type(item) is MessageItem else b"")
        # The form of an event is sse.event's alone: what it puts around a payload is taken from it.
        start, self._after = sse.event(kind, b"\0").split(b"\0")
        self._before = b'%s{"type":"%s","sequence_number":' % (start, kind)
        self._between = b',%s,"delta":' % at
        added = ("output_item.added", {"output_index": self._next - 1, "item": item.begun()})
        return before + self._tell([added, *item.opened()])

    def _say(self, text: str) -> bytes:
        item = self._item
        assert item is not None  # noqa: S101 - by the grammar of events a delta belongs to what was opened
        text = item.take(text)
        return self._delta_of(text) if text and item.delta else b""

    def _delta_of(self, text: str) -> bytes:
        said = _encode(text) if text.isascii() or delicate(text) is None else to_json(text)
        number = self._number
        self._number = number + 1
        return b"%s%d%s%s}%s" % (self._before, number, self._between, said, self._after)

    def _close(self, status: str) -> bytes:
        """Return the end of the open item, if one is open."""
        item, self._item = self._item, None
        if item is None:
            return b""
        rest = item.rest()
        last = b""
        if rest:
            item.said.append(rest)
            last = self._delta_of(rest) if item.delta else b""
        told = self._tell(item.closed())
        index = item.at["output_index"]
        ended = to_json(item.ended(status))
        self._items.append(ended)
        done = b'"output_index":%d,"item":%s' % (index, ended)
        return last + told + self._event(b"response.output_item.done", done)

    def _tell(self, events: Iterable[tuple[str, dict[str, Any]]]) -> bytes:
        return b"".join([self._event(f"response.{kind}".encode(), to_json(fields)[1:-1]) for kind, fields in events])

    def _event(self, kind: bytes, fields: bytes) -> bytes:
        number = self._number
        self._number = number + 1
        return sse.event(kind, b'{"type":"%s","sequence_number":%d,%s}' % (kind, number, fields))

    def _feed_call(self, event: Event) -> bytes:
        match event:
            case RefusalDelta(text):
                opening = b"" if type(self._item) is RefusalItem else self._open(RefusalItem(self._tail, self._next))
                return opening + self._say(text)
            case ToolOpened(_, call_id, name):
                form = self._form(name)
                return self._open(_CALLS[form.kind](self._tail, self._next, call_id, form))
            case ToolClosed():
                return self._close("completed")
            case ToolAborted():
                self._item = None
                self._cut = True
                return b""
            case _:
                return b""  # Began says nothing

    def _form(self, name: str) -> ToolForm:
        """Return how a call of this name is written; a tool that nobody declared is called as a function.

        A model may leave a namespace out. Where only one tool has the bare name, that one is meant.
        """
        if self._forms is None:
            forms = self._ask.forms
            times = Counter([form.name for form in forms])
            self._forms = {form.name: form for form in forms if times[form.name] == 1}
            self._forms.update({form.spoken: form for form in forms})
        return self._forms.get(name) or ToolForm(name, "function", name)


def whole(reply: Reply, ask: ResponsesAsk, head: Head) -> bytes:
    """Return a whole response: what the writer comes to when it is fed the reply."""
    writer = ResponseWriter(head, ask)
    events: list[Event] = []
    if reply.thought:
        events.append(ThoughtDelta(reply.thought))
    if reply.refusal:
        events.append(RefusalDelta(reply.refusal))
    at = 0
    for index, call in enumerate(reply.calls):
        if text := reply.text[at : call.at]:
            events.append(TextDelta(text))
        at = call.at
        said = (ToolDelta(call.arguments),) if call.arguments else ()
        events += (ToolOpened(index, call.id, call.name), *said, ToolClosed())
    if rest := reply.text[at:]:
        events.append(TextDelta(rest))
    if reply.call_cut_off:
        events += (ToolOpened(len(reply.calls), "", ""), ToolAborted())
    writer.feed([*events, Ended(reply.reason, reply.usage, reply.stop_sequence)])
    writer.close()
    return writer.response
