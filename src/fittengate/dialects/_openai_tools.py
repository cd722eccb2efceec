"""The tools of a chat request: declarations, ``tool_choice``, and calls and results among the messages.

Shapes from OpenAI's API reference (chat, "Create chat completion"), the older ``functions`` and ``function_call`` too.
Tools that OpenAI itself would run are left out and reported while others remain; alone they are refused.
"""

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from fittengate.core.ask import Ask, ToolUse
from fittengate.core.conversation import ToolCall, ToolSpec
from fittengate.dialects._fields import as_json, bad, flag, read_object, text_of, unsupported
from fittengate.dialects._openai_fields import tool_name
from fittengate.lib.jsonio import shown, to_json
from fittengate.lib.memo import Recurring


class FunctionsAsk(Ask, frozen=True):
    """An Ask whose client declared ``functions``, the older form: it looks for its call in ``function_call``."""


class DeclaredTools(Struct, frozen=True):
    """The field ``tools``."""

    tools: tuple[ToolSpec, ...]
    left_out: tuple[str, ...]
    """Tools that cannot be used, for ``x-fittengate-ignored``."""


# An agent sends the same tools in every turn, and reading 60 of them costs more than all the rest of a request.
KNOWN_TOOLS: Recurring[DeclaredTools] = Recurring("tools", entries=16, most=128 * 1024, read_object=read_object)


def declared_tools(fields: Mapping[str, Any]) -> DeclaredTools:
    """Return what ``tools`` declares. Raises Fault."""
    others: list[str] = []
    return DeclaredTools(_tools(fields.get("tools"), others), tuple(others))


def read_tools(
    fields: Mapping[str, Any], ignored: list[str], declared: DeclaredTools
) -> tuple[tuple[ToolSpec, ...], ToolUse]:
    """Return a request's tools and how they are to be used; what is left out is added to ``ignored``. Raises Fault.

    Where ``tools`` and ``functions`` are both given, the older form is left out; it allows one call in a reply.
    """
    tools, legacy = declared.tools, _functions(fields.get("functions"))
    ignored += declared.left_out
    if tools and legacy:
        ignored.append("functions")
        legacy = ()
    name = "tool_choice" if fields.get("tool_choice") is not None else "function_call"
    offered, choice = tools or legacy, fields.get(name)
    if type(choice) is dict and choice.get("type") == "allowed_tools" and name == "tool_choice":
        use, offered = _allowed(choice.get("allowed_tools"), "tool_choice.allowed_tools", offered)
    else:
        use = _choice(choice, name, offered)
    parallel = fields.get("parallel_tool_calls")
    together = not legacy and (parallel is None or flag(parallel, "parallel_tool_calls"))
    return offered, use if together else ToolUse(use.choice, use.name, parallel=False)


def read_calls(message: Mapping[str, Any], place: str) -> list[ToolCall]:
    """Return the calls of an assistant's message, none where there are none. Raises Fault (caller_bad_request).

    An id that is missing is an empty one. Arguments are kept as they are, JSON or not; an object becomes its JSON.
    """
    calls: list[ToolCall] = []
    value = message.get("tool_calls")
    # Clients that dump the SDK's own objects send empty values for what was not there.
    if value not in (None, [], {}, ""):
        if type(value) is not list:
            raise bad("tool_calls must be a list.", f"{place}.tool_calls")
        calls += [_call(item, f"{place}.tool_calls[{index}]") for index, item in enumerate(value)]
    value = message.get("function_call")
    if value not in (None, [], {}, ""):
        where = f"{place}.function_call"
        name, arguments = _function_call(value, where)
        calls.append(ToolCall(legacy_id(name), name, arguments))
    return calls


def legacy_id(name: str) -> str:
    """Return the id of a call in the older form, where a result has nothing but the function's name."""
    return f"function:{name}"


def _call(item: Any, place: str) -> ToolCall:
    if type(item) is not dict:
        raise bad("A tool call must be an object.", place)
    kind = text_of(item, "type", place) or "function"
    call_id = text_of(item, "id", place)
    if kind == "custom":
        return ToolCall(call_id, *_custom_call(item.get("custom"), f"{place}.custom"))
    if kind != "function":
        raise unsupported("Only calls of type function or custom are known.", f"{place}.type")
    return ToolCall(call_id, *_function_call(item.get("function"), f"{place}.function"))


def _custom_call(value: Any, place: str) -> tuple[str, str]:
    """Return the name and arguments of a call that another service's answer made with one raw text."""
    if type(value) is not dict:
        raise bad("A custom call must be an object with a name and an input.", place)
    return tool_name(value.get("name"), f"{place}.name"), to_json({"input": text_of(value, "input", place)}).decode()


