"""The items of a Responses conversation as messages: those of the request, and those that were kept of earlier ones.

Shapes from OpenAI's API reference (responses, "Create a model response", ``input``). Ids and statuses of items mean
nothing to the model and are passed over. Tools that an item brings can be called from then on.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fittengate.core.conversation import Image, Message, Part, Role, Text, Thought, ToolCall, ToolResult
from fittengate.dialects._fields import as_json, bad, text_of, unsupported
from fittengate.dialects._responses_builtin import CALLS, OUTPUTS, result, told
from fittengate.dialects._responses_raw import PARAMETER
from fittengate.dialects._responses_tools import SEARCH, Tools, spoken
from fittengate.lib.jsonio import shown, to_json

_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}

_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
"""Sorts of content parts that are words, and the field that holds them."""

_SEALED = ("compaction", "compaction_trigger", "context_compaction")
"""Items that stand for a conversation that only the vendor can read."""


class Items:
    """Reads items in order; the messages add up in :attr:`messages`."""

    def __init__(self, tools: Tools, find: Callable[[str], Mapping[str, Any] | None]) -> None:
        """``find`` gives a kept item by its id; None where there is none."""
        self.messages: list[Message] = []
        self.left_out: dict[str, None] = {}
        """Items without effect, as they are to be reported."""
        self._tools = tools
        self._find = find
        self._referred_to: set[str] = set()
        self._thoughts: list[Part] = []
        """Reasoning that waits for the words or calls it led to."""

    def read(self, value: Any, place: str) -> None:
        """Read ``input``: a text, or a list of items. Raises Fault: caller_bad_request, caller_unsupported."""
        if type(value) is str:
            self._say("user", (Text(value),) if value else ())
            return
        if type(value) is not list:
            raise bad(f"{place} must be a string or a list of items.", place)
        for index, item in enumerate(value):
            where = f"{place}[{index}]"
            if type(item) is not dict:
                raise bad("An item must be an object.", where)
            self._item(item, where)

    def meant(self, value: Any) -> list[Any]:
        """Return ``input``, which was read, as a list of items that refers to nothing outside of it."""
        if type(value) is str:
            return [{"type": "message", "role": "user", "content": value}]
        return [self._find(item["id"]) if _refers(item) else item for item in value if not self._is_passed_over(item)]

    def _item(self, item: Mapping[str, Any], place: str) -> None:
        if _refers(item):
            if self._is_passed_over(item):
                return
            item = self._referred(item, place)
        kind = text_of(item, "type", place) or "message"
        reader = _READERS.get(kind)
        if reader is not None:
            reader(self, item, place)
        elif kind in _SEALED:
            raise unsupported("A conversation that OpenAI has compacted can only be read there.", f"{place}.type")
        else:
            self.left_out[f"input.{shown(kind)}"] = None

    def _is_passed_over(self, item: Mapping[str, Any]) -> bool:
        """Tell whether an item refers to reasoning that was not kept: it is not missed, for what it led to is there."""
        name = item.get("id")
        return _refers(item) and type(name) is str and name.startswith("rs_") and self._find(name) is None

    def _referred(self, item: Mapping[str, Any], place: str) -> Mapping[str, Any]:
        name = item.get("id")
        if type(name) is not str:
            raise bad("id must be a string.", f"{place}.id")
        found = self._find(name)
        if found is None:
            raise bad(f"Item with id '{shown(name)}' not found. Send the item itself.", f"{place}.id")
        if name in self._referred_to:
            # As OpenAI has it; and a short request cannot become a prompt of any length.
            raise bad(f"Item with id '{shown(name)}' is referred to twice. Refer to it once.", f"{place}.id")
        self._referred_to.add(name)
        return found

    def _say(self, role: Role, parts: tuple[Part, ...]) -> None:
        if role == "assistant" and self._thoughts:
            parts = (*self._thoughts, *parts)
        self._thoughts = []
        self.messages.append(Message(role, parts))

    def _message(self, item: Mapping[str, Any], place: str) -> None:
        role = item.get("role")
        ours = _ROLES.get(role) if type(role) is str else None
        if ours is None:
            raise bad("role must be user, assistant, system or developer.", f"{place}.role")
        self._say(ours, _content(item.get("content"), f"{place}.content"))

    def _reasoning(self, item: Mapping[str, Any], place: str) -> None:
        # Another service's reasoning may be sealed; what can be read of it is in either of these.
        for key in ("content", "summary"):
            value = item.get(key)
            if value is not None and type(value) is not list:
                raise bad(f"{key} must be a list.", f"{place}.{key}")
            for part in value or ():
                text = part.get("text") if type(part) is dict else None
                if type(text) is str and text:
                    self._thoughts.append(Thought(text))

    def _call(self, item: Mapping[str, Any], place: str, name: str, arguments: str) -> None:
        self._say("assistant", (ToolCall(_call_id(item, place), name, arguments),))

    def _function_call(self, item: Mapping[str, Any], place: str) -> None:
        arguments = item.get("arguments")
        if type(arguments) is dict:
            arguments = as_json(arguments, f"{place}.arguments").decode()
        if arguments is not None and type(arguments) is not str:
            raise bad("arguments must be a string of JSON.", f"{place}.arguments")
        self._call(item, place, _tool_name(item, place), arguments or "")

    def _custom_call(self, item: Mapping[str, Any], place: str) -> None:
        given = item.get("input")
        if type(given) is not str:
            raise bad("input must be a string.", f"{place}.input")
        self._call(item, place, _tool_name(item, place), to_json({PARAMETER: given}).decode())

    def _search_call(self, item: Mapping[str, Any], place: str) -> None:
        arguments = item.get("arguments")
        if type(arguments) is not str:
            arguments = as_json({} if arguments is None else arguments, f"{place}.arguments").decode()
        self._call(item, place, SEARCH, arguments)

    def _builtin_call(self, item: Mapping[str, Any], place: str) -> None:
        name = CALLS[item["type"]]
        self._call(item, place, name, told(name, item))

    def _builtin_output(self, item: Mapping[str, Any], place: str) -> None:
        # Of these results one form has the call's id as its own.
        call_id = _call_id(item, place) or text_of(item, "id", place)
        failed = item.get("status") == "failed"
        self._say("user", (ToolResult(call_id, (Text(result(item)),), is_error=failed),))

    def _output(self, item: Mapping[str, Any], place: str) -> None:
        parts = _content(item.get("output"), f"{place}.output")
        self._say("user", (ToolResult(_call_id(item, place), parts),))

    def _search_output(self, item: Mapping[str, Any], place: str) -> None:
        names = self._tools.add(item.get("tools"), f"{place}.tools")
        text = f"Found, and can be called now: {', '.join(names)}" if names else "No tool was found."
        self._say("user", (ToolResult(_call_id(item, place), (Text(text),)),))

    def _additional_tools(self, item: Mapping[str, Any], place: str) -> None:
        self._tools.add(item.get("tools"), f"{place}.tools")


_READERS: Mapping[str, Callable[[Items, Mapping[str, Any], str], None]] = {
    "message": Items._message,  # noqa: SLF001 - the class's own table, which an object's own would tie into a knot
    "reasoning": Items._reasoning,  # noqa: SLF001
    "function_call": Items._function_call,  # noqa: SLF001
    "custom_tool_call": Items._custom_call,  # noqa: SLF001
    "tool_search_call": Items._search_call,  # noqa: SLF001
    "function_call_output": Items._output,  # noqa: SLF001
    "custom_tool_call_output": Items._output,  # noqa: SLF001
    "tool_search_output": Items._search_output,  # noqa: SLF001
    "additional_tools": Items._additional_tools,  # noqa: SLF001
    **dict.fromkeys(CALLS, Items._builtin_call),  # noqa: SLF001
    **dict.fromkeys(OUTPUTS, Items._builtin_output),  # noqa: SLF001
}


def _refers(item: Mapping[str, Any]) -> bool:
    """Tell whether an item stands for another one, which was kept: by its type, or with nothing but an id."""
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "role" not in item and "id" in item)


def _call_id(item: Mapping[str, Any], place: str) -> str:
    """Return the id of a call; one that is missing is an empty one."""
    return text_of(item, "call_id", place)


def _tool_name(item: Mapping[str, Any], place: str) -> str:
    name = text_of(item, "name", place)
    if not name:
        raise bad("name is missing.", f"{place}.name")
    return spoken(name, text_of(item, "namespace", place))


def _content(content: Any, place: str) -> tuple[Text | Image, ...]:
    if type(content) is str:
        return (Text(content),) if content else ()
    if content is None:
        return ()
    if type(content) is not list:
        raise bad("It must be a string or a list of parts.", place)
    return tuple([part for index, item in enumerate(content) for part in _part(item, f"{place}[{index}]")])


def _part(item: Any, place: str) -> tuple[Text | Image, ...]:
    if type(item) is not dict:
        raise bad("A content part must be an object.", place)
    kind = item.get("type")
    field = _TEXTS.get(kind) if type(kind) is str else None
    if field is not None:
        text = item.get(field)
        if type(text) is not str:
            raise bad(f"{field} must be a string.", f"{place}.{field}")
        return (Text(text),) if text else ()
    if kind == "input_image":
        url = item.get("image_url")
        if url is None and item.get("file_id") is not None:
            raise unsupported("Files are not kept here. Send the image itself, as a data URL.", f"{place}.file_id")
        if type(url) is not str or not url:
            raise bad("image_url must be a data URL, or the address of an image.", f"{place}.image_url")
        return (Image(url, f"{place}.image_url"),)
    if kind in ("input_file", "input_audio"):
        raise unsupported(f"Content of type {kind} is not supported.", f"{place}.type")
    raise bad("type must be input_text, output_text, input_image or refusal.", f"{place}.type")
