"""Whether a place in Markdown text is code. Knows fences and inline code, and nothing else of Markdown.

A fence is a line of three or more backticks or tildes after at most three spaces; words may follow it, but no backticks
where it is made of them. It is closed by a line of the same character, at least as many, with nothing after it
(CommonMark 0.31, 4.5). Inline code is a place with an odd number of backtick runs before it on its line: simpler than
CommonMark, where code may go on over a line's end, because then one stray backtick would hide the rest of a text.
"""

import re

MAX_PIECES = 64
"""Pieces are put aside and looked at together: text that nobody asks about costs next to nothing."""

MAX_PIECE_CHARS = 1024
"""A longer piece is looked at with all before it, so that only short ones pile up."""

MAX_LINE_CHARS = 1024
"""A longer line is replaced by a short one that means the same."""

_MAX_MARKS = 255
"""Marks of a fence are counted up to here; longer fences are all the same."""

_FENCE = re.compile(r"\n {0,3}(`{3,}|~{3,})([^\n]*)")
_BACKTICKS = re.compile("`+")


class CodeTracker:
    """Follows a text from its start.

    Law: ``inside`` speaks of the place after everything taken so far; it depends on the text and not on its pieces.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._fence = ""
        # The line so far, with the line break before it, as if one came before the text.
        self._line = "\n"

    def later(self, text: str) -> None:
        """Go on after ``text``."""
        self._pieces.append(text)
        if len(self._pieces) >= MAX_PIECES or len(text) > MAX_PIECE_CHARS:
            self._catch_up()

    def inside(self) -> bool:
        """Return whether what comes next stands in code; the line of a closing fence is behind it already."""
        self._catch_up()
        found = _FENCE.match(self._line)
        if self._fence:
            return found is None or not self._closes(found)
        if found is not None and found[1][0] == "~":
            return True
        # The marks of an opening fence are one run: what follows them is odd as well.
        return len(_BACKTICKS.findall(self._line)) % 2 == 1

    def _catch_up(self) -> None:
        text = self._line + "".join(self._pieces)
        self._pieces.clear()
        end = text.rfind("\n")
        # Looking for one character is ten times as fast as looking for three, and most texts have none of these.
        if ("`" in text and "```" in text) or ("~" in text and "~~~" in text):
            for found in _FENCE.finditer(text, 0, end):
                if not self._fence:
                    if found[1][0] == "~" or "`" not in found[2]:
                        self._fence = found[1][:_MAX_MARKS]
                elif self._closes(found):
                    self._fence = ""
        line = text[end:]
        self._line = line if len(line) <= MAX_LINE_CHARS else _shortened(line)

    def _closes(self, found: re.Match[str]) -> bool:
        return found[1][:_MAX_MARKS].startswith(self._fence) and not found[2].strip()


def _shortened(line: str) -> str:
    """Return a short line that is a fence, or has backticks, as the long one does, however both go on."""
    found = _FENCE.match(line)
    start = line[: min(found.end(1), _MAX_MARKS + 4)] if found else "\n"
    rest = found[2] if found else line[1:]
    if not rest.strip() and found:
        return start + rest[:1]
    runs = len(_BACKTICKS.findall(rest))
    growing = rest.endswith("`")
    whole = runs - growing
    return start + "x" + "`x" * (whole and 2 - whole % 2) + "`" * growing
