"""The form that a reply's text must have, as the model is told of it and as it is read out of the reply.

The section stands in the leading system turn, behind that on tools: what to write, the schema, and an example made from
it; a line at the end of the last user turn reminds of it. What comes back is looked for between words and fences, read,
mended where it is nearly JSON, and judged by the schema.
"""

import re
from functools import lru_cache
from typing import Any

from msgspec import Struct

from fittengate.core.ask import ReplyFormat
from fittengate.core.faults import Fault, FaultKind
from fittengate.prompting.jsontext import JsonText
from fittengate.prompting.repair import read_json, repair_json
from fittengate.prompting.schemas import MAX_DEPTH, compact_schema
from fittengate.prompting.start import unfenced
from fittengate.prompting.syntax import compact, whole
from fittengate.prompting.validation import BadSchemaError, Validator, validator

MAX_MENDED, MAX_MARKS, MAX_OPENED = 16_384, 1_000, 64
"""Texts with more characters, more signs that are no words, or more opening brackets are not mended by guessing.

What guesses looks at some texts again from each of their brackets: eight thousand brackets kept it busy for a minute.
Within these bounds nothing was found that takes half a second.
"""

_KEPT_BYTES = 16_384
"""What longer schemas come to is not kept."""

_MARK = re.compile(r"[^\w\s.+-]")
_OPENING = re.compile(r"[\[{(]")
_CLOSED = re.compile(rb'"additionalProperties"\s*:\s*false')

MAX_EXAMPLE_CHARS = 8_000
"""An example that comes out longer is left out: the schema says the same."""

_SECTION = """\
# Form of the answer

{begins} answer is one JSON value and nothing else: no words before or after it, no code fence, no comments.{called}"""

_SCHEMA = "The JSON value must be valid against this JSON schema:\n\n{}"
_NO_OTHERS = "Objects have no other properties than those that the schema names."
_OBJECT = "The JSON value must be an object."
_EXAMPLE = "An example of the form, not of what to say:\n\n{}"
_REMINDER = "[{}nswer with the JSON value alone, in the form given above.]"


def instructions(form: ReplyFormat, *, tools: bool) -> str:
    """Return the section on the form; ``tools`` says that calling one is an answer, too."""
    called = "".join([f" It is called {form.name}." if form.name else "", f" {form.description}".rstrip()])
    pieces = [_SECTION.format(begins="Unless you call a tool, the" if tools else "The", called=called)]
    if form.schema is None:
        pieces += [_OBJECT, _EXAMPLE.format('{"name": "value"}')]
    else:
        pieces += _shape(form.schema).about
    return "\n\n".join(pieces)


def reminder(*, tools: bool) -> str:
    """Return the line for the end of the last user turn."""
    return _REMINDER.format("Unless you call a tool, a" if tools else "A")


def brackets(form: ReplyFormat) -> str:
    """Return the brackets that a value of the form may begin with; none where it need not be an object or an array."""
    return "{" if form.schema is None else _shape(form.schema).brackets


class _Shape(Struct, frozen=True):
    """What a schema comes to."""

    about: list[str]
    """What the model is told of it."""
    brackets: str


def _shape(schema: bytes) -> _Shape:
    return _keep_shape(schema) if len(schema) <= _KEPT_BYTES else _shape_of(schema)


def _shape_of(schema: bytes) -> _Shape:
    short = compact_schema(schema)
    about = [_SCHEMA.format(compact(short or {"type": "object"}))]
    if _CLOSED.search(schema):
        # The short schema does not say it with every object.
        about.append(_NO_OTHERS)
    example = compact(_example(short, 0))
    if short and len(example) <= MAX_EXAMPLE_CHARS:
        about.append(_EXAMPLE.format(example))
    kinds = short.get("type", "object" if not short or "properties" in short else ["object", "array"])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if set(map(str, kinds)) - {"object", "array"}:
        return _Shape(about, "")
    return _Shape(about, ("{" if "object" in kinds else "") + ("[" if "array" in kinds else ""))


# Programs send the same few schemas again and again.
_keep_shape = lru_cache(64)(_shape_of)


