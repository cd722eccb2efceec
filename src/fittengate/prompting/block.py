"""What stands in a block of calls: read from the first call on, up to what is no part of the block.

Where it stands follows from what is open: between calls, inside a call and between its parameters, or in a value, of
which :mod:`fittengate.prompting.closing` says where it ends.
"""

import re
from enum import Enum
from typing import TypeAlias

from fittengate.core.events import Event
from fittengate.prompting.call import CallWriter
from fittengate.prompting.calls import Calls
from fittengate.prompting.closing import State, Value
from fittengate.prompting.cursor import Cursor
from fittengate.prompting.marks import MAX_SPACE, Marks, Tag, skip_space
from fittengate.prompting.opening import Opening, Openings, Wait
from fittengate.prompting.trouble import Trouble

_OTHER_ENDS = ("</tool_call>", "</function_call>", "</minimax:tool_call>")
"""What closes a block that was not opened as ours is."""

_FENCE_END = re.compile(r"(`{3,}|~{3,})[ \t]*(?=\n|\Z)")


class Went(Enum):
    """How far a step got."""

    ON = "on"
    WAITS = "waits"
    """More text must come."""
    OUT = "out"
    """What comes next is no part of the block."""


Step: TypeAlias = Went | Opening
"""An Opening is a form to be gathered: a foreign call, or the ``body`` that holds all of a call's arguments."""


class Block:
    """Reads the calls of a block, one step at a time, each with more of the text at the cursor."""

    def __init__(self, cursor: Cursor, calls: Calls, openings: Openings, marks: Marks, *, bodies: bool) -> None:
        """``bodies`` says that arguments may come as JSON with no tag around it."""
        self.fence = ""
        """The marks of the code fence that the calls stand in."""
        self.wrapped = False
        """The calls stand in the block's own tags, which have not been closed."""
        self._cursor = cursor
        self._calls = calls
        self._openings = openings
        self._marks = marks
        self._bodies = bodies
        self._value: Value | None = None

    @property
    def in_value(self) -> bool:
        """The text at the cursor's end stands in a value, and would be cut in its middle if the reply ended there."""
        return self._value is not None and not self._value.may_end(self._cursor.text, self._cursor.at)

    def open(self, opening: Opening, out: list[Event]) -> None:
        """Go into the call that begins at the cursor."""
        self._calls.open(opening.tool, out)
        tag = self._marks.tag(self._cursor.text, opening.end)
        if tag is None or self._calls.ended:
            return
        self._cursor.at = tag.end
        if tag.closed:
            self._calls.close(out, named=True)

    def step(self, out: list[Event]) -> Step:
        """Read on."""
        writer = self._calls.writer
        if writer is None:
            return self._between(out)
        return self._inside(writer, out) if self._value is None else self._read_value(writer, self._value, out)

    def _between(self, out: list[Event]) -> Step:
        """Between calls: closing tags and white space are swallowed."""
        cursor = self._cursor
        text, at = cursor.text, cursor.at
        while at < len(text) and text[at].isspace():
            at += 1
        cursor.at = at
        if at == len(text):
            return Went.WAITS
        if self.fence and text[at] == self.fence[0]:
            return self._unfence(at)
        if text[at] != "<":
            return Went.OUT
        tag = self._marks.tag(text, at)
        if tag is not None and not tag.opens:
            self.wrapped = self.wrapped and tag.kind != "calls"
            cursor.at = tag.end
            return Went.ON
        if self.wrapped and tag is None and text.startswith("</", at):
            rest = text[at : at + 32].lower()
            end = next((one for one in _OTHER_ENDS if rest.startswith(one)), "")
            if end:
                cursor.at = at + len(end)
                return Went.ON
            if not cursor.last and any(one.startswith(rest) for one in _OTHER_ENDS):
                return Went.WAITS
        found = self._openings.next(text, at, last=cursor.last, wrapped=self.wrapped)
        if isinstance(found, Opening) and found.form == "invoke":
            self.wrapped = found.wrapped
            cursor.at = found.end
            self.open(found, out)
            return Went.ON
        return Went.WAITS if isinstance(found, Wait) else found or Went.OUT

    def _unfence(self, at: int) -> Step:
        """Drop the end of the code fence that the calls stand in."""
        text = self._cursor.text
        size = len(text) - at
        if not self._cursor.last and size < MAX_SPACE and not text[at:].lstrip(self.fence[0]).strip(" \t"):
            return Went.WAITS
        end = _FENCE_END.match(text, at)
        fence, self.fence = self.fence, ""
        if end is None or not end[1].startswith(fence):
            return Went.OUT
        self._cursor.at = end.end()
        return Went.ON

    def _inside(self, writer: CallWriter, out: list[Event]) -> Step:
        """Between the parameters of a call."""
        cursor = self._cursor
        text, at = cursor.text, skip_space(cursor.text, cursor.at)
        if at == len(text):
            return Went.WAITS
        tag = self._marks.tag(text, at) if text[at] == "<" else None
        if tag is not None:
            cursor.at = tag.end
            return self._read_tag(writer, tag, at, out)
        if text[at] == "<" and self._marks.may_become(text, at):
            return Went.WAITS
        cursor.at = at
        if writer.untouched and self._bodies:
            child = self._openings.child(writer.name, text, at)
            if child is False:
                return Went.WAITS
            if child or text[at] == "{":
                return Opening("body", at, writer.name)
        self._calls.close(out, named=False)
        return Went.ON

    def _read_tag(self, writer: CallWriter, tag: Tag, at: int, out: list[Event]) -> Step:
        """Go on behind a tag that stands between the parameters of a call."""
        if tag.opens and tag.kind == "parameter":
            writer.begin(tag.name, tag.text, self._calls.sink(out))
            if tag.closed:
                writer.end(self._calls.sink(out))
            else:
                self._value = Value(self._marks, writer.expects)
        elif tag.opens and tag.kind == "arguments" and writer.untouched:
            return Opening("body", tag.end, writer.name)
        elif tag.kind == "invoke" and not tag.opens:
            self._calls.close(out, named=True)
        elif tag.kind in {"invoke", "calls"}:
            self._calls.troubles[Trouble.MISSING_CLOSE] += 1
            self._cursor.at = at
            self._calls.close(out, named=True)
        return Went.ON

    def _read_value(self, writer: CallWriter, value: Value, out: list[Event]) -> Step:
        cursor = self._cursor
        scanned = value.scan(cursor.text, cursor.at, last=cursor.last)
        cursor.at = scanned.at
        if scanned.text:
            writer.feed(scanned.text, self._calls.sink(out))
        if scanned.state is State.OPEN:
            if not cursor.last:
                return Went.WAITS
            cursor.at = len(cursor.text)
            self._value = None
            self._calls.abort(out)
            return Went.ON
        if scanned.state is State.IMPLIED:
            self._calls.troubles[Trouble.IMPLIED_CLOSE] += 1
        writer.end(self._calls.sink(out))
        self._value = None
        return Went.ON
