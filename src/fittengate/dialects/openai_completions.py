"""OpenAI's text completions: ``POST /v1/completions``, whole and streamed.

Shapes from OpenAI's API reference ("Completions"). A request with a ``suffix``, a prompt in which a cursor is marked,
or the model that completes code is a code completion; any other prompt is answered as a question.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fittengate.core.ask import COMPLETION, Ask, FillAsk, Sampling, Several, Wishes
from fittengate.core.caller import Scope
from fittengate.core.conversation import Conversation, Message, Text
from fittengate.core.events import Ended
from fittengate.core.faults import Fault
from fittengate.core.limits import LimitState
from fittengate.core.reply import Reply, StopReason, Usage, usage_of_all
from fittengate.dialects._fields import (
    Check,
    bad,
    between,
    flag,
    known,
    look_over,
    model_name,
    of_type,
    read_object,
    unsupported,
    whole_number,
)
from fittengate.dialects._fim_markers import MAX_FILL_STOPS, read_marked
from fittengate.dialects._openai import MAX_CHOICES, MAX_STOPS, choices, error_body, limit_headers, stops, usage_object
from fittengate.dialects._openai_choices import ChoicesChunkWriter
from fittengate.dialects._openai_fields import logit_bias, seed, stream_options
from fittengate.dialects._tabby_segments import read_segments
from fittengate.dialects._text_writer import TextWriter
from fittengate.dialects.base import EVENTS, Head, StreamForm
from fittengate.lib import sse
from fittengate.lib.jsonio import to_json


class OpenAICompletions:
    """The dialect. Holds nothing, so one serves every request."""

    name: str = "openai_completions"
    paths: tuple[str, ...] = (
        "/v1/completions",
        "/completions",
        "/v1/v1/completions",
        "/beta/completions",
        "/v1/beta/completions",
    )
    id_headers: tuple[bytes, ...] = ()
    scope: Scope | None = None
    tells_input: bool = False
    form: StreamForm = EVENTS

    def read(self, body: bytes) -> Ask | FillAsk | Several:
        """Return what the client wants; Several for more prompts than one, or more answers than one to each.

        Raises Fault: caller_bad_request, caller_unsupported.
        """
        fields = read_object(body)
        if fields.get("segments") is not None:
            return read_segments(fields)
        ignored = look_over(fields, FIELDS)
        get = fields.get
        count = choices(get("n")) if get("n") is not None else 1
        if get("best_of") is not None and whole_number(get("best_of"), "best_of", 1) != count:
            raise unsupported("Answers cannot be compared. Leave best_of out, or set it to n.", "best_of")
        prompts = _prompts(get("prompt"))
        if len(prompts) * count > MAX_CHOICES:
            text = f"At most {MAX_CHOICES} choices can be made, prompts times n. Send fewer prompts at a time."
            raise unsupported(text, "prompt")
        asks = [_ask(fields, prompt, place, ignored) for prompt, place in prompts for _ in range(count)]
        return asks[0] if len(asks) == 1 else Several(tuple(asks))

    def writer(self, ask: Ask | FillAsk, head: Head) -> "CompletionWriter":
        """Return the writer of a streamed reply."""
        return CompletionWriter(head, ask.wishes)

    def choices_writer(self, asks: Several, head: Head) -> ChoicesChunkWriter:
        """Return the writer of a streamed reply with several answers."""
        return ChoicesChunkWriter([CompletionWriter(head, asks.wishes, index) for index in range(len(asks.asks))])

    def whole(self, reply: Reply, _ask: Ask | FillAsk, head: Head) -> bytes:
        """Return the body of an unstreamed reply: one ``text_completion``."""
        return _body(head, [_choice(0, reply.text, FINISH[reply.reason])], reply.usage)

    def whole_choices(self, replies: Sequence[Reply], _asks: Several, head: Head) -> bytes:
        """Return the body of an unstreamed reply with several answers; its usage is that of all of them."""
        made = [_choice(index, reply.text, FINISH[reply.reason]) for index, reply in enumerate(replies)]
        return _body(head, made, usage_of_all(reply.usage for reply in replies))

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        return error_body(fault, request_id, "prompt")

    def status(self, fault: Fault) -> int:
        """Return the fault's own status."""
        return fault.status

    def limit_headers(self, state: LimitState) -> list[tuple[bytes, bytes]]:
        """Return the headers that OpenAI has for it."""
        return limit_headers(state)


