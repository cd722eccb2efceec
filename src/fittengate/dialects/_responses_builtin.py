"""Tools that OpenAI built in and the client runs: its shell, in two forms, and its patches of files.

Shapes from OpenAI's API reference (responses, "Local shell", "Shell", "Apply patch"). A request declares them by
their type alone, for OpenAI's models know them. Ours does not, so it is told of a function; its call and the result
are items of a type of their own, named after the tool, and hold an object where a function's call has arguments.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fittengate.lib.jsonio import UnreadableError, read_object, to_json

_TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_COUNT = {"type": "integer", "minimum": 1}
_EDITS = ("create_file", "update_file", "delete_file")


class Builtin(NamedTuple):
    """One of them."""

    holder: str
    """The field of its call that has the object."""
    empty: Mapping[str, Any]
    """The object, with nothing in it yet."""
    description: str
    parameters: bytes
    """JSON schema of the function that the model is told of, as JSON."""


def _parameters(properties: Mapping[str, Any], *required: str) -> bytes:
    return to_json({"type": "object", "properties": properties, "required": list(required)})


BUILTIN: Mapping[str, Builtin] = {
    "local_shell": Builtin(
        "action",
        {"type": "exec", "command": [], "env": {}, "timeout_ms": None, "user": None, "working_directory": None},
        "Runs a command on the user's machine. `command` is the program and its arguments, one by one.",
        _parameters(
            {"command": _TEXTS, "working_directory": {"type": "string"}, "timeout_ms": _COUNT},
            "command",
        ),
    ),
    "shell": Builtin(
        "action",
        {"commands": [], "timeout_ms": None, "max_output_length": None},
        "Runs shell commands on the user's machine, one after the other. Each is a line as a shell takes it.",
        _parameters({"commands": _TEXTS, "timeout_ms": _COUNT, "max_output_length": _COUNT}, "commands"),
    ),
    "apply_patch": Builtin(
        "operation",
        {"type": "update_file", "path": "", "diff": ""},
        "Creates, updates or deletes one file. The diff has a line for each line of the file, with `+` before it where "
        "it is added, `-` where it is taken away and a blank where it stays; of a file that is updated only the places "
        "that change, each with some lines around it and `@@` on a line of its own before it. Without a diff where a "
        "file is deleted.",
        _parameters(
            {
                "type": {"enum": list(_EDITS)},
                "path": {"type": "string"},
                "diff": {"type": "string"},
            },
            "type",
            "path",
        ),
    ),
}
"""Each by its type, which is also its name."""

CALLS: Mapping[str, str] = {f"{name}_call": name for name in BUILTIN}
OUTPUTS: Mapping[str, str] = {f"{name}_call_output": name for name in BUILTIN}
"""Types of items, and the tool they belong to."""


def _is_texts(value: Any) -> bool:
    return type(value) is list and all(type(one) is str for one in value)


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_count(value: Any) -> bool:
    return type(value) is int


_FITS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "local_shell": {"command": _is_texts, "timeout_ms": _is_count, "working_directory": _is_text},
    "shell": {"commands": _is_texts, "timeout_ms": _is_count, "max_output_length": _is_count},
    "apply_patch": {"type": _EDITS.__contains__, "path": _is_text, "diff": _is_text},
}
"""What the model may say of each tool's object, and what tells whether it is of the right kind."""


def run_by_client(item: Mapping[str, Any]) -> bool:
    """Tell whether a declared tool is one of these and not to run at the vendor's, as a shell with a container is."""
    if item.get("type") not in BUILTIN:
        return False
    place = item.get("environment")
    return type(place) is not dict or place.get("type") == "local"


def written(name: str, arguments: str) -> dict[str, Any]:
    """Return the object of a call; what its arguments do not have, or not of the right kind, is empty.

    A model that knows OpenAI's items writes that object as one argument, named as the item names it.
    """
    builtin = BUILTIN[name]
    given = _object(arguments)
    inner = given.get(builtin.holder)
    given = inner if type(inner) is dict else _object(inner) if type(inner) is str else given
    for key, before in (("command", ["sh", "-c"]), ("commands", [])):
        if type(given.get(key)) is str:
            given[key] = [*before, given[key]]
    made = dict(builtin.empty)
    made |= {key: given[key] for key, fits in _FITS[name].items() if key in given and fits(given[key])}
    if made.get("type") == "delete_file":
        del made["diff"]
    return made


def _object(text: str) -> dict[str, Any]:
    """Return the object that a JSON text is; an empty one where it is none."""
    try:
        return read_object(text.encode("utf-8", "replace"))
    except UnreadableError:
        return {}


def told(name: str, item: Mapping[str, Any]) -> str:
    """Return the arguments of a call in an earlier turn, as JSON without what says nothing."""
    value = item.get(BUILTIN[name].holder)
    fixed = BUILTIN[name].empty.get("type") if name == "local_shell" else None
    held = value if type(value) is dict else {}
    return to_json(
        {key: part for key, part in held.items() if part not in (None, {}) and (key != "type" or part != fixed)}
    ).decode()


def result(item: Mapping[str, Any]) -> str:
    """Return what a call gave, as text."""
    value = item.get("output")
    if value is None or value == "":
        status = item.get("status")
        return status if type(status) is str else ""
    return value if type(value) is str else to_json(value).decode()
