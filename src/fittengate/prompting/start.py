"""How an answer begins: with text, or with what may make a call of the answer as a whole.

A code fence around the first call is packaging. JSON, bare or in one fence, is held where its first key is one that
calls have, or a parameter of the one tool that must be called; any other JSON is an answer, and comes out at once.
"""

import re
from collections.abc import Collection
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from fittengate.prompting.marks import MAX_SPACE
from fittengate.prompting.opening import Opening, Openings, Wait

Begins: TypeAlias = Literal["wait", "text", "calls", "json"]

_FENCE = re.compile(r"(`{3,}|~{3,})([^\n`]{0,64})\n")
_FENCE_BEGINNING = re.compile(r"`{1,2}|~{1,2}|`{3,255}[^\n`]{0,64}|~{3,255}[^\n`]{0,64}")
_JSON = re.compile(r'\[?\s*\{\s*"([^"\\]{0,64})("?)')
_JSON_BEGINNING = re.compile(r"\[?\s*(?:\{\s*)?")
_MARKS = ("<|python_tag|>", "[TOOL_CALLS]")
"""What Llama and Mistral put before calls in JSON."""

_AFTER_MARK = re.compile(r"\s*(?:[\w.:-]+\[|\[?\s*\{)")
_AFTER_MARK_BEGINNING = re.compile(r"\s*(?:[\w.:-]{0,128}|\[\s*)")
_KEYS = ("name", "tool_calls", "function", "type", "id", "arguments", "parameters")


class Start(Struct, frozen=True, gc=False):
    """What an answer begins with."""

    begins: Begins
    at: int = 0
    """The place of the call in the fence."""
    fence: str = ""
    """The fence's marks, where calls stand in one."""


_WAIT, _TEXT = Start("wait"), Start("text")


def look(text: str, openings: Openings, *, json: bool, last: bool, parameters: Collection[str] = ()) -> Start:
    """Return what a text begins with.

    ``json`` says that JSON may be calls; ``parameters`` are those of the one tool that must be called, if there is one.
    """
    bare = text.lstrip()
    space = len(text) - len(bare)
    if space > MAX_SPACE:
        return _TEXT
    keys = () if not json else (*_KEYS, *parameters) if parameters else _KEYS
    start = _begin(bare, openings, keys, last=last) if bare else _WAIT
    return replace(start, at=start.at + space) if space and start.begins == "calls" else start


def _begin(bare: str, openings: Openings, keys: tuple[str, ...], *, last: bool) -> Start:
    if keys and bare[0] in "<[":
        for mark in _MARKS:
            if bare.startswith(mark):
                return _after_mark(bare[len(mark) :])
            if mark.startswith(bare):
                return _WAIT
    if bare[0] in "{[":
        return _begin_json(bare, keys) if keys else _TEXT
    fence = _FENCE.match(bare) if bare[0] in "`~" else None
    if fence is None:
        return _WAIT if bare[0] in "`~" and _FENCE_BEGINNING.fullmatch(bare) else _TEXT
    inside = bare[fence.end() :]
    body = inside.lstrip()
    at = len(bare) - len(body)
    if len(inside) - len(body) > MAX_SPACE:
        return _TEXT
    if not body:
        return _WAIT
    if body[0] in "{[":
        return _begin_json(body, keys) if keys else _TEXT
    if body[0] != "<":
        return _TEXT
    found = openings.at(bare, at, last=last, begins_line=True, called=False)
    if found is Wait.WAIT:
        return _WAIT
    return Start("calls", at, fence[1]) if isinstance(found, Opening) else _TEXT


def _after_mark(text: str) -> Start:
    if _AFTER_MARK.match(text):
        return Start("json")
    return _WAIT if len(text) <= MAX_SPACE and _AFTER_MARK_BEGINNING.fullmatch(text) else _TEXT


def _begin_json(text: str, keys: tuple[str, ...]) -> Start:
    found = _JSON.match(text)
    if found is None:
        return _WAIT if len(text) <= MAX_SPACE and _JSON_BEGINNING.fullmatch(text) else _TEXT
    key, closed = found.groups()
    if closed:
        return Start("json") if key in keys else _TEXT
    return _WAIT if found.end() == len(text) and any(one.startswith(key) for one in keys) else _TEXT


def unfenced(text: str) -> str:
    """Return a whole answer without white space and the one fence around it."""
    text = text.strip()
    fence = _FENCE.match(text)
    if fence is None:
        return text
    body = text[fence.end() :]
    marks = len(body) - len(body.rstrip(fence[1][0]))
    return body[: len(body) - marks].strip() if marks >= len(fence[1]) else text
