"""JSON at the edge: bodies that strangers sent, and bytes that strangers read.

Reading gives an object whose every string is valid Unicode; writing gives one line that every client can cut into
events, and never fails on a text.
"""

import json
import re
from typing import Any, TypeAlias

import msgspec

MAX_NAME = 64
"""Longest name that :func:`shown` gives back, in characters; what is longer is cut."""

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
_decode_apart = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class UnreadableError(ValueError):
    """A body that is no JSON object of whole characters. The message is a sentence that quotes nothing of the body."""

    def __init__(self, message: str, place: str | None = None) -> None:
        """Make one; ``place`` is the path of the value at fault, None where it is the body as a whole."""
        super().__init__(message)
        self.message = message
        self.place = place


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``; of a key that comes twice the last counts. Raises UnreadableError.

    Every string in it is valid Unicode: bytes that are not UTF-8 and halves of surrogate pairs are refused.
    """
    try:
        value = _decode(body)
    except RecursionError as error:
        raise UnreadableError("The body is nested too deeply.") from error
    except UnicodeDecodeError as error:
        raise UnreadableError("The body is not UTF-8.") from error
    except msgspec.DecodeError as error:
        if not body.strip():
            raise UnreadableError("The body is empty. Send a JSON object.") from error
        place = _half_character(body)
        if place is not None:
            raise UnreadableError("A text holds half of a surrogate pair, such as a cut emoji.", place) from error
        raise UnreadableError(f"The body could not be read as JSON: {error}.") from error
    if type(value) is not dict:
        raise UnreadableError("The body must be a JSON object.")
    return value


def value_in(body: bytes, name: str) -> bytes:
    """Return the value of ``name`` in the JSON object in ``body``, as it is written there; empty where there is none.

    Of a name that comes twice the last counts. ``body`` is one that :func:`read_object` has read.
    """
    value = _decode_apart(body).get(name)
    return b"" if value is None else bytes(value)


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


def to_json(value: Any) -> bytes:
    """Return ``value`` (of the built-in types) as compact JSON in UTF-8; half a character becomes ``?``.

    U+0085, U+2028 and U+2029 are escaped. JSON lets them stand as they are, and so does an event stream, but a number
    of clients cut lines wherever Unicode ends one (Python's ``str.splitlines`` does) and then see half an event.
    """
    try:
        encoded = _encode(value)
    except UnicodeEncodeError:
        encoded = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return _uncut(encoded)


def one_line(text: str) -> bytes:
    """Return JSON text as one line, otherwise as it was: no number is read and written anew.

    Raises ValueError where it is no JSON. Half a character becomes ``?``, and line ends of Unicode are escaped as in
    :func:`to_json`.
    """
    return _uncut(msgspec.json.format(text.encode("utf-8", "replace"), indent=-1))


def _uncut(encoded: bytes) -> bytes:
    if encoded.isascii():
        return encoded
    encoded = encoded.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return encoded.replace(b"\xc2\x85", b"\\u0085")
