"""The tools of a request, and what follows from them alone: made once for tools that come again and again.

An agent sends the same tools in every turn. Law: what is found for tools is what would be made of them; they are known
by being the same, or equal, and only a few of bounded length are remembered.
"""

from collections.abc import Callable

from fittengate.core.conversation import ToolSpec
from fittengate.prompting.marks import marks
from fittengate.prompting.names import Names
from fittengate.prompting.opening import Openings
from fittengate.prompting.values import Schema, Schemas

MAX_CHARS = 262_144
"""Descriptions and schemas that are longer, all of a request together, are looked at anew each time."""

_ENTRIES = 16
_SUFFIXES = 4


class Declared:
    """Tools, by their names and by what one may mean by a name. Knows by identity, so that it can be a key."""

    __slots__ = ("_openings", "by_name", "names", "schema", "short", "tools")

    def __init__(self, tools: tuple[ToolSpec, ...]) -> None:
        self.tools = tools
        self.by_name: dict[str, ToolSpec] = {tool.name: tool for tool in tools}
        self.names = Names(self.by_name)
        self.schema: Callable[[str], Schema] = Schemas(tools).of
        self.short = sum([len(tool.parameters) + len(tool.description) for tool in tools]) <= MAX_CHARS
        """They may be remembered."""
        self._openings: dict[str, Openings] = {}

    def openings(self, suffix: str) -> Openings:
        """Return what finds calls of these tools in tags with a suffix."""
        found = self._openings.get(suffix)
        if found is None:
            if len(self._openings) >= _SUFFIXES:
                self._openings.clear()
            found = self._openings[suffix] = Openings(marks(suffix), self.names, self.schema, self.by_name, suffix)
        return found


_known: list[Declared] = []


def declared(tools: tuple[ToolSpec, ...]) -> Declared:
    """Return what follows from tools."""
    for known in _known:
        if known.tools is tools:
            return known
    for known in _known:
        if known.tools == tools:
            return known
    made = Declared(tools)
    if made.short:
        _known.insert(0, made)
        del _known[_ENTRIES:]
    return made
