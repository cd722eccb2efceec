"""What a tool's schema says about its arguments, and the JSON that a value's text becomes by it.

Only types and required names are looked at: enough to tell a string from a number. A schema that cannot be read says
nothing, and is no fault: it was the client's to get right, and the client will judge the call.
"""

from msgspec import Struct

from fittengate.core.conversation import ToolSpec
from fittengate.prompting.repair import read_json
from fittengate.prompting.syntax import compact, quoted, whole

_ANY = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_STRING = frozenset({"string"})
_WORDS = {"True": "true", "False": "false", "None": "null"}
_MAX_DEPTH = 32
"""A schema nested more deeply says nothing."""


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

    def fits(self, arguments: dict[str, object]) -> bool:
        """Return whether arguments have all required names, and the right types where they are declared."""
        return self.required <= arguments.keys() and all(
            _fits(value, self.types.get(name, _ANY)) for name, value in arguments.items()
        )


def schema_of(tool: ToolSpec) -> Schema:
    """Return what the tool's parameters are."""
    try:
        root = read_json(tool.parameters.decode())
    except ValueError:
        root = None
    top, read = _resolved(root, root), _Types(root)
    properties, required = top.get("properties"), top.get("required")
    types = {name: read.of(part) for name, part in properties.items()} if isinstance(properties, dict) else {}
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    return Schema(types, frozenset(names))


def to_json(text: str, types: frozenset[str]) -> tuple[str, bool]:
    """Return a value's text as JSON of one of the types, and whether it fits one.

    Where a string is allowed too, the other types come first. Text that is no JSON of an allowed type is tried as a word
    of Python, and as a JSON string that holds the value.
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
        return compact(text), "string" in types
    if not isinstance(value, str) and _fits(value, types):
        return bare, True
    if isinstance(value, str) and "string" not in types:
        try:
            if _fits(read_json(value), types):
                return whole(value.strip()), True
        except ValueError:
            return compact(text), False
    return compact(text), "string" in types


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
                self._met[reference] = self.of(_pointed(self._root, reference), depth + 1)
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


def _resolved(schema: object, root: object) -> dict[str, object]:
    """Return the schema that a reference leads to; an empty one where it leads nowhere."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(schema, dict):
            return {}
        if not isinstance(reference := schema.get("$ref"), str):
            return schema
        schema = _pointed(root, reference)
    return {}


def _pointed(root: object, reference: str) -> object:
    """Return what a reference into the same document points to (RFC 6901); None for any other."""
    if not reference.startswith("#"):
        return None
    place = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        place = place.get(name) if isinstance(place, dict) else None
    return place
