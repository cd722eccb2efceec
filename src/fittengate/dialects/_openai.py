"""What the OpenAI wire formats truly share: reading a body field by field, the error body, usage, the model list.

Knows no endpoint and no upstream. Shapes from OpenAI's API reference; the model list is Anthropic's at the same time.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from fittengate.core.caller import ModelCard
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import Usage

MAX_IGNORED = 32
"""So many ignored parameters are named; the rest is ignored without a word, for they travel in one header."""

MAX_NAME = 64
"""Longest name of an ignored parameter, in characters; what is longer is cut."""

MAX_MODEL_NAME = 256
"""Longest model name, in characters: it is repeated in every chunk of a stream."""

MAX_STOPS = 4
"""OpenAI's own limit on stop sequences."""

_MAX_SEARCHED = 262_144
"""Longer bodies, in bytes, are not searched for half a character: the search costs ten times the reading."""

_MAX_PLACE = 200
"""Longest place that is written out, in characters."""

_HALF_ESCAPED = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF = re.compile("[\ud800-\udfff]")
_DELICATE = re.compile("[\x85\u2028\u2029\ud800-\udfff]")
_UNSHOWABLE = re.compile(r"[^A-Za-z0-9_.\-]")

delicate = _DELICATE.search
"""Tells whether a text holds what :func:`to_json` looks after; all other text can go through msgspec alone."""

# 1e999 is valid JSON: read as infinity it is refused where it stands, by the field's own range.
_decode = msgspec.json.Decoder(float_hook=float).decode
_encode = msgspec.json.Encoder().encode

Check: TypeAlias = Callable[[Any, str, list[str]], None]
"""Looks at one field: its value (never None), its name, and the list to which it adds what will be ignored.

Raises Fault for a value that cannot be taken (caller_bad_request) or honoured (caller_unsupported).
"""


def bad(message: str, param: str | None) -> Fault:
    """Return the fault of a request that can never work; ``param`` is the place, None where there is none."""
    return Fault(FaultKind.CALLER_BAD_REQUEST, message, param=param)


def unsupported(message: str, param: str) -> Fault:
    """Return the fault of a request for what cannot be done and must not be ignored."""
    return Fault(FaultKind.CALLER_UNSUPPORTED, message, param=param)


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``; of a key that comes twice the last counts. Raises Fault (caller_bad_request).

    Every string in it is valid Unicode: bytes that are not UTF-8 and halves of surrogate pairs are refused.
    """
    try:
        value = _decode(body)
    except RecursionError as error:
        raise bad("The body is nested too deeply.", None) from error
    except UnicodeDecodeError as error:
        raise bad("The body is not UTF-8.", None) from error
    except msgspec.DecodeError as error:
        if not body.strip():
            raise bad("The body is empty. Send a JSON object.", None) from error
        place = _half_character(body)
        if place is not None:
            raise bad("A text holds half of a surrogate pair, such as a cut emoji.", place) from error
        raise bad(f"The body could not be read as JSON: {error}.", None) from error
    if type(value) is not dict:
        raise bad("The body must be a JSON object.", None)
    return value


def _half_character(body: bytes) -> str | None:
    """Return the place of the first text with half a character; None if there is none or it is not worth looking."""
    if len(body) > _MAX_SEARCHED or _HALF_ESCAPED.search(body) is None:
        return None
    try:
        stack: list[tuple[_Place, Any]] = [(None, json.loads(body))]
    except (ValueError, RecursionError):
        return None
    while stack:
        place, value = stack.pop()
        if type(value) is dict:
            stack.extend([((place, key), child) for key, child in reversed(value.items())])
        elif type(value) is list:
            stack.extend([((place, index), value[index]) for index in reversed(range(len(value)))])
        elif type(value) is str and _HALF.search(value):
            return _written(place)
    return None


# Kept as a chain and written out once: a path for every value of a deep and wide body would fill the memory.
_Place: TypeAlias = tuple["_Place", str | int] | None


def _written(place: _Place) -> str:
    """Return a place as a path, cut where it becomes too long to be of use."""
    steps: list[str] = []
    while place is not None:
        place, key = place
        steps.append(f"[{key}]" if type(key) is int else f".{shown(str(key))}")
    return "".join(reversed(steps)).lstrip(".")[:_MAX_PLACE]


def shown(name: str) -> str:
    """Return a client's field name as it may stand in a header or a ``param``: cut, and without odd characters."""
    return _UNSHOWABLE.sub("_", name[:MAX_NAME]) or "_"


def look_over(fields: Mapping[str, Any], checks: Mapping[str, Check]) -> tuple[str, ...]:
    """Check every field that is there and not null; return the names of those that will be ignored, unknown ones too.

    Raises what the checks raise.
    """
    ignored: list[str] = []
    for name, value in fields.items():
        if value is None:
            continue
        check = checks.get(name)
        if check is not None:
            check(value, name, ignored)
        elif len(ignored) < MAX_IGNORED:
            ignored.append(shown(name))
    return tuple(ignored[:MAX_IGNORED])


def known(_value: Any, _name: str, _ignored: list[str]) -> None:
    """Take a field as it is: it is read elsewhere, or promises nothing about the answer."""


_WORDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


def of_type(kind: type, *, report: bool = False) -> Check:
    """Return a check for values of one type; ``report`` names the field among the ignored ones."""

    def check(value: Any, name: str, ignored: list[str]) -> None:
        if type(value) is not kind:
            raise bad(f"{name} must be {_WORDS[kind]}.", name)
        if report:
            ignored.append(name)

    return check


def between(low: float, high: float) -> Check:
    """Return a check for numbers in the vendor's range, which the service has no use for: they are reported."""

    def check(value: Any, name: str, ignored: list[str]) -> None:
        if (type(value) is not float and type(value) is not int) or not low <= value <= high:
            raise bad(f"{name} must be a number from {low:g} to {high:g}.", name)
        ignored.append(name)

    return check


def refused(what: str) -> Check:
    """Return a check that refuses every value; ``what`` begins the sentence that says why."""

    def check(_value: Any, name: str, _ignored: list[str]) -> None:
        raise unsupported(f"{what} not supported. Leave {name} out.", name)

    return check


def whole_number(value: Any, name: str, least: int | None = None) -> int:
    """Return a whole number, also one that is written 1.0. Raises Fault (caller_bad_request)."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise bad(f"{name} must be a whole number.", name)
    if least is not None and value < least:
        raise bad(f"{name} must be at least {least}.", name)
    return value


def flag(value: Any, name: str) -> bool:
    """Return a yes or no; None means no. Raises Fault (caller_bad_request)."""
    if value is None:
        return False
    if type(value) is not bool:
        raise bad(f"{name} must be true or false.", name)
    return value


def model_name(value: Any) -> str | None:
    """Return the name in ``model``; None, for the default model, where none is given. Raises Fault."""
    if value is None or value == "":
        return None
    if type(value) is not str:
        raise bad("model must be a string.", "model")
    if len(value) > MAX_MODEL_NAME:
        raise bad(f"model must be at most {MAX_MODEL_NAME} characters long.", "model")
    return value


def stops(value: Any) -> tuple[str, ...]:
    """Return the sequences in ``stop``: a string, a list of up to four, or null. Raises Fault (caller_bad_request)."""
    if value is None:
        return ()
    if type(value) is str:
        if not value:
            raise bad("stop must not be empty.", "stop")
        return (value,)
    if type(value) is not list:
        raise bad("stop must be a string or a list of strings.", "stop")
    if len(value) > MAX_STOPS:
        raise bad(f"stop must hold at most {MAX_STOPS} strings.", "stop")
    for index, item in enumerate(value):
        if type(item) is not str or not item:
            raise bad("A stop sequence must be a string that is not empty.", f"stop[{index}]")
    return tuple(value)


def to_json(value: Any) -> bytes:
    """Return ``value`` (of the built-in types) as compact JSON in UTF-8; half a character becomes ``?``.

    U+0085, U+2028 and U+2029 are escaped. JSON lets them stand as they are, and so does an event stream, but a number of
    clients cut lines wherever Unicode ends one (Python's ``str.splitlines`` does) and then see half an event.
    """
    try:
        encoded = _encode(value)
    except UnicodeEncodeError:
        encoded = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    if encoded.isascii():
        return encoded
    encoded = encoded.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return encoded.replace(b"\xc2\x85", b"\\u0085")


def error_body(fault: Fault, request_id: str | None = None) -> bytes:
    """Return OpenAI's error object; a message about our own side ends with the request id, if there is one.

    Types as in OpenAI's guide to error codes; a wrong key is an ``invalid_request_error`` there too.
    """
    message = fault.message
    if request_id is not None and fault.status >= 500:
        message = f"{message} (request id {request_id})"
    if fault.kind is FaultKind.POLICY_QUOTA:
        sort = "insufficient_quota"
    elif fault.status < 500:
        sort = "rate_limit_error" if fault.status == 429 else "invalid_request_error"
    else:
        sort = "service_unavailable_error" if fault.status == 503 else "server_error"
    return to_json({"error": {"message": message, "type": sort, "param": fault.param, "code": fault.code}})


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return a ``usage`` object with every count that OpenAI sends; what the service does not have is 0."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def model_entry(card: ModelCard, context_window: int) -> dict[str, Any]:
    """Return one model as both vendors' SDKs read it; ``context_window`` in tokens.

    Anthropic's reference allows the epoch as ``created_at`` where the date is unknown.
    """
    created = min(max(card.created, 0), 253_402_300_799)  # the last second that has a four-digit year
    return {
        "id": card.id,
        "object": "model",
        "created": created,
        "owned_by": "fitten",
        "type": "model",
        "display_name": card.display_name,
        "created_at": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "context_window": context_window,
    }


def model_list(cards: tuple[ModelCard, ...], context_window: int) -> bytes:
    """Return the body of ``GET /v1/models``: OpenAI's list and Anthropic's page in one."""
    return to_json(
        {
            "object": "list",
            "data": [model_entry(card, context_window) for card in cards],
            "has_more": False,
            "first_id": cards[0].id if cards else None,
            "last_id": cards[-1].id if cards else None,
        }
    )
