"""The tools of a Responses request: what the model is shown of them, and how its calls are to be written.

Shapes from OpenAI's API reference (responses, "Create a model response", ``tools`` and ``tool_choice``). The model
knows one sort of tool, functions. A custom tool becomes one with a single text, tools of a namespace get its name
before their own, and the client's own search for tools is a function too, as are the vendor's built-in tools that the
client runs. Tools that OpenAI itself would run are left out and reported while others remain; alone they are refused.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import ToolSpec
from fittengate.dialects._fields import as_json, bad, flag, text_of, unsupported
from fittengate.dialects._openai_fields import tool_name
from fittengate.dialects._responses_ask import ToolForm
from fittengate.dialects._responses_builtin import BUILTIN, run_by_client
from fittengate.dialects._responses_raw import PARAMETER
from fittengate.lib.jsonio import shown, to_json

SEARCH = "tool_search"
"""The name by which the model calls the client's search for tools."""

_RAW = to_json({"type": "object", "properties": {PARAMETER: {"type": "string"}}, "required": [PARAMETER]})
_SEARCHED = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
_FIND = "Finds further tools. Those that it finds can be called from the next turn on."


class _Tool(NamedTuple):
    spec: ToolSpec
    form: ToolForm
    deferred: bool


class Tools:
    """Every tool that a conversation may call, from ``tools`` and from its items. Of one name the first counts."""

    def __init__(self, value: Any) -> None:
        """Read the request's list; None is an empty one. Raises Fault (caller_bad_request)."""
        self.left_out: dict[str, str] = {}
        """Tools that cannot be used here: how they are reported, and the place of the first one."""
        self.echo = b"[]"
        """The request's tools as a response object repeats them: a list as JSON."""
        self._tools: dict[str, _Tool] = {}
        self._named: list[str] = []
        """Names in the order in which they were read."""
        self._found: set[str] = set()
        self._search = False
        echoed = [_echoed(item) for item, place in _listed(value, "tools") if self._read(item, place, None)]
        if echoed:
            self.echo = to_json(echoed)

    def copy(self) -> "Tools":
        """Return tools of their own, with nothing added yet: so that what was read once serves another request."""
        other = Tools(None)
        other.left_out, other.echo = dict(self.left_out), self.echo
        other._tools, other._search = dict(self._tools), self._search
        return other

    def add(self, value: Any, place: str) -> list[str]:
        """Take the tools of an item, callable from then on; return their names. Raises Fault (caller_bad_request)."""
        self._named = []
        for item, where in _listed(value, place):
            self._read(item, where, None)
        self._found.update(self._named)
        return self._named

    def offered(
        self, use: ToolUse, allowed: frozenset[str] | None
    ) -> tuple[tuple[ToolSpec, ...], tuple[ToolForm, ...]]:
        """Return what the model is shown, and the forms of its calls. Raises Fault (caller_unsupported).

        ``allowed`` names those that may be called; None means all. A deferred tool is hidden until the client's own
        search has found it; without such a search nothing would ever find it.
        """
        if self.left_out and not self._tools and use.choice != "none":
            place = next(iter(self.left_out.values()))
            raise unsupported("Only tools that the client itself runs can be used, and there is none.", place)
        shown_tools = [
            tool
            for name, tool in self._tools.items()
            if (allowed is None or name in allowed)
            and (not tool.deferred or not self._search or name in self._found or name == use.name)
        ]
        return tuple([tool.spec for tool in shown_tools]), tuple([tool.form for tool in shown_tools])

    def choice(self, value: Any, parallel: Any) -> tuple[ToolUse, frozenset[str] | None]:
        """Return how tools are to be used, and the names of those that may be; None means all. Raises Fault."""
        together = parallel is None or flag(parallel, "parallel_tool_calls")
        if value is None or value == "auto":
            return ToolUse(parallel=together), None
        if value == "none":
            return ToolUse("none", parallel=together), None
        if value == "required":
            if not self._tools and not self.left_out:
                raise bad("tool_choice asks for a call, but there are no tools.", "tool_choice")
            return ToolUse("required", parallel=together), None
        if type(value) is not dict or type(value.get("type")) is not str:
            raise bad("tool_choice must be auto, none, required or an object that names a tool.", "tool_choice")
        if value["type"] == "allowed_tools":
            return self._allowed(value, together)
        return ToolUse("named", self._chosen(value, "tool_choice", self._bare()), parallel=together), None

    def _allowed(self, value: Mapping[str, Any], together: bool) -> tuple[ToolUse, frozenset[str]]:  # noqa: FBT001
        mode = value.get("mode")
        if mode not in (None, "auto", "required"):
            raise bad("mode must be auto or required.", "tool_choice.mode")
        names: set[str] = set()
        bare, spaces = self._bare(), self._spaces()
        for item, place in _listed(value.get("tools"), "tool_choice.tools"):
            if type(item) is not dict or type(item.get("type")) is not str:
                raise bad("A tool must be an object with a type.", place)
            if item["type"] == "namespace":
                # Taken out: a namespace that is named again brings nothing more.
                space = item.get("name")
                if type(space) is not str or space not in spaces:
                    raise bad("tool_choice must name one of the tools.", f"{place}.name")
                names.update(spaces[space])
                spaces[space] = []
            elif not _is_left_out(item["type"]):
                names.add(self._chosen(item, place, bare))
        if mode == "required" and not names:
            raise bad("tool_choice asks for a call, but allows no tool.", "tool_choice.tools")
        return ToolUse("required" if mode == "required" else "auto", parallel=together), frozenset(names)

    def _spaces(self) -> dict[str, list[str]]:
        """Return the names of the tools of each namespace."""
        spaces: dict[str, list[str]] = {}
        for name, tool in self._tools.items():
            if tool.form.namespace is not None:
                spaces.setdefault(tool.form.namespace, []).append(name)
        return spaces

    def _bare(self) -> dict[str, str]:
        """Return for each name without its namespace the first tool that has it."""
        return {tool.form.name: name for name, tool in reversed(self._tools.items())}

    def _chosen(self, value: Mapping[str, Any], place: str, bare: Mapping[str, str]) -> str:
        kind, name, space = value["type"], value.get("name"), value.get("namespace")
        if _is_left_out(kind):
            raise unsupported("Only tools that the client itself runs can be chosen.", f"{place}.type")
        if kind == SEARCH or kind in BUILTIN:
            name = kind
        if type(name) is str and type(space) in (str, type(None)):
            if spoken(name, space) in self._tools:
                return spoken(name, space)
            if space is None and name in bare:
                return bare[name]
        raise bad("tool_choice must name one of the tools.", f"{place}.name")

    def _read(self, item: Any, place: str, space: str | None) -> bool:
        """Take one tool; tell whether it can be used."""
        if type(item) is not dict:
            raise bad("A tool must be an object.", place)
        kind = item.get("type")
        if type(kind) is not str:
            raise bad("type must be a string.", f"{place}.type")
        description = text_of(item, "description", place)
        if kind == "namespace" and space is None:
            name = tool_name(item.get("name"), f"{place}.name")
            for inner, where in _listed(item.get("tools"), f"{place}.tools"):
                self._read(inner, where, name)
        elif kind == "function":
            parameters = item.get("parameters")
            if parameters is not None and type(parameters) is not dict:
                raise bad("parameters must be a JSON schema, an object.", f"{place}.parameters")
            self._put(item, "function", place, space, description, as_json(parameters or {}, f"{place}.parameters"))
        elif kind == "custom":
            self._put(item, "custom", place, space, _with_grammar(item, description, place), _RAW)
        elif kind == SEARCH and item.get("execution") == "client":
            self._search = True
            parameters = item.get("parameters")
            schema = as_json(parameters if type(parameters) is dict else _SEARCHED, f"{place}.parameters")
            form = ToolForm(SEARCH, "search", SEARCH)
            self._take(_Tool(ToolSpec(SEARCH, description or _FIND, schema), form, deferred=False))
        elif run_by_client(item):
            spec = ToolSpec(kind, BUILTIN[kind].description, BUILTIN[kind].parameters)
            self._take(_Tool(spec, ToolForm(kind, "builtin", kind), deferred=False))
        else:
            self.left_out.setdefault(f"tools.{shown(kind)}", f"{place}.type")
            return False
        return True

    def _put(
        self, item: Mapping[str, Any], kind: Any, place: str, space: str | None, description: str, schema: bytes
    ) -> None:
        name = tool_name(item.get("name"), f"{place}.name")
        form = ToolForm(spoken(name, space), kind, name, space)
        deferred = flag(item.get("defer_loading"), f"{place}.defer_loading")
        self._take(_Tool(ToolSpec(form.spoken, description, schema), form, deferred))

    def _take(self, tool: _Tool) -> None:
        self._named.append(tool.form.spoken)
        self._tools.setdefault(tool.form.spoken, tool)


