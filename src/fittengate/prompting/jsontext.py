"""Finds the one JSON value in a text that comes in pieces; tells as early as may be where it ends or stops being one.

Only objects and arrays are looked for: their brackets tell where they begin and end. Words before the first bracket and
behind the matching one are no part of the value, and so is a fence around it.

Laws: what comes out depends on the text and not on its pieces, and joined it is always the beginning of some valid JSON
value (RFC 8259); time is linear; depth and what is held back are bounded.
"""

import re
from typing import Literal

from fittengate.core.events import Event, TextDelta

MAX_DEPTH = 256
"""Values nested more deeply are not read: the parsers of clients give up at a few hundred levels, too."""

MAX_NUMBER = 128
"""Longest number, in characters."""

MAX_HELD = 4096
"""Most white space that is held back, in characters: nobody writes more in earnest."""

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER_BEGINNING = re.compile(
    r"-?(?:(?:0|[1-9][0-9]*)(?:\.(?:[0-9]+(?:[eE](?:[+-]?[0-9]*))?)?|[eE][+-]?[0-9]*)?)?",
)
_NUMBER_CHARS = re.compile(r"[-+.0-9eE]*")
_WORDS = ("true", "false", "null")
_BACKSLASH = "\\"
_HEX = frozenset("0123456789abcdefABCDEF")
_LAST_OF_ESCAPE = 5
"""So long is an escape of four hexadecimal digits before its last one."""

# What may come next.
_VALUE, _FIRST_VALUE, _FIRST_KEY, _KEY, _COLON, _AFTER, _STRING, _NUMERIC, _LITERAL = range(9)

_WRONG = -1
"""The text cannot go on like this."""


