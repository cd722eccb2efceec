"""Reads the header by which a client says to which trace its request belongs (W3C Trace Context, level 1)."""

import re
from typing import NamedTuple

# Of a version to come, more may follow behind a dash; of version 00, nothing.
_HEADER = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")

_NO_TRACE = b"0" * 32
_NO_SPAN = b"0" * 16


class Parent(NamedTuple):
    """The span that a request came out of."""

    trace_id: str
    """32 hexadecimal digits, never all 0."""
    span_id: bytes
    """Eight bytes, never all 0."""
    sampled: bool
    """The client's own side keeps this trace."""


def read_traceparent(header: bytes) -> Parent | None:
    """Return what the header says; None where it is not well formed, which means that there is none."""
    found = _HEADER.match(header)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Parent(trace_id.decode(), bytes.fromhex(span_id.decode()), bool(int(flags, 16) & 1))
