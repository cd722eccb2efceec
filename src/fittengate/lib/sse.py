"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream."""

HEARTBEAT = b": keep-alive\n\n"
"""A comment: every client skips it, and it keeps proxies from closing a silent connection."""

CONTENT_TYPE = b"text/event-stream; charset=utf-8"


def data(payload: bytes) -> bytes:
    """One event that carries ``payload``, which must hold no line break (compact JSON never does)."""
    return b"data: " + payload + b"\n\n"


def event(name: bytes, payload: bytes) -> bytes:
    """One event of a named type; neither ``name`` nor ``payload`` may hold a line break."""
    return b"event: " + name + b"\ndata: " + payload + b"\n\n"
