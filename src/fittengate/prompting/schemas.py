"""JSON schemas of tools as a model is to read them: shorter, with references resolved, or as lists of parameters.

Nothing that an argument needs in order to be valid is left out. A schema that cannot be read is shown as having no
parameters: it was the client's to get right, and the client will judge the call.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from fittengate.core.conversation import ToolSpec
from fittengate.prompting.references import pointed
from fittengate.prompting.syntax import compact

Schema: TypeAlias = dict[str, Any]

MAX_RESOLVED = 65_536
"""A schema grows by this much, in bytes, while references are resolved; those that are met later stay references."""

MAX_DEPTH = 64
"""Parts that are nested more deeply are left out: any value is good there."""

_NOISE = frozenset({"$schema", "$id", "$comment", "title"})
_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
_DATA = frozenset({"default", "const", "enum", "examples", "example", "required", "dependentRequired"})
_DROPPED_IF_EMPTY = frozenset({"description", "properties", "required", "examples"})
_CHOICES = {"anyOf": " | ", "oneOf": " | ", "allOf": " & "}
_OF_OBJECTS = frozenset({"properties", "required", "additionalProperties"})
_OF_ARRAYS = frozenset({"items", "prefixItems"})
_IN_TYPE = frozenset({"type", "enum", "const", "$ref", "description", "default"})
_IN_TYPE = _IN_TYPE | _CHOICES.keys() | _OF_OBJECTS | _OF_ARRAYS | _DEFINITIONS
_WORD = re.compile(r"[A-Za-z_$][\w$]*")


def compact_schema(parameters: bytes) -> Schema:
    """Return a tool's schema without noise and with its references resolved; an empty one where it cannot be read.

    A reference stays, together with all definitions, where it leads into itself or nowhere.
    """
    try:
        root = msgspec.json.decode(parameters)
        if not isinstance(root, dict):
            return {}
        short = _Shortener(root)
        schema = short.schema(root, 0)
        if short.stayed:
            for name in _DEFINITIONS & root.keys():
                schema[name] = short.definitions(root[name])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return {} if schema == {"type": "object"} else schema


def signature(tool: ToolSpec) -> str:
    """Return a tool as its name, its description, and one line for each parameter in the notation of TypeScript."""
    lines = [f"## {tool.name}"]
    if tool.description:
        lines.append(tool.description)
    try:
        return "\n".join([*lines, *_parameters(compact_schema(tool.parameters))])
    except RecursionError:
        return "\n".join(lines)


def _parameters(schema: Schema) -> list[str]:
    lines = []
    required = _list(schema.get("required"))
    for name, part in _dict(schema.get("properties")).items():
        lines.append(f"- {name}{'' if name in required else '?'}: {_type(part)}{_remarks(part)}")
    if rest := _remarks(schema):
        lines.append(f"All parameters{rest}")
    lines += [f"{kind}: {compact(schema[kind])}" for kind in _CHOICES if kind in schema]
    if schema.get("additionalProperties") not in (None, True, False):
        lines.append(f"Any other parameter: {_type(schema['additionalProperties'])}")
    for definitions in _DEFINITIONS & schema.keys():
        lines += [f"type {name} = {_type(part)}" for name, part in _dict(schema[definitions]).items()]
    return lines


def plain_strings(schema: Schema) -> list[str]:
    """Return the parameters that take any string at all, in order."""
    found = []
    for name, part in _dict(schema.get("properties")).items():
        if isinstance(part, dict) and part.get("type") == "string" and part.keys() <= {"type", "description"}:
            found.append(name)
    return found


def simplest(schema: Schema) -> Schema | None:
    """Return the required arguments with a simple value for each; None where the schema does not say enough."""
    if schema.keys() & {"anyOf", "oneOf", "allOf", "$ref", "not", "if", "minProperties"}:
        return None
    properties, found = _dict(schema.get("properties")), {}
    for name in _list(schema.get("required")):
        value = _simple(properties.get(name))
        if value is None:
            return None
        found[name] = value
    return found


class _Shortener:
    """Makes one schema shorter. Law: what comes out is at most MAX_RESOLVED bytes longer than what went in."""

    def __init__(self, root: Schema) -> None:
        self.stayed = False
        """A reference was not resolved."""
        self._root = root
        self._open = ["#"]
        self._resolved = 0

    def schema(self, schema: Any, depth: int) -> Any:
        """Return a part of the schema, ``depth`` levels below its root."""
        if not isinstance(schema, dict):
            return schema
        if depth > MAX_DEPTH:
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            found = self._found(reference)
            if found is not None:
                self._open.append(reference)
                beside = {key: value for key, value in schema.items() if key != "$ref"}
                made = {**self.schema(found, depth + 1), **self.schema(beside, depth + 1)}
                self._open.pop()
                return made
            self.stayed = True
        return {key: self._keyword(key, value, depth) for key, value in schema.items() if not _is_noise(key, value)}

    def definitions(self, parts: Any) -> Any:
        """Return definitions for the references that stayed, which are not resolved in here."""
        self._resolved = MAX_RESOLVED
        return {name: self.schema(part, 1) for name, part in parts.items()} if isinstance(parts, dict) else parts

    def _found(self, reference: str) -> Schema | None:
        """Return what is to stand in place of a reference; None where the reference is to stay."""
        found = None if reference in self._open else pointed(self._root, reference)
        if not isinstance(found, dict):
            return None
        # References to one long list can make much of little.
        self._resolved += len(msgspec.json.encode(found))
        return found if self._resolved <= MAX_RESOLVED else None

    def _keyword(self, key: str, value: Any, depth: int) -> Any:
        if key in _DATA:
            return value
        if key in _BY_NAME and isinstance(value, dict):
            return {name: self.schema(part, depth + 1) for name, part in value.items()}
        if isinstance(value, list):
            return [self.schema(part, depth + 1) for part in value]
        return self.schema(value, depth + 1)


def _is_noise(key: str, value: Any) -> bool:
    if key in _NOISE or key in _DEFINITIONS or (key in _DROPPED_IF_EMPTY and not value):
        return True
    return (value is None and key not in _DATA) or (key == "additionalProperties" and value is False)


def _type(schema: Any) -> str:
    """Return a type; nested parts carry their remarks as comments."""
    if not isinstance(schema, dict):
        return "never" if schema is False else "any"
    if isinstance(reference := schema.get("$ref"), str):
        return reference.rpartition("/")[2] or "object"
    if "const" in schema:
        return compact(schema["const"])
    if values := _list(schema.get("enum")):
        return " | ".join(map(compact, values))
    parts = [
        sign.join(_nested(part, brackets=True) for part in choices)
        for key, sign in _CHOICES.items()
        if (choices := _list(schema.get(key)))
    ]
    names = _names(schema)
    if not parts or names != ["object"] or "properties" in schema:
        parts += filter(None, [" | ".join([_named(name, schema) for name in names])])
    if len(parts) > 1:
        parts = [f"({part})" if " | " in part else part for part in parts]
    return " & ".join(parts) or "any"


def _names(schema: Schema) -> list[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        return [kind]
    if kind is None and schema.keys() & _OF_OBJECTS:
        return ["object"]
    if kind is None and schema.keys() & _OF_ARRAYS:
        return ["array"]
    return [str(name) for name in _list(kind)]


def _named(name: str, schema: Schema) -> str:
    if name == "array":
        if first := _list(schema.get("prefixItems")):
            return f"[{', '.join(_nested(part) for part in first)}]"
        return f"{_nested(schema.get('items', True), brackets=True)}[]"
    if name != "object":
        return name
    required = _list(schema.get("required"))
    fields = [
        f"{key if _WORD.fullmatch(key) else compact(key)}{'' if key in required else '?'}: {_nested(part)}"
        for key, part in _dict(schema.get("properties")).items()
    ]
    if isinstance(rest := schema.get("additionalProperties"), dict):
        fields.append(f"[name: string]: {_nested(rest)}")
    return f"{{{'; '.join(fields)}}}" if fields else "object"


def _nested(schema: Any, *, brackets: bool = False) -> str:
    """Return a type inside another one, with its remarks; in brackets where it is of more than one word."""
    words, remarks = _type(schema), _remarks(schema)
    if remarks:
        words = f"{words} /* {remarks.removeprefix(' - ').replace('*/', '* /')} */"
    return f"({words})" if brackets and not re.fullmatch(r"[\w$]+|\{[^{}]*\}", words) else words


def _remarks(schema: Any) -> str:
    """Return what a type does not say: default, limits and description, after a dash."""
    if not isinstance(schema, dict):
        return ""
    said = [f"default {compact(schema['default'])}"] if "default" in schema else []
    said += [f"{key} {compact(value)}" for key, value in schema.items() if key not in _IN_TYPE]
    text = schema.get("description")
    words = text.strip().replace("\n", "\n  ") if isinstance(text, str) else ""
    parts = [part for part in (f"({', '.join(said)})" if said else "", words) if part]
    return f" - {' '.join(parts)}" if parts else ""


def _simple(schema: Any) -> Any:
    """Return a value that surely fits; None where there is doubt."""
    if not isinstance(schema, dict):
        return None
    for key in ("const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    for key in ("enum", "examples"):
        if values := _list(schema.get(key)):
            return values[0]
    if not schema.keys() <= {"type", "description", "minimum", "items"}:
        return None
    values_by_type: Mapping[str, Any] = {
        "string": "example",
        "boolean": True,
        "integer": schema.get("minimum", 1),
        "number": schema.get("minimum", 1),
    }
    kind = schema.get("type")
    if kind == "array":
        item = _simple(schema.get("items"))
        return [] if item is None else [item]
    return values_by_type.get(kind) if isinstance(kind, str) else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
