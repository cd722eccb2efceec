"""How receipts lie in a segment of the journal. Pure: bytes in, records out.

A segment begins with a head: what it is, the number that its records are not below, a checksum. Records follow without
gaps: checksum of the rest, length, number, payload, all little-endian.

Law: numbers only grow. A segment is used again without being wiped, and a process may die in the middle of writing; so
reading ends at the first record that is not whole, whose checksum does not fit, or whose number is not above the one
before: what stands there is torn, or from an earlier use.
"""

import struct
import zlib
from collections.abc import Iterator

MAGIC = b"fgjourn1"

_HEAD = struct.Struct("<8sQI")
_CHECKSUM = struct.Struct("<I")
_CHECKED = struct.Struct("<IQ")

HEAD_BYTES = 24
"""A little more than the head needs, so that records begin at an even place."""

FRAME_BYTES = _CHECKSUM.size + _CHECKED.size
"""What a record takes beside its payload."""

MAX_PAYLOAD_BYTES = 4096
"""Ten times what a receipt with the longest names comes to."""


def head(first: int) -> bytes:
    """Return the beginning of a segment whose records have numbers from ``first`` on."""
    return _HEAD.pack(MAGIC, first, zlib.crc32(b"%d" % first)).ljust(HEAD_BYTES, b"\0")


def framed(number: int, payload: bytes) -> bytes:
    """Return a record as it lies in a segment."""
    checked = _CHECKED.pack(len(payload), number) + payload
    return _CHECKSUM.pack(zlib.crc32(checked)) + checked


def first_number(segment: bytes) -> int | None:
    """Return the number that a segment begins with; None where there is no head, or a torn one."""
    if len(segment) < HEAD_BYTES:
        return None
    magic, first, checksum = _HEAD.unpack_from(segment)
    return first if magic == MAGIC and checksum == zlib.crc32(b"%d" % first) else None


def records(data: bytes, above: int, start: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """Give number, payload and end of each record from ``start`` on, up to the first that is none.

    ``above`` is a number that all of them have to be above.
    """
    at = start
    while at + FRAME_BYTES <= len(data):
        (checksum,) = _CHECKSUM.unpack_from(data, at)
        length, number = _CHECKED.unpack_from(data, at + _CHECKSUM.size)
        end = at + FRAME_BYTES + length
        if length > MAX_PAYLOAD_BYTES or end > len(data) or number <= above:
            return
        if zlib.crc32(data[at + _CHECKSUM.size : end]) != checksum:
            return
        yield number, data[at + FRAME_BYTES : end], end
        at, above = end, number


def whole_segment(segment: bytes) -> Iterator[tuple[int, bytes]]:
    """Give number and payload of each record of a segment; nothing where its head is none."""
    first = first_number(segment)
    if first is not None:
        for number, payload, _end in records(segment, first - 1, HEAD_BYTES):
            yield number, payload
