r"""The parts of a reply in the order in which they come.

Grammar of every reply::

    Reply := Began (TextDelta | ThoughtDelta | RefusalDelta | ToolOpened ToolDelta* (ToolClosed | ToolAborted))* Ended

There is no event for things going wrong: everything abnormal is a raised Fault, and a stream without ``Ended`` has
not ended well. Deltas are never empty. ``ToolAborted`` is a call cut off in its middle; its arguments never parse.
A reply with a ``RefusalDelta`` has no ``TextDelta``: the model answered in words where only JSON would do, and its
words stand where the vendor's format puts a refusal. Its reason is ``done``. Adjacent deltas of one sort may be merged
or split without changing the meaning: :func:`fold` is the meaning.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from msgspec import Struct

from fittengate.core.reply import Reply, ReplyCall, StopReason, Usage


class Began(Struct, frozen=True, gc=False):
    """The upstream took the request. Comes first, once; nothing is promised to the client yet."""


class TextDelta(Struct, frozen=True, gc=False):
    """The next piece of the answer."""

    text: str


class ThoughtDelta(Struct, frozen=True, gc=False):
    """The next piece of reasoning."""

    text: str


class RefusalDelta(Struct, frozen=True, gc=False):
    """The next piece of an answer in words where the request wanted JSON: no text of the form that was asked for."""

    text: str


class ToolOpened(Struct, frozen=True, gc=False):
    """A tool call begins; ``index`` counts the calls of a reply from 0. ToolDeltas follow until it is closed."""

    index: int
    id: str
    name: str


class ToolDelta(Struct, frozen=True, gc=False):
    """The next piece of the open call's arguments, JSON text."""

    fragment: str


class ToolClosed(Struct, frozen=True, gc=False):
    """The open call is complete: its pieces joined are valid JSON."""


class ToolAborted(Struct, frozen=True, gc=False):
    """The open call was cut off: it must not be carried out."""


class Ended(Struct, frozen=True, gc=False):
    """The reply ended cleanly. Comes last, once. ``usage`` is what this call cost."""

    reason: StopReason
    usage: Usage
    stop_sequence: str | None = None
    lost_call: Literal["broken", "unwanted"] | None = None
    """A call that is not in the reply though nobody cut it: it could not be read, or broke off (broken), or the request
    had forbidden it (unwanted). None where there was none. What asks again looks here; a dialect need not."""


Event: TypeAlias = (
    Began | TextDelta | ThoughtDelta | RefusalDelta | ToolOpened | ToolDelta | ToolClosed | ToolAborted | Ended
)


class Fold:
    """Adds events up to a Reply; ``feed`` in order, then ``reply``."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._text: list[str] = []
        self._thought: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[ReplyCall] = []
        self._texts = self._text_size = 0
        """How many pieces of text there were at the last call, and their characters."""
        self._open: ToolOpened | None = None
        self._arguments: list[str] = []
        self._cut_off = False
        self._ended: Ended | None = None

    def feed(self, events: Iterable[Event]) -> None:
        """Add the next events."""
        for event in events:
            kind = type(event)
            if kind is TextDelta:
                self._text.append(event.text)  # type: ignore[union-attr]
            elif kind is ThoughtDelta:
                self._thought.append(event.text)  # type: ignore[union-attr]
            elif kind is Ended:
                self._ended = event  # type: ignore[assignment]
            else:
                self._feed_other(event)

    def _feed_other(self, event: Event) -> None:
        match event:
            case RefusalDelta(text):
                self._refusal.append(text)
            case ToolOpened():
                self._open = event
                self._arguments = []
            case ToolDelta(fragment):
                self._arguments.append(fragment)
            case ToolClosed() if self._open is not None:
                self._text_size += sum(map(len, self._text[self._texts :]))
                self._texts = len(self._text)
                call = ReplyCall(self._open.id, self._open.name, "".join(self._arguments), self._text_size)
                self._calls.append(call)
                self._open = None
            case ToolAborted():
                self._open = None
                self._cut_off = True
            case _:
                pass  # Began carries nothing

    def reply(self) -> Reply:
        """Return the whole answer. Raises ValueError if the events did not end with Ended."""
        if self._ended is None:
            raise ValueError("the events have no Ended: a reply that did not end has no fold")
        ended = self._ended
        return Reply(
            "".join(self._text),
            "".join(self._thought),
            tuple(self._calls),
            ended.reason,
            ended.usage,
            ended.stop_sequence,
            "".join(self._refusal),
            self._cut_off,
        )


def fold(events: Iterable[Event]) -> Reply:
    """Return what the events of one reply come to. Raises ValueError if they do not end with Ended."""
    total = Fold()
    total.feed(events)
    return total.reply()


class OfChoice(Struct, frozen=True, gc=False):
    """The next events of one of the answers in a reply that has several; each of them keeps to the grammar above."""

    index: int
    """Which answer, from 0."""
    events: list[Event]


class Folds:
    """Adds the events of several answers up to as many replies."""

    def __init__(self, count: int) -> None:
        """Start with nothing said in any of ``count`` answers."""
        self._folds = [Fold() for _ in range(count)]

    def feed(self, events: Iterable[OfChoice | Ended]) -> None:
        """Add the next events; the Ended of the reply as a whole says nothing that the answers do not say."""
        for event in events:
            if isinstance(event, OfChoice):
                self._folds[event.index].feed(event.events)

    def replies(self) -> tuple[Reply, ...]:
        """Return the whole answers, in order. Raises ValueError if one did not end."""
        return tuple([fold.reply() for fold in self._folds])
