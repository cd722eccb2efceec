"""How models write tool calls: as a prompt asks for it, and as they slide into (protocol: tool calling).

Each form takes the calls of one reply and returns their text. A few hold one call only, or no name; they take the
first.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

Form: TypeAlias = Literal[
    "prompted",
    "invoke_json",
    "invoke",
    "use_tool",
    "attributes",
    "children",
    "function_call",
    "brackets",
    "list",
    "bare_tag",
    "bare_arguments",
    "named_json",
    "openai_json",
    "json_array",
    "name_line",
    "tool_call_xml",
    "tool_call_json",
    "tool_brackets",
]
Flaw: TypeAlias = Literal["fenced", "upper", "crlf", "curly", "twice", "unclosed", "half", "results"]


class Call(Struct, frozen=True, forbid_unknown_fields=True):
    """One call."""

    name: str
    arguments: dict[str, Any] = {}


class Template(Struct, frozen=True):
    """The lines of a block as a prompt shows them, with NAME, PARAMETER and value to be filled in."""

    calls: str
    invoke: str
    parameter: str
    invoke_end: str
    calls_end: str


def prompted(calls: Sequence[Call], template: Template) -> str:
    """Return calls in the form that a prompt shows."""
    lines = [template.calls]
    for call in calls:
        lines.append(template.invoke.replace("NAME", _escaped(call.name)))
        for key, value in call.arguments.items():
            before, _, after = template.parameter.replace("PARAMETER", _escaped(key)).rpartition("value")
            written = _plain(value)
            lines.append(before + (f"\n{written}\n" if written.startswith("\n") else written) + after)
        lines.append(template.invoke_end)
    return "\n".join([*lines, template.calls_end])


def written(calls: Sequence[Call], form: str, template: Template | None, flaws: Sequence[str] = ()) -> str:
    """Return calls in a form, with what models get wrong."""
    if form == "prompted" and template is not None:
        text = prompted(calls, template)
    else:
        text = FORMS["invoke" if form == "prompted" else form](calls)
    for flaw in flaws:
        text = FLAWS[flaw](text)
    return text


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _block(lines: Sequence[str]) -> str:
    return "\n".join(["<function_calls>", *lines, "</function_calls>"])


def _tag(call: Call) -> str:
    given = "".join(f' {key}="{_escaped(_plain(value))}"' for key, value in call.arguments.items())
    return f"<{call.name}{given} />"


def _children(call: Call) -> str:
    return "".join(f"<{key}>{_escaped(_plain(value))}</{key}>" for key, value in call.arguments.items())


def _parameters(arguments: dict[str, Any]) -> str:
    return "".join(f'<parameter name="{key}">{_plain(value)}</parameter>' for key, value in arguments.items())


def _use_tool(call: Call) -> str:
    return f'<invoke name="use_tool">{_parameters({"tool_name": call.name, "arguments": call.arguments})}</invoke>'


def _function(call: Call) -> dict[str, Any]:
    return {"type": "function", "function": {"name": call.name, "arguments": _json(call.arguments)}}


def _list(calls: Sequence[Call]) -> str:
    lines = ["[tool_calls]"]
    for number, call in enumerate(calls, 1):
        lines += [f"- id: call_{number}", f"- name: {call.name}", f"- arguments: {_json(call.arguments)}"]
    return "\n".join([*lines, "[/tool_calls]"])


FORMS: dict[str, Callable[[Sequence[Call]], str]] = {
    "invoke_json": lambda calls: _block(
        [f'<invoke tool_name="{c.name}"><arguments>{_json(c.arguments)}</arguments></invoke>' for c in calls]
    ),
    "invoke": lambda calls: _block([f'<invoke name="{c.name}">{_parameters(c.arguments)}</invoke>' for c in calls]),
    "use_tool": lambda calls: _block([_use_tool(c) for c in calls]),
    "attributes": lambda calls: _block([f"  {_tag(c)}" for c in calls]),
    "children": lambda calls: _block([f"<{c.name}>{_children(c)}</{c.name}>" for c in calls]),
    "function_call": lambda calls: _block(
        [f"<function_call><name>{c.name}</name><arguments>{_children(c)}</arguments></function_call>" for c in calls]
    ),
    "brackets": lambda calls: "\n".join(["[function_calls]", *map(_tag, calls), "[/function_calls]"]),
    "list": _list,
    "bare_tag": lambda calls: _tag(calls[0]),
    "bare_arguments": lambda calls: _json(calls[0].arguments),
    "named_json": lambda calls: _json({"name": calls[0].name, "arguments": calls[0].arguments}),
    "openai_json": lambda calls: _json({"tool_calls": [_function(c) for c in calls]}),
    "json_array": lambda calls: _json([{"name": c.name, "arguments": c.arguments} for c in calls]),
    "name_line": lambda calls: f"{calls[0].name}\n{_json(calls[0].arguments)}",
    "tool_call_xml": lambda calls: "\n".join(
        f"<tool_call><name>{c.name}</name><arguments>{_json(c.arguments)}</arguments></tool_call>" for c in calls
    ),
    "tool_call_json": lambda calls: "\n".join(
        f"<tool_call>{_json({'name': c.name, 'arguments': c.arguments})}</tool_call>" for c in calls
    ),
    "tool_brackets": lambda calls: "\n".join(f"[{c.name}]{_json(c.arguments)}[/{c.name}]" for c in calls),
}
"""Every form but ``prompted``, which needs the prompt."""

_TAG_NAME = re.compile(r"(?<=<)/?[a-z_]+|(?<=\[)/?[a-z_]+(?=\])")

FLAWS: dict[str, Callable[[str], str]] = {
    "fenced": lambda text: f"```xml\n{text}\n```",
    "upper": lambda text: _TAG_NAME.sub(lambda found: found[0].upper(), text),
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "curly": lambda text: re.sub(r'"([^"\n]*)"', "\u201c\\1\u201d", text),
    "twice": lambda text: f"{text}\n{text}",
    "unclosed": lambda text: re.sub(r"\s*</(?:tool_calls|function_calls)[.\w]*>\s*\Z|\s*\[/\w+\]\s*\Z", "", text),
    "half": lambda text: text[: len(text) * 2 // 3],
    "results": lambda text: f"{text}\n<function_results>\n<result>made up</result>\n</function_results>",
}
