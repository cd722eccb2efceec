"""What the OpenAI wire formats truly share: stop sequences, the error body, usage, the model list.

Knows no endpoint and no upstream. Shapes from OpenAI's API reference; the model list is Anthropic's at the same time.
What is alike in every vendor's formats stands in ``_fields`` and ``lib.jsonio``.
"""

from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Any

from fittengate.core.caller import ModelCard
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.limits import LimitState
from fittengate.core.reply import Usage
from fittengate.dialects._fields import bad, message_of, unsupported, whole_number
from fittengate.lib.jsonio import to_json

MAX_STOPS = 4
"""OpenAI's own limit on stop sequences."""

MAX_CHOICES = 4
"""So many answers are made for one request: each is a call of its own to the service, all at the same time."""


def choices(value: Any) -> int:
    """Return the number of answers that ``n`` asks for. Raises Fault (caller_bad_request, caller_unsupported)."""
    count = whole_number(value, "n", 1)
    if count > MAX_CHOICES:
        raise unsupported(f"At most {MAX_CHOICES} choices can be made. Set n lower, or send the request again.", "n")
    return count


def stops(value: Any, most: int = MAX_STOPS) -> tuple[str, ...]:
    """Return the sequences in ``stop``: a string, a list of up to ``most``, or null. Raises Fault."""
    if value is None:
        return ()
    if type(value) is str:
        if not value:
            raise bad("stop must not be empty.", "stop")
        return (value,)
    if type(value) is not list:
        raise bad("stop must be a string or a list of strings.", "stop")
    if len(value) > most:
        raise bad(f"stop must hold at most {most} strings.", "stop")
    for index, item in enumerate(value):
        if type(item) is not str or not item:
            raise bad("A stop sequence must be a string that is not empty.", f"stop[{index}]")
    return tuple(value)


def error_body(fault: Fault, request_id: str | None = None, prompt: str = "messages") -> bytes:
    """Return OpenAI's error object; a message about our own side ends with the request id, if there is one.

    ``prompt`` is the field in which the format has what is asked: the place of a prompt that is too long.
    Types as in OpenAI's guide to error codes; a wrong key is an ``invalid_request_error`` there too.
    """
    param = prompt if fault.kind is FaultKind.CALLER_TOO_LONG and fault.param == "messages" else fault.param
    message = message_of(fault, request_id)
    return to_json({"error": {"message": message, "type": type_of(fault), "param": param, "code": fault.code}})


def type_of(fault: Fault) -> str:
    """Return the sort of error that a fault is, in OpenAI's words, which Mistral has taken over."""
    if fault.kind is FaultKind.POLICY_QUOTA:
        return "insufficient_quota"
    if fault.status < 500:
        return "rate_limit_error" if fault.status == 429 else "invalid_request_error"
    return "service_unavailable_error" if fault.status == 503 else "server_error"


def limit_headers(state: LimitState) -> list[tuple[bytes, bytes]]:
    """Return the headers of OpenAI's guide to rate limits; of several limits of a sort they tell the tightest."""
    headers: list[tuple[bytes, bytes]] = []
    if (one := state.requests) is not None:
        headers += (
            (b"x-ratelimit-limit-requests", b"%d" % one.limit),
            (b"x-ratelimit-remaining-requests", b"%d" % one.remaining),
            (b"x-ratelimit-reset-requests", _span(ceil(one.resets_in))),
        )
    if (one := state.tokens) is not None:
        headers += (
            (b"x-ratelimit-limit-tokens", b"%d" % one.limit),
            (b"x-ratelimit-remaining-tokens", b"%d" % one.remaining),
            (b"x-ratelimit-reset-tokens", _span(ceil(one.resets_in))),
        )
    return headers


@lru_cache(128)
def _span(seconds: int) -> bytes:
    """Return a length of time as OpenAI writes it: ``6m0s``, ``1s``. The requests of a second ask for the same ones."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest


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
        "lifecycle": "active",
        "context_window": context_window,
        "max_input_tokens": context_window,
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
