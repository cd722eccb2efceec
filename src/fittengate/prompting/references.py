"""References inside one JSON schema: the one place that follows them."""

from typing import Any

MAX_STEPS = 32
"""References that lead to further references are followed this far."""


def pointed(root: Any, reference: str) -> Any:
    """Return what a reference into the same document points to (RFC 6901); None for any other."""
    if not reference.startswith("#"):
        return None
    place = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list) and name.isdecimal() and len(name) < 6 and int(name) < len(place):
            place = place[int(name)]
        else:
            place = place.get(name) if isinstance(place, dict) else None
    return place


def resolved(schema: Any, root: Any) -> dict[str, Any]:
    """Return the schema that a reference leads to; an empty one where it leads nowhere."""
    for _ in range(MAX_STEPS):
        if not isinstance(schema, dict):
            return {}
        if not isinstance(reference := schema.get("$ref"), str):
            return schema
        schema = pointed(root, reference)
    return {}
