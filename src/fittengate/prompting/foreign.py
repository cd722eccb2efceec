"""Calls in forms that nobody asked for, but that models were trained on and slide into.

A closed list:

- ``<tool_call>`` with JSON, in a fence or not, with ``<name>`` and ``<arguments>``, with ``<function=x>`` inside, or
  with a name and pairs of ``<arg_key>`` and ``<arg_value>`` (GLM); bare ``<function=x>``; our own block with JSON in
  place of calls
- the marker tokens of DeepSeek, with a fence (V3, R1) or without (V3.1), and of Kimi
- an element named after a tool, with its parameters as attributes or as elements
- a whole answer that is JSON in the shape of calls, also behind the marker of Llama or of Mistral; where one tool must be
  called and no other can be, its arguments alone

Each is read whole, when it is complete, and only as a call of declared tools; everything else stays text.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from fittengate.prompting.call import Call
from fittengate.prompting.marks import BAR
from fittengate.prompting.names import Names
from fittengate.prompting.repair import ends_in_string, read_json, read_several, repair_json
from fittengate.prompting.start import unfenced
from fittengate.prompting.syntax import unescape
from fittengate.prompting.trouble import Trouble
from fittengate.prompting.values import Schema

_NAMES = ("name", "tool", "tool_name")
_ARGUMENTS = ("arguments", "parameters", "input", "args", "params", "tool_input")
_MAX_CALLS = 64
_MAX_HALF_TAG = 64
_JOIN = "[\u2581_ ]"
_SEP = re.compile(rf"<{BAR}tool{_JOIN}(?:sep|call{_JOIN}argument{_JOIN}begin){BAR}>")
_MARKED = re.compile(
    rf"\s*<{BAR}tool{_JOIN}call{_JOIN}begin{BAR}>(.*?)(?:<{BAR}tool{_JOIN}call{_JOIN}end{BAR}>|\Z)", re.DOTALL
)
_NAME_LINE = re.compile(r"[\w.:-]+")
_NUMBERED = re.compile(r":\d+\Z")
_PAIR = re.compile(
    r"<arg_key>([^<>]*)</arg_key>\s*<arg_value>(.*?)</arg_value>\s*(?=<arg_key>|\Z)", re.DOTALL | re.IGNORECASE
)
_LLAMA, _MISTRAL = "<|python_tag|>", "[TOOL_CALLS]"
_MISTRAL_CALL = re.compile(r"([\w.:-]+)(?:\[CALL_ID\][\w-]*)?\[ARGS\]")
_FUNCTION_BEGINS = re.compile(r"<function=([^<>\n]{1,256})>", re.IGNORECASE)
_FUNCTION = re.compile(r"<function=([^<>\n]+)>(.*)</function>", re.DOTALL | re.IGNORECASE)
_FUNCTION_PARAMETER = re.compile(
    r"\s*<parameter=([^<>\n]+)>(.*?)</parameter>(?=\s*(?:<parameter=[^<>\n]+>|\Z))", re.DOTALL | re.IGNORECASE
)
_CHILD = r"<{0}>(.*?)</{0}>"
_ATTRIBUTE = re.compile(
    r"\s+([\w.:-]+)\s*=\s*(?:\"(.*?)\"|'(.*?)'|([^\s\"'<>]+?))(?=\s+[\w.:-]+\s*=|\s*/?>)", re.DOTALL
)


class Foreign:
    """Reads foreign calls of the declared tools."""

    def __init__(self, names: Names, schema: Callable[[str], Schema], troubles: defaultdict[Trouble, int]) -> None:
        self._names = names
        self._schema = schema
        self._troubles = troubles

    def tool_call(self, body: str, *, closed: bool) -> list[Call] | None:
        """Return the calls between ``<tool_call>`` and its end; None where it holds none.

        Where it was not ``closed``, a name without arguments is half a call.
        """
        body = body.strip() if closed else _without_half_tag(body.strip())
        if body[:10].lower() == "<function=":
            return self.function(body)
        if body[:1] not in "<{[":
            return self._after_name(body, closed=closed)
        name = re.match(_CHILD.format("name"), body, re.DOTALL | re.IGNORECASE)
        if name is None:
            return self._json_calls(self._read(body, ended=closed)) or self._several(body)
        rest = body[name.end() :].strip()
        arguments = re.fullmatch(_CHILD.format("arguments"), rest, re.DOTALL | re.IGNORECASE)
        if arguments is None and (rest or not closed):
            return None
        inside = arguments[1].strip() if arguments else "{}"
        if inside.startswith("{") or not inside:
            return self._named(name[1], inside or "{}")
        tool = self._names.find(name[1])
        children = None if tool is None else self._children(tool, inside)
        return None if tool is None or children is None else [Call(tool, children, texts=True)]

    def _after_name(self, body: str, *, closed: bool) -> list[Call] | None:
        """Return the call of a name and what follows it: pairs of a key and a value, JSON, or nothing if ``closed``."""
        found = _NAME_LINE.match(body)
        tool = None if found is None else self._names.find(found[0])
        if found is None or tool is None:
            return None
        rest, at = body[found.end() :].strip(), 0
        if rest.startswith("{"):
            return self._named(tool, rest)
        arguments: dict[str, object] = {}
        while (pair := _PAIR.match(rest, at)) is not None:
            arguments.setdefault(pair[1].strip(), _without_breaks(pair[2]))
            at = pair.end()
        return [Call(tool, arguments, texts=True)] if at == len(rest) and (rest or closed) else None

    def function(self, body: str) -> list[Call] | None:
        """Return the call of a ``<function=x>`` element; None where it is none."""
        found = _FUNCTION.fullmatch(body.strip())
        tool = None if found is None else self._names.find(found[1].strip("\"' "))
        if found is None or tool is None:
            return None
        inside = found[2].strip()
        if inside.startswith("{"):
            return self._named(tool, inside)
        arguments: dict[str, object] = {}
        at = 0
        while (parameter := _FUNCTION_PARAMETER.match(inside, at)) is not None:
            arguments.setdefault(parameter[1].strip("\"' "), _without_breaks(parameter[2]))
            at = parameter.end()
        return [Call(tool, arguments, texts=True)] if at == len(inside) else None

    def marked(self, body: str) -> list[Call] | None:
        """Return the calls between DeepSeek's markers; None where there are none, or one is none."""
        calls: list[Call] = []
        body, at = _without_half_tag(body, "<").rstrip(), 0
        while at < len(body):
            found = _MARKED.match(body, at)
            if found is None:
                return None
            at = found.end()
            name, given = _marked_parts(found[1])
            one = self._named(name, given)
            if one is None:
                return None
            calls += one
        return calls or None

    def is_over(self, tool: str, body: str) -> bool:
        """Return whether a body that is none of a call so far can become none: of ``tool``, or of the tool it names."""
        body = body.lstrip()
        if not tool and (found := _FUNCTION_BEGINS.match(body)):
            return self._names.find(found[1].strip("\"' ")) is None
        if not tool and body.find("<arg_key>") > 0:
            return self._names.find(body.partition("<")[0]) is None
        if body.startswith("<") and tool:
            return not any(body.startswith(f"<{name}>") for name in self._schema(tool).types)
        return _is_over(body)

    def element(self, tool: str, body: str) -> list[Call] | None:
        """Return the call of an element named after ``tool``, from its ``<`` to its end; None where it is none."""
        at = len(tool) + 1
        arguments: dict[str, object] = {}
        while (found := _ATTRIBUTE.match(body, at)) is not None:
            text = next(value for value in found.groups()[1:] if value is not None)
            arguments.setdefault(found[1], unescape(text))
            at = found.end()
        rest = body[at:].strip()
        if rest != "/>":
            inside = re.fullmatch(rf">(.*)</{re.escape(tool)}\s*>", rest, re.DOTALL | re.IGNORECASE)
            children = None if inside is None else self._children(tool, inside[1].strip())
            if children is None:
                return None
            arguments = {**children, **arguments}
        schema = self._schema(tool)
        if not schema.required <= arguments.keys() <= schema.types.keys():
            return None
        return [Call(tool, arguments, texts=True)]

    def json(self, text: str, sole: str | None) -> list[Call] | None:
        """Return the calls that a whole answer of JSON is; None where it is none, or has a tool that is not declared.

        A name alone makes no call here: no tag says that it is one, and all kinds of things have names. ``sole`` is the
        tool that must be called, where it is clear which: an object that has its parameters and no others is a call of it.
        """
        if text.startswith(_MISTRAL) and _MISTRAL_CALL.match(text, len(_MISTRAL)):
            return self._mistral(text)
        text = text.removeprefix(_LLAMA).removeprefix(_MISTRAL).strip()
        value = self._read(text)
        calls = self._json_calls(value, bare=True) or self._several(text, bare=True)
        return calls or (None if sole is None else self._of_sole(sole, value))

    def _mistral(self, text: str) -> list[Call] | None:
        """Return the calls that are written as marker, name and arguments; None where one is none."""
        calls: list[Call] = []
        for piece in text.split(_MISTRAL)[1:]:
            name = _MISTRAL_CALL.match(piece)
            one = None if name is None else self._named(name[1], piece[name.end() :].strip())
            if one is None:
                return None
            calls += one
        return calls

    def _of_sole(self, tool: str, value: object) -> list[Call] | None:
        repaired, value = (True, value.value) if isinstance(value, _Repaired) else (False, value)
        schema = self._schema(tool)
        if not isinstance(value, dict) or not schema.required <= value.keys() <= schema.types.keys():
            return None
        value = schema.typed(value)
        if repaired and not schema.fits(value):
            return None
        if repaired:
            self._troubles[Trouble.REPAIRED_JSON] += 1
        return [Call(tool, value)]

    def arguments(self, tool: str, body: str) -> list[Call] | None:
        """Return the call of a tool, declared or not, whose arguments a body holds as JSON or as elements."""
        body = _without_half_tag(body.strip())
        if body.startswith("<"):
            children = self._children(tool, body)
            return None if children is None else [Call(tool, children, texts=True)]
        value = self._read(body or "{}")
        repaired, value = (True, value.value) if isinstance(value, _Repaired) else (False, value)
        if isinstance(value, str):
            value = self._read(value)
        if not isinstance(value, dict):
            return None
        value = self._schema(tool).typed(value)
        if repaired and not self._schema(tool).fits(value):
            return None
        if repaired:
            self._troubles[Trouble.REPAIRED_JSON] += 1
        return [Call(tool, value)]

    def _children(self, tool: str, inside: str) -> dict[str, object] | None:
        """Return the texts of the elements that are the tool's parameters; None where there is anything else."""
        declared = "|".join(map(re.escape, self._schema(tool).types)) or "(?!)"
        child = re.compile(rf"\s*<({declared})>(.*?)</\1>(?=\s*(?:<(?:{declared})>|\Z))", re.DOTALL)
        children: dict[str, object] = {}
        at = 0
        while (found := child.match(inside, at)) is not None:
            children.setdefault(found[1], _without_breaks(found[2]))
            at = found.end()
        return children if at == len(inside) else None

    def _read(self, text: str, *, ended: bool = False) -> object:
        """Return the value of JSON that may need a repair; None where it is none. ``ended``: it was not cut off."""
        try:
            value, repaired = read_json(text), False
        except ValueError:
            if not _is_over(text):
                return None
            try:
                value, repaired = repair_json(text, ended=ended)
            except ValueError:
                return None
        if repaired:
            return _Repaired(value)
        return value

    def _several(self, body: str, *, bare: bool = False) -> list[Call] | None:
        try:
            return self._json_calls(read_several(body), bare=bare)
        except ValueError:
            return None

    def _named(self, name: str, arguments: str) -> list[Call] | None:
        """Return the call of a tool whose arguments are a JSON text; None where they are none."""
        given = self._read(arguments)
        return None if given is None else self._json_calls({"name": name, "arguments": given})

    def _json_calls(self, value: object, *, bare: bool = False) -> list[Call] | None:
        """Return the calls that a value is; ``bare`` says that each must have arguments, be they empty."""
        calls: list[Call] = []
        for name, given in _shapes(value, bare=bare):
            tool = self._names.find(name) if isinstance(name, str) else None
            checked = isinstance(value, _Repaired) or isinstance(given, _Repaired)
            arguments = given.value if isinstance(given, _Repaired) else given
            if isinstance(arguments, str):
                try:
                    arguments = read_json(arguments or "{}")
                except ValueError:
                    return None
            if tool is None or not isinstance(arguments, dict) or len(calls) >= _MAX_CALLS:
                return None
            arguments = self._schema(tool).typed(arguments)
            if checked:
                if not self._schema(tool).fits(arguments):
                    return None
                self._troubles[Trouble.REPAIRED_JSON] += 1
            calls.append(Call(tool, arguments))
        return calls or None


