"""Tools that Anthropic defines and the client carries out: a shell, an editor of files, a memory of files.

A request declares them by their type alone, because the vendor's models have learnt what they take. Other models have
to be told. Commands and parameters from Anthropic's pages on the bash tool, the text editor tool and the memory tool.
"""

import re
from functools import lru_cache
from typing import Any

from fittengate.core.conversation import ToolSpec
from fittengate.lib.jsonio import to_json

_TYPE = re.compile(r"(bash|text_editor|memory)_(\d{8})\Z")
_LAST_WITH_UNDO = "20250124"

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_EDITING: dict[str, Any] = {
    "file_text": {**_TEXT, "description": "create: what the new file holds."},
    "old_str": {
        **_TEXT,
        "description": "str_replace: the text to replace, exactly as it stands, and only once, there.",
    },
    "new_str": {**_TEXT, "description": "str_replace: what takes its place."},
    "insert_line": {**_NUMBER, "description": "insert: the line behind which the text goes; 0 for the start."},
    "insert_text": {**_TEXT, "description": "insert: the text."},
    "view_range": {
        "type": "array",
        "items": _NUMBER,
        "description": "view: first and last line, counted from 1; -1 for the end of the file.",
    },
}


def builtin(kind: str) -> ToolSpec | None:
    """Return the tool that a type stands for, which has yet to get its name; None for any other type."""
    found = _TYPE.match(kind)
    if found is None:
        return None
    return _made(found[1], found[2])


@lru_cache(32)
def _made(family: str, version: str) -> ToolSpec:
    if family == "bash":
        return _bash()
    return _memory() if family == "memory" else _editor(version)


def _bash() -> ToolSpec:
    return _tool(
        "Runs commands in a bash shell, whose state stays from one call to the next. Give command, or restart.",
        {
            "command": {**_TEXT, "description": "The command to run."},
            "restart": {"type": "boolean", "description": "true starts the shell anew."},
        },
        (),
    )


def _editor(version: str) -> ToolSpec:
    commands = ["view", "create", "str_replace", "insert"]
    editing = dict(_EDITING)
    if version <= _LAST_WITH_UNDO:
        commands.append("undo_edit")
        del editing["insert_text"]
        editing["new_str"] = {**_TEXT, "description": "str_replace: what takes its place; insert: the text."}
    path = {**_TEXT, "description": "The file, or for view a directory."}
    return _tool(
        "Views, creates and edits files.",
        {"command": {**_TEXT, "enum": commands}, "path": path, **editing},
        ("command", "path"),
    )


def _memory() -> ToolSpec:
    commands = ["view", "create", "str_replace", "insert", "delete", "rename"]
    return _tool(
        "Keeps files below /memories from one conversation to the next. Look at what is there before you begin, and "
        "write down what will be of use later.",
        {
            "command": {**_TEXT, "enum": commands},
            "path": {**_TEXT, "description": "The file or directory, for all commands but rename."},
            **_EDITING,
            "old_path": {**_TEXT, "description": "rename: the path so far."},
            "new_path": {**_TEXT, "description": "rename: the new path."},
        },
        ("command",),
    )


def _tool(description: str, properties: dict[str, Any], required: tuple[str, ...]) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return ToolSpec("", description, to_json(schema))
