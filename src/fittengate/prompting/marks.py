"""The tags that a reader looks for, and whether the end of a text may still become one.

Models drift, so a tag is known in any letter case, with ``function_calls`` for ``tool_calls``, ``tool_name`` for
``name``, attributes nobody asked for, any kind of quote or none, and with what other forms put before names: DeepSeek's
bars, and the namespace of Anthropic's. With a suffix all that must carry it.
"""

import re
from functools import lru_cache
from typing import Literal, TypeAlias

from msgspec import Struct

from fittengate.prompting.syntax import unescape

MAX_TAG = 1024
"""Most characters of one tag; a longer one is text."""

MAX_KNOWN = 512
KNOWN_CHARS = 128
"""So many spellings of tags are remembered, none of them longer: those of a conversation come again and again."""

MAX_SPACE = 1024
"""Most characters of white space between two tags; beyond it they do not belong together."""

BAR = "[|\uff5c]"
DSML = f"(?:{BAR}{{1,2}}(?:DSML{BAR}{{1,2}})?|antml:)?"
"""What may stand before a name."""

_DSML_BEGINNING = re.compile(
    f"(?:{BAR}{{1,2}}(?:D(?:S(?:M(?:L{BAR}{{0,2}})?)?)?)?|a(?:n(?:t(?:m(?:l:?)?)?)?)?)?", re.IGNORECASE
)
_DSML_FIRST = re.compile(DSML, re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"""\s([\w.:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|[\u201c\u201d]([^\u201c\u201d]*)[\u201c\u201d]|([\w.:-]+)(?=[\s/]|\Z))"""
)
_SPACE = re.compile(rf"\s{{0,{MAX_SPACE}}}")

Kind: TypeAlias = Literal["calls", "invoke", "parameter", "arguments"]

_KINDS: dict[str, Kind] = {
    "tool_calls": "calls",
    "function_calls": "calls",
    "invoke": "invoke",
    "parameter": "parameter",
    "arguments": "arguments",
}


class Tag(Struct, frozen=True, gc=False):
    """One whole tag in a text."""

    kind: Kind
    opens: bool
    name: str
    """The tool's or parameter's name; empty in other tags."""
    end: int
    """The place behind the tag."""
    closed: bool
    """It closes itself: ``<invoke name="x"/>``."""
    text: bool | None
    """What it says of its value with ``string="true"``; None where it says nothing."""


class Marks:
    """The tags of one conversation."""

    def __init__(self, suffix: str) -> None:
        end = f".{suffix.lower()}" if suffix else ""
        self._whole = [name + end for name in _KINDS]
        self._beginnings = frozenset(name[:size] for name in self._whole for size in range(len(name) + 1))
        names = "|".join(_KINDS)
        first = "".join(sorted({name[0] + name[0].upper() for name in _KINDS}))
        # Code is full of "<" that no tag begins with: they are to cost next to nothing.
        self._begins = re.compile(rf"<(?=/?(?:[{first}|\uff5c]|\Z))").search
        self._tag = re.compile(
            rf"<(/?){DSML}({names}){re.escape(end)}(\s[^<>]{{0,{MAX_TAG}}}|/)?>", re.IGNORECASE | re.ASCII
        ).match
        self._known: dict[str, Tag | None] = {}
        """What spellings mean; ``end`` is their length."""

    def find(self, text: str, at: int) -> int:
        """Return the next place of a ``<`` where a tag may stand, or come to stand; -1 where there is none."""
        # Most of a value has no "<", and to look for one character alone is far faster.
        at = text.find("<", at)
        found = None if at < 0 else self._begins(text, at)
        return -1 if found is None else found.start()

    def tag(self, text: str, at: int) -> Tag | None:
        """Return the tag that stands at a ``<``, or None."""
        found = self._tag(text, at)
        if found is None:
            return None
        spelling = found[0]
        if len(spelling) > MAX_TAG:
            return None
        try:
            known = self._known[spelling]
        except KeyError:
            known = _read(found)
            if len(spelling) <= KNOWN_CHARS:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[spelling] = known
        if known is None:
            return None
        return Tag(known.kind, known.opens, known.name, found.end(), known.closed, known.text)

    def may_become(self, text: str, at: int) -> bool:
        """Return whether more text can make a tag of what stands at a ``<`` up to the end, and is none yet."""
        if len(text) - at > MAX_TAG or text.find(">", at) >= 0 or text.find("<", at + 1) >= 0:
            return False
        at += 2 if text.startswith("/", at + 1) else 1
        if _DSML_BEGINNING.fullmatch(text, at):
            return True
        bars = _DSML_FIRST.match(text, at)
        word, space, _ = re.split(r"(\s|/|$)", text[bars.end() if bars else at :].lower(), maxsplit=1)
        return word in self._whole if space else word in self._beginnings


def _read(found: re.Match[str]) -> Tag | None:
    """Return the tag that was found, with its length for its end; None where it lacks the name that it must have."""
    slash, word, rest = found.groups()
    kind, end = _KINDS[word.lower()], len(found[0])
    if slash:
        return Tag(kind, opens=False, name="", end=end, closed=False, text=None)
    attributes = {key.lower(): "".join(values) for key, *values in _ATTRIBUTE.findall(rest or "") if any(values)}
    name = ""
    if kind in {"invoke", "parameter"}:
        name = unescape(attributes.get("name") or (kind == "invoke" and attributes.get("tool_name")) or "")
        if not name and (kind == "invoke" or '""' not in (rest or "")):
            return None
    said = attributes.get("string", "").lower()
    return Tag(kind, True, name, end, (rest or "").endswith("/"), said == "true" if said else None)


@lru_cache(maxsize=64)
def marks(suffix: str) -> Marks:
    """Return the tags with a suffix."""
    return Marks(suffix)


def skip_space(text: str, at: int) -> int:
    """Return the place behind white space, as far as tags on both sides still belong together."""
    found = _SPACE.match(text, at)
    return found.end() if found else at
