"""How calls and their results are written in a prompt, and therefore by the model: the one place for that syntax.

A call is a block of plain tags; what a string holds stands between them as it is, so that code needs no escapes::

    <tool_calls>
    <invoke name="write_file">
    <parameter name="path">src/main.py</parameter>
    <parameter name="lines">[1,2]</parameter>
    </invoke>
    </tool_calls>

Values that are not strings are compact JSON, and so is a string that would be read as one of the other types that its
parameter may have. A string that starts with a line break gets one more before and one after
it, which the reader takes away again; one that starts with ``<![CDATA[`` stands in a CDATA section. Only the names in
the tags are escaped, as in XML. Where texts of the request hold such tags themselves (:func:`collides`), all tags of
the conversation get a suffix: ``<tool_calls.k7qf>``.

Law: what :func:`render_calls` writes, with a suffix that is not in it, the reader reads as the same calls.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

_encode = msgspec.json.Encoder().encode

CDATA, CDATA_END = "<![CDATA[", "]]>"

_ESCAPES = {"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "\n": "&#10;", "\r": "&#13;"}
_ESCAPED = re.compile('[&"<>\r\n]')
_ENTITIES = {"amp": "&", "quot": '"', "lt": "<", "gt": ">", "apos": "'", "#10": "\n", "#13": "\r", "#39": "'"}
_ENTITY = re.compile(r"&(amp|quot|lt|gt|apos|#10|#13|#39);")

# Not only our own spelling: whatever the reader would take for a call, quoted, is as dangerous.
_OURS = re.compile(
    r"</?(?:tool_calls?|function_calls|invoke|tool_results?|function_results)\b|</parameter\b|<parameter name|<function="
    r"|</?(?:\||\uff5c){1,2}(?:DSML|tool)|</?(?:antml|minimax):|<tool_response\b",
    re.IGNORECASE,
)
_SURROGATES = re.compile("[\ud800-\udfff]")


class Tags(Struct, frozen=True):
    """The tags of one conversation. ``suffix`` is empty, or letters and digits that no text of the request holds."""

    suffix: str = ""

    @property
    def calls(self) -> str:
        """What opens a block of calls."""
        return f"<{self._name('tool_calls')}>"

    @property
    def calls_end(self) -> str:
        """What closes a block of calls."""
        return f"</{self._name('tool_calls')}>"

    def invoke(self, name: str) -> str:
        """Return what opens a call of the tool ``name``."""
        return f'<{self._name("invoke")} name="{escape(name)}">'

    @property
    def invoke_end(self) -> str:
        """What closes a call."""
        return f"</{self._name('invoke')}>"

    def parameter(self, name: str) -> str:
        """Return what opens the value of the parameter ``name``."""
        return f'<{self._name("parameter")} name="{escape(name)}">'

    @property
    def parameter_end(self) -> str:
        """What closes a value."""
        return f"</{self._name('parameter')}>"

    @property
    def results(self) -> str:
        """What opens the results of a turn's calls."""
        return f"<{self._name('tool_results')}>"

    @property
    def results_end(self) -> str:
        """What closes the results."""
        return f"</{self._name('tool_results')}>"

    def result(self, name: str, call: int, *, error: bool = False) -> str:
        """Return what opens the result of the ``call``-th call of the turn, counted from 1."""
        mark = ' error="true"' if error else ""
        return f'<{self._name("result")} name="{escape(name)}" call="{call}"{mark}>'

    @property
    def result_end(self) -> str:
        """What closes a result."""
        return f"</{self._name('result')}>"

    def _name(self, name: str) -> str:
        return f"{name}.{self.suffix}" if self.suffix else name


def collides(text: str) -> bool:
    """Return whether ``text`` holds parts of tags that the reader acts on: a reason to use a suffix."""
    return "<" in text and _OURS.search(text) is not None


def escape(name: str) -> str:
    """Return ``name`` as it stands between the quotes of a tag."""
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], name)


def unescape(name: str) -> str:
    """Return the name that stands in a tag; anything that is no entity of XML stays as it is."""
    if "&" not in name:
        return name
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], name)


class Writes(Protocol):
    """What is known of the parameters of a tool."""

    def written(self, name: str, text: str) -> str:
        """Return how a string is written where it has to be read as this string."""
        ...


def render_calls(calls: Sequence[tuple[str, str]], tags: Tags, schema_of: Callable[[str], Writes] | None = None) -> str:
    """Return the block of one turn's calls, each given as its tool's name and its arguments as JSON text.

    ``schema_of`` gives what is known of a tool; None where its parameters are nothing but strings, or other things.
    Nothing is refused: no arguments are an empty object, and a text that is no JSON object, as a client keeps it of a
    call that was cut off, or one nested too deeply to be read, becomes the value of one parameter ``arguments``.
    """
    lines = [tags.calls]
    for name, arguments in calls:
        lines.append(tags.invoke(name))
        written = None if schema_of is None else schema_of(name).written
        lines += [f"{tags.parameter(key)}{value}{tags.parameter_end}" for key, value in _values(arguments, written)]
        lines.append(tags.invoke_end)
    lines.append(tags.calls_end)
    return "\n".join(lines)


def _values(arguments: str, written: Callable[[str, str], str] | None) -> list[tuple[str, str]]:
    """Return the parameters of a call and how their values are written."""
    if not arguments.strip():
        return []
    try:
        # Numbers keep their spelling: not all of them survive being read.
        raw = msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
        return [(key, _value(key, bytes(value), written)) for key, value in raw.items()]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass  # A half of a surrogate pair is too much for that decoder, and so is deep nesting.
    try:
        found = json.loads(arguments)
        if isinstance(found, dict):
            return [
                (whole(key), _string(key, value, written) if isinstance(value, str) else whole(compact(value)))
                for key, value in found.items()
            ]
    except (ValueError, RecursionError):
        pass  # Cut off, or nested too deeply to be read or to be written.
    return [("arguments", _string("arguments", arguments, written))]


def _value(name: str, raw: bytes, written: Callable[[str, str], str] | None) -> str:
    if raw.startswith(b'"'):
        return _string(name, msgspec.json.decode(raw, type=str), written)
    return msgspec.json.format(raw, indent=-1).decode()


def _string(name: str, text: str, written: Callable[[str, str], str] | None) -> str:
    text = whole(text if written is None else written(name, text))
    if text.startswith("\n"):
        return f"\n{text}\n"
    if text.startswith(CDATA):
        return f"{CDATA}{text}{CDATA_END}"
    return text


def compact(value: object) -> str:
    """Return a value as JSON without white space between its parts."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def quoted(text: str) -> str:
    """Return ``text`` as a JSON string: ``compact(whole(text))``, a good deal faster."""
    try:
        return _encode(text).decode()
    except UnicodeEncodeError:
        return compact(whole(text))


def whole(text: str) -> str:
    """Return ``text`` with halves of surrogate pairs replaced: they are no characters and cannot be sent."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)
