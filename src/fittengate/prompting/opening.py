"""What begins a call in the middle of an answer: looked at wherever a ``<`` stands outside code.

The prompted form needs its block and a call in it, in which something stands that belongs there. Without the block, and
in foreign forms, a tool must be declared and, but for DeepSeek's markers and ``<tool_call>``, begin a line: answers
speak of tags, and ordinary XML must stay text.
"""

import re
from collections.abc import Callable, Collection
from enum import Enum
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from fittengate.prompting.marks import BAR, Marks, Tag, skip_space
from fittengate.prompting.names import Names
from fittengate.prompting.values import Schema

Form: TypeAlias = Literal[
    "invoke", "body", "plain", "tool_call", "function", "marked", "element", "results", "think", "thought"
]
"""``think`` is where reasoning begins in the middle of an answer, ``thought`` what would be a call there."""

THINK, THINK_END = "<think>", "</think>"

_JOIN = "[\u2581_ ]"
_MARKED = re.compile(rf"<{BAR}tool{_JOIN}calls{_JOIN}(?:section{_JOIN})?begin{BAR}>")
_MARKED_BEGINNING = re.compile(rf"<(?:{BAR}(?:[a-z\u2581_ ]{{0,24}}{BAR}?)?)?")
_TOOL_CALL = re.compile(r"<(?:(?:minimax:)?tool_call|function_call)>(?=\s*[{\[<`])", re.IGNORECASE)
_NAMED_CALL = re.compile(r"(<(?:(?:minimax:)?tool_call|function_call)>)\s*([\w.:-]{1,128})\s*(?=[<{])", re.IGNORECASE)
_NAMED_BEGINNING = re.compile(r"<(?:(?:minimax:)?tool_call|function_call)>\s*[\w.:-]{1,128}\s*", re.IGNORECASE)
_FUNCTION = re.compile(r"<function=([^<>\n]{1,256})>", re.IGNORECASE)
_FUNCTION_BEGINNING = re.compile(r"<function=[^<>\n]{0,256}", re.IGNORECASE)
_NAME = re.compile(r"[\w.:-]*")
_BEGINNINGS = ("<tool_call>", "<function_call>", "<minimax:tool_call>", "<function=")

# What Hermes and DeepSeek put around results.
_OTHER_RESULTS = ("<tool_response>", *[f"<\uff5ctool\u2581output{number}\u2581begin\uff5c>" for number in ("", "s")])


class Opening(Struct, frozen=True, gc=False):
    """What begins."""

    form: Form
    end: int
    """The place where reading goes on: at the tag of a call, behind the opening tag of a foreign form."""
    tool: str = ""
    wrapped: bool = False
    """It stands in a block."""


class Wait(Enum):
    """More text must come before one can tell."""

    WAIT = "wait"


Found: TypeAlias = Opening | Wait | None


