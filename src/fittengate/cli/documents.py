r"""The text of open files as an editor describes it: positions and changes of the language server protocol. Pure.

Lines end at ``\n``, ``\r\n`` and ``\r`` and nowhere else (LSP 3.18, "Text Documents"). Python's own idea of a line has
more ends, a form feed for one: whoever took that would put text in the wrong place of many a file.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_DOCUMENTS = 1024
"""So many open files are kept; the oldest goes, and is not completed until it is opened again."""

_LINE_END = re.compile(r"\r\n|\r|\n")


class Place(NamedTuple):
    """A position as an editor gives it."""

    line: int
    """From 0."""
    character: int
    """From 0, in units of the encoding that was agreed on."""


class Change(NamedTuple):
    """A part of the text that was replaced; without a start, all of it."""

    start: Place | None
    end: Place | None
    text: str


def offset_of(text: str, place: Place, encoding: str = "utf-16") -> int:
    """Return where in ``text`` a place is; one beyond the end of its line or of the file is that end."""
    start = 0
    for _ in range(place.line):
        found = _LINE_END.search(text, start)
        if found is None:
            return len(text)
        start = found.end()
    found = _LINE_END.search(text, start)
    row = text[start : len(text) if found is None else found.start()]
    if row.isascii() or encoding == "utf-32":
        return start + min(max(place.character, 0), len(row))
    units = 0
    for at, letter in enumerate(row):
        if units >= place.character:
            return start + at
        units += _width(letter, encoding)
    return start + len(row)


def units_of(text: str, encoding: str = "utf-16") -> int:
    """Return how long a text within a line is, in units of the encoding."""
    return len(text) if text.isascii() else sum(_width(letter, encoding) for letter in text)


def _width(letter: str, encoding: str) -> int:
    if encoding == "utf-8":
        return len(letter.encode("utf-8", "surrogatepass"))
    return 2 if encoding == "utf-16" and letter > "\uffff" else 1


class Documents:
    """Open files by their URIs. ``put``, ``change`` any number of times, ``drop``."""

    def __init__(self) -> None:
        """Start with none."""
        self._texts: dict[str, str] = {}

    def put(self, uri: str, text: str) -> None:
        """Keep the text of a file that was opened."""
        self._texts.pop(uri, None)
        if len(self._texts) >= MAX_DOCUMENTS:
            del self._texts[next(iter(self._texts))]
        self._texts[uri] = text

    def change(self, uri: str, changes: Sequence[Change], encoding: str = "utf-16") -> None:
        """Apply changes in order, each to what the one before left; a file that is not open stays closed."""
        text = self._texts.get(uri)
        if text is None:
            return
        for change in changes:
            if change.start is None or change.end is None:
                text = change.text
                continue
            start, end = (offset_of(text, place, encoding) for place in (change.start, change.end))
            text = text[:start] + change.text + text[max(start, end) :]
        self._texts[uri] = text

    def drop(self, uri: str) -> None:
        """Forget a file that was closed."""
        self._texts.pop(uri, None)

    def around(self, uri: str, place: Place, encoding: str = "utf-16") -> tuple[str, str] | None:
        """Return what stands before and after a place; None for a file that is not open."""
        text = self._texts.get(uri)
        if text is None:
            return None
        at = offset_of(text, place, encoding)
        return text[:at], text[at:]
