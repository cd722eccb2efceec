"""Fills the parameters of a tool from a person's words, by their names and types.

What the words do not hold is left out if it may be, and makes the call impossible if it may not, unless a call is
demanded: then the words themselves, or the simplest value of the type, have to do.
"""

import re
from typing import Any

from fittengate.simulator.material import Material

MISSING: Any = object()
"""No value was found."""

MAX_DEPTH = 6
"""Schemas may refer to themselves."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_OLD = {"old", "search", "find", "original", "before"}
_NEW = {"new", "replace", "replacement", "after"}
_CONTENT = {"content", "contents", "text", "body", "code", "data", "patch"}
_FREE = {"description", "explanation", "reason", "prompt", "question", "message", "input", "task", "title", "thought"}
_FREE |= {"summary", "instruction", "instructions", "answer", "subject", "request", "goal", "note", "name"}
_PATHS = {"path", "paths", "file", "files", "filename", "filepath", "notebook"}
_FOLDERS = {"directory", "dir", "folder", "cwd", "workdir"}
_SOUGHT = {"pattern", "query", "regex", "keyword", "keywords", "q", "term", "search"}
_PLACES = {"city", "location", "place", "town", "country", "region", "area", "address", "destination", "timezone"}


def parts(name: str) -> list[str]:
    """Return the words of a name, in small letters: ``filePath`` and ``file_path`` are both file and path."""
    return [part for part in re.split(r"[^a-z0-9]+", _CAMEL.sub("_", name).lower()) if part]


def filled(schema: dict[str, Any], words: Material, *, force: bool, depth: int = 0) -> dict[str, Any] | None:
    """Return arguments for the required parameters and for the optional ones that are named; None if one is missing."""
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    required = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    strings = [name for name in required if kind_of(_dict(properties.get(name))) == "string"]
    arguments: dict[str, Any] = {}
    for name in [*required, *(name for name in properties if name not in required)]:
        part = _dict(properties.get(name))
        if name not in required:
            value = optional(name, part, words)
        else:
            value = found(name, part, words, depth)
            if value is MISSING and "default" in part:
                value = part["default"]
            if value is MISSING and len(strings) == 1 and name in strings and words.quoted:
                value = words.quoted[0]
            if value is MISSING and force:
                value = simplest(part, words)
            if value is MISSING:
                return None
        if value is not MISSING:
            arguments[name] = value
    return arguments


def optional(name: str, part: dict[str, Any], words: Material) -> Any:
    """Return the value of an optional parameter where the words name it, or one of its values."""
    given = words.given(name)
    if given is not None:
        return typed(given, part)
    for value in part.get("enum") or ():
        if isinstance(value, str) and len(value) > 2 and words.mentions(value):
            return value
    return MISSING


def found(name: str, part: dict[str, Any], words: Material, depth: int = 0) -> Any:
    """Return the value that the words hold for a parameter; MISSING where they hold none."""
    if "const" in part:
        return part["const"]
    given = words.given(name)
    if given is not None and (value := typed(given, part)) is not MISSING:
        return value
    if isinstance(part.get("enum"), list) and part["enum"]:
        return next((value for value in part["enum"] if words.mentions(str(value))), MISSING)
    match kind_of(part):
        case "string":
            return _text(name, part, words)
        case "integer":
            return _or_missing(words.next_number(whole=True))
        case "number":
            return _or_missing(words.next_number(whole=False))
        case "array":
            return _list(name, part, words, depth)
        case "object" if depth < MAX_DEPTH:
            value = filled(part, words, force=False, depth=depth + 1)
            return MISSING if value is None else value
    return MISSING


def simplest(part: dict[str, Any], words: Material, depth: int = 0) -> Any:
    """Return some value of the type: the words themselves, the least number, the first of the choices."""
    for key in ("default", "const"):
        if key in part:
            return part[key]
    if isinstance(part.get("enum"), list) and part["enum"]:
        return part["enum"][0]
    match kind_of(part):
        case "integer" | "number":
            return part.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            item = _dict(part.get("items"))
            least = part.get("minItems", 1)
            return [simplest(item, words, depth + 1)] * least if depth < MAX_DEPTH else []
        case "object":
            return (filled(part, words, force=True, depth=depth + 1) or {}) if depth < MAX_DEPTH else {}
        case "null":
            return None
    return words.words or "example"


def kind_of(part: dict[str, Any]) -> str:
    """Return the type of a schema; of several the first that is not null."""
    kind = part.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    for key in ("anyOf", "oneOf"):
        if isinstance(part.get(key), list):
            return next((kind for one in part[key] if (kind := kind_of(_dict(one))) != "null"), "string")
    if "properties" in part:
        return "object"
    return "array" if "items" in part else "string"


def is_free_text(part: dict[str, Any]) -> bool:
    """Tell whether any string will do."""
    return part.get("type") == "string" and not part.keys() & {"enum", "const"}


def typed(text: str, part: dict[str, Any]) -> Any:
    """Return a text as the type wants it; MISSING where it is none of that type."""
    kind = kind_of(part)
    if kind == "boolean":
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), MISSING)
    if kind in ("integer", "number"):
        try:
            return int(text) if kind == "integer" or "." not in text else float(text)
        except ValueError:
            return MISSING
    if isinstance(part.get("enum"), list) and text not in part["enum"]:
        return MISSING
    return text if kind == "string" else MISSING


def _text(name: str, part: dict[str, Any], words: Material) -> Any:
    about = set(parts(name))
    value: str | None = None
    form = part.get("format")
    if about & _OLD and about & {"string", "str", "text", "old", "original"} and words.replacement:
        value = words.replacement[0]
    elif about & _NEW and words.replacement:
        value = words.replacement[1]
    elif about & {"command", "cmd", "script", "shell"}:
        value = words.command
    elif about & {"url", "uri", "link", "href"} or form == "uri":
        value = _first(words.addresses)
    elif about & {"email", "mail", "recipient", "to"} or form == "email":
        value = _first(words.mails)
    elif about & _CONTENT:
        value = words.content
    elif about & (_PATHS | _FOLDERS):
        value = _first(words.paths) or words.path
    elif about & _PLACES:
        value = _first(words.places)
    elif about & {"date", "day", "when"} or form in ("date", "date-time"):
        value = _first([date for date in words.dates if form is None or date[0].isdigit()])
    elif about & {"expression", "formula", "equation", "calculation"}:
        value = words.sum
    elif about & _SOUGHT:
        value = words.sought
    else:
        value = _first(words.quoted) or _first(words.names) or (words.words if about & _FREE else None)
    return _or_missing(value)


def _or_missing(value: Any) -> Any:
    return MISSING if value is None else value


def _list(name: str, part: dict[str, Any], words: Material, depth: int) -> Any:
    item, about = _dict(part.get("items")), set(parts(name))
    if is_free_text(item):
        several = words.paths if about & (_PATHS | _FOLDERS) else words.places if about & _PLACES else words.quoted
        several = several or words.names
        return several or MISSING
    if kind_of(item) in ("integer", "number"):
        whole = kind_of(item) == "integer"
        return [number for number in words.numbers if not whole or number == int(number)] or MISSING
    if depth >= MAX_DEPTH:
        return MISSING
    one = found(name.removesuffix("s"), item, words, depth + 1)
    return MISSING if one is MISSING else [one]


def _first(values: list[str]) -> str | None:
    return values[0] if values else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
