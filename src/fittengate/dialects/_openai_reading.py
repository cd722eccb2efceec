"""What a chat request asks for: the body of ``POST /v1/chat/completions`` as an Ask.

Shapes from OpenAI's API reference (chat, "Create chat completion"). Reading is strict about what it understands and
says the place of what is wrong; what it does not know it leaves alone and reports.
"""

from collections.abc import Mapping
from typing import Any

from fittengate.core.ask import Ask, Sampling, Several, Wishes
from fittengate.core.conversation import Conversation, Image, Message, Part, Role, Text, Thought, ToolResult
from fittengate.dialects._fields import (
    MAX_IGNORED,
    Check,
    bad,
    between,
    flag,
    known,
    logprobs,
    look_over,
    model_name,
    of_type,
    refused,
    top_logprobs,
    unsupported,
    whole_number,
)
from fittengate.dialects._openai import choices, stops
from fittengate.dialects._openai_fields import logit_bias, seed, stream_options
from fittengate.dialects._openai_format import reply_format
from fittengate.dialects._openai_tools import (
    KNOWN_TOOLS,
    FunctionsAsk,
    declared_tools,
    legacy_id,
    read_calls,
    read_tools,
)


def read(body: bytes) -> Ask | Several:
    """Return what the client wants, Several where ``n`` is more than 1.

    Raises Fault: caller_bad_request, caller_unsupported.

    Where both ``max_tokens`` and ``max_completion_tokens`` are given the smaller one counts, so that both hold.
    """
    fields, declared = KNOWN_TOOLS.read(body)
    ignored = list(look_over(fields, FIELDS))
    get = fields.get
    limits = [
        whole_number(fields[name], name, 1) for name in ("max_tokens", "max_completion_tokens") if get(name) is not None
    ]
    options = get("stream_options") or {}
    if declared is None:
        declared = declared_tools(fields)
        if get("tools"):
            KNOWN_TOOLS.keep(body, declared)
    tools, tool_use = read_tools(fields, ignored, declared)
    kind = FunctionsAsk if tools and not declared.tools else Ask
    ask = kind(
        Conversation(_messages(get("messages")), tools),
        model_name(get("model")),
        Sampling(min(limits, default=None), stops(get("stop"))),
        Wishes(flag(get("stream"), "stream"), flag(options.get("include_usage"), "stream_options.include_usage")),
        tool_use,
        ignored=tuple(ignored[:MAX_IGNORED]),
        reply_format=reply_format(get("response_format"), "response_format"),
    )
    count = choices(fields["n"]) if get("n") is not None else 1
    return ask if count == 1 else Several((ask,) * count)


def _modalities(value: Any, name: str, _ignored: list[str]) -> None:
    if type(value) is not list:
        raise bad(f"{name} must be a list.", name)
    for index, item in enumerate(value):
        if type(item) is not str:
            raise bad("A modality must be a string.", f"{name}[{index}]")
        if item != "text":
            raise unsupported("Only text can be produced.", f"{name}[{index}]")


FIELDS: Mapping[str, Check] = {
    # Read by read().
    "messages": known,
    "model": known,
    "stream": known,
    "stream_options": stream_options,
    "max_tokens": known,
    "max_completion_tokens": known,
    "stop": known,
    "n": known,
    "tools": known,
    "tool_choice": known,
    "parallel_tool_calls": known,
    "functions": known,
    "function_call": known,
    "response_format": known,
    # The service has no such switches, and the answer stays an answer without them: ignored and reported.
    "temperature": between(0, 2),
    "top_p": between(0, 1),
    "presence_penalty": between(-2, 2),
    "frequency_penalty": between(-2, 2),
    "seed": seed,
    "reasoning_effort": of_type(str, report=True),
    "verbosity": of_type(str, report=True),
    "moderation": of_type(dict, report=True),
    # They promise nothing about the answer: ignored in silence.
    "user": of_type(str),
    "safety_identifier": of_type(str),
    "metadata": known,
    "store": of_type(bool),
    "service_tier": of_type(str),
    "prediction": of_type(dict),
    "prompt_cache_key": of_type(str),
    "prompt_cache_options": of_type(dict),
    "prompt_cache_retention": of_type(str),
    # To ignore these would change or claim something: refused, unless they ask for nothing.
    "logit_bias": logit_bias,
    "logprobs": logprobs,
    "top_logprobs": top_logprobs,
    "modalities": _modalities,
    "audio": refused("Audio output is"),
    "web_search_options": refused("Web search is"),
}

