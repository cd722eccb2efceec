"""What a reader lets out as text: white space beside calls is dropped, and where code is, is kept track of."""

from fittengate.core.events import Event, TextDelta
from fittengate.prompting.code import CodeTracker
from fittengate.prompting.marks import MAX_SPACE

_MAX_PIECES = 64
"""Plain pieces are put aside and looked at together: text that nobody asks about costs next to nothing."""


class Speech:
    """The text of one answer.

    Law: what comes out, joined, is what went in, but for white space beside calls, and a line break where text goes on
    after a call.
    """

    def __init__(self) -> None:
        self.said = False
        """Something came out."""
        self._code = CodeTracker()
        self._blank = True
        self._space = ""
        self._join = ""
        self._pieces: list[str] = []

    def passes(self, text: str) -> bool:
        """Take note of text that may come out as it is, and return True; or return False."""
        if self._space or self._join or text[-1:].isspace():
            return False
        self.said = True
        self._pieces.append(text)
        if len(self._pieces) >= _MAX_PIECES:
            self._catch_up()
        return True

    def say(self, text: str, out: list[Event]) -> None:
        """Let text out, but for white space at its end."""
        if not text:
            return
        self._catch_up()
        self._note(text)
        whole = self._space + text
        size = max(len(whole.rstrip()), len(whole) - MAX_SPACE)
        self._space = whole[size:]
        if size:
            self._let_out(whole[:size], out)

    def release(self, out: list[Event]) -> None:
        """Let out the white space at the end: no call follows."""
        if self._space:
            self._let_out(self._space, out)
            self._space = ""

    def drop_space(self) -> None:
        """Drop the white space at the end: a call follows."""
        self._space = ""

    def after_call(self) -> None:
        """Go on after a call: on a line of its own, where there was text before."""
        self._catch_up()
        self._code.later("\n")
        self._blank = True
        if self.said:
            self._join = "\n"

    def in_code(self) -> bool:
        """Return whether what comes next stands in code."""
        self._catch_up()
        return self._code.inside()

    def begins_line(self, text: str, start: int, at: int) -> bool:
        """Return whether a place of a text, said up to ``start``, is the first on its line but for indentation."""
        self._catch_up()
        while at > start and text[at - 1] in " \t":
            at -= 1
        return text[at - 1] == "\n" if at > start else self._blank

    def _catch_up(self) -> None:
        if self._pieces:
            self._note("".join(self._pieces))
            self._pieces.clear()

    def _note(self, text: str) -> None:
        self._code.later(text)
        line = text.rfind("\n")
        if line >= 0 or self._blank:
            self._blank = not text[line + 1 :].strip(" \t")

    def _let_out(self, text: str, out: list[Event]) -> None:
        out.append(TextDelta(self._join + text))
        self._join = ""
        self.said = True
