"""Mistral's code completion: ``POST /v1/fim/completions``, whole and streamed.

Shapes from Mistral's API reference ("Fim Completion"): the request has a prompt and a suffix, the answer is that of its
chat. Every request here is a code completion, whatever its model.
"""

from collections.abc import Mapping
from typing import Any

from fittengate.core.ask import FillAsk, Sampling, Wishes
from fittengate.core.caller import Scope
from fittengate.core.events import Ended
from fittengate.core.faults import Fault
from fittengate.core.limits import LimitState
from fittengate.core.reply import Reply, StopReason, Usage
from fittengate.dialects._fields import (
    Check,
    bad,
    between,
    flag,
    known,
    look_over,
    message_of,
    model_name,
    of_type,
    read_object,
    text_of,
    unsupported,
    whole_number,
)
from fittengate.dialects._fim_markers import MAX_FILL_STOPS, read_marked
from fittengate.dialects._openai import limit_headers, stops, type_of
from fittengate.dialects._openai_fields import seed, stream_options
from fittengate.dialects._text_writer import TextWriter
from fittengate.dialects.base import EVENTS, Head, StreamForm
from fittengate.lib import sse
from fittengate.lib.jsonio import to_json


class MistralFim:
    """The dialect. Holds nothing, so one serves every request."""

    name: str = "mistral_fim"
    paths: tuple[str, ...] = ("/v1/fim/completions", "/fim/completions", "/v1/v1/fim/completions")
    id_headers: tuple[bytes, ...] = ()
    scope: Scope = "completion"
    tells_input: bool = False
    form: StreamForm = EVENTS

    def read(self, body: bytes) -> FillAsk:
        """Return what the client wants. Raises Fault: caller_bad_request, caller_unsupported.

        A suffix counts; where there is none, a prompt that marks its cursor is read as such.
        """
        fields = read_object(body)
        ignored = look_over(fields, FIELDS)
        get = fields.get
        if get("prompt") is None:
            raise bad("prompt is missing.", "prompt")
        prompt, suffix = text_of(fields, "prompt"), text_of(fields, "suffix")
        marked = read_marked(prompt, "prompt") if get("suffix") is None else None
        prompt, suffix, file_name = marked or (prompt, suffix, "")
        stop = None if get("stop") == "" else get("stop")
        most = None if get("max_tokens") is None else whole_number(get("max_tokens"), "max_tokens", 1)
        sampling = Sampling(most, stops(stop, MAX_FILL_STOPS))
        options = get("stream_options") or {}
        usage = flag(options.get("include_usage"), "stream_options.include_usage")
        wishes = Wishes(flag(get("stream"), "stream"), usage, show_thoughts=False)
        model = model_name(get("model"))
        return FillAsk(prompt, suffix, file_name, "", model, sampling, wishes, ignored)

    def writer(self, _ask: FillAsk, head: Head) -> "FimWriter":
        """Return the writer of a streamed reply."""
        return FimWriter(head)

    def whole(self, reply: Reply, _ask: FillAsk, head: Head) -> bytes:
        """Return the body of an unstreamed reply, in the shape of a chat's."""
        message = {"role": "assistant", "content": reply.text, "tool_calls": None}
        choice = {"index": 0, "message": message, "finish_reason": _FINISH[reply.reason]}
        return to_json(_object(head, "chat.completion", choice) | {"usage": _usage(reply.usage)})

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        return to_json(_error(fault, request_id))

    def status(self, fault: Fault) -> int:
        """Return the fault's own status."""
        return fault.status

    def limit_headers(self, state: LimitState) -> list[tuple[bytes, bytes]]:
        """Return the headers that OpenAI has for it."""
        return limit_headers(state)


def _n(value: Any, name: str, _ignored: list[str]) -> None:
    if whole_number(value, name, 1) != 1:
        raise unsupported("Only one completion can be made. Leave n out.", name)


def _least(value: Any, name: str, ignored: list[str]) -> None:
    if whole_number(value, name, 0):
        ignored.append(name)


FIELDS: Mapping[str, Check] = {
    # Read above.
    "prompt": known,
    "suffix": known,
    "model": known,
    "stream": known,
    "stream_options": stream_options,
    "max_tokens": known,
    "stop": known,
    # The service has no such switches: ignored and reported.
    "temperature": between(0, 2),
    "top_p": between(0, 1),
    "random_seed": seed,
    "min_tokens": _least,
    # They promise nothing about the answer.
    "metadata": known,
    "prompt_cache_key": of_type(str),
    "n": _n,
}

_FINISH: Mapping[StopReason, str] = {
    StopReason.DONE: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.LENGTH: "length",
    # No tools can be given here, so no reply ends so; if one did, it would have stopped.
    StopReason.TOOL_CALLS: "stop",
}

_DONE = sse.data(b"[DONE]")


def _object(head: Head, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"cmpl-{head.id}",
        "object": kind,
        "created": head.created,
        "model": head.model,
        "choices": [choice],
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _error(fault: Fault, request_id: str | None = None) -> dict[str, Any]:
    """Return Mistral's error object, which is flat."""
    message = message_of(fault, request_id)
    return {"object": "error", "message": message, "type": type_of(fault), "param": fault.param, "code": fault.code}


class FimWriter(TextWriter):
    """Writes chunks of a chat's shape; the first one says who speaks, the last one has finish and usage."""

    __slots__ = ("_head", "_started")

    def __init__(self, head: Head) -> None:
        """Start with nothing written; ``head`` is what all chunks have in common."""
        super().__init__()
        self._head = head
        self._started = False

    def _piece(self, text: str) -> bytes:
        return sse.data(to_json(self._chunk(text, None)))

    def _last(self, ended: Ended) -> bytes:
        last = self._chunk("", _FINISH[ended.reason]) | {"usage": _usage(ended.usage)}
        return sse.data(to_json(last)) + _DONE

    def _broken(self, fault: Fault) -> bytes:
        return sse.data(to_json({"error": _error(fault)}))

    def _chunk(self, text: str, finish: str | None) -> dict[str, Any]:
        delta = {"content": text} if self._started else {"role": "assistant", "content": text}
        self._started = True
        return _object(self._head, "chat.completion.chunk", {"index": 0, "delta": delta, "finish_reason": finish})