_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def _messages(value: Any) -> tuple[Message, ...]:
    if value is None:
        raise bad("messages is missing.", "messages")
    if type(value) is not list:
        raise bad("messages must be a list.", "messages")
    if not value:
        raise bad("messages must not be empty.", "messages")
    return tuple([_message(item, index) for index, item in enumerate(value)])


def _message(item: Any, index: int) -> Message:
    if type(item) is not dict:
        raise bad("A message must be an object.", f"messages[{index}]")
    role = item.get("role")
    ours = _ROLES.get(role) if type(role) is str else None
    if ours is None:
        if role in ("tool", "function"):
            return Message("user", (_result(item, index),))
        raise bad("role must be system, developer, user, assistant or tool.", f"messages[{index}].role")
    content = item.get("content")
    parts: tuple[Part, ...] = _content(content, f"messages[{index}].content")
    if ours == "assistant" and (len(item) > 2 or type(content) is not str):
        parts = _of_assistant(item, parts, index)
    return Message(ours, parts)


def _content(content: Any, path: str) -> tuple[Text | Image, ...]:
    if type(content) is str:
        return (Text(content),) if content else ()
    if content is None:
        return ()
    if type(content) is list:
        return _parts(content, path)
    raise bad("content must be a string, a list of parts or null.", path)


def _result(item: dict[str, Any], index: int) -> ToolResult:
    """Return what a call gave; a result without an id belongs to a call without one."""
    name = "tool_call_id" if item["role"] == "tool" else "name"
    call_id = item.get(name)
    if call_id is not None and type(call_id) is not str:
        raise bad(f"{name} must be a string.", f"messages[{index}].{name}")
    parts = _content(item.get("content"), f"messages[{index}].content")
    return ToolResult(call_id or "" if name == "tool_call_id" else legacy_id(call_id or ""), parts)


def _of_assistant(item: dict[str, Any], parts: tuple[Part, ...], index: int) -> tuple[Part, ...]:
    """Return the parts of an earlier answer: its reasoning, its words, a refusal, its calls."""
    if item.get("audio") not in (None, [], {}):
        raise unsupported("Audio is not supported.", f"messages[{index}].audio")
    # Clients hand reasoning back under either name. In any other form it is another vendor's, and of no use here.
    thought = item.get("reasoning_content") or item.get("reasoning")
    if type(thought) is str and thought:
        parts = (Thought(thought), *parts)
    refusal = item.get("refusal")
    if refusal is not None and type(refusal) is not str:
        raise bad("refusal must be a string.", f"messages[{index}].refusal")
    if refusal:
        parts = (*parts, Text(refusal))
    return (*parts, *read_calls(item, f"messages[{index}]"))


def _parts(content: list[Any], path: str) -> tuple[Text | Image, ...]:
    parts: list[Text | Image] = []
    for index, item in enumerate(content):
        if type(item) is not dict:
            raise bad("A content part must be an object.", f"{path}[{index}]")
        kind = item.get("type")
        if kind in ("text", "refusal"):
            text = item.get(kind)
            if type(text) is not str:
                raise bad(f"{kind} must be a string.", f"{path}[{index}].{kind}")
            if text:
                parts.append(Text(text))
        elif kind == "image_url":
            parts.append(_image(item.get("image_url"), f"{path}[{index}].image_url"))
        elif kind in ("input_audio", "file"):
            raise unsupported(f"Content of type {kind} is not supported.", f"{path}[{index}].type")
        else:
            raise bad("type must be text, image_url or refusal.", f"{path}[{index}].type")
    return tuple(parts)


def _image(value: Any, path: str) -> Image:
    if type(value) is str and value:
        return Image(value, path)
    if type(value) is not dict:
        raise bad("image_url must be an object with a url.", path)
    url = value.get("url")
    if type(url) is not str or not url:
        raise bad("url must be a data URL, or the address of an image.", f"{path}.url")
    detail = value.get("detail")
    if detail is not None and type(detail) is not str:
        raise bad("detail must be a string.", f"{path}.detail")
    return Image(url, f"{path}.url")
