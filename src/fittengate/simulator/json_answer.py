"""Answers with one JSON value where the prompt asks for that, and fits it to the schema that the prompt carries.

The values are found in the user's words as for tools, else they are the simplest of their type. Keywords of JSON schema
that are understood: type, properties, required, items, enum, const, default, local $ref, anyOf, oneOf, allOf, bounds of
numbers, lengths and counts, common formats.
"""

import json
import re
from typing import Any

from fittengate.simulator.filling import MAX_DEPTH, MISSING, found, is_free_text, kind_of
from fittengate.simulator.material import Material
from fittengate.simulator.toolbox import is_declaration

_SCHEMA_AHEAD = re.compile(r"\bJSON schema\b", re.IGNORECASE)
_JSON_ONLY = re.compile(
    r"\bone JSON (?:value|object)\b|\b(?:valid|only|single) JSON\b|\brespond (?:only )?(?:with|in) (?:a )?JSON\b",
    re.IGNORECASE,
)
_NEAR = 400
"""A schema begins within so many characters of being announced."""

_SIGNS = {"type", "properties", "items", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "$defs"}

MAX_WORDS = 2000
"""Of longer words the beginning counts."""

_FORMATS = {
    "date": "2024-01-31",
    "time": "12:00:00Z",
    "date-time": "2024-01-31T12:00:00Z",
    "email": "demo@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "hostname": "example.com",
    "duration": "P1D",
}


def wanted(system: str) -> dict[str, Any] | None:
    """Return the schema of the JSON that a prompt asks for, ``{}`` for any object; None where it asks for words."""
    if not _JSON_ONLY.search(system):
        return None
    for ahead in _SCHEMA_AHEAD.finditer(system):
        start = system.find("{", ahead.end(), ahead.end() + _NEAR)
        if start < 0:
            continue
        try:
            value, _ = json.JSONDecoder().raw_decode(system, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and value.keys() & _SIGNS and not is_declaration(value):
            return value
    return {}


def json_answer(schema: dict[str, Any], words: str) -> str:
    """Return a JSON value as text that fits the schema, as far as this module knows the keywords."""
    if not schema:
        return json.dumps({"answer": words}, ensure_ascii=False)
    return json.dumps(_Filler(schema, Material(words[:MAX_WORDS])).value("answer", schema, 0), ensure_ascii=False)


class _Filler:
    def __init__(self, root: dict[str, Any], words: Material) -> None:
        self._root = root
        self._words = words

    def value(self, name: str, schema: Any, depth: int) -> Any:
        """Return a value of a part of the schema that goes by that name."""
        part = self._resolved(schema, depth)
        for key in ("const", "default"):
            if key in part:
                return part[key]
        if "enum" not in part and kind_of(part) == "object":
            return self._object(part, depth)
        if "enum" not in part and kind_of(part) == "array":
            return self._array(name, part, depth)
        value = found(name, part, self._words)
        if value is MISSING:
            value = self._simplest(part)
        return self._bounded(value, part)

    def _resolved(self, schema: Any, depth: int) -> dict[str, Any]:
        """Return a part with references followed, the first choice taken and conjunctions joined."""
        part = dict(schema) if isinstance(schema, dict) else {}
        for _ in range(MAX_DEPTH):
            reference = part.pop("$ref", None)
            if isinstance(reference, str):
                part = {**self._pointed(reference), **part}
                continue
            for key in ("anyOf", "oneOf"):
                choices = [one for one in part.pop(key, None) or () if isinstance(one, dict)]
                if choices:
                    # Deep down null ends what refers to itself.
                    plain = [one for one in choices if (one.get("type") == "null") is (depth >= MAX_DEPTH)]
                    part = {**part, **(plain or choices)[0]}
            for one in part.pop("allOf", None) or ():
                more = self._resolved(one, depth) if isinstance(one, dict) else {}
                joined = {**part.get("properties", {}), **more.get("properties", {})}
                required = [*part.get("required", ()), *more.get("required", ())]
                part = {**part, **more} | ({"properties": joined, "required": required} if joined else {})
        return part

    def _pointed(self, reference: str) -> dict[str, Any]:
        place: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            place = place.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
        return place if isinstance(place, dict) else {}

    def _object(self, part: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = part.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = part.get("required") or ()
        if not properties and not required:
            return {} if part.get("additionalProperties") is False else {"answer": self._words.words}
        names = [name for name in properties if name in required or depth < 2]
        names += [name for name in required if name not in properties]
        return {name: self.value(name, properties.get(name), depth + 1) for name in names}

    def _array(self, name: str, part: dict[str, Any], depth: int) -> list[Any]:
        least = part.get("minItems", 0)
        if depth >= MAX_DEPTH:
            return [] if not least else [self._simplest(self._resolved(part.get("items"), depth))] * least
        item = self._resolved(part.get("items"), depth)
        made = found(name, {"type": "array", "items": item}, self._words) if is_free_text(item) else MISSING
        if made is not MISSING:
            made = [self._bounded(one, item) for one in made]
        else:
            made = [self.value(name.removesuffix("s"), item, depth + 1)]
        while len(made) < least:
            made = [*made, self.value(name.removesuffix("s"), item, depth + 1)]
        most: int = part.get("maxItems", len(made))
        return list(made[:most])

    def _simplest(self, part: dict[str, Any]) -> Any:
        if isinstance(part.get("enum"), list) and part["enum"]:
            return part["enum"][0]
        match kind_of(part):
            case "integer" | "number":
                return 1
            case "boolean":
                return True
            case "null":
                return None
            case "array":
                return []
            case "object":
                return {}
        form = part.get("format")
        return _FORMATS.get(form, self._words.words or "example") if isinstance(form, str) else self._words.words

    def _bounded(self, value: Any, part: dict[str, Any]) -> Any:
        if isinstance(value, str) and "enum" not in part:
            value = value[: part.get("maxLength", len(value))]
            return value.ljust(part.get("minLength", 0), ".")
        if isinstance(value, int | float) and not isinstance(value, bool) and "enum" not in part:
            value = max(value, part.get("minimum", value), part.get("exclusiveMinimum", value - 1) + 1)
            value = min(value, part.get("maximum", value), part.get("exclusiveMaximum", value + 1) - 1)
            step = part.get("multipleOf")
            return -(-value // step) * step if step else value
        return value
