"""What a tool's schema says about its arguments, and the JSON that a value's text becomes by it.

Only types and required names are looked at: enough to tell a string from a number. A schema that cannot be read says
nothing, and is no fault: it was the client's to get right, and the client will judge the call.
"""

from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct

from fittengate.core.conversation import ToolSpec
from fittengate.prompting.references import pointed, resolved
from fittengate.prompting.repair import read_json, repair_json
from fittengate.prompting.syntax import compact, quoted, whole

_ANY = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_STRING = frozenset({"string"})
_WORDS = {"True": "true", "False": "false", "None": "null"}
_MAX_DEPTH = 32
"""A schema nested more deeply says nothing."""

_KEPT_BYTES = 16_384
"""Longer schemas are read anew each time, so that what is kept stays small."""


class Schema(Struct, frozen=True):
    """The arguments of one tool."""

    types: dict[str, frozenset[str]]
    """JSON types that each declared parameter may have."""
    required: frozenset[str]

    def is_string(self, name: str) -> bool:
        """Return whether a parameter can only be a string; an undeclared one is taken for a string."""
        return self.types.get(name, _STRING) == _STRING

    def value(self, name: str, text: str) -> tuple[str, bool]:
        """Return the JSON of a parameter's text, and whether it fits; what does not fit is passed on as a string."""
        return to_json(text, self.types.get(name, _STRING))

    def written(self, name: str, text: str) -> str:
        """Return how a string is written so that it is read as this string: as JSON if it would become a number."""
        types = self.types.get(name, _STRING)
        if types == _STRING or "string" not in types or to_json(text, types)[0] == quoted(text):
            return text
        return quoted(text)

    def typed(self, arguments: dict[str, object]) -> dict[str, object]:
        """Return arguments with strings read as what they stand for where no string is taken: ``"12"`` as 12."""
        return {name: self._typed(name, value) for name, value in arguments.items()}

    def _typed(self, name: str, value: object) -> object:
        if not isinstance(value, str) or "string" in self.types.get(name, _STRING):
            return value
        text, fits = self.value(name, value)
        return read_json(text) if fits else value

    def fits(self, arguments: dict[str, object]) -> bool:
        """Return whether arguments have all required names, and the right types where they are declared."""
        return self.required <= arguments.keys() and all(
            _fits(value, self.types.get(name, _ANY)) for name, value in arguments.items()
        )


_NOTHING = Schema({}, frozenset())


class Schemas:
    """The schemas of the declared tools, read where they are needed."""

    def __init__(self, tools: Iterable[ToolSpec]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._read: dict[str, Schema] = {}

    def of(self, name: str) -> Schema:
        """Return what a tool's schema says; nothing where the tool is not declared."""
        found = self._read.get(name)
        if found is None:
            tool = self._tools.get(name)
            if tool is None:
                return _NOTHING
            found = self._read[name] = schema_of(tool.parameters)
        return found


def schema_of(parameters: bytes) -> Schema:
    """Return what a schema says of a tool's parameters."""
    return _keep(parameters) if len(parameters) <= _KEPT_BYTES else _read_schema(parameters)


def _read_schema(parameters: bytes) -> Schema:
    try:
        root = read_json(parameters.decode())
    except ValueError:
        root = None
    top, read = resolved(root, root), _Types(root)
    properties, required = top.get("properties"), top.get("required")
    types = {name: read.of(part) for name, part in properties.items()} if isinstance(properties, dict) else {}
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    return Schema(types, frozenset(names))


# Agents send the same tools in every turn.
_keep = lru_cache(256)(_read_schema)


def to_json(text: str, types: frozenset[str]) -> tuple[str, bool]:
    """Return a value's text as JSON of one of the types, and whether it fits one.

    Text that is no JSON of an allowed type is tried as a word of Python, and as a JSON string that holds the value.
    Where a string is allowed too, the other types come first; then a JSON string is the string that it stands for, so
    that every string can be said, and any other text is the string itself.
    """
    if types == _STRING:
        return quoted(text), True
    text = whole(text)
    bare = text.strip()
    try:
        value = read_json(bare)
    except ValueError:
        if bare in _WORDS and _fits(read_json(_WORDS[bare]), types):
            return _WORDS[bare], True
        return _repaired(bare, types) or (quoted(text), "string" in types)
    if not isinstance(value, str) and _fits(value, types):
        return bare, True
    if isinstance(value, str):
        if "string" in types:
            return quoted(value), True
        try:
            if _fits(read_json(value), types):
                return whole(value.strip()), True
        except ValueError:
            return quoted(text), False
    return quoted(text), "string" in types


def _repaired(text: str, types: frozenset[str]) -> tuple[str, bool] | None:
    """Return the list or object that a text nearly is (:func:`repair_json`); None where it is none."""
    if "string" in types or text[:1] not in ("[", "{"):
        return None
    try:
        value, _ = repair_json(text)
    except ValueError:
        return None
    return (whole(compact(value)), True) if _fits(value, types) else None


def _fits(value: object, types: frozenset[str]) -> bool:
    match value:
        case bool():
            return "boolean" in types
        case int():
            return "integer" in types or "number" in types
        case float():
            return "number" in types or ("integer" in types and value.is_integer())
        case str():
            return "string" in types
        case None:
            return "null" in types
        case list():
            return "array" in types
    return "object" in types


class _Types:
    """Reads the types that schemas of one document allow; each reference is followed once, so cycles end."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._met: dict[str, frozenset[str]] = {}

    def of(self, schema: object, depth: int = 0) -> frozenset[str]:
        """Return the types; all where the schema does not say."""
        if not isinstance(schema, dict) or depth > _MAX_DEPTH:
            return _ANY
        allowed = _named(schema)
        if isinstance(reference := schema.get("$ref"), str):
            if reference not in self._met:
                self._met[reference] = _ANY
                self._met[reference] = self.of(pointed(self._root, reference), depth + 1)
            allowed &= self._met[reference]
        for union in ("anyOf", "oneOf"):
            if isinstance(parts := schema.get(union), list) and parts:
                allowed &= frozenset().union(*(self.of(part, depth + 1) for part in parts))
        if isinstance(parts := schema.get("allOf"), list):
            for part in parts:
                allowed &= self.of(part, depth + 1)
        return allowed or _ANY


def _named(schema: dict[str, object]) -> frozenset[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        kind = [kind]
    if isinstance(kind, list):
        names = frozenset(name for name in kind if isinstance(name, str)) & _ANY
        return names | {"integer"} if "number" in names else names or _ANY
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list) and values:
        return frozenset(kind for value in values for kind in _ANY if _fits(value, frozenset({kind})))
    if "properties" in schema:
        return frozenset({"object"})
    return frozenset({"array"}) if "items" in schema else _ANY