def _ask(fields: Mapping[str, Any], prompt: str, place: str, ignored: tuple[str, ...]) -> Ask | FillAsk:
    get = fields.get
    options = get("stream_options") or {}
    model = model_name(get("model"))
    most = None if get("max_tokens") is None else whole_number(get("max_tokens"), "max_tokens", 1)
    # Reasoning has no place in this format.
    include_usage = flag(options.get("include_usage"), "stream_options.include_usage")
    wishes = Wishes(flag(get("stream"), "stream"), include_usage, show_thoughts=False)
    suffix = get("suffix")
    if suffix is not None and type(suffix) is not str:
        raise bad("suffix must be a string.", "suffix")
    marked = read_marked(prompt, place) if suffix is None else None
    if suffix is None and marked is None and (model is None or model.lower() != COMPLETION):
        if not prompt:
            raise bad("prompt must not be empty.", place)
        question = Conversation((Message("user", (Text(prompt),)),))
        return Ask(question, model, Sampling(most, stops(get("stop"), MAX_STOPS)), wishes, ignored=ignored)
    sampling = Sampling(most, stops(get("stop"), MAX_FILL_STOPS))
    if marked is not None:
        return FillAsk(marked.prefix, marked.suffix, marked.file_name, "", model, sampling, wishes, ignored)
    return FillAsk(prompt, suffix or "", "", "", model, sampling, wishes, ignored)


def _prompts(value: Any) -> list[tuple[str, str]]:
    """Return each prompt with its place."""
    if value is None:
        raise bad("prompt is missing.", "prompt")
    if type(value) is str:
        return [(value, "prompt")]
    if type(value) is not list:
        raise bad("prompt must be a string or a list of strings.", "prompt")
    if not value:
        raise bad("prompt must not be empty.", "prompt")
    for index, item in enumerate(value):
        if type(item) is int or type(item) is list:
            raise unsupported("Prompts of token numbers cannot be read. Send text.", f"prompt[{index}]")
        if type(item) is not str:
            raise bad("A prompt must be a string.", f"prompt[{index}]")
    return [(item, f"prompt[{index}]") for index, item in enumerate(value)]


def _echo(value: Any, name: str, _ignored: list[str]) -> None:
    if flag(value, name):
        raise unsupported("The prompt is not given back. Leave echo out.", name)


def _logprobs(value: Any, name: str, _ignored: list[str]) -> None:
    if value is not False:
        whole_number(value, name, 0)
        raise unsupported("Token probabilities are not known. Leave logprobs out.", name)


FIELDS: Mapping[str, Check] = {
    # Read above.
    "prompt": known,
    "suffix": known,
    "model": known,
    "stream": known,
    "stream_options": stream_options,
    "max_tokens": known,
    "stop": known,
    "n": known,
    "best_of": known,
    # The service has no such switches: ignored and reported.
    "temperature": between(0, 2),
    "top_p": between(0, 1),
    "presence_penalty": between(-2, 2),
    "frequency_penalty": between(-2, 2),
    "seed": seed,
    # It promises nothing about the answer.
    "user": of_type(str),
    # To ignore these would change or claim something.
    "echo": _echo,
    "logprobs": _logprobs,
    "logit_bias": logit_bias,
}

FINISH: Mapping[StopReason, str] = {
    StopReason.DONE: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.LENGTH: "length",
    # No tools can be given here, so no reply ends so; if one did, it would have stopped.
    StopReason.TOOL_CALLS: "stop",
}

_DONE = sse.data(b"[DONE]")


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _body(head: Head, made: list[dict[str, Any]], usage: Usage) -> bytes:
    return to_json(_object(head, made) | {"usage": usage_object(usage)})


def _object(head: Head, made: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"cmpl-{head.id}",
        "object": "text_completion",
        "created": head.created,
        "model": head.model,
        "choices": made,
    }


class CompletionWriter(TextWriter):
    """Writes ``text_completion`` chunks."""

    __slots__ = ("_head", "_index", "_wishes")

    def __init__(self, head: Head, wishes: Wishes, index: int = 0) -> None:
        """``index`` is the answer's place among several."""
        super().__init__()
        self._head = head
        self._wishes = wishes
        self._index = index

    def finish(self) -> bytes:
        """Return the finish chunk alone. Raises ValueError unless Ended was fed."""
        return self._finished(self._taken())

    def end(self, usage: Usage) -> bytes:
        """Return what comes after every finish: the usage chunk if it was asked for, and ``[DONE]``."""
        return (self._chunk([], usage) if self._wishes.include_usage else b"") + _DONE

    def _piece(self, text: str) -> bytes:
        return self._chunk([_choice(self._index, text, None)])

    def _last(self, ended: Ended) -> bytes:
        return self._finished(ended) + self.end(ended.usage)

    def _finished(self, ended: Ended) -> bytes:
        return self._chunk([_choice(self._index, "", FINISH[ended.reason])])

    def _broken(self, fault: Fault) -> bytes:
        return sse.data(error_body(fault, prompt="prompt"))

    def _chunk(self, made: list[dict[str, Any]], usage: Usage | None = None) -> bytes:
        value = _object(self._head, made)
        if self._wishes.include_usage:
            value["usage"] = None if usage is None else usage_object(usage)
        return sse.data(to_json(value))