def _function_call(value: Any, place: str) -> tuple[str, str]:
    if type(value) is not dict:
        raise bad("A function call must be an object with a name and arguments.", place)
    name = tool_name(value.get("name"), f"{place}.name")
    arguments = value.get("arguments")
    if arguments is None:
        return name, ""
    if type(arguments) is dict:
        return name, as_json(arguments, f"{place}.arguments").decode()
    if type(arguments) is not str:
        raise bad("arguments must be a string of JSON.", f"{place}.arguments")
    return name, arguments


def _tools(value: Any, ignored: list[str]) -> tuple[ToolSpec, ...]:
    if value is None:
        return ()
    if type(value) is not list:
        raise bad("tools must be a list.", "tools")
    tools: list[ToolSpec] = []
    others: dict[str, str] = {}
    for index, item in enumerate(value):
        place = f"tools[{index}]"
        if type(item) is not dict:
            raise bad("A tool must be an object.", place)
        kind = text_of(item, "type", place) or "function"
        if kind == "function":
            tools.append(_function(item.get("function"), f"{place}.function"))
        else:
            others.setdefault(f"tools.{shown(kind)}", f"{place}.type")
    if others and not tools:
        raise unsupported("Only tools of type function can be used, and there is none.", next(iter(others.values())))
    ignored += others
    return tuple(tools)


def _functions(value: Any) -> tuple[ToolSpec, ...]:
    if value is None:
        return ()
    if type(value) is not list:
        raise bad("functions must be a list.", "functions")
    return tuple([_function(item, f"functions[{index}]") for index, item in enumerate(value)])


def _function(value: Any, place: str) -> ToolSpec:
    if type(value) is not dict:
        raise bad("A function must be an object with a name.", place)
    name = tool_name(value.get("name"), f"{place}.name")
    description = text_of(value, "description", place)
    parameters = value.get("parameters")
    if parameters is not None and type(parameters) is not dict:
        raise bad("parameters must be a JSON schema, an object.", f"{place}.parameters")
    return ToolSpec(name, description, as_json(parameters or {}, f"{place}.parameters"))


def _choice(value: Any, name: str, tools: tuple[ToolSpec, ...]) -> ToolUse:
    if value is None or value == "auto":
        return ToolUse()
    if value == "none":
        return ToolUse("none")
    if not tools:
        raise bad(f"{name} asks for a call, but there are no tools.", name)
    # "any" is Mistral's word for it, whose clients post to the same path.
    if value in ("required", "any") and name == "tool_choice":
        return ToolUse("required")
    names = _names(tools)
    chosen = (
        _chosen(value, name, names) if type(value) is dict and name == "tool_choice" else _known(value, name, names)
    )
    return ToolUse("named", chosen)


def _allowed(value: Any, place: str, tools: tuple[ToolSpec, ...]) -> tuple[ToolUse, tuple[ToolSpec, ...]]:
    """Return how the tools are to be used that a request allows of those it declares, and these."""
    if type(value) is not dict:
        raise bad("allowed_tools must be an object with a mode and tools.", place)
    mode = value.get("mode")
    if mode not in (None, "auto", "required"):
        raise bad("mode must be auto or required.", f"{place}.mode")
    listed = value.get("tools")
    if type(listed) is not list or (mode == "required" and not listed):
        raise bad("tools must be a list of tools that may be called.", f"{place}.tools")
    names = _names(tools)
    allowed = {_chosen(item, f"{place}.tools[{index}]", names) for index, item in enumerate(listed)}
    return ToolUse(mode or "auto"), tuple([tool for tool in tools if tool.name in allowed])


def _names(tools: tuple[ToolSpec, ...]) -> frozenset[str]:
    return frozenset([tool.name for tool in tools])


def _chosen(value: Any, place: str, names: Collection[str]) -> str:
    """Return the name of a function that is named as a tool."""
    if type(value) is not dict:
        raise bad("A tool must be an object that names a function.", place)
    if value.get("type") not in (None, "function"):
        raise unsupported("Only a tool of type function can be chosen.", f"{place}.type")
    return _known(value.get("function"), f"{place}.function", names)


def _known(value: Any, place: str, names: Collection[str]) -> str:
    if type(value) is not dict:
        raise bad(f"{place.partition('.')[0]} must be auto, none, required or an object that names a function.", place)
    name = value.get("name")
    if type(name) is not str or name not in names:
        raise bad(f"{place.partition('.')[0]} must name one of the tools.", f"{place}.name")
    return name
