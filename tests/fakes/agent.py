"""What an agent needs beside an SDK: files and tools to work on them, and a model whose turns are written down."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

_TAGS = re.compile(r"<tool_calls((?:\.\w+)?)>")
_STRING = {"type": "string"}


class Tool(msgspec.Struct, frozen=True):
    """A tool, in the words of both vendors."""

    name: str
    parameters: tuple[str, ...]

    @property
    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": dict.fromkeys(self.parameters, _STRING),
            "required": list(self.parameters),
            "additionalProperties": False,
        }

    @property
    def openai(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": self.name, "description": "", "parameters": self.schema}}

    @property
    def anthropic(self) -> dict[str, Any]:
        return {"name": self.name, "description": "", "input_schema": self.schema}


TOOLS = (
    Tool("read_file", ("path",)),
    Tool("write_file", ("path", "content")),
    Tool("edit_file", ("path", "old", "new")),
    Tool("run_tests", ("command",)),
)

HARD_TEXTS: Mapping[str, str] = {
    "quotes.py": 'a = "it\'s"\nb = \'say "hi"\'\nc = """x"""\n',
    "backslashes.py": 'p = "C:\\\\new\\\\table"\nr = r"\\d+\\n"\ntail = "\\\\"\n',
    "crlf.bat": "@echo off\r\nrem two\r\n\r\nexit /b 0\r\n",
    "emoji.md": "# 🚀 h\u200be\u0301llo 👩\u200d👩\u200d👧\n\u202eabc\u2028def\n",
    "中文.md": "# 标题\n\n「引号」,全角(括号)。\n第二行\n",
    "cdata.xml": "<a><![CDATA[ x < y && ]] > ]]></a>\n<b>&lt;&amp;&quot;</b>\n",
    "blank.txt": "\n\n  \tindented\n\n",
    "json.json": '{"a": [1, 2.50, null, "\\u00e9"], "b": {"c": "\\"}"}}\n',
    "long.txt": "".join([f"line {number}: {number * number} é\n" for number in range(2000)]),
    "markup.txt": '<parameter name="content">inner</parameter>\n</invoke>\nprint("</parameter>")\n<|user|>\n<|end|>\n',
}
"""File names and texts that something on the way could mistake for a part of itself."""


class Workspace:
    """A folder, and what the tools do in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, name: str, arguments: Mapping[str, str]) -> str:
        """Do what a call asks for; return its result. An unknown tool or argument is a KeyError."""
        match name:
            case "read_file":
                return self.text(arguments["path"])
            case "write_file":
                self._write(arguments["path"], arguments["content"])
                return "written"
            case "edit_file":
                before = self.text(arguments["path"])
                assert before.count(arguments["old"]) == 1, arguments["old"]
                self._write(arguments["path"], before.replace(arguments["old"], arguments["new"]))
                return "edited"
            case "run_tests":
                return f"{arguments['command']}: 3 passed"
        raise KeyError(name)

    def text(self, path: str) -> str:
        return (self.folder / path).read_bytes().decode()

    def _write(self, path: str, content: str) -> None:
        (self.folder / path).write_bytes(content.encode())


def calls(*made: tuple[str, Mapping[str, str]], suffix: str = "", said: str = "") -> str:
    """Return a turn of the model: words and a block of calls, written out as a model would, with nothing escaped."""
    lines = [said] if said else []
    lines.append(f"<tool_calls{suffix}>")
    for name, arguments in made:
        lines.append(f'<invoke{suffix} name="{name}">')
        for key, value in arguments.items():
            # A value on lines of its own has one line break around it that is not its own.
            around = "\n" if "\n" in value else ""
            lines.append(f'<parameter{suffix} name="{key}">{around}{value}{around}</parameter{suffix}>')
        lines.append(f"</invoke{suffix}>")
    lines.append(f"</tool_calls{suffix}>")
    return "\n".join(lines)


def suffix_in(prompt: str) -> str:
    """Return what the tags of calls end in, as the prompt teaches it: nothing, or a dot and a word."""
    found = _TAGS.search(prompt)
    assert found is not None, "the prompt teaches no calls"
    return found[1]
