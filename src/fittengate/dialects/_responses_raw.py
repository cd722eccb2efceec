"""The raw text inside the arguments of a custom tool's call, decoded while it comes.

A custom tool takes one text. The model is told of it as a tool with the one parameter ``input``, so what comes is
JSON text, cut anywhere, and what the client wants is the text in it. Law: the pieces returned depend, once joined, on
what was fed and not on how it was cut; half a character never comes out, for a half that stays alone becomes U+FFFD.
"""

import json
import re
from typing import Any

PARAMETER = "input"

_OPENING = f'{{"{PARAMETER}":"'
_FREE = {0, 1, len(PARAMETER) + 3, len(PARAMETER) + 4}
"""Places in the opening before which JSON allows blanks."""

_SPECIAL = re.compile(r'["\\]')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LOST = "\ufffd"


class RawText:
    """Takes the JSON text of one call's arguments. ``feed`` in order, then ``close``."""

    __slots__ = ("_at", "_gathered", "_half", "_held", "_mode")

    def __init__(self) -> None:
        self._mode = "opening"
        """opening, text, over (the text has ended) or other (the arguments do not begin with the text)."""
        self._at = 0
        """So much of the opening has been seen."""
        self._gathered: list[str] = []
        """All that came, as long as it is not known to begin with the text."""
        self._held = ""
        """An escape that is not complete yet."""
        self._half = ""
        """The first half of a character that takes two escapes."""

    def feed(self, fragment: str) -> str:
        """Return what of the raw text has become certain, perhaps nothing."""
        if self._mode == "opening":
            fragment = self._open(fragment)
        elif self._mode == "other":
            self._gathered.append(fragment)
        return self._text(fragment) if self._mode == "text" else ""

    def close(self) -> str:
        """Return what is left. Arguments of another form than was asked for are handed over as well as they can be."""
        if self._mode in ("opening", "other"):
            return _other("".join(self._gathered))
        return self._unpaired()

    def _open(self, fragment: str) -> str:
        """Return what follows the opening in ``fragment``."""
        self._gathered.append(fragment)
        for index, character in enumerate(fragment):
            if character == _OPENING[self._at]:
                self._at += 1
                if self._at == len(_OPENING):
                    self._mode, self._gathered = "text", []
                    return fragment[index + 1 :]
            elif not (character in " \t\r\n" and self._at in _FREE):
                self._mode = "other"
                break
        return ""

    def _text(self, fragment: str) -> str:
        text = self._held + fragment
        self._held = ""
        out: list[str] = []
        at = 0
        while True:
            found = _SPECIAL.search(text, at)
            end = len(text) if found is None else found.start()
            if end > at:
                out += (self._unpaired(), text[at:end])
            if found is None:
                break
            if found[0] == '"':
                self._mode = "over"
                out.append(self._unpaired())
                break
            size = 6 if text[end + 1 : end + 2] == "u" else 2
            if end + size > len(text):
                self._held = text[end:]
                break
            out.append(self._escape(text[end + 1 : end + size]))
            at = end + size
        return "".join(out)

    def _escape(self, escape: str) -> str:
        if escape[0] != "u":
            return self._unpaired() + _ESCAPES.get(escape, _LOST)
        code = int(escape[1:], 16) if re.fullmatch("[0-9a-fA-F]{4}", escape[1:]) else ord(_LOST)
        if 0xD800 <= code < 0xDC00:
            before, self._half = self._unpaired(), chr(code)
            return before
        if 0xDC00 <= code < 0xE000:
            if not self._half:
                return _LOST
            first, self._half = ord(self._half), ""
            return chr(0x10000 + ((first - 0xD800) << 10) + (code - 0xDC00))
        return self._unpaired() + chr(code)

    def _unpaired(self) -> str:
        """Return what stands for a half that stayed alone, if there is one."""
        if not self._half:
            return ""
        self._half = ""
        return _LOST


def _other(arguments: str) -> str:
    """Return the raw text of arguments that do not begin with it: the only text in them, else they themselves."""
    try:
        value: Any = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    if type(value) is dict:
        texts = [one for one in value.values() if type(one) is str]
        if type(value.get(PARAMETER)) is str:
            return _whole(value[PARAMETER])
        if len(texts) == 1:
            return _whole(texts[0])
    return _whole(arguments) if value != {} else ""


def _whole(text: str) -> str:
    return re.sub("[\ud800-\udfff]", _LOST, text)
