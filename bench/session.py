"""A recorded typing session over one file, keystroke by keystroke, and what a completion of it may and may not be.

``session.json`` holds it as a list of steps: the cursor goes behind a text that stands once in the file (``after``; the
beginning for an empty one), then ``keys`` are pressed. Most keys insert themselves; a line end also inserts the
indentation of its line, a tab inserts four blanks, and ``⌫`` removes the character before the cursor, or four blanks of
an indentation. An editor that knows nothing asks for a completion after every key.
"""

import json
from pathlib import Path
from typing import NamedTuple

BACKSPACE = "⌫"
INDENT = " " * 4


class Moment(NamedTuple):
    """The file just after a key was pressed."""

    before: str
    after: str

    @property
    def text(self) -> str:
        """Return the whole file."""
        return self.before + self.after


class Session(NamedTuple):
    """All of it."""

    moments: list[Moment]
    """One for each key."""
    files: list[str]
    """The file as it was at the end of each step: what there is to foretell."""


def load() -> Session:
    """Return the session that lies beside this module."""
    return replay(json.loads(Path(__file__).with_name("session.json").read_text(encoding="utf-8")))


def replay(steps: list[dict[str, str]]) -> Session:
    """Return what the steps of a session come to; raises ValueError for a place that is not there, or not clear."""
    moments: list[Moment] = []
    files: list[str] = []
    text = ""
    for step in steps:
        anchor = step["after"]
        if anchor and text.count(anchor) != 1:
            raise ValueError(f"{anchor!r} stands {text.count(anchor)} times in the file")
        at = text.index(anchor) + len(anchor)
        before, after = text[:at], text[at:]
        for key in step["keys"]:
            before = pressed(before, key)
            moments.append(Moment(before, after))
        text = before + after
        files.append(text)
    return Session(moments, files)


def pressed(before: str, key: str) -> str:
    """Return what stands before the cursor after a key was pressed there."""
    line = before[before.rfind("\n") + 1 :]
    if key == BACKSPACE:
        return before[: -len(INDENT)] if line.endswith(INDENT) and not line.strip() else before[:-1]
    if key == "\n":
        # A line of blanks alone is left empty.
        kept = before if line.strip() else before[: len(before) - len(line)]
        return kept + key + line[: len(line) - len(line.lstrip())]
    return before + (INDENT if key == "\t" else key)


class Judge:
    """Says whether insertions are right. What the service itself proposed is right, and so is every file it meant."""

    def __init__(self) -> None:
        self.meant: set[str] = set()
        """Files that answers of the service would have made."""
        self.wrong: list[tuple[Moment, str]] = []

    def hear(self, moment: Moment, text: str, *, remembered: bool) -> None:
        """Take an answer: one that is ``remembered`` must make a file that the service meant."""
        made = moment.before + text + moment.after
        if not remembered:
            self.meant.add(made)
        elif text and made not in self.meant:
            self.wrong.append((moment, text))
