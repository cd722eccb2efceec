"""Anthropic's Messages API: ``POST /v1/messages``, whole and streamed, and the count of its tokens.

Shapes from Anthropic's API reference ("Create a Message", "Count tokens in a Message"). Reading is strict about what it
understands and says the place of what is wrong; what it does not know it leaves alone and reports.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from fittengate.core.ask import Ask, ReplyFormat, Sampling, ToolUse, Wishes
from fittengate.core.caller import Scope
from fittengate.core.conversation import Conversation
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.limits import LimitState
from fittengate.core.record import Recalled
from fittengate.core.reply import Reply
from fittengate.dialects._anthropic import THREAD_UNSUPPORTED, error_body, limit_headers, status
from fittengate.dialects._anthropic_content import Contents
from fittengate.dialects._anthropic_stream import MessageWriter, message
from fittengate.dialects._anthropic_tools import Tools
from fittengate.dialects._fields import (
    MAX_IGNORED,
    Check,
    as_json,
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
from fittengate.dialects.base import EVENTS, Head, StreamForm
from fittengate.lib.jsonio import shown, to_json
from fittengate.lib.memo import Recurring

MAX_STOPS = 64
"""Most stop sequences. Our own limit, far above what clients send: the answer is searched for each of them."""


class AnthropicMessages:
    """The dialect. Holds nothing, so one serves every request."""

    name: str = "anthropic_messages"
    paths: tuple[str, ...] = ("/v1/messages", "/messages", "/v1/v1/messages")
    count_paths: tuple[str, ...] = tuple([f"{path}/count_tokens" for path in paths])
    """Every path at which the tokens of a request are counted: :meth:`read_count`, then :meth:`count_body`."""

    id_headers: tuple[bytes, ...] = (b"request-id",)
    scope: Scope = "chat"
    tells_input: bool = True
    form: StreamForm = EVENTS

    def read(self, body: bytes) -> Ask:
        """Return what the client wants. Raises Fault: caller_bad_request, caller_unsupported."""
        fields, ask = _ask(body)
        limit = fields.get("max_tokens")
        if limit is None:
            raise bad("max_tokens is missing.", "max_tokens")
        limit = whole_number(limit, "max_tokens", 1)
        return replace(ask, sampling=Sampling(limit, _stops(fields.get("stop_sequences"))))

    def read_count(self, body: bytes, recalled: Recalled) -> Ask:
        """Return what is to be counted: an Ask like any other, without limit, for ``max_tokens`` is not needed.

        Nothing is ever recalled. Raises Fault: caller_bad_request, caller_unsupported.
        """
        del recalled
        return _ask(body)[1]

    def count_body(self, tokens: int) -> bytes:
        """Return the body that tells a count."""
        return to_json({"input_tokens": tokens})

    def writer(self, ask: Ask, head: Head) -> MessageWriter:
        """Return the writer of a streamed reply."""
        return MessageWriter(head, show_thoughts=ask.wishes.show_thoughts)

    def whole(self, reply: Reply, ask: Ask, head: Head) -> bytes:
        """Return the body of an unstreamed reply: one message."""
        return message(reply, head, show_thoughts=ask.wishes.show_thoughts)

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        return error_body(fault, request_id)

    def status(self, fault: Fault) -> int:
        """Return the HTTP status of a fault: 529 where the gateway is busy or draining."""
        return status(fault)

    def limit_headers(self, state: LimitState) -> list[tuple[bytes, bytes]]:
        """Return Anthropic's ``anthropic-ratelimit-*``."""
        return limit_headers(state)


# An agent sends the same tools in every turn, and reading 60 of them costs more than all the rest of a request.
_KNOWN_TOOLS: Recurring[Tools] = Recurring("tools", entries=16, most=128 * 1024, read_object=read_object)