def spoken(name: str, space: str | None) -> str:
    """Return the name by which the model calls a tool."""
    return f"{space}.{name}" if space else name


def _is_left_out(kind: str) -> bool:
    return kind not in ("function", "custom", "namespace", SEARCH, *BUILTIN)


def _listed(value: Any, place: str) -> Iterable[tuple[Any, str]]:
    if value is None:
        return []
    if type(value) is not list:
        raise bad(f"{place} must be a list.", place)
    return [(item, f"{place}[{index}]") for index, item in enumerate(value)]


def _echoed(item: dict[str, Any]) -> dict[str, Any]:
    """Return a tool with the keys that clients of typed languages insist on."""
    if item["type"] != "function":
        return item
    return {**item, "parameters": item.get("parameters"), "strict": item.get("strict") is True}


def _with_grammar(item: Mapping[str, Any], description: str, place: str) -> str:
    """Return the description of a custom tool with its grammar: it cannot be enforced, but it can be told."""
    form = item.get("format")
    if form is None:
        return description
    kind = form.get("type") if type(form) is dict else None
    if kind == "text":
        return description
    if kind != "grammar":
        raise bad("format must be an object with type text or grammar.", f"{place}.format")
    syntax, definition = text_of(form, "syntax", f"{place}.format"), text_of(form, "definition", f"{place}.format")
    told = f"The input must match this {syntax or 'lark'} grammar:\n{definition}"
    return f"{description}\n\n{told}" if description else told
