"""One JSON value a line, as https://github.com/ndjson/ndjson-spec has it."""

HEARTBEAT = b" "
"""White space before the next value, which JSON readers skip. An empty line would break clients that read each."""

CONTENT_TYPE = b"application/x-ndjson"


def line(payload: bytes) -> bytes:
    """One line that carries ``payload``, which must hold no line break (compact JSON never does)."""
    return payload + b"\n"
