"""The form that a request wants its answer's text to have: OpenAI's ``text``, ``json_object`` and ``json_schema``.

Shapes from OpenAI's API reference. In chat the schema stands one level deeper (``response_format.json_schema``) than in
Responses (``text.format``): :func:`reply_format` reads the first, and with ``flat`` the second. Whether a schema can be
used is for others to find; what is found here is only what is no schema at all.
"""

from collections.abc import Mapping
from typing import Any

from fittengate.core.ask import ReplyFormat
from fittengate.dialects._fields import as_json, bad, flag, text_of

MAX_FORMAT_NAME = 256
"""Longest name of a form, in characters. OpenAI allows 64 of a few kinds."""


def reply_format(value: Any, place: str, *, flat: bool = False) -> ReplyFormat | None:
    """Return the form; None, for free text, where nothing else is wanted. Raises Fault (caller_bad_request)."""
    if value is None:
        return None
    kind = value.get("type") if type(value) is dict else None
    if kind == "text":
        return None
    if kind == "json_object":
        return ReplyFormat(where=place)
    if kind != "json_schema":
        raise bad(f"{place} must be an object with type text, json_object or json_schema.", place)
    if flat:
        return _json_schema(value, place)
    inner = value.get("json_schema")
    if type(inner) is not dict:
        raise bad("json_schema must be an object with a name and a schema.", f"{place}.json_schema")
    return _json_schema(inner, f"{place}.json_schema")


def _json_schema(fields: Mapping[str, Any], place: str) -> ReplyFormat:
    name, schema = fields.get("name"), fields.get("schema")
    if name is not None and (type(name) is not str or not name.isprintable() or len(name) > MAX_FORMAT_NAME):
        raise bad(f"name must be a word of at most {MAX_FORMAT_NAME} characters.", f"{place}.name")
    description = text_of(fields, "description", place)
    if schema is not None and type(schema) is not dict:
        raise bad("schema must be a JSON schema, an object.", f"{place}.schema")
    where = f"{place}.schema"
    # Without a schema any object will do, and it is a schema's answer all the same.
    written = as_json({"type": "object"} if schema is None else schema, where)
    return ReplyFormat(name or None, description, written, flag(fields.get("strict"), f"{place}.strict"), where)
