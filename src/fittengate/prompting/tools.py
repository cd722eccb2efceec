"""Tells the model of its tools, since the service itself knows none: what to write in order to call one.

The section stands in the leading system turn. It shows the form of a block, gives its rules, one or two examples made
of tools that are really there, and the tools as the client declared and ordered them; the same tools make the same
text, so that what a service keeps of earlier prompts stays of use. One line at the end of the last user turn reminds of
the form, because what stands last is followed best; it, too, says what ``tool_choice`` asks for.
"""

import hmac
import json
from base64 import b32encode
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from msgspec import Struct

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import Conversation, Text, ToolCall, ToolResult, ToolSpec
from fittengate.prompting.declared import Declared, declared
from fittengate.prompting.schemas import compact_schema, plain_strings, signature, simplest
from fittengate.prompting.syntax import Tags, collides, compact, render_calls

SCHEMA_CHARS = 24_000
"""If the schemas of all tools together are longer, each tool is shown as a list of typed parameters: about half."""

MAX_EXAMPLES = 2

SUFFIX_CHARS = 4

_KEPT_CHARS = 16_384
"""Longer tools are looked at anew each time, so that what is kept stays within 256 times this and as much again."""

_LONG_TEXTS = (
    "content",
    "file_text",
    "new_string",
    "text",
    "code",
    "patch",
    "diff",
    "input",
    "body",
    "command",
    "prompt",
)
"""Names that parameters for texts of several lines go by; the earlier ones make the better example."""

_SAMPLE = 'if name == \'a\' and "b" < c:\n    print("x & y")'

_INTRODUCTION = """\
# Tools

The tools below are called by writing this block; it is the platform's tool mechanism:

{form}

- A string value stands between its tags exactly as it is, over as many lines as it has: nothing escaped, no quotes \
around it, no CDATA.
- A value of any other type is JSON.
- Parameter names are exactly those of the tool. Optional parameters may be left out.
- {several}
- Text may stand before the block. Nothing stands after it: end your turn there.
- The results come in the next user turn, inside {results}. Never write them yourself.
- Do not put the block into a code fence."""

_SEVERAL = "The block may hold several invoke elements, one for each call, to be carried out together."
_ONE = "The block holds exactly one invoke element: make one call, then wait for its result."

_WITHOUT = "Answer now without calling any tool."


def instructions(tools: Sequence[ToolSpec], tool_use: ToolUse, tags: Tags) -> str:
    """Return the section on tools; an empty text where there are none, or where none is to be called."""
    if tool_use.choice == "none":
        return ""
    offered = tuple(_offered(tools, tool_use))
    if not offered:
        return ""
    known = declared(offered)
    return (_keep_section if known.short else _section)(known, tool_use, tags)


def _section(known: Declared, tool_use: ToolUse, tags: Tags) -> str:
    tools = known.tools
    looks = [_look(tool) for tool in tools]
    form = tags.calls, tags.invoke("NAME"), f"{tags.parameter('PARAMETER')}value{tags.parameter_end}"
    several = _SEVERAL if tool_use.parallel else _ONE
    pieces = [
        _INTRODUCTION.format(
            form="\n".join([*form, tags.invoke_end, tags.calls_end]), several=several, results=tags.results
        ),
        _examples(known, looks, tags),
    ]
    if sum([look.schema_chars for look in looks]) > SCHEMA_CHARS:
        pieces.append("The tools, with their parameters (? marks optional ones):")
        pieces += [_signature_of(tool) for tool in tools]
    else:
        lines = [look.line for look in looks]
        pieces.append(
            "\n".join(["The tools, each as one line of JSON with the JSON schema of its parameters:", *lines])
        )
    if demand := _demand(tool_use):
        pieces.append(demand)
    return "\n\n".join(pieces)


def reminder(tools: Sequence[ToolSpec], tool_use: ToolUse, tags: Tags) -> str:
    """Return the line for the end of the last user turn; an empty text where there are no tools."""
    if not tools:
        return ""
    if tool_use.choice == "none":
        return f"[{_WITHOUT}]"
    form = f"To call a tool, write a {tags.calls} block in the form given above, as the last thing of your turn."
    words = [form, "" if tool_use.parallel else "Write exactly one invoke element.", _demand(tool_use)]
    return f"[{' '.join(filter(None, words))}]"


def tags_for(conversation: Conversation, secret: bytes) -> Tags:
    """Return the tags for a conversation: with a suffix where its texts hold parts of calls themselves.

    A call that is only quoted, from a file or a web page, must not be carried out. The suffix follows from ``secret``,
    the first words of the user and the names of the tools: nobody outside can know it, and it stays the same from turn
    to turn. No text of the conversation holds it. Without tools nothing is read as a call, and the tags are plain.
    """
    if not conversation.tools:
        return Tags()
    known = declared(conversation.tools)
    tools_collide = (_keep_collide if known.short else _collide)(known)
    if not tools_collide and not any(map(collides, _texts(conversation))):
        return Tags()
    said = "\n".join([*_texts(conversation), *[_look(tool).line for tool in conversation.tools]]).lower()
    about = compact([_first_words(conversation), *[tool.name for tool in conversation.tools]]).encode(
        "utf-8", "replace"
    )
    for attempt in count():
        digest = hmac.digest(secret, b"%d:%s" % (attempt, about), "sha256")
        suffix = b32encode(digest)[:SUFFIX_CHARS].decode().lower()
        if f".{suffix}" not in said:
            return Tags(suffix)
    raise AssertionError  # count() has no end


