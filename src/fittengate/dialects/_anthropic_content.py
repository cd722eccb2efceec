"""The messages of Anthropic's Messages API as turns of a conversation: every block of every role.

Shapes from Anthropic's API reference ("Create a Message"). What has a meaning for a model that reads text and pictures
is kept; a block of another kind is left out and its kind reported, because clients send back whatever any server gave
them. Cache marks and citations, wherever they stand, mean nothing here.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from fittengate.core.conversation import Image, Message, Part, Role, Text, Thought, ToolCall, ToolResult
from fittengate.dialects._fields import as_json, bad, flag, unsupported
from fittengate.lib.jsonio import shown

_MAX_MEDIA_TYPE = 100
_NO_DOCUMENT = "[document left out: only plain text can be read here]"

_Read: TypeAlias = Callable[["Contents", dict[str, Any], str], list[Part]]
"""Turns one block, whose place is given, into parts. Raises Fault (caller_bad_request, caller_unsupported)."""

_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


class Contents:
    """Reads one request's messages; ``found`` and ``left_out`` are complete when all of them were read."""

    def __init__(self, tools: Collection[str]) -> None:
        """``tools`` are the names of the request's own tools, deferred ones included."""
        self.found: set[str] = set()
        """Tools that a ``tool_reference`` names: from then on they may be called."""
        self.left_out: dict[str, None] = {}
        """Kinds of blocks that were left out, in order."""
        self.tools = tools
        self._content: Any = None
        """The content of the message that is read now."""
        self._results: bool | None = None
        """Whether results are among it; None until somebody asks."""

    def among_results(self) -> bool:
        """Return whether the message that is read now tells results of tools."""
        if self._results is None:
            blocks = self._content if type(self._content) is list else ()
            self._results = any(type(block) is dict and block.get("type") == "tool_result" for block in blocks)
        return self._results

    def system(self, value: Any) -> tuple[Message, ...]:
        """Return the system prompt as one message; none where there is no word in it. Raises Fault."""
        if value is None or value == "":
            return ()
        parts = self.content(value, "system", _SYSTEM)
        return (Message("system", parts),) if parts else ()

    def messages(self, value: Any) -> tuple[Message, ...]:
        """Return the messages in order, system ones at their places. Raises Fault."""
        if value is None:
            raise bad("messages is missing.", "messages")
        if type(value) is not list:
            raise bad("messages must be a list.", "messages")
        if not value:
            raise bad("messages must not be empty.", "messages")
        return tuple([self._message(item, f"messages[{index}]") for index, item in enumerate(value)])

    def _message(self, item: Any, place: str) -> Message:
        if type(item) is not dict:
            raise bad("A message must be an object.", place)
        role = item.get("role")
        ours = _ROLES.get(role) if type(role) is str else None
        if ours is None:
            hint = " Send tool results as tool_result blocks of a user message." if role == "tool" else ""
            raise bad(f"role must be user, assistant or system.{hint}", f"{place}.role")
        self._content, self._results = item.get("content"), None
        return Message(ours, self.content(self._content, f"{place}.content", _BY_ROLE[ours]))

    def content(self, content: Any, place: str, readers: Mapping[str, _Read]) -> tuple[Part, ...]:
        if type(content) is str:
            return (Text(content),) if content else ()
        if type(content) is not list:
            raise bad(f"{place.rpartition('.')[2]} must be a string or a list of blocks.", place)
        return tuple(self._blocks(content, place, readers))

    def _blocks(self, content: list[Any], place: str, readers: Mapping[str, _Read]) -> list[Part]:
        parts: list[Part] = []
        for index, block in enumerate(content):
            where = f"{place}[{index}]"
            if type(block) is not dict:
                raise bad("A content block must be an object.", where)
            kind = block.get("type")
            if type(kind) is not str:
                raise bad("type must be a string.", f"{where}.type")
            read = readers.get(kind)
            if read is not None:
                parts += read(self, block, where)
            else:
                self.left_out[f"content.{shown(kind)}"] = None
        return parts


def _string(holder: dict[str, Any], name: str, where: str, *, least: int = 0) -> str:
    value = holder.get(name)
    if type(value) is not str:
        raise bad(f"{name} must be a string.", f"{where}.{name}")
    if len(value) < least:
        raise bad(f"{name} must not be empty.", f"{where}.{name}")
    return value


def _source(block: dict[str, Any], where: str) -> tuple[dict[str, Any], Any, str]:
    """Return the source of a picture or document, its type and its place."""
    source = block.get("source")
    where = f"{where}.source"
    if type(source) is not dict:
        raise bad("source must be an object.", where)
    return source, source.get("type"), where


