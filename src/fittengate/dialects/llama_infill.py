"""llama.cpp's code completion: ``POST /infill``, whole and streamed, as its editor plugins send it.

Shapes from the README of llama.cpp's server ("POST /infill", "POST /completion"). Every request here is a code
completion. Other files (``input_extra``) have no place in the service's request: they are ignored and reported. What
the answer tells beside the text, plugins show in a status line, and one of them fails where ``generation_settings``
are missing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fittengate.core.ask import FillAsk, Sampling, Wishes
from fittengate.core.caller import Scope
from fittengate.core.events import Ended
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.limits import LimitState
from fittengate.core.reply import Reply, StopReason, Usage
from fittengate.dialects._fields import (
    Check,
    bad,
    flag,
    known,
    look_over,
    message_of,
    model_name,
    read_object,
    text_of,
    whole_number,
)
from fittengate.dialects._fim_markers import MAX_FILL_STOPS
from fittengate.dialects._openai import limit_headers, stops
from fittengate.dialects._text_writer import TextWriter
from fittengate.dialects.base import EVENTS, Head, StreamForm
from fittengate.lib import sse
from fittengate.lib.jsonio import to_json


class InfillAsk(FillAsk, frozen=True):
    """A FillAsk, and which parts of the answer its client wants."""

    fields: tuple[str, ...] = ()
    """Each with the objects that it stands in before it, ``timings/prompt_n``; empty means all. Streams have all."""


class LlamaInfill:
    """The dialect. Holds nothing, so one serves every request."""

    name: str = "llama_infill"
    paths: tuple[str, ...] = ("/infill", "/v1/infill")
    id_headers: tuple[bytes, ...] = ()
    scope: Scope = "completion"
    tells_input: bool = False
    form: StreamForm = EVENTS

    def read(self, body: bytes) -> InfillAsk:
        """Return what the client wants. Raises Fault: caller_bad_request.

        ``prompt`` is the part of the line before the cursor. An ``n_predict`` of 0, with which plugins warm a cache up,
        asks for no text, and one below 0 for no limit.
        """
        fields = read_object(body)
        ignored = look_over(fields, FIELDS)
        get = fields.get
        if get("input_prefix") is None and get("prompt") is None:
            raise bad("input_prefix is missing.", "input_prefix")
        most = -1 if get("n_predict") is None else whole_number(get("n_predict"), "n_predict")
        stop = None if get("stop") == "" else get("stop")
        sampling = Sampling(None if most < 0 else most, stops(stop, MAX_FILL_STOPS))
        return InfillAsk(
            text_of(fields, "input_prefix") + text_of(fields, "prompt"),
            text_of(fields, "input_suffix"),
            "",
            "",
            model_name(get("model")),
            sampling,
            Wishes(flag(get("stream"), "stream"), show_thoughts=False),
            ignored,
            tuple(get("response_fields") or ()),
        )

    def writer(self, ask: InfillAsk, head: Head) -> "InfillWriter":
        """Return the writer of a streamed reply."""
        return InfillWriter(head, ask)

    def whole(self, reply: Reply, ask: InfillAsk, head: Head) -> bytes:
        """Return the body of an unstreamed reply, or the parts of it that are wanted."""
        last = _last(head, ask, reply.text, Ended(reply.reason, reply.usage, reply.stop_sequence))
        return to_json(_parts(last, ask.fields) if ask.fields else last)

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        return to_json(_error(fault, request_id))

    def status(self, fault: Fault) -> int:
        """Return the fault's own status."""
        return fault.status

    def limit_headers(self, state: LimitState) -> list[tuple[bytes, bytes]]:
        """Return the headers that OpenAI has for it."""
        return limit_headers(state)