class JsonText:
    """Takes a text; gives the value in it as far as it is certain.

    A closing quote is held until what follows shows that it was one: models forget to escape quotes.
    """

    def __init__(self, brackets: str = "{[") -> None:
        """``brackets``: those that the value may begin with."""
        self.state: Literal["seeking", "inside", "done", "violated"] = "seeking"
        """``violated``: what came cannot be a part of the value."""
        self.start = -1
        """Where in the text the value begins; -1 before that."""
        self.end = -1
        """The place behind its last bracket; -1 before that."""
        self._opening = re.compile(f"[{re.escape(brackets)}]")
        self._size = 0
        """Characters taken so far."""
        self._held = ""
        """The end of them, which is not certain."""
        self._sure = False
        """What began is a value, and not words in brackets."""
        self._doubt = -1
        """Where a number or word began, a string seems to have ended, or a comma stands; -1 where all is certain."""
        self._space = 0
        """White space since the last token."""
        self._stack: list[str] = []
        self._next = _VALUE
        self._is_key = False
        self._token = ""
        """The open number, word or escape."""

    def feed(self, text: str) -> str:
        """Return what of the value has become certain."""
        if self.state in ("done", "violated"):
            return ""
        given = self._size - len(self._held)
        text, at = self._held + text, len(self._held)
        self._size = given + len(text)
        while at < len(text) and self.state in ("seeking", "inside"):
            if self.state == "seeking":
                found = self._opening.search(text, at)
                if found is None:
                    at = len(text)
                    break
                self._begin(text[found.start()], given + found.start())
                at = found.end()
                continue
            after = self._step(text, at, given)
            if after == _WRONG:
                # The look for a value goes on here, and not behind the bracket: nothing is looked at twice.
                self.state, self.start = ("violated", self.start) if self._sure else ("seeking", -1)
            else:
                at = after
        return self._release(text, at, given)

    def _release(self, text: str, at: int, given: int) -> str:
        if self.state == "seeking":
            self._held = ""
            return ""
        start = max(self.start - given, 0)
        if not self._sure:
            end = start
        elif self._doubt >= 0 and self.state != "done":
            end = self._doubt - given
        else:
            end = at
        self._held = text[end:at]
        return text[start:end]

    def _begin(self, bracket: str, place: int) -> None:
        self.state, self.start = "inside", place
        self._sure, self._doubt, self._token = False, -1, ""
        self._stack = [bracket]
        self._next = _FIRST_KEY if bracket == "{" else _FIRST_VALUE

    def _step(self, text: str, at: int, given: int) -> int:
        """Take the next token, or a piece of it; return the place behind it."""
        if self._next == _STRING:
            return self._in_string(text, at, given)
        if self._next == _NUMERIC:
            return self._in_number(text, at)
        if self._next == _LITERAL:
            return self._in_word(text, at)
        space = _SPACE.match(text, at)
        if space is not None and space.end() > at:
            self._space += space.end() - at
            held = self._doubt >= 0 or not self._sure
            return _WRONG if held and self._space > MAX_HELD else space.end()
        self._space = 0
        char = text[at]
        if self._next in (_COLON, _AFTER):
            self._doubt = -1 if char in ":,}]" else self._doubt
        if char == '"' and self._next in (_VALUE, _FIRST_VALUE, _FIRST_KEY, _KEY):
            self._is_key = self._next in (_FIRST_KEY, _KEY)
            self._next, self._sure, self._token, self._doubt = _STRING, True, "", -1
            return at + 1
        if self._next == _COLON:
            self._next = _VALUE
            return at + 1 if char == ":" else _WRONG
        if self._next == _AFTER:
            return self._after(char, at, given)
        if self._next == _FIRST_KEY:
            return self._shut(char, at, given)
        return self._value(char, at, given)

    def _after(self, char: str, at: int, given: int) -> int:
        if char == ",":
            # Models put commas behind the last element, too.
            self._next, self._doubt = _KEY if self._stack[-1] == "{" else _VALUE, given + at
            return at + 1
        return self._shut(char, at, given)

    def _shut(self, char: str, at: int, given: int) -> int:
        if char != ("}" if self._stack[-1] == "{" else "]"):
            return _WRONG
        self._stack.pop()
        self._sure, self._next = True, _AFTER
        if not self._stack:
            self.state, self.end = "done", given + at + 1
        return at + 1

    def _value(self, char: str, at: int, given: int) -> int:
        if self._next == _KEY:
            return _WRONG
        if char == "]" and self._next == _FIRST_VALUE:
            return self._shut(char, at, given)
        if char in "{[":
            self._stack.append(char)
            self._doubt = -1
            self._next = _FIRST_KEY if char == "{" else _FIRST_VALUE
            return at + 1 if len(self._stack) <= MAX_DEPTH else _WRONG
        if char in "-0123456789":
            self._next, self._token, self._doubt = _NUMERIC, "", given + at
            return at
        if char in "tfn":
            self._next, self._token, self._doubt = _LITERAL, "", given + at
            return at
        return _WRONG

    def _in_string(self, text: str, at: int, given: int) -> int:
        if self._token:
            return self._in_escape(text[at], at)
        plain = _PLAIN.match(text, at)
        if plain is not None and plain.end() > at:
            return plain.end()
        if text[at] == _BACKSLASH:
            self._token = _BACKSLASH
            return at + 1
        if text[at] != '"':
            return _WRONG
        self._next, self._doubt = _COLON if self._is_key else _AFTER, given + at
        return at + 1

    def _in_escape(self, char: str, at: int) -> int:
        if self._token == _BACKSLASH:
            if char not in '"\\/bfnrtu':
                return _WRONG
            self._token = _BACKSLASH + char if char == "u" else ""
            return at + 1
        if char not in _HEX:
            return _WRONG
        self._token = "" if len(self._token) == _LAST_OF_ESCAPE else self._token + char
        return at + 1

    def _in_number(self, text: str, at: int) -> int:
        found = _NUMBER_CHARS.match(text, at)
        end = at if found is None else found.end()
        token = self._token + text[at:end]
        if len(token) > MAX_NUMBER or _NUMBER_BEGINNING.fullmatch(token) is None:
            return _WRONG
        self._token = token
        if end < len(text):
            if _NUMBER.fullmatch(token) is None:
                return _WRONG
            self._next, self._sure, self._token, self._doubt = _AFTER, True, "", -1
        return end

    def _in_word(self, text: str, at: int) -> int:
        self._token += text[at]
        if not any(word.startswith(self._token) for word in _WORDS):
            return _WRONG
        if self._token in _WORDS:
            self._next, self._sure, self._token, self._doubt = _AFTER, True, "", -1
        return at + 1


class JsonCutter:
    """Ends a reply at the last bracket of the JSON value in it: what comes behind is of no use to anybody."""

    def __init__(self, brackets: str) -> None:
        self.ended = False
        self._json = JsonText(brackets)
        self._size = 0

    def feed(self, events: list[Event]) -> list[Event]:
        """Return what of the events comes before the end; the list that was given, where there is no end in it."""
        for at, event in enumerate(events):
            if type(event) is not TextDelta:
                continue
            self._json.feed(event.text)
            if self._json.state == "done":
                self.ended = True
                return [*events[:at], TextDelta(event.text[: self._json.end - self._size])]
            self._size += len(event.text)
        return events
