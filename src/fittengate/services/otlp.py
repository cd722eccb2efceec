"""Spans as bytes of OTLP (opentelemetry/proto/trace/v1/trace.proto), fit to be joined into one request.

The library's records cost six times as much as all else about a span; a message of protobuf is its fields one behind the
other, and most fields of our spans are the same again and again. A test reads everything back with the library's classes.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct

INTERNAL, SERVER, CLIENT = b"\x30\x01", b"\x30\x02", b"\x30\x03"
"""Kinds of spans, each as a field."""

ERROR = b"\x7a\x02\x18\x02"
"""The status of a span that failed, as a field."""

REMOTE, LOCAL = b"\x85\x01\x01\x03\x00\x00", b"\x85\x01\x01\x01\x00\x00"
"""Flags: sampled, and whether the parent span is of another process."""

_SPAN = Struct("<2s16s2sQBQBQ")
_PARENT = Struct("<2sQ")
_DOUBLE = Struct("<d")

_CACHED = 2048


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(tag: bytes, data: bytes) -> bytes:
    return tag + _varint(len(data)) + data


@lru_cache(_CACHED)
def _key(key: str) -> bytes:
    return _field(b"\x0a", key.encode())


def _attribute(key: str, value: bytes) -> bytes:
    return _field(b"\x4a", _key(key) + _field(b"\x12", value))


def text(key: str, value: str) -> bytes:
    """Return an attribute of text."""
    data, name = value.encode("utf-8", "replace"), _key(key)
    size = len(data)
    whole = len(name) + size + 4
    if whole < 0x80:
        # All lengths are of one byte, so all of it is written at once.
        return b"\x4a%c%b\x12%c\x0a%c%b" % (whole, name, size + 2, size, data)
    return _attribute(key, _field(b"\x0a", data))


@lru_cache(_CACHED)
def number(key: str, value: int) -> bytes:
    """Return an attribute that is a whole number, not negative."""
    return _attribute(key, b"\x18" + _varint(value))


def seconds(key: str, value: float) -> bytes:
    """Return an attribute that is a number with a fraction."""
    return _before_double(key) + _DOUBLE.pack(value)


@lru_cache(_CACHED)
def _before_double(key: str) -> bytes:
    return _attribute(key, b"\x21" + _DOUBLE.pack(0.0))[: -_DOUBLE.size]


@lru_cache(_CACHED)
def truth(key: str, value: bool) -> bytes:  # noqa: FBT001 - it is the value
    """Return an attribute that is true or false."""
    return _attribute(key, b"\x10\x01" if value else b"\x10\x00")


@lru_cache(_CACHED)
def words(key: str, values: tuple[str, ...]) -> bytes:
    """Return an attribute that is a list of texts."""
    return _attribute(key, _field(b"\x2a", b"".join(_field(b"\x0a", _field(b"\x0a", one.encode())) for one in values)))


@lru_cache(_CACHED)
def named(name: str, kind: bytes) -> bytes:
    """Return the fields for name and kind of a span."""
    return _field(b"\x2a", name.encode("utf-8", "replace")) + kind


def span(trace_id: bytes, span_id: int, parent: int, start: int, end: int, fields: bytes) -> bytes:
    """Return a span.

    ``trace_id`` has 16 bytes. Ids of spans are eight bytes read as a number, the lowest first; a ``parent`` of 0 means
    none. ``start`` and ``end`` are nanoseconds since the epoch; ``fields`` are all others, joined: name and kind
    (:func:`named`), flags, attributes, status.
    """
    data = _SPAN.pack(b"\x0a\x10", trace_id, b"\x12\x08", span_id, 0x39, start, 0x41, end) + fields
    if parent:
        data += _PARENT.pack(b"\x22\x08", parent)
    # As a field of the list of spans, see request().
    return b"\x12" + _varint(len(data)) + data


def stage(name: str) -> Callable[[bytes, int, int, int, int], bytes]:
    """Return what makes spans of one name below another one of ours; it takes what :func:`span` does, without fields."""
    fields = named(name, INTERNAL) + LOCAL
    rest = f"16s2sQ2sQBQBQ{len(fields)}s"
    # All of them are of the same length, so all of one is written at once.
    before = b"\x12" + _varint(2 + Struct("<" + rest).size) + b"\x0a\x10"
    pack = Struct(f"<{len(before)}s{rest}").pack

    def made(trace_id: bytes, span_id: int, parent: int, start: int, end: int) -> bytes:
        return pack(before, trace_id, b"\x12\x08", span_id, b"\x22\x08", parent, 0x39, start, 0x41, end, fields)

    return made


def request(resource: bytes, scope: bytes, spans: Sequence[bytes]) -> bytes:
    """Return the body of a request; ``resource`` and ``scope`` are messages of the library, as bytes."""
    scoped = _field(b"\x0a", scope) + b"".join(spans)
    return _field(b"\x0a", _field(b"\x0a", resource) + _field(b"\x12", scoped))
