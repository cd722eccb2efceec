"""What a Responses request asks for: the body of ``POST /v1/responses`` as an Ask.

Shapes from OpenAI's API reference (responses, "Create a model response"). Reading is strict about what it understands
and says the place of what is wrong; what it does not know it leaves alone and reports.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fittengate.core.ask import Sampling, Wishes
from fittengate.core.conversation import Conversation, Message, Text
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Recalled
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
    refused,
    top_logprobs,
    unsupported,
    whole_number,
)
from fittengate.dialects._openai_format import reply_format
from fittengate.dialects._responses_ask import ResponsesAsk
from fittengate.dialects._responses_items import Items
from fittengate.dialects._responses_kept import Kept
from fittengate.dialects._responses_object import echo
from fittengate.dialects._responses_tools import Tools
from fittengate.lib.jsonio import shown
from fittengate.lib.memo import Recurring

SEALED = "reasoning.encrypted_content"

# An agent sends the same tools in every turn, and reading 60 of them costs more than all the rest of a request.
_KNOWN_TOOLS: Recurring[Tools] = Recurring("tools", entries=16, most=128 * 1024, read_object=read_object)


def read(body: bytes, recalled: Recalled, *, counting: bool = False) -> ResponsesAsk:
    """Return what the client wants; ``recalled`` is what was kept of the responses that it goes on with.

    Where its tokens are only counted, there need not be any input.

    Raises Fault: caller_bad_request, caller_unsupported. A response that should go on and is not among ``recalled`` is
    ``previous_response_not_found``: left out it would be another conversation.
    """
    fields, declared = _KNOWN_TOOLS.read(body)
    ignored = list(look_over(fields, FIELDS))
    get = fields.get
    if declared is None:
        declared = Tools(get("tools"))
        if get("tools"):
            _KNOWN_TOOLS.keep(body, declared)
    # Items of this request may add to them.
    tools = declared.copy()
    previous = _previous(get("previous_response_id"), recalled)
    kept = Kept(recalled)
    items = Items(tools, kept.item)
    _read_items(items, fields, kept.conversation(previous), counting=counting)
    choice, allowed = tools.choice(get("tool_choice"), get("parallel_tool_calls"))
    offered, forms = tools.offered(choice, allowed)
    limit, store = get("max_output_tokens"), get("store")
    keep = store is None or flag(store, "store")
    reasoning = get("reasoning") or {}
    return ResponsesAsk(
        Conversation(tuple(items.messages), offered),
        model_name(get("model")),
        Sampling(None if limit is None else whole_number(limit, "max_output_tokens", 1)),
        Wishes(flag(get("stream"), "stream"), include_usage=True),
        choice,
        (*ignored, *tools.left_out, *items.left_out)[:MAX_IGNORED],
        reply_format((get("text") or {}).get("format"), "text.format", flat=True),
        echo=echo(fields, tools.echo, keep=keep),
        forms=forms,
        summarised=reasoning.get("summary") is not None or reasoning.get("generate_summary") is not None,
        sealed=SEALED in (get("include") or ()),
        keep=keep,
        previous=previous,
        given=as_json(items.meant(get("input")), "input") if keep and not counting else b"",
    )


def _read_items(items: Items, fields: Mapping[str, Any], before: Iterable[list[Any]], *, counting: bool) -> None:
    """Read ``instructions``, a text or items, then what is gone on with, then ``input``. Raises Fault."""
    instructions, given = fields.get("instructions"), fields.get("input")
    if type(instructions) is not str:
        items.read([] if instructions is None else instructions, "instructions")
    elif instructions:
        items.messages.append(Message("system", (Text(instructions),)))
    told = len(items.messages)
    for old in before:
        items.read(old, "previous_response_id")
    if given is not None:
        items.read(given, "input")
    elif not counting:
        raise bad("input is missing.", "input")
    if len(items.messages) == told and not counting:
        raise bad("input must not be empty.", "input")


def _previous(value: Any, recalled: Recalled) -> str | None:
    if value is None:
        return None
    if type(value) is not str or not value:
        raise bad("previous_response_id must be a string.", "previous_response_id")
    if not recalled.get(value):
        raise Fault(
            FaultKind.CALLER_BAD_REQUEST,
            f"Previous response with id '{shown(value)}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    return value


def _text(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    for key, option in value.items():
        if option is None or key == "format":
            continue
        if key == "verbosity" and option not in ("low", "medium", "high"):
            raise bad("verbosity must be low, medium or high.", f"{name}.verbosity")
        ignored.append(f"{name}.{shown(key)}")


_OF_REASONING = ("effort", "summary", "generate_summary", "context", "mode")


def _reasoning(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    for key, option in value.items():
        if option is None:
            continue
        if key in _OF_REASONING and type(option) is not str:
            raise bad(f"{key} must be a string.", f"{name}.{key}")
        if key not in ("summary", "generate_summary"):
            ignored.append(f"{name}.{shown(key)}")


def _include(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is not list:
        raise bad(f"{name} must be a list.", name)
    for index, item in enumerate(value):
        if type(item) is not str:
            raise bad("It must be a string.", f"{name}[{index}]")
        if item == "message.output_text.logprobs":
            raise unsupported("Token probabilities are not known. Leave it out.", f"{name}[{index}]")
        if item != SEALED:
            ignored.append(f"{name}.{shown(item)}")


def _truncation(value: Any, name: str, ignored: list[str]) -> None:
    if value not in ("auto", "disabled"):
        raise bad(f"{name} must be auto or disabled.", name)
    if value == "auto":
        ignored.append(name)


def _max_tool_calls(value: Any, name: str, ignored: list[str]) -> None:
    whole_number(value, name, 1)
    ignored.append(name)


def _background(value: Any, name: str, _ignored: list[str]) -> None:
    if flag(value, name):
        raise unsupported("Responses are not made in the background. Leave background out.", name)


def _stream_options(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    ignored += [f"{name}.{shown(key)}" for key, option in value.items() if option is not None and option is not False]


FIELDS: Mapping[str, Check] = {
    # Read by read().
    "input": known,
    "instructions": known,
    "model": known,
    "stream": known,
    "tools": known,
    "tool_choice": known,
    "parallel_tool_calls": known,
    "max_output_tokens": known,
    "previous_response_id": known,
    "store": known,
    "text": _text,
    "reasoning": _reasoning,
    "include": _include,
    # The service has no such switches, and the answer stays an answer without them: ignored and reported.
    "temperature": between(0, 2),
    "top_p": between(0, 1),
    "presence_penalty": between(-2, 2),
    "frequency_penalty": between(-2, 2),
    "truncation": _truncation,
    "max_tool_calls": _max_tool_calls,
    "moderation": of_type(dict, report=True),
    "context_management": of_type(list, report=True),
    "stream_options": _stream_options,
    # They promise nothing about the answer: ignored in silence.
    "metadata": of_type(dict),
    "client_metadata": known,
    "user": of_type(str),
    "safety_identifier": of_type(str),
    "service_tier": of_type(str),
    "prompt_cache_key": of_type(str),
    "prompt_cache_options": of_type(dict),
    "prompt_cache_retention": of_type(str),
    # To ignore these would change or claim something: refused, unless they ask for nothing.
    "top_logprobs": top_logprobs,
    "background": _background,
    "conversation": refused("Conversations that are kept apart from responses are"),
    "prompt": refused("Prompt templates are"),
}
