"""What Anthropic's answers share: the error body and its statuses, usage, stop reasons.

Shapes from Anthropic's API reference ("Errors", "Messages").
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Any

from fittengate.core.faults import Fault, FaultKind
from fittengate.core.limits import LimitState
from fittengate.core.reply import StopReason, Usage
from fittengate.lib.jsonio import to_json

THREAD_UNSUPPORTED = "thread_unsupported_request"
"""The code on which the vendor's SDKs send the whole conversation again instead of its newest message."""

_OVERLOADED = 529
_BUSY = frozenset({FaultKind.GATEWAY_BUSY, FaultKind.GATEWAY_DRAINING})

_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    _OVERLOADED: "overloaded_error",
}

_REASONS: Mapping[StopReason, str] = {
    StopReason.STOP_SEQUENCE: "stop_sequence",
    StopReason.LENGTH: "max_tokens",
}


def status(fault: Fault) -> int:
    """Return the HTTP status: the fault's own, but 529 where the gateway has no room."""
    return _OVERLOADED if fault.kind in _BUSY else fault.status


def error_body(fault: Fault, request_id: str | None = None) -> bytes:
    """Return the error object; ``request_id`` is left out where it is None, as in the middle of a stream."""
    sent = status(fault)
    sort = _TYPES.get(sent, "api_error" if sent >= 500 else "invalid_request_error")
    error: dict[str, Any] = {"type": sort, "message": _message(fault)}
    if fault.code == THREAD_UNSUPPORTED:
        error["details"] = {"error_code": fault.code, "unsupported": [fault.param]}
    body: dict[str, Any] = {"type": "error", "error": error}
    if request_id is not None:
        body["request_id"] = request_id
    return to_json(body)


def limit_headers(state: LimitState) -> list[tuple[bytes, bytes]]:
    """Return the headers of Anthropic's page on rate limits; of several limits of a sort they tell the tightest."""
    headers: list[tuple[bytes, bytes]] = []
    if (one := state.requests) is not None:
        headers += (
            (b"anthropic-ratelimit-requests-limit", b"%d" % one.limit),
            (b"anthropic-ratelimit-requests-remaining", b"%d" % one.remaining),
            (b"anthropic-ratelimit-requests-reset", _time(ceil(state.at + one.resets_in))),
        )
    if (one := state.tokens) is not None:
        headers += (
            (b"anthropic-ratelimit-tokens-limit", b"%d" % one.limit),
            (b"anthropic-ratelimit-tokens-remaining", b"%d" % one.remaining),
            (b"anthropic-ratelimit-tokens-reset", _time(ceil(state.at + one.resets_in))),
        )
    return headers


@lru_cache(128)
def _time(epoch: int) -> bytes:
    """Return a time as RFC 3339 writes it. The requests of a second tell the same ones."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def _message(fault: Fault) -> str:
    """Return the words of a fault with its place: the error object has no field of its own for that."""
    if fault.kind is FaultKind.CALLER_TOO_LONG:
        # The vendor's own words: clients look for them, and for both numbers, to make the conversation shorter.
        if fault.numbers is not None:
            return f"prompt is too long: {fault.numbers[0]} tokens > {fault.numbers[1]} maximum"
        return f"{fault.message} (prompt is too long)"
    if fault.param is not None and fault.param not in fault.message:
        return f"{fault.message} ({fault.param})"
    return fault.message


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return a ``usage`` object; nothing is ever cached."""
    return {
        **opening_usage(usage.input_tokens),
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def opening_usage(input_tokens: int) -> dict[str, Any]:
    """Return the ``usage`` object of a message that has only begun."""
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }


def stop_reason(reason: StopReason, *, called: bool, refused: bool = False) -> str:
    """Return the stop reason; ``called`` says that the message holds a whole call, ``refused`` that it is a refusal.

    A call always means ``tool_use``, also one that the request forced, and nothing else ever does: agents look here.
    """
    if refused:
        return "refusal"
    if reason is StopReason.DONE or reason is StopReason.TOOL_CALLS:
        return "tool_use" if called else "end_turn"
    return _REASONS[reason]


def signature(head_id: str) -> str:
    """Return what stands as the signature of reasoning. It proves nothing: what comes back is never checked."""
    return f"fittengate-{head_id}"