def _is_over(text: str) -> bool:
    """Return whether a JSON text can go on no more because it does not end inside a string."""
    # Of what Python spells nothing is known but when it is read; so there is one try.
    return text.lstrip("[{ \t\r\n").startswith("'") or not ends_in_string(text)


def _without_half_tag(body: str, begins: str = "</") -> str:
    """Return a body without the closing tag that it was cut off in: the tag may be missing, so half of it may, too."""
    at = body.rfind(begins)
    cut = at > 0 and len(body) - at <= _MAX_HALF_TAG and ">" not in body[at:] and '"' not in body[at:]
    return body[:at].rstrip() if cut else body


def _marked_parts(text: str) -> tuple[str, str]:
    """Return the name and the arguments between the markers of one call; the name is empty where there is none."""
    separator = _SEP.search(text)
    if separator is None:
        return "", ""
    before, behind = text[: separator.start()].strip(), text[separator.end() :].strip()
    name = _NAME_LINE.match(behind)
    if name is None:
        return _NUMBERED.sub("", before), behind
    # The older form: its kind before the separator, its name behind it, its arguments in a fence.
    return name[0], unfenced(behind[name.end() :])


class _Repaired:
    """A value that was guessed, and must fit its tool's schema."""

    def __init__(self, value: object) -> None:
        self.value = value


def _without_breaks(text: str) -> str:
    """Return a value without the line breaks around it, where it begins on a line of its own."""
    return text[1:].removesuffix("\n") if text.startswith("\n") else text


def _shapes(value: object, *, bare: bool) -> Iterator[tuple[object, object]]:
    """Give the name and the arguments of each call that a value has the shape of; (None, None) where one has none."""
    value = value.value if isinstance(value, _Repaired) else value
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    for one in value if isinstance(value, list) else [value]:
        call = one.get("function", one) if isinstance(one, dict) else None
        if not isinstance(call, dict):
            yield None, None
            continue
        name = next((call[key] for key in _NAMES if key in call), None)
        given = [call[key] for key in _ARGUMENTS if key in call]
        if bare and not given:
            name = None
        yield name, {} if not given or given[0] is None else given[0]