class Openings:
    """Finds what begins at a place of a text."""

    def __init__(
        self, marks: Marks, names: Names, schema: Callable[[str], Schema], tools: Collection[str], suffix: str
    ) -> None:
        self._marks = marks
        self._names = names
        self._schema = schema
        self._tools = tools
        # With a suffix only what carries it counts: anything else may be quoted.
        self._strict = bool(suffix)
        endings = {"", f".{suffix}"}
        self._results = tuple(
            f"<{name}{end}>" for name in ("tool_results", "tool_result", "function_results") for end in endings
        )
        self._results += _OTHER_RESULTS
        self._result_tag = tuple(f"<tool_result{end} " for end in endings)

    def at(self, text: str, at: int, *, last: bool, begins_line: bool, called: bool) -> Found:
        """Return what begins at a ``<``; ``called`` says that a call has come already."""
        tag = self._marks.tag(text, at)
        if tag is not None:
            if not tag.opens:
                return None
            if tag.kind == "calls":
                return self._in_block(text, tag, last=last)
            if tag.kind == "invoke" and begins_line:
                return self.invoke(text, at, last=last, wrapped=False)
            return None
        found: Found = Wait.WAIT if not last and self._marks.may_become(text, at) else None
        if called and found is None:
            found = self._result(text, at, last=last)
        if not self._strict and not isinstance(found, Opening):
            found = self.foreign(text, at, last=last, begins_line=begins_line) or found
        return found

    def next(self, text: str, at: int, *, last: bool, wrapped: bool) -> Found:
        """Return the call that begins at a ``<`` directly behind another; ``wrapped`` says that both are in a block."""
        found = self.invoke(text, at, last=last, wrapped=wrapped)
        if found is not None or not wrapped or self._strict:
            return found
        found = self.foreign(text, at, last=last, begins_line=True)
        return replace(found, wrapped=True) if isinstance(found, Opening) else found

    def invoke(self, text: str, at: int, *, last: bool, wrapped: bool) -> Found:
        """Return the call that begins at a ``<``."""
        tag = self._marks.tag(text, at)
        if tag is None:
            return Wait.WAIT if not last and self._marks.may_become(text, at) else None
        if tag.kind != "invoke" or not tag.opens or (not wrapped and self._names.find(tag.name) is None):
            return None
        opening = Opening("invoke", at, tag.name, wrapped)
        behind = skip_space(text, tag.end)
        if tag.closed or (behind == len(text) and last):
            return opening
        if behind == len(text):
            return Wait.WAIT
        if text[behind] == "{":
            return None if self._strict else opening
        inner = self._marks.tag(text, behind) if text[behind] == "<" else None
        if inner is None:
            if text[behind] == "<" and self._marks.may_become(text, behind):
                return opening if last else Wait.WAIT
            child = self.child(tag.name, text, behind)
            if child is None:
                return None
            return opening if child or last else Wait.WAIT
        return opening

    def child(self, tool: str, text: str, at: int) -> bool | None:
        """Return whether an element of one of the tool's parameters begins at a place; False for half of one, else None."""
        found = None if self._strict or text[at] != "<" else self._names.find(tool)
        if found is None:
            return None
        children = [f"<{name}>" for name in self._schema(found).types]
        if any(text.startswith(one, at) for one in children):
            return True
        rest = text[at : at + 300]
        return False if any(one.startswith(rest) for one in children) else None

    def foreign(self, text: str, at: int, *, last: bool, begins_line: bool) -> Found:
        """Return the foreign form that begins at a ``<``."""
        if found := _TOOL_CALL.match(text, at):
            behind = skip_space(text, found.end())
            inner = self.invoke(text, behind, last=last, wrapped=True) if text[behind] == "<" else None
            return inner or Opening("tool_call", found.end())
        if (found := _NAMED_CALL.match(text, at)) and self._names.find(found[2]):
            return Opening("tool_call", found.end(1))
        if found := _MARKED.match(text, at):
            return Opening("marked", found.end())
        if begins_line:
            if found := _FUNCTION.match(text, at):
                tool = self._names.find(found[1].strip("\"' "))
                return Opening("function", at, tool) if tool else None
            element = self._element(text, at, last=last)
            if element is not None:
                return element
        if last or len(text) - at > 1024:
            return None
        rest = text[at:].lower()
        begins = any(one.startswith(rest) or (one[-1] == ">" and rest.rstrip() == one) for one in _BEGINNINGS)
        if begins or _MARKED_BEGINNING.fullmatch(text, at) or _NAMED_BEGINNING.fullmatch(text, at):
            return Wait.WAIT
        return Wait.WAIT if begins_line and _FUNCTION_BEGINNING.fullmatch(text, at) else None

    def _in_block(self, text: str, tag: Tag, *, last: bool) -> Found:
        behind = skip_space(text, tag.end)
        if behind == len(text):
            return None if last else Wait.WAIT
        if text[behind] in "{[" and not self._strict:
            return Opening("tool_call", tag.end)
        if text[behind] != "<":
            return None
        return self.next(text, behind, last=last, wrapped=True)

    def _result(self, text: str, at: int, *, last: bool) -> Found:
        rest = text[at : at + 64].lower()
        if rest.startswith((*self._results, *self._result_tag)):
            return Opening("results", at)
        if not last and any(one.startswith(rest) for one in (*self._results, *self._result_tag)):
            return Wait.WAIT
        return None

    def _element(self, text: str, at: int, *, last: bool) -> Found:
        """Return the element, named after a tool, that begins at a ``<`` and goes on with one of its parameters."""
        name = _NAME.match(text, at + 1)
        word = name[0] if name else ""
        wait = None if last else Wait.WAIT
        if at + 1 + len(word) == len(text):
            return wait if any(tool.startswith(word) for tool in self._tools) else None
        if word not in self._tools:
            return None
        opening = Opening("element", at, word)
        declared = self._schema(word).types
        behind = skip_space(text, at + 1 + len(word))
        if behind == len(text):
            return wait
        if text[behind] == "/":
            return opening if text.startswith("/>", behind) else wait if behind + 1 == len(text) else None
        if text[behind] != ">":
            key = _NAME.match(text, behind)
            found = key[0] if key else ""
            end = behind + len(found)
            if end == len(text):
                return wait if any(one.startswith(found) for one in declared) else None
            end = skip_space(text, end)
            if found not in declared:
                return None
            return wait if end == len(text) else opening if text[end] == "=" else None
        behind = skip_space(text, behind + 1)
        rest = text[behind : behind + 300]
        children = [f"<{one}>" for one in declared] + [f"</{word}>"]
        if any(rest.startswith(one) for one in children):
            return opening
        return wait if any(one.startswith(rest) for one in children) else None
