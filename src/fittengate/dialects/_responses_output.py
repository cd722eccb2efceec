"""The output items of a response: how each begins, what is told of it while it comes, and how it ends.

Shapes from OpenAI's API reference (responses, "Streaming events"). An item tells its own events as name and fields; the
writer numbers them.
"""

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

from fittengate.dialects._responses_ask import ToolForm
from fittengate.dialects._responses_builtin import BUILTIN, written
from fittengate.dialects._responses_kept import item_id
from fittengate.dialects._responses_raw import RawText
from fittengate.lib.jsonio import UnreadableError, read_object

Told: TypeAlias = list[tuple[str, dict[str, Any]]]
"""Events to send: their types without ``response.``, and their fields."""

_CALL_ID = "call_"


class Item(ABC):
    """One output item. ``begun`` and ``opened`` once, ``take`` for every delta, ``closed`` and ``ended`` once."""

    kind: str
    """Its type in the list of items."""
    delta: str = ""
    """Type of the event that carries a delta; empty where there is none."""

    def __init__(self, tail: str, index: int) -> None:
        self.id = item_id(self.kind, tail, index)
        self.at: dict[str, Any] = {"item_id": self.id, "output_index": index}
        """Where a delta belongs."""
        self.said: list[str] = []

    @property
    def text(self) -> str:
        """All that was said in it so far."""
        return "".join(self.said)

    def begun(self) -> dict[str, Any]:
        """Return the item as it is when nothing has been said in it."""
        return self._item("in_progress")

    def opened(self) -> Told:
        """Return what is told before the first delta."""
        return []

    def take(self, text: str) -> str:
        """Return what is to be sent of a delta, perhaps nothing."""
        self.said.append(text)
        return text

    def rest(self) -> str:
        """Return what is still to be sent as a delta when no more comes."""
        return ""

    @abstractmethod
    def closed(self) -> Told:
        """Return what is told after the last delta."""

    def ended(self, status: str) -> dict[str, Any]:
        """Return the item in full."""
        return self._item(status)

    @abstractmethod
    def _item(self, status: str) -> dict[str, Any]:
        """Return the item with what was said in it so far; nothing yet where the status is ``in_progress``."""


class MessageItem(Item):
    """The answer's words."""

    kind = "message"
    delta = "output_text.delta"

    def __init__(self, tail: str, index: int) -> None:
        super().__init__(tail, index)
        self.at["content_index"] = 0

    def opened(self) -> Told:
        """Return the beginning of its one part."""
        return [("content_part.added", {**self.at, "part": _words("")})]

    def closed(self) -> Told:
        """Return the end of its one part."""
        done = {**self.at, "text": self.text, "logprobs": []}
        return [("output_text.done", done), ("content_part.done", {**self.at, "part": _words(self.text)})]

    def _item(self, status: str) -> dict[str, Any]:
        content = [] if status == "in_progress" else [_words(self.text)]
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}


class RefusalItem(MessageItem):
    """Words that came in place of the JSON that was asked for."""

    delta = "refusal.delta"

    def opened(self) -> Told:
        """Return the beginning of its one part."""
        return [("content_part.added", {**self.at, "part": _refusal("")})]

    def closed(self) -> Told:
        """Return the end of its one part."""
        done = {**self.at, "refusal": self.text}
        return [("refusal.done", done), ("content_part.done", {**self.at, "part": _refusal(self.text)})]

    def _item(self, status: str) -> dict[str, Any]:
        content = [] if status == "in_progress" else [_refusal(self.text)]
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}


