"""How each form that must be whole is gathered: where it may end, and what it then is."""

import re
from functools import lru_cache, partial
from typing import Protocol

from fittengate.core.events import Event, TextDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened
from fittengate.prompting.call import Call
from fittengate.prompting.foreign import Foreign
from fittengate.prompting.gathering import Gathered, Gathering
from fittengate.prompting.marks import BAR, DSML
from fittengate.prompting.opening import THINK_END, Opening
from fittengate.prompting.quotes import Quotes
from fittengate.prompting.repair import read_json
from fittengate.prompting.start import unfenced
from fittengate.prompting.syntax import Tags

_TOOL_CALL_END = re.compile(rf"</{DSML}(?:(?:minimax:)?tool_call|function_call)s?>", re.IGNORECASE)
_FUNCTION_END = re.compile(r"</function>", re.IGNORECASE)
_MARKED_END = re.compile(rf"<{BAR}tool[\u2581_ ]calls[\u2581_ ](?:section[\u2581_ ])?end{BAR}>")
_THINK_END = re.compile(re.escape(THINK_END))
_NO_END = re.compile(r"(?!)")
_CALL_BEGINS = re.compile(rf"(?=<{DSML}invoke\s)", re.IGNORECASE)
_BLOCK_ENDS = re.compile(rf"(?:\s*</{DSML}(?:tool|function)_calls?>)+\Z", re.IGNORECASE)


class Gathers(Protocol):
    """Holds a text that may be calls."""

    def feed(self, text: str) -> Gathered[list[Call]] | None:
        """Go on with ``text``; return what came of it, or None while more must come."""

    def close(self) -> Gathered[list[Call]]:
        """Return what the text comes to, if it ends here."""

    def may_end(self) -> bool:
        """Return whether nothing is cut in its middle if the text ends here."""


class Reads(Protocol):
    """A reader, as far as one block of calls needs it."""

    @property
    def ended(self) -> bool:
        """The reply is over."""

    @property
    def in_value(self) -> bool:
        """A role tag that comes next is part of a call."""

    @property
    def full(self) -> bool:
        """Every call has all that it requires."""

    def feed(self, events: list[Event]) -> list[Event]:
        """Return what has become certain."""

    def close(self) -> list[Event]:
        """Return what was held back."""


def gathering_of(opening: Opening, foreign: Foreign) -> Gathers:
    """Return what gathers the foreign form that begins."""
    tool = opening.tool
    match opening.form:
        case "tool_call":
            return Gathering(
                _TOOL_CALL_END,
                lambda body, whole: foreign.tool_call(unfenced(body), closed=body != whole),
                partial(foreign.is_over, ""),
            )
        case "function":
            return Gathering(_FUNCTION_END, lambda _, body: foreign.function(body), _goes_on)
        case "marked":
            return Gathering(_MARKED_END, lambda body, _: foreign.marked(body), partial(foreign.is_over, ""))
    return Gathering(_element_end(tool), lambda _, body: foreign.element(tool, body), _goes_on)


def body_of(tool: str, foreign: Foreign, suffix: str) -> Gathers:
    """Return what gathers the arguments of a call that come in one piece."""
    return Gathering(_body_end(suffix), lambda body, _: foreign.arguments(tool, body), partial(foreign.is_over, tool))


def whole_json(foreign: Foreign, sole: str | None) -> Gathers:
    """Return what gathers a whole answer that may be JSON; ``sole`` is the tool that must be called, where it is clear which."""
    return Gathering(_NO_END, lambda body, _: foreign.json(unfenced(body), sole), partial(foreign.is_over, ""))


def thought_of(reader: Reads) -> Gathers:
    """Return what gathers a call in reasoning: it is none, but where the reasoning is never closed and ends with it."""
    return Gathering(_THINK_END, lambda body, whole: block_of(reader, whole) if body == whole else None, lambda _: True)


def block_of(reader: Reads, text: str) -> list[Call] | None:
    """Return the calls of a text that is one whole block and nothing else; None where it is not."""
    return _calls(reader, reader.feed([TextDelta(text)]) + reader.close())


class Unsuffixed:
    """Gathers a block of calls without the suffix: it counts where it is whole, ends the reply, and is no quote."""

    def __init__(self, reader: Reads, before: str, tags: Tags, quotes: Quotes) -> None:
        """``before`` is what of the block came already."""
        self._reader = reader
        self._events = reader.feed([TextDelta(before)])
        self._parts: list[str] = []
        self._before = before
        self._quotes = quotes
        self._suffixed = tags.calls.lower()
        self._window = ""

    def feed(self, text: str) -> Gathered[list[Call]] | None:
        """Go on with ``text``; return that it came to nothing as soon as it has."""
        self._parts.append(text)
        events = self._reader.feed([TextDelta(text)])
        self._events += events
        window = self._window + text
        self._window = window[-len(self._suffixed) :]
        spoken = any(isinstance(event, TextDelta | ToolAborted) for event in events)
        if spoken or self._reader.ended or self._suffixed in window.lower():
            return Gathered(None, "".join(self._parts), 0)
        return None

    def may_end(self) -> bool:
        """Return whether nothing is cut in its middle if the text ends here."""
        return not self._reader.in_value

    def close(self) -> Gathered[list[Call]]:
        """Return the calls, if the block is whole and none of them stands in the prompt."""
        text = "".join(self._parts)
        calls = _calls(self._reader, self._events + self._reader.close())
        if calls is not None and _is_quoted(self._before + text, len(calls), self._quotes):
            calls = None
        return Gathered(calls, text, len(text))


def _is_quoted(block: str, count: int, quotes: Quotes) -> bool:
    """Return whether one of the ``count`` calls of a block is a quote."""
    calls = _CALL_BEGINS.split(block)[1:]
    if len(calls) != count:
        # A value holds parts of calls, too: it is not clear where one of the block's own begins.
        calls = ["".join(calls)]
    return any(quotes.hold(_BLOCK_ENDS.sub("", call.rstrip())) for call in calls)


def _calls(reader: Reads, events: list[Event]) -> list[Call] | None:
    calls: list[Call] = []
    name, pieces = "", [""]
    for event in events:
        match event:
            case ToolOpened():
                name, pieces = event.name, []
            case ToolDelta(fragment):
                pieces.append(fragment)
            case ToolClosed():
                arguments = read_json("".join(pieces))
                calls.append(Call(name, arguments if isinstance(arguments, dict) else {}))
            case _:
                return None
    return calls if calls and reader.full and not reader.ended else None


def _goes_on(_: str) -> bool:
    return False


@lru_cache(maxsize=64)
def _body_end(suffix: str) -> re.Pattern[str]:
    end = re.escape(f".{suffix}") if suffix else ""
    return re.compile(rf"</{DSML}(?:invoke|arguments|tool_calls|function_calls){end}>", re.IGNORECASE)


@lru_cache(maxsize=256)
def _element_end(tool: str) -> re.Pattern[str]:
    return re.compile(rf"/>|</{re.escape(tool)}\s{{0,9}}>")
