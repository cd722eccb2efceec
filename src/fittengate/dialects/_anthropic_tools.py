"""The tools of a Messages request: which of them the model is shown, and how it is to call them.

Shapes from Anthropic's API reference (tools, "tool_choice", tool search). A tool with ``defer_loading`` is shown only
once the conversation has found it. Tools that the vendor runs on its own servers cannot be run here: they are left
out and reported, and a request that has nothing else gets an answer in words. Of those that the vendor defines and
the client runs, some are known (:mod:`fittengate.dialects._anthropic_builtin`).
"""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from msgspec.structs import replace

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import ToolSpec
from fittengate.dialects._anthropic_builtin import builtin
from fittengate.dialects._fields import as_json, bad, flag, text_of
from fittengate.lib.jsonio import shown

PLACEHOLDER = "DeferredToolPlaceholder"
"""A tool of this name stands in for deferred ones, so that a client's list is never empty; it does nothing."""

_NAME = re.compile(r"[A-Za-z0-9_.:/\-]{1,128}\Z")
"""Letters, digits, _ and - are the vendor's own rule; dots, colons and slashes are in use beside them."""


class _Declared(NamedTuple):
    spec: ToolSpec
    deferred: bool


class Tools:
    """The ``tools`` of one request. Nothing changes them: one serves every request that declares the same."""

    def __init__(self, value: Any) -> None:
        """Read the list; None is an empty one. Raises Fault (caller_bad_request)."""
        self.names: frozenset[str] = frozenset()
        """Names of the client's own tools, deferred ones included."""
        self.left_out: dict[str, None] = {}
        """The vendor's tools, as they are to be reported."""
        self._declared: list[_Declared] = []
        self._vendors: set[Any] = set()
        self._search = False
        if value is None:
            return
        if type(value) is not list:
            raise bad("tools must be a list.", "tools")
        for index, item in enumerate(value):
            self._read(item, f"tools[{index}]")
        names = [tool.spec.name for tool in self._declared]
        self.names = frozenset(names)
        if len(self.names) < len(names):
            raise bad("Two tools have the same name.", "tools")

    def offered(self, found: Collection[str], choice: ToolUse) -> tuple[ToolSpec, ...]:
        """Return what the model is shown, in the client's order: ``found`` names the deferred ones among it.

        A tool that must be called is shown in any case. With the vendor's own search among the tools every tool counts
        as found, for nothing else here would ever find one.
        """
        return tuple(
            [
                tool.spec
                for tool in self._declared
                if not tool.deferred or self._search or tool.spec.name in found or tool.spec.name == choice.name
            ]
        )

    def choice(self, value: Any) -> ToolUse:
        """Return how tools are to be called. Raises Fault (caller_bad_request)."""
        if value is None:
            return ToolUse()
        if type(value) is not dict:
            raise bad("tool_choice must be an object.", "tool_choice")
        parallel = not flag(value.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use")
        match value.get("type"):
            case "auto":
                return ToolUse("auto", parallel=parallel)
            case "none":
                return ToolUse("none")
            case "any":
                if not self.names and not self._vendors:
                    raise bad("tool_choice asks for a tool, but there are no tools.", "tool_choice")
                return ToolUse("required" if self.names else "auto", parallel=parallel)
            case "tool":
                return self._named(value.get("name"), parallel=parallel)
            case _:
                raise bad("type must be auto, any, tool or none.", "tool_choice.type")

    def _named(self, name: Any, *, parallel: bool) -> ToolUse:
        if type(name) is not str:
            raise bad("name must be a string.", "tool_choice.name")
        if name in self.names:
            return ToolUse("named", name, parallel)
        if name in self._vendors or name == PLACEHOLDER:
            return ToolUse("auto", parallel=parallel)
        raise bad("tool_choice names a tool that is not among the tools.", "tool_choice.name")

    def _read(self, item: Any, place: str) -> None:
        if type(item) is not dict:
            raise bad("A tool must be an object.", place)
        kind, name = text_of(item, "type", place), item.get("name")
        known = builtin(kind) if kind and "input_schema" not in item else None
        if known is None and kind not in ("", "custom", "function") and "input_schema" not in item:
            self._search = self._search or kind.startswith("tool_search_tool_")
            self.left_out[f"tools.{shown(kind)}"] = None
            if type(name) is str:
                self._vendors.add(name)
            return
        if type(name) is not str or not _NAME.match(name):
            raise bad("name must be 1 to 128 letters, digits, dots, colons, slashes, _ or -.", f"{place}.name")
        deferred = flag(item.get("defer_loading"), f"{place}.defer_loading")
        if known is not None:
            self._declared.append(_Declared(replace(known, name=name), deferred))
            return
        description = text_of(item, "description", place)
        schema = item.get("input_schema")
        if type(schema) is not dict:
            raise bad("input_schema must be an object.", f"{place}.input_schema")
        if name != PLACEHOLDER:
            spec = ToolSpec(name, description, as_json(schema, f"{place}.input_schema"))
            self._declared.append(_Declared(spec, deferred))