class _Look(Struct, frozen=True):
    """What the prompt needs of a tool."""

    line: str
    schema_chars: int
    collides: bool
    arguments: dict[str, Any] | None
    """The least that can be given to it, for an example; None where that is not clear from the schema."""
    long_text: str | None
    """The parameter for a text of several lines; None where no parameter takes just any string."""
    rank: int
    """How well that one suits an example, the lower the better."""


def _offered(tools: Sequence[ToolSpec], tool_use: ToolUse) -> Sequence[ToolSpec]:
    if tool_use.choice != "named":
        return tools
    return [tool for tool in tools if tool.name == tool_use.name]


def _demand(tool_use: ToolUse) -> str:
    if tool_use.choice == "required":
        return "Call at least one tool now."
    if tool_use.choice == "named":
        return f"Call the tool {tool_use.name} now."
    return ""


def _look(tool: ToolSpec) -> _Look:
    return _keep_look(tool) if _is_short(tool) else _look_at(tool)


def _signature_of(tool: ToolSpec) -> str:
    return _keep_signature(tool) if _is_short(tool) else signature(tool)


def _is_short(tool: ToolSpec) -> bool:
    return len(tool.description) + len(tool.parameters) + len(tool.name) <= _KEPT_CHARS


def _look_at(tool: ToolSpec) -> _Look:
    schema = compact_schema(tool.parameters)
    shown: dict[str, Any] = {"name": tool.name}
    if tool.description:
        shown["description"] = tool.description
    if schema:
        shown["parameters"] = schema
    try:
        line = compact(shown)
    except RecursionError:
        schema = {}
        line = compact({"name": tool.name, "description": tool.description})
    plain = plain_strings(schema)
    rank = min([_LONG_TEXTS.index(name) for name in plain if name in _LONG_TEXTS], default=len(_LONG_TEXTS))
    long_text = _LONG_TEXTS[rank] if rank < len(_LONG_TEXTS) else next(iter(plain), None)
    return _Look(line, len(compact(schema)), collides(line), simplest(schema), long_text, rank)


def _collide(known: Declared) -> bool:
    return any(_look(tool).collides for tool in known.tools)


# An agent sends the same tools in every turn: looking at 60 of them costs more than all the rest of a request.
_keep_look = lru_cache(256)(_look_at)
_keep_signature = lru_cache(256)(signature)
_keep_section = lru_cache(16)(_section)
_keep_collide = lru_cache(16)(_collide)


def _examples(known: Declared, looks: Sequence[_Look], tags: Tags) -> str:
    """Return examples of tools that are there: first one with a text of several lines, then one of another tool."""
    tools = known.tools
    usable = [at for at, look in enumerate(looks) if look.arguments is not None]
    texts = [at for at in usable if looks[at].long_text is not None]
    first = min(texts, key=lambda at: looks[at].rank, default=None)
    chosen: list[tuple[str, str]] = []
    if first is not None:
        look = looks[first]
        chosen.append((tools[first].name, json.dumps({**(look.arguments or {}), str(look.long_text): _SAMPLE})))
    others = [at for at in usable if at != first]
    with_json = [at for at in others if any(type(value) is not str for value in (looks[at].arguments or {}).values())]
    more = [*dict.fromkeys([*with_json, *others])][: 1 if chosen else MAX_EXAMPLES]
    chosen += [(tools[at].name, compact(looks[at].arguments)) for at in more]
    if not chosen:
        return "Such a block, and nothing else, calls a tool."
    title = (
        "An example of the form, not of what to do:" if len(chosen) == 1 else "Examples of the form, not of what to do:"
    )
    return "\n\n".join([title, *[render_calls([call], tags, known.schema) for call in chosen]])


def _texts(conversation: Conversation) -> Iterator[str]:
    """Yield every text that somebody else wrote and that comes into the prompt, those of tools excepted."""
    for message in conversation.messages:
        for part in message.parts:
            # Pictures are not words, and reasoning stays out of the prompt.
            if isinstance(part, Text):
                yield part.text
            elif isinstance(part, ToolCall):
                yield _unescaped(part.arguments)
            elif isinstance(part, ToolResult):
                yield from [inner.text for inner in part.parts if isinstance(inner, Text)]


def _unescaped(arguments: str) -> str:
    """Return JSON text with as few escapes as may be, for angle brackets and slashes may be hidden by them."""
    if "\\" not in arguments:
        return arguments
    try:
        return compact(json.loads(arguments))
    except (ValueError, RecursionError):
        return arguments


def _first_words(conversation: Conversation) -> str:
    for message in conversation.messages:
        if message.role == "user":
            return "\n".join([part.text for part in message.parts if isinstance(part, Text)])
    return ""
