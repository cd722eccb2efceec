"""What may be written down of a body that the service sent: its structure, never its words.

An error may echo the whole prompt (protocol: HTTP errors on chat), and prompts do not belong into a log (P10). So field
names, numbers, types, sizes and a web page's title are told, and texts only by their length.
"""

import json
import re
from typing import Any

MAX_CHARS = 300
_TITLE = re.compile(r"<title>\s*([\w .,:/()-]{1,80}?)\s*</title>", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def outline(body: str) -> str:
    """Return a line about ``body`` that quotes nothing a user may have written."""
    if not body.strip():
        return "empty"
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        title = _TITLE.search(body)
        kind = f"a web page, {title[1]!r}" if title else "no JSON"
        return f"{kind}, {len(body)} characters"
    return _shape(value, 0)[:MAX_CHARS]


def _shape(value: Any, depth: int) -> str:
    match value:
        case dict() if depth < 3:
            parts = (f"{name_of(key)}: {_shape(inner, depth + 1)}" for key, inner in list(value.items())[:8])
            return "{" + ", ".join(parts) + "}"
        case list() if depth < 3:
            return "[" + ", ".join(_shape(inner, depth + 1) for inner in value[:3]) + "]"
        case str():
            return f"text of {len(value)}"
        case bool() | int() | float() | None:
            return str(value)[:24]
        case _:
            return type(value).__name__


def name_of(key: str) -> str:
    """Return the name of a field, or how long it is where it does not look like a name."""
    return key if _NAME.fullmatch(key) else f"name of {len(key)}"
