"""Reads a prompt as the service does: role tags cut it into turns (protocol: prompt format).

Deliberately simple: a tag counts wherever it stands and in any case, a role tag closes the turn before it, and text
outside of turns is kept as a turn without a role. So a text that smuggles in a tag shows up as one turn more.
"""

import base64
import binascii
import re

from msgspec import Struct

_TAG = re.compile(r"<\|(system|user|assistant|end)\|>", re.IGNORECASE | re.ASCII)
_PICTURE = re.compile(r"!\[[^\]\n]*\]\(data:([a-z0-9.+/-]+);base64,([^)]*)\)", re.IGNORECASE)


class Turn(Struct, frozen=True):
    """One turn."""

    role: str
    """``system``, ``user``, ``assistant``; empty for text outside of turns."""
    text: str


class Prompt(Struct, frozen=True):
    """A prompt, taken apart."""

    turns: tuple[Turn, ...]
    prefill: str | None
    """What follows the open assistant tag at the end, usually nothing; None where the prompt does not end so."""

    @property
    def last_user(self) -> str:
        """Text of the last user turn; empty if there is none."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")


class Picture(Struct, frozen=True):
    """A picture in a user's text."""

    media_type: str
    size: int | None
    """Bytes; None where the data is not base64."""


def parse(text: str) -> Prompt:
    """Return the turns of a prompt, in order."""
    turns: list[Turn] = []
    role = ""
    start = 0
    for tag in _TAG.finditer(text):
        _close(turns, role, text[start : tag.start()])
        name = tag[1].lower()
        role = "" if name == "end" else name
        start = tag.end()
    rest = text[start:]
    if role == "assistant":
        return Prompt(tuple(turns), rest.removeprefix("\n"))
    _close(turns, role, rest)
    return Prompt(tuple(turns), None)


def _close(turns: list[Turn], role: str, text: str) -> None:
    if role or text.strip():
        turns.append(Turn(role, text.removeprefix("\n").removesuffix("\n")))


def pictures(text: str) -> list[Picture]:
    """Return the pictures of a text: Markdown images that are data URLs."""
    found = []
    for match in _PICTURE.finditer(text):
        try:
            size = len(base64.b64decode(match[2], validate=True))
        except (binascii.Error, ValueError):
            found.append(Picture(match[1].lower(), None))
        else:
            found.append(Picture(match[1].lower(), size))
    return found


def without_pictures(text: str) -> str:
    """Return the text without the pictures in it."""
    return _PICTURE.sub("", text).strip("\n")
