"""What the way of a request looks like as spans: made after its end, from the times that were noted on it.

One span for the request, and below it ``auth`` (recognising the key), ``read`` (body, model, limits), ``queue`` (waiting
for a turn), the call to the service, and ``stream`` or ``translate`` (from the first event, or the last, to the end). The
names of attributes are OpenTelemetry's for HTTP servers and for generative AI; ours begin with ``fittengate.``. None
has a word of a prompt or of an answer.
"""

from functools import lru_cache
from typing import Literal

from msgspec import Struct

from fittengate.core.caller import Receipt
from fittengate.core.reply import StopReason
from fittengate.services import otlp

MAX_MODEL_CHARS = 100

MAX_KNOWN = 512
"""So many beginnings of spans are kept: nearly all requests of a gateway have one of a few."""

_REASONS = {
    StopReason.DONE: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.LENGTH: "length",
    StopReason.TOOL_CALLS: "tool_calls",
}
"""Reasons as the conventions write them."""

_EVERY_ID = (1 << 64) - 1


class Trace(Struct, frozen=True, gc=False):
    """Where the spans of a request belong."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: int
    """Of the request's own span, as ``otlp.span`` has it; those below it count on from it."""
    parent: int
    """The span of the client that it came out of; 0 for none."""


class Passage(Struct, frozen=True, gc=False):
    """One exchange and its times, on a clock that never goes back; 0 for what was not come to."""

    trace: Trace
    receipt: Receipt
    began: float
    authed: float
    read: float
    turn: float
    first: float
    last: float
    asked: str | None
    """The model's name as the client wrote it; None where it named none."""
    stream: bool
    operation: Literal["chat", "text_completion"]
    called: bool
    """The service was asked for it."""
    reason: StopReason | None


class Origin(Struct, frozen=True):
    """What all spans have in common."""

    provider: str
    address: str
    """Host of the service."""
    port: int
    scheme: str
    """``http`` or ``https``: how clients reach us."""


def spans_of(passage: Passage, origin: Origin) -> list[bytes]:
    """Return the spans of an exchange, each as OTLP has it."""
    trace, receipt, began = passage.trace, passage.receipt, passage.began
    trace_id, root = bytes.fromhex(trace.trace_id), trace.span_id
    start = int(receipt.at * 1e9)
    over = start + int(receipt.total_seconds * 1e9)
    authed, read, turn = passage.authed, passage.read, passage.turn
    # From the process' own clock to nanoseconds since the epoch. What was not come to ended with the request.
    to_auth = start + int((authed - began) * 1e9) if authed else over
    to_read = start + int((read - began) * 1e9) if read else over
    to_turn = start + int((turn - began) * 1e9) if turn else over
    # Where it failed the service was waited for to the end.
    whole = bool(passage.last) and receipt.fault is None
    to_last = start + int((passage.last - began) * 1e9) if whole else over
    made = [_AUTH(trace_id, _id(root, 1), root, start, to_auth)]
    if authed:
        made.append(_READ(trace_id, _id(root, 2), root, to_auth, to_read))
    if read:
        made.append(_QUEUE(trace_id, _id(root, 3), root, to_read, to_turn))
    if turn and passage.called:
        made.append(otlp.span(trace_id, _id(root, 4), root, to_turn, to_last, _call(passage, origin)))
    if passage.first:
        if passage.stream:
            to_first = start + int((passage.first - began) * 1e9)
            made.append(_STREAM(trace_id, _id(root, 5), root, to_first, over))
        elif whole:
            made.append(_TRANSLATE(trace_id, _id(root, 5), root, to_last, over))
    made.append(otlp.span(trace_id, root, trace.parent, start, over, _request(passage, origin)))
    return made


_AUTH, _READ, _QUEUE, _STREAM, _TRANSLATE = map(otlp.stage, ("auth", "read", "queue", "stream", "translate"))


def _id(root: int, number: int) -> int:
    # No id may be 0.
    return ((root + number) & _EVERY_ID) or number


def _request(passage: Passage, origin: Origin) -> bytes:
    receipt = passage.receipt
    known = _known_request(
        receipt.method, receipt.path, receipt.status, receipt.dialect, receipt.outcome, receipt.fault, origin.scheme
    )
    flags = otlp.REMOTE if passage.trace.parent else otlp.LOCAL
    return known + flags + otlp.text("fittengate.request_id", receipt.request_id)


@lru_cache(MAX_KNOWN)
def _known_request(
    method: str, path: str, status: int, dialect: str, outcome: str, fault: str | None, scheme: str
) -> bytes:
    fields = [
        otlp.named(f"{method} {path}", otlp.SERVER),
        otlp.text("http.request.method", method),
        otlp.text("http.route", path),
        otlp.text("url.path", path),
        otlp.text("url.scheme", scheme),
        otlp.number("http.response.status_code", status),
        otlp.text("fittengate.dialect", dialect),
        otlp.text("fittengate.outcome", outcome),
    ]
    return b"".join([*fields, _failed(fault)])


def _call(passage: Passage, origin: Origin) -> bytes:
    receipt, usage = passage.receipt, passage.receipt.usage
    asked = (passage.asked or receipt.model)[:MAX_MODEL_CHARS]
    fields = [
        _known_call(passage.operation, asked, receipt.model, passage.stream, passage.reason, receipt.fault, origin),
        otlp.LOCAL,
    ]
    if passage.first:
        fields.append(otlp.seconds("gen_ai.response.time_to_first_chunk", passage.first - passage.turn))
    if usage is not None:
        fields.append(otlp.number("gen_ai.usage.input_tokens", usage.input_tokens))
        fields.append(otlp.number("gen_ai.usage.output_tokens", usage.output_tokens))
        if usage.reasoning_tokens:
            fields.append(otlp.number("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens))
        fields.append(otlp.truth("fittengate.usage.estimated", usage.estimated))
    return b"".join(fields)


@lru_cache(MAX_KNOWN)
def _known_call(
    operation: str,
    asked: str,
    model: str,
    stream: bool,  # noqa: FBT001 - it is the value
    reason: StopReason | None,
    fault: str | None,
    origin: Origin,
) -> bytes:
    fields = [
        otlp.named(f"{operation} {asked}", otlp.CLIENT),
        otlp.text("gen_ai.operation.name", operation),
        otlp.text("gen_ai.provider.name", origin.provider),
        otlp.text("gen_ai.request.model", asked),
        otlp.text("gen_ai.response.model", model),
        otlp.truth("gen_ai.request.stream", stream),
        otlp.text("server.address", origin.address),
        otlp.number("server.port", origin.port),
        b"" if reason is None else otlp.words("gen_ai.response.finish_reasons", (_REASONS[reason],)),
    ]
    return b"".join([*fields, _failed(fault)])


def _failed(fault: str | None) -> bytes:
    """Return what a span says of a fault; a client's own mistakes and limits are no error of the span's."""
    if fault is None:
        return b""
    told = otlp.text("error.type", fault)
    return told if fault.startswith(("caller_", "policy_")) else told + otlp.ERROR