def _ask(body: bytes) -> tuple[dict[str, Any], Ask]:
    """Return the fields of a request, ``tools`` perhaps not among them, and what is asked."""
    fields, tools = _KNOWN_TOOLS.read(body)
    if fields.get("thread") is not None:
        # Only the newest message comes with it. Without the rest the answer would be about nothing.
        text = "Conversations are not kept here. Send all messages, without thread."
        raise Fault(FaultKind.CALLER_UNSUPPORTED, text, param="thread", code=THREAD_UNSUPPORTED)
    ignored = look_over(fields, _FIELDS)
    get = fields.get
    if tools is None:
        tools = Tools(get("tools"))
        if get("tools"):
            _KNOWN_TOOLS.keep(body, tools)
    choice = tools.choice(get("tool_choice"))
    contents = Contents(tools.names)
    messages = (*contents.system(get("system")), *contents.messages(get("messages")))
    if messages[-1].role == "assistant":
        # The answer is to go on inside its last words (vendor: prefill); the service begins a new one.
        ignored = (*ignored, "messages.prefill")
    offered = tools.offered(contents.found, choice)
    if choice.choice == "required" and not offered:
        choice = ToolUse("auto", parallel=choice.parallel)
    return fields, Ask(
        Conversation(messages, offered),
        model_name(get("model")),
        wishes=Wishes(flag(get("stream"), "stream"), include_usage=True, show_thoughts=_shown(get("thinking"))),
        tool_use=choice,
        ignored=(*ignored, *tools.left_out, *contents.left_out)[:MAX_IGNORED],
        reply_format=_reply_format(get("output_config"), get("output_format")),
    )


def _shown(thinking: Any) -> bool:
    """Return whether reasoning is to be shown; ``thinking`` was checked already."""
    if thinking is None or thinking["type"] not in ("enabled", "adaptive"):
        return False
    return bool(thinking.get("display") != "omitted")


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if type(value) is not list:
        raise bad("stop_sequences must be a list of strings.", "stop_sequences")
    if len(value) > MAX_STOPS:
        raise bad(f"stop_sequences must hold at most {MAX_STOPS} strings.", "stop_sequences")
    for index, item in enumerate(value):
        if type(item) is not str or not item:
            raise bad("A stop sequence must be a string that is not empty.", f"stop_sequences[{index}]")
    return tuple(value)


def _thinking(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    kind, display = value.get("type"), value.get("display")
    if type(kind) is not str:
        raise bad("type must be enabled, adaptive or disabled.", f"{name}.type")
    if display is not None and type(display) is not str:
        raise bad("display must be a string.", f"{name}.display")
    if kind not in ("enabled", "adaptive", "disabled"):
        ignored.append(f"{name}.type")
    budget = value.get("budget_tokens")
    if budget is not None:
        whole_number(budget, f"{name}.budget_tokens", 1)
        ignored.append(f"{name}.budget_tokens")


def _output_config(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    for key, option in value.items():
        if option is None:
            continue
        if key != "format":
            ignored.append(f"{name}.{shown(key)}")


def _reply_format(config: Any, older: Any) -> ReplyFormat | None:
    """Return the form that the text must have; ``older`` is the field of the time before ``output_config``.

    The vendor promises that the text fits, so text that does not is a fault.
    """
    form, place = (config or {}).get("format"), "output_config.format"
    if form is None:
        form, place = older, "output_format"
    if form is None:
        return None
    if type(form) is not dict or form.get("type") != "json_schema":
        raise bad("format must be an object with type json_schema and a schema.", place)
    if type(form.get("schema")) is not dict:
        raise bad("schema must be a JSON schema, an object.", f"{place}.schema")
    where = f"{place}.schema"
    return ReplyFormat(None, "", as_json(form["schema"], where), strict=True, where=where)


def _top_k(value: Any, name: str, ignored: list[str]) -> None:
    whole_number(value, name, 0)
    ignored.append(name)


def _mcp_servers(value: Any, name: str, _ignored: list[str]) -> None:
    if type(value) is not list:
        raise bad(f"{name} must be a list.", name)
    if value:
        raise unsupported("MCP servers cannot be called from here. Give their tools as tools.", name)


def _container(_value: Any, name: str, _ignored: list[str]) -> None:
    raise unsupported("There are no containers here. Leave it out.", name)


_FIELDS: Mapping[str, Check] = {
    # Read by AnthropicMessages.read and _ask.
    "model": known,
    "max_tokens": known,
    "messages": known,
    "system": known,
    "tools": known,
    "tool_choice": known,
    "stream": known,
    "stop_sequences": known,
    "thread": known,
    "thinking": _thinking,
    # The service has no such switches, and the answer stays an answer without them: ignored and reported.
    "temperature": between(0, 1),
    "top_p": between(0, 1),
    "top_k": _top_k,
    "output_config": _output_config,
    "output_format": known,
    "context_management": of_type(dict, report=True),
    # They promise nothing about the answer: ignored in silence.
    "metadata": of_type(dict),
    "service_tier": of_type(str),
    "cache_control": known,
    # To ignore these would change or claim something: refused, unless they ask for nothing.
    "mcp_servers": _mcp_servers,
    "container": _container,
}