def _extra(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is not list:
        raise bad(f"{name} must be a list.", name)
    if value:
        ignored.append(name)


def _fields(value: Any, name: str, _ignored: list[str]) -> None:
    if type(value) is not list:
        raise bad(f"{name} must be a list.", name)
    for index, item in enumerate(value):
        if type(item) is not str:
            raise bad("A field must be a string.", f"{name}[{index}]")


# The format has dozens of options for the sampling of a local model: like every unknown field they are reported.
FIELDS: Mapping[str, Check] = {
    "input_prefix": known,
    "input_suffix": known,
    "prompt": known,
    "n_predict": known,
    "stop": known,
    "stream": known,
    "model": known,
    "input_extra": _extra,
    "response_fields": _fields,
    # They promise nothing about the answer.
    "cache_prompt": known,
    "id_slot": known,
    "n_indent": known,
}

_STOP_TYPE: Mapping[StopReason, str] = {
    StopReason.DONE: "eos",
    StopReason.STOP_SEQUENCE: "word",
    StopReason.LENGTH: "limit",
    # No tools can be given here, so no reply ends so; if one did, it would have stopped.
    StopReason.TOOL_CALLS: "eos",
}


_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    # It has none for too many requests: both mean later.
    429: "unavailable_error",
    500: "server_error",
    502: "server_error",
    503: "unavailable_error",
    504: "server_error",
}
"""What llama.cpp calls an error of each status; one of another status is called by its code."""


def _piece(head: Head, text: str) -> dict[str, Any]:
    return {"index": 0, "id": f"infill-{head.id}", "content": text, "tokens": [], "stop": False}


def _last(head: Head, ask: InfillAsk, text: str, ended: Ended) -> dict[str, Any]:
    limit = ask.sampling.max_tokens
    return _piece(head, text) | {
        "stop": True,
        "model": head.model,
        "tokens_evaluated": ended.usage.input_tokens,
        "tokens_predicted": ended.usage.output_tokens,
        "tokens_cached": 0,
        "truncated": False,
        "stop_type": _STOP_TYPE[ended.reason],
        "stopping_word": ended.stop_sequence or "",
        "generation_settings": {
            "n_predict": -1 if limit is None else limit,
            "stop": ask.sampling.stop,
            "stream": ask.wishes.stream,
        },
        "timings": _timings(head, ended.usage),
    }


def _timings(head: Head, usage: Usage) -> dict[str, Any]:
    """Return what llama.cpp tells of times, in milliseconds; until its first event a reply is thought to be read."""
    first, total = head.times()
    told: dict[str, Any] = {}
    for name, count, seconds in (
        ("prompt", usage.input_tokens, first),
        ("predicted", usage.output_tokens, total - first),
    ):
        told |= {
            f"{name}_n": count,
            f"{name}_ms": seconds * 1000,
            f"{name}_per_token_ms": seconds * 1000 / count if count else 0.0,
            f"{name}_per_second": count / seconds if seconds else 0.0,
        }
    return told


def _parts(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the parts of an answer under the names by which they were asked for, those left out that there are not."""
    found: dict[str, Any] = {}
    for name in names:
        holder, slash, inner = name.partition("/")
        holding = value.get(holder)
        if not slash and holder in value:
            found[name] = holding
        elif type(holding) is dict and inner in holding:
            found[name] = holding[inner]
    return found


def _error(fault: Fault, request_id: str | None = None) -> dict[str, Any]:
    """Return llama.cpp's error object; ``param`` is ours."""
    sort = _TYPES.get(fault.status, fault.code)
    if fault.kind is FaultKind.CALLER_TOO_LONG:
        sort = "exceed_context_size_error"
    message = message_of(fault, request_id)
    return {"error": {"code": fault.status, "message": message, "type": sort, "param": fault.param}}


class InfillWriter(TextWriter):
    """Writes pieces of text; the last event says that it is the last, and why."""

    __slots__ = ("_ask", "_head")

    def __init__(self, head: Head, ask: InfillAsk) -> None:
        """Start with nothing written; ``ask`` is what the last event repeats."""
        super().__init__()
        self._head = head
        self._ask = ask

    def _piece(self, text: str) -> bytes:
        return sse.data(to_json(_piece(self._head, text)))

    def _last(self, ended: Ended) -> bytes:
        return sse.data(to_json(_last(self._head, self._ask, "", ended)))

    def _broken(self, fault: Fault) -> bytes:
        return sse.data(to_json(_error(fault)))