def judge(form: ReplyFormat) -> Validator | None:
    """Return what judges values of the form; None where any object is good. Raises Fault (caller_bad_request)."""
    if form.schema is None:
        return None
    try:
        return validator(form.schema)
    except BadSchemaError as error:
        message = f"The schema cannot be used: {error}."
        # The reason quotes the schema, which is nothing for the log.
        detail = "the schema cannot be used"
        raise Fault(FaultKind.CALLER_BAD_REQUEST, message, param=form.where or None, detail=detail) from error


class Candidate(Struct, frozen=True):
    """What of a reply may be the JSON value."""

    value: Any
    text: str
    """The value as JSON: as the model wrote it, or written anew where it had to be mended."""
    errors: list[str]
    """Why it is not of the form; none where it is."""


def candidate(text: str, form: ReplyFormat) -> Candidate | None:
    """Return the JSON value in a reply, mended if need be; None where there is nothing of the kind."""
    starts = brackets(form)
    found = _found(text, starts) if starts else unfenced(text)
    if not found:
        return None
    try:
        value, written = read_json(found), found
    except ValueError:
        mended = _mended(found)
        if mended is None or (starts and not isinstance(mended, dict | list)):
            return None
        value, written = mended, whole(compact(mended))
    return Candidate(value, written, wrong(value, form))


def wrong(value: Any, form: ReplyFormat) -> list[str]:
    """Return why a value is not of the form; an empty list where it is."""
    judging = judge(form)
    if judging is not None:
        return judging.errors(value)
    return [] if isinstance(value, dict) else ["the value: it is not an object"]


def partial(text: str, form: ReplyFormat) -> str:
    """Return the beginning of a value in a reply that was cut off; the whole text where there is none."""
    starts = brackets(form)
    json = JsonText(starts) if starts else None
    if json is None:
        return text
    json.feed(text)
    return text if json.start < 0 else text[json.start : json.end if json.end >= 0 else None]


def _found(text: str, starts: str) -> str | None:
    """Return the text from the first bracket of a value to the matching one, or to the last that might be."""
    json = JsonText(starts)
    json.feed(text)
    if json.start < 0:
        # Nearly JSON from the start: with single quotes, say.
        bare = unfenced(text)
        return bare if bare and bare[0] in starts else None
    if json.end >= 0:
        return text[json.start : json.end]
    rest = text[json.start :]
    last = max(rest.rfind("}"), rest.rfind("]"))
    # Words may follow what is not quite JSON; what only lacks its end has none behind it but the end of a fence.
    return rest[: last + 1] if json.state == "violated" and last >= 0 else rest.rstrip("` \t\r\n")


def _mended(text: str) -> Any:
    """Return the value that a text nearly is; None where it is not even that. A guess: it must be judged."""
    try:
        return repair_json(text)[0]
    except ValueError:
        if len(text) > MAX_MENDED or len(_MARK.findall(text)) > MAX_MARKS or len(_OPENING.findall(text)) > MAX_OPENED:
            return None
    # Loaded only where it is needed, and it seldom is.
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    try:
        return None if value == "" else read_json(compact(value))
    except ValueError:
        return None


def _example(schema: Any, depth: int) -> Any:
    """Return a value of the schema's form, with every property in it."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return "..."
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples", "anyOf", "oneOf", "allOf"):
        choices = schema.get(key)
        if isinstance(choices, list) and choices:
            return choices[0] if key in ("enum", "examples") else _example(choices[0], depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties")
        parts = properties.items() if isinstance(properties, dict) else ()
        return {name: _example(part, depth + 1) for name, part in parts}
    if kind == "array":
        return [_example(schema.get("items"), depth + 1)]
    simple: dict[Any, Any] = {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1.5)}
    return {"boolean": True, "null": None, **simple}.get(kind, "...")


_OUTSIDE = re.compile(r'("(?:[^"\\]|\\.)*")|("(?:[^"\\]|\\.)*\\?\Z)|[ \t\r\n]+', re.DOTALL)


def rest_of(sent: str, value: Any) -> str | None:
    """Return what must follow ``sent``, the beginning of some JSON, to make it ``value``; None where nothing can."""
    written = whole(compact(value))
    try:
        begun = _OUTSIDE.sub(lambda found: whole(compact(read_json(found[1]))) if found[1] else found[2] or "", sent)
    except ValueError:
        return None
    return written[len(begun) :] if written.startswith(begun) else None
