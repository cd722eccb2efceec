"""What the way of a request looks like as spans: made after its end, from the times that were noted on it.

One span for the request, and below it ``auth`` (recognising the key), ``read`` (body, model, limits), ``queue`` (waiting
for a turn), the call to the service, and ``stream`` or ``translate`` (from the first event, or the last, to the end). The
names of attributes are OpenTelemetry's for HTTP servers and for generative AI; ours begin with ``fittengate.``. None has a word of
a prompt or of an answer.
"""

from typing import Literal

from msgspec import Struct

from fittengate.core.caller import Receipt
from fittengate.core.reply import StopReason
from fittengate.services import otlp

MAX_MODEL_CHARS = 100

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
    """Of the request's own span; those below it count on from it."""
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
    offset = receipt.at - began
    over = began + receipt.total_seconds
    made: list[bytes] = []

    def add(start: float, end: float, *fields: bytes) -> None:
        made.append(
            otlp.span(
                trace_id,
                # Zero would be no id.
                ((root + len(made) + 1) & _EVERY_ID) or len(made) + 1,
                root,
                int((offset + start) * 1e9),
                int((offset + max(start, end)) * 1e9),
                (*fields, otlp.LOCAL),
            )
        )

    add(began, passage.authed or over, otlp.named("auth", otlp.INTERNAL))
    if passage.authed:
        add(passage.authed, passage.read or over, otlp.named("read", otlp.INTERNAL))
    if passage.read:
        add(passage.read, passage.turn or over, otlp.named("queue", otlp.INTERNAL))
    if passage.turn and passage.called:
        add(passage.turn, passage.last or over, *_call(passage, origin))
    if passage.first:
        if passage.stream:
            add(passage.first, over, otlp.named("stream", otlp.INTERNAL))
        else:
            add(passage.last, over, otlp.named("translate", otlp.INTERNAL))
    start, end = int((offset + began) * 1e9), int((offset + over) * 1e9)
    made.append(otlp.span(trace_id, root, trace.parent, start, end, _request(passage, origin)))
    return made


def _request(passage: Passage, origin: Origin) -> list[bytes]:
    receipt = passage.receipt
    fields = [
        otlp.named(f"{receipt.method} {receipt.path}", otlp.SERVER),
        otlp.REMOTE if passage.trace.parent else otlp.LOCAL,
        otlp.word("http.request.method", receipt.method),
        otlp.word("http.route", receipt.path),
        otlp.word("url.path", receipt.path),
        otlp.word("url.scheme", origin.scheme),
        otlp.number("http.response.status_code", receipt.status),
        otlp.text("fittengate.request_id", receipt.request_id),
        otlp.word("fittengate.dialect", receipt.dialect),
        otlp.word("fittengate.outcome", receipt.outcome),
    ]
    if receipt.fault is not None:
        fields.append(otlp.word("error.type", receipt.fault))
        if not receipt.fault.startswith(("caller_", "policy_")):
            fields.append(otlp.ERROR)
    return fields


def _call(passage: Passage, origin: Origin) -> list[bytes]:
    receipt = passage.receipt
    asked = (passage.asked or receipt.model)[:MAX_MODEL_CHARS]
    fields = [
        _called(passage.operation, asked, origin),
        otlp.word("gen_ai.response.model", receipt.model),
        otlp.truth("gen_ai.request.stream", passage.stream),
    ]
    if passage.first:
        fields.append(otlp.seconds("gen_ai.response.time_to_first_chunk", passage.first - passage.turn))
    if (usage := receipt.usage) is not None:
        fields.append(otlp.number("gen_ai.usage.input_tokens", usage.input_tokens))
        fields.append(otlp.number("gen_ai.usage.output_tokens", usage.output_tokens))
        if usage.reasoning_tokens:
            fields.append(otlp.number("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens))
        fields.append(otlp.truth("fittengate.usage.estimated", usage.estimated))
    if passage.reason is not None:
        fields.append(otlp.words("gen_ai.response.finish_reasons", (_REASONS[passage.reason],)))
    if receipt.fault is not None:
        fields.append(otlp.word("error.type", receipt.fault))
        if not receipt.fault.startswith(("caller_", "policy_")):
            fields.append(otlp.ERROR)
    return fields


def _called(operation: str, asked: str, origin: Origin) -> bytes:
    return b"".join(
        (
            otlp.named(f"{operation} {asked}", otlp.CLIENT),
            otlp.word("gen_ai.operation.name", operation),
            otlp.word("gen_ai.provider.name", origin.provider),
            otlp.word("gen_ai.request.model", asked),
            otlp.word("server.address", origin.address),
            otlp.number("server.port", origin.port),
        )
    )
