"""A response object, with every key that OpenAI's has: zero, null or the vendor's default where nothing is known.

Shapes from OpenAI's API reference (responses, "The response object").
"""

from collections.abc import Mapping
from typing import Any

from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import Usage
from fittengate.dialects._responses_ask import ResponsesAsk
from fittengate.dialects._responses_kept import PREFIX
from fittengate.dialects.base import Head
from fittengate.lib.jsonio import to_json

_DEFAULTS: Mapping[str, Any] = {
    "background": False,
    "conversation": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "tool_choice": "auto",
    "truncation": "disabled",
    "user": None,
}

_WHOLE = ("max_output_tokens", "max_tool_calls", "top_logprobs")
"""Numbers that a client may have written as 1.0; one of a typed language does not read them so."""


def echo(fields: Mapping[str, Any], tools: bytes, *, keep: bool) -> bytes:
    """Return what a response object repeats of its request, as JSON without its braces; ``tools`` is a list as JSON."""
    said: dict[str, Any] = {}
    for name, default in _DEFAULTS.items():
        value = fields.get(name)
        said[name] = default if value is None else value
    for name in _WHOLE:
        if type(said[name]) is float:
            said[name] = int(said[name])
    choice = said["tool_choice"]
    if type(choice) is dict and choice["type"] == "allowed_tools":
        said["tool_choice"] = {**choice, "mode": choice.get("mode") or "auto"}
    text, reasoning = fields.get("text") or {}, fields.get("reasoning") or {}
    said["text"] = {"format": _format(text.get("format")), "verbosity": text.get("verbosity") or "medium"}
    said["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    # Whatever was wished for, there is no other.
    said["service_tier"] = "default"
    return b'%s,"tools":%s,"store":%s' % (to_json(said)[1:-1], tools, to_json(keep))


def _format(given: Any) -> Any:
    """Return the form of the text with the keys that clients of typed languages insist on."""
    if given is None:
        return {"type": "text"}
    if given["type"] != "json_schema":
        return given
    return {**given, "name": given.get("name") or "", "schema": given.get("schema") or {}}


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return a ``usage`` object with every count that OpenAI sends; what the service does not have is 0."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def error_object(fault: Fault) -> dict[str, Any]:
    """Return the ``error`` of a failed response.

    Its codes are a closed list, of which these are the ones that fit. A prompt that is too long has none there: it
    keeps the code that it has before a response begins, by which agents know it.
    """
    if fault.kind is FaultKind.CALLER_TOO_LONG:
        code = fault.code
    elif fault.status == 429:
        code = "rate_limit_exceeded"
    else:
        code = "server_error" if fault.status >= 500 else "invalid_prompt"
    return {"code": code, "message": fault.message}


class Frame:
    """What is the same in all response objects of one reply."""

    __slots__ = ("_after", "_before", "_head", "_model")

    def __init__(self, ask: ResponsesAsk, head: Head) -> None:
        self._head = head
        form = b'{"id":"%s%s","object":"response","created_at":%d,"completed_at":'
        self._before = form % (PREFIX.encode(), head.id.encode(), head.created)
        self._model = b',"model":%s,' % to_json(head.model)
        self._after = b"," + ask.echo + b"}"

    def response(
        self,
        status: str,
        output: list[bytes],
        *,
        usage: Usage | None = None,
        incomplete: str | None = None,
        fault: Fault | None = None,
    ) -> bytes:
        """Return a response object; ``output`` is its items as JSON, ``incomplete`` why it has an early end."""
        rest = {
            "status": status,
            "error": None if fault is None else error_object(fault),
            "incomplete_details": None if incomplete is None else {"reason": incomplete},
            "usage": None if usage is None else usage_object(usage),
        }
        completed = b"%d" % (self._head.created + self._head.times()[1]) if status == "completed" else b"null"
        before = (self._before, completed, self._model, to_json(rest)[1:-1])
        return b"".join((*before, b',"output":[', b",".join(output), b"]", self._after))