class ReasoningItem(Item):
    """Reasoning: as it is, or, where the client asked for a summary, in the place of one."""

    kind = "reasoning"

    def __init__(self, tail: str, index: int, *, summarised: bool, sealed: bool) -> None:
        super().__init__(tail, index)
        self._summarised = summarised
        # It proves nothing and holds nothing: what comes back is never checked.
        self._seal = f"fittengate-{self.id}" if sealed else None
        self.at["summary_index" if summarised else "content_index"] = 0
        self.delta = "reasoning_summary_text.delta" if summarised else "reasoning_text.delta"

    def opened(self) -> Told:
        """Return the beginning of its one part."""
        return [(f"{self._part_event}.added", {**self.at, "part": self._part("")})]

    def closed(self) -> Told:
        """Return the end of its one part."""
        text = self.text
        done = self.delta.replace(".delta", ".done")
        return [(done, {**self.at, "text": text}), (f"{self._part_event}.done", {**self.at, "part": self._part(text)})]

    @property
    def _part_event(self) -> str:
        return "reasoning_summary_part" if self._summarised else "content_part"

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "summary_text" if self._summarised else "reasoning_text", "text": text}

    def _item(self, status: str) -> dict[str, Any]:
        parts = [] if status == "in_progress" else [self._part(self.text)]
        summary, content = (parts, []) if self._summarised else ([], parts)
        item = {"id": self.id, "type": "reasoning", "status": status, "summary": summary, "content": content}
        return {**item, "encrypted_content": None if status == "in_progress" else self._seal}


class CallItem(Item):
    """A call of a function."""

    kind = "function_call"
    delta = "function_call_arguments.delta"

    def __init__(self, tail: str, index: int, call_id: str, form: ToolForm) -> None:
        super().__init__(tail, index)
        self._call_id = _CALL_ID + call_id
        self._form = form

    def rest(self) -> str:
        """Return an empty object where no argument came: nothing at all is not JSON."""
        return "" if self.said else "{}"

    def closed(self) -> Told:
        """Return the arguments in full."""
        done = {**self.at, "name": self._form.name, "arguments": self.text}
        return [("function_call_arguments.done", done)]

    def _item(self, status: str) -> dict[str, Any]:
        return self._called(status, {"arguments": self.text})

    def _called(self, status: str, given: dict[str, Any]) -> dict[str, Any]:
        item = {"id": self.id, "type": self.kind, "status": status, "call_id": self._call_id}
        item |= {"name": self._form.name, **given}
        if self._form.namespace is not None:
            item["namespace"] = self._form.namespace
        return item


class CustomCallItem(CallItem):
    """A call of a custom tool, whose input is raw text."""

    kind = "custom_tool_call"
    delta = "custom_tool_call_input.delta"

    def __init__(self, tail: str, index: int, call_id: str, form: ToolForm) -> None:
        super().__init__(tail, index, call_id, form)
        self._raw = RawText()

    def take(self, text: str) -> str:
        """Return what of the raw text has become certain."""
        return super().take(self._raw.feed(text))

    def rest(self) -> str:
        """Return the end of the raw text, or the whole of one in another form."""
        return self._raw.close()

    def closed(self) -> Told:
        """Return the raw text in full."""
        return [("custom_tool_call_input.done", {**self.at, "input": self.text})]

    def _item(self, status: str) -> dict[str, Any]:
        return self._called(status, {"input": self.text})


class SearchCallItem(CallItem):
    """A call of the client's own search for tools; it has no deltas, and its arguments are an object."""

    kind = "tool_search_call"
    delta = ""

    def closed(self) -> Told:
        """Return nothing: the item itself tells all."""
        return []

    def _item(self, status: str) -> dict[str, Any]:
        arguments: Any = {}
        if status != "in_progress":
            try:
                arguments = read_object(self.text.encode("utf-8", "replace"))
            except UnreadableError:
                arguments = {"query": self.text}
        item = {"id": self.id, "type": self.kind, "status": status, "call_id": self._call_id}
        return {**item, "execution": "client", "arguments": arguments}


class BuiltinCallItem(CallItem):
    """A call of a tool that the vendor built in; it has no deltas, and an object of its own in place of arguments."""

    delta = ""

    def __init__(self, tail: str, index: int, call_id: str, form: ToolForm) -> None:
        self.kind = f"{form.name}_call"
        super().__init__(tail, index, call_id, form)

    def closed(self) -> Told:
        """Return nothing: the item itself tells all."""
        return []

    def _item(self, status: str) -> dict[str, Any]:
        name = self._form.name
        item = {"id": self.id, "type": self.kind, "status": status, "call_id": self._call_id}
        return {**item, BUILTIN[name].holder: written(name, self.text)}


def _words(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _refusal(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}
