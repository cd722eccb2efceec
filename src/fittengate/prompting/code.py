"""Whether a place in a text is inside code, as Markdown has it.

Fences and their ends follow CommonMark (4.5); inline code is simpler here: an odd number of backtick runs before the
place on its line. Text is only looked at when somebody asks, so that following along costs nothing. Law: the answer
depends on the joined text.
"""

import re

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_RUNS = re.compile("`+")
_HEAD_CHARS = 256
"""Of a line, enough to know a fence by."""

_PORTION_CHARS = 65536
"""Unread text is read in portions at the latest, so that it does not pile up."""


class CodeTracker:
    """Follows a text from its start."""

    def __init__(self) -> None:
        self._unread: list[str] = []
        self._unread_chars = 0
        self._fence = ""
        self._head = ""
        self._runs = 0
        self._last_tick = False
        self._blank_tail = True

    def later(self, text: str) -> None:
        """Take the next piece of the text."""
        self._unread.append(text)
        self._unread_chars += len(text)
        if self._unread_chars > _PORTION_CHARS:
            self._read()

    def inside(self) -> bool:
        """Tell whether the place behind everything taken so far is inside code."""
        self._read()
        found = _FENCE.match(self._head)
        if self._fence:
            return not self._closes(found)
        return found is not None or self._runs % 2 == 1

    def _read(self) -> None:
        text = "".join(self._unread)
        self._unread = []
        self._unread_chars = 0
        *lines, rest = text.split("\n")
        for line in lines:
            self._line(line)
            self._end_line()
        self._line(rest)

    def _line(self, text: str) -> None:
        if not text:
            return
        room = _HEAD_CHARS - len(self._head)
        if room > 0:
            self._head += text[:room]
        if len(text) > room and text[max(room, 0) :].strip():
            self._blank_tail = False
        runs = len(_RUNS.findall(text))
        if self._last_tick and text[0] == "`":
            runs -= 1
        self._runs += runs
        self._last_tick = text[-1] == "`"

    def _end_line(self) -> None:
        found = _FENCE.match(self._head)
        if self._fence:
            if self._closes(found):
                self._fence = ""
        elif found is not None and not (found[1][0] == "`" and "`" in found[2]):
            self._fence = found[1]
        self._head = ""
        self._runs = 0
        self._last_tick = False
        self._blank_tail = True

    def _closes(self, found: re.Match[str] | None) -> bool:
        """Tell whether the line so far is the fence's end: the same character, as often at least, nothing after."""
        return (
            found is not None
            and found[1][0] == self._fence[0]
            and len(found[1]) >= len(self._fence)
            and not found[2].strip()
            and self._blank_tail
        )