def _text(_contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    text = _string(block, "text", where)
    return [Text(text)] if text else []


def _image(_contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    source, kind, where = _source(block, where)
    if kind == "base64":
        media_type = source.get("media_type")
        if type(media_type) is not str or not media_type.startswith("image/") or len(media_type) > _MAX_MEDIA_TYPE:
            raise bad("media_type must name a type of image, such as image/png.", f"{where}.media_type")
        return [Image(f"data:{media_type};base64,{_string(source, 'data', where)}", f"{where}.data")]
    if kind == "url":
        return [Image(_string(source, "url", where, least=1), f"{where}.url")]
    raise unsupported("An image must come as base64 or url.", f"{where}.type")


def _document(contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    """Return a document's title, context and text, each as a part.

    One that cannot be read is refused, but not where a tool gave it: it would come back, and be refused, in every turn.
    """
    parts: list[Part] = [
        Text(text) for name in ("title", "context") if block.get(name) and (text := _string(block, name, where))
    ]
    source, kind, where = _source(block, where)
    if kind == "text":
        text = _string(source, "data", where)
        return [*parts, Text(text)] if text else parts
    if kind == "content":
        return [*parts, *contents.content(source.get("content"), f"{where}.content", _PLAIN)]
    if contents.among_results():
        contents.left_out["content.document"] = None
        return [*parts, Text(_NO_DOCUMENT)]
    raise unsupported("Only documents of plain text can be read. Send the document's text.", f"{where}.type")


def _search_result(contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    said: list[Part] = [Text(_string(block, name, where)) for name in ("title", "source") if block.get(name)]
    return [*said, *contents.content(block.get("content"), f"{where}.content", _PLAIN)]


def _thinking(_contents: Contents, block: dict[str, Any], _where: str) -> list[Part]:
    # In any other form it is another vendor's, and of no use here.
    thought = block.get("thinking")
    return [Thought(thought)] if type(thought) is str and thought else []


def _nothing(_contents: Contents, _block: dict[str, Any], _where: str) -> list[Part]:
    return []


def _compaction(_contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    """Return the summary that stands for what was said before."""
    return [Text(_string(block, "content", where))] if block.get("content") else []


def _tool_use(_contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    given = block.get("input")
    if given is not None and type(given) is not dict:
        raise bad("input must be an object.", f"{where}.input")
    arguments = as_json(given or {}, f"{where}.input").decode()
    return [ToolCall(_string(block, "id", where, least=1), _string(block, "name", where, least=1), arguments)]


def _tool_result(contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    call_id = _string(block, "tool_use_id", where, least=1)
    content = block.get("content")
    parts = () if content is None else contents.content(content, f"{where}.content", _RESULT)
    said = tuple([part for part in parts if isinstance(part, Text | Image)])
    return [ToolResult(call_id, said, flag(block.get("is_error"), f"{where}.is_error"))]


def _tool_reference(contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    # The model would take an empty result for a search that found nothing.
    name = _string(block, "tool_name", where, least=1)
    if name not in contents.tools:
        return [Text(f"There is no tool {name}.")]
    contents.found.add(name)
    return [Text(f"The tool {name} can be called from now on.")]


def _tool_search_result(contents: Contents, block: dict[str, Any], _where: str) -> list[Part]:
    """Note what the vendor's own tool search once found; it is no text of the assistant's."""
    content = block.get("content")
    references = content.get("tool_references") if type(content) is dict else None
    for reference in references if type(references) is list else ():
        name = reference.get("tool_name") if type(reference) is dict else None
        if type(name) is str and name in contents.tools:
            contents.found.add(name)
    return []


def _of_assistant(_contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    raise bad(f"A {block['type']} block belongs into a message of the assistant.", f"{where}.type")


def _of_user(_contents: Contents, block: dict[str, Any], where: str) -> list[Part]:
    raise bad(f"A {block['type']} block belongs into a message of the user.", f"{where}.type")


_SYSTEM: Mapping[str, _Read] = {"text": _text}
_PLAIN: Mapping[str, _Read] = {"text": _text, "image": _image}
_RESULT: Mapping[str, _Read] = {
    **_PLAIN,
    "document": _document,
    "search_result": _search_result,
    "tool_reference": _tool_reference,
}
_USER: Mapping[str, _Read] = {
    **_RESULT,
    "tool_result": _tool_result,
    "tool_use": _of_assistant,
}
_ASSISTANT: Mapping[str, _Read] = {
    **_PLAIN,
    "document": _document,
    "thinking": _thinking,
    "redacted_thinking": _nothing,
    "compaction": _compaction,
    "tool_use": _tool_use,
    "tool_result": _of_user,
    "tool_search_tool_result": _tool_search_result,
}
_BY_ROLE: Mapping[Role, Mapping[str, _Read]] = {"user": _USER, "assistant": _ASSISTANT, "system": _RESULT}
