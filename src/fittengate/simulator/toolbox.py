"""What a prompt says of tools: which there are, how a call is to be written, what came back, and what is asked now.

It is read from the words alone, as a model would: a line of JSON with a name and parameters declares a tool, and so
does a heading with a list of typed parameters; a block with NAME, PARAMETER and value in it shows the form of a call.
"""

import json
import re
from typing import Any

from msgspec import Struct

from fittengate.simulator.calls import FORMS, Call, Template, prompted
from fittengate.simulator.turns import Prompt

Schema = dict[str, Any]

_KEYS = {"name", "description", "parameters", "input_schema", "strict", "type", "function"}
_TELLING = {"description", "parameters", "input_schema", "type", "function"}
_LISTED = re.compile(r"^[^\n]{0,40}\btools\b[^\n]{0,80}\bparameters\b[^\n]{0,80}:$", re.MULTILINE | re.IGNORECASE)
_SIGNATURE = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_TYPED = re.compile(r"^- ([\w$.-]+)(\?)?: ([^\n]*)$", re.MULTILINE)
_FORM = re.compile(
    r"^(?P<calls><[^\n]+>)\n(?P<invoke>[^\n]*\bNAME\b[^\n]*)\n(?P<parameter>[^\n]*\bPARAMETER\b[^\n]*\bvalue\b[^\n]*)\n"
    r"(?P<invoke_end></[^\n]+>)\n(?P<calls_end></[^\n]+>)$",
    re.MULTILINE,
)
_RESULTS = re.compile(r"\s*<((?:tool|function)_results[.\w]*)>\n(.*?)</\1>", re.DOTALL)
_RESULT = re.compile(r'<(result[.\w]*) (?:tool_)?name="([^"]*)"([^>]*)>\n?(.*?)\n?</\1>', re.DOTALL)
_PLAIN_RESULT = re.compile(r"\s*Tool result \(([^)\n]*)\):\n(.*)", re.DOTALL)
_REMINDER = re.compile(r"\b(?:tool|JSON)\b")
_ASIDES = re.compile(r"<(system-reminder|environment_details|environment_context)>.*?</\1>", re.DOTALL)
_TASK = re.compile(r"<(task|user_query|user_message)>\s*(.*?)\s*</\1>", re.DOTALL)
_NAMED = re.compile(r"\bcall the tool (\S+) now\b", re.IGNORECASE)
_ANY = re.compile(r"\bcall at least one tool\b", re.IGNORECASE)
_NONE = re.compile(r"\bwithout calling any tool\b", re.IGNORECASE)
_ONE = re.compile(r"\bexactly one invoke\b|\bone call at a time\b", re.IGNORECASE)


class Tool(Struct, frozen=True):
    """A tool that the prompt declares."""

    name: str
    description: str
    schema: Schema


class Toolbox(Struct, frozen=True):
    """What may be called now, and how."""

    tools: tuple[Tool, ...]
    template: Template | None
    """The form that the prompt shows; None where it shows none."""
    demand: str = ""
    """The tool that has to be called; ``*`` for any; empty where calling is free."""
    forbidden: bool = False
    several: bool = True
    """Several calls in one reply are welcome."""

    def write(self, calls: list[Call]) -> str:
        """Return calls as the prompt wants them written; where it does not say, as the editor's own agent does."""
        return prompted(calls, self.template) if self.template else FORMS["invoke"](calls)


class Result(Struct, frozen=True):
    """What a call gave."""

    tool: str
    text: str
    error: bool = False


class Task(Struct, frozen=True):
    """What the user asked last, and what was done about it since."""

    words: str
    rounds: int
    """Replies with calls that were answered with results since."""
    results: tuple[Result, ...]


def toolbox(prompt: Prompt) -> Toolbox:
    """Return the tools of a prompt; none where it declares none."""
    system = "\n".join(turn.text for turn in prompt.turns if turn.role == "system")
    ends = system + "\n" + prompt.last_user[-1000:]
    form = _FORM.search(system)
    named = _NAMED.search(ends)
    return Toolbox(
        tuple({tool.name: tool for tool in _declared(system)}.values()),
        Template(**form.groupdict()) if form else None,
        demand=named[1].rstrip(".") if named else "*" if _ANY.search(ends) else "",
        forbidden=_NONE.search(ends) is not None,
        several=_ONE.search(ends) is None,
    )


def task(prompt: Prompt) -> Task:
    """Return what is to be done: the last words of the user's own, however many results came after them."""
    results: list[Result] = []
    rounds = 0
    for turn in reversed(prompt.turns):
        if turn.role != "user":
            continue
        found, rest = taken_apart(turn.text)
        if words := own_words(rest):
            return Task(words, rounds, tuple(results))
        results[:0] = found
        rounds += bool(found)
    return Task("", rounds, tuple(results))


def taken_apart(text: str) -> tuple[list[Result], str]:
    """Return the results that a user turn begins with, and what follows them."""
    if block := _RESULTS.match(text):
        found = [Result(name, body, "error" in marks) for _, name, marks, body in _RESULT.findall(block[2])]
        return found, text[block.end() :]
    if plain := _PLAIN_RESULT.match(text):
        return [Result(plain[1], plain[2])], ""
    return [], text


def own_words(text: str) -> str:
    """Return what a person said in a turn: without the notes that programs add around it."""
    while text.endswith("]"):
        # A reminder is a line in brackets at the very end; there may be one on tools and one on the form.
        rest, _, line = text.rpartition("\n")
        if not line.startswith("[") or not _REMINDER.search(line):
            break
        text = rest.rstrip("\n")
    if "</" in text:
        text = _ASIDES.sub("", text)
        inner = _TASK.search(text)
        text = inner[2] if inner else text
    return text.strip("\n")


def is_declaration(value: Any) -> bool:
    """Tell whether a JSON value declares a tool: a name alone may be the example of something else."""
    if not isinstance(value, dict) or not value.keys() <= _KEYS:
        return False
    held = value["function"] if isinstance(value.get("function"), dict) else value
    return isinstance(held.get("name"), str) and not value.keys().isdisjoint(_TELLING)


def _declared(system: str) -> list[Tool]:
    found = []
    for line in system.splitlines():
        if line.startswith("{"):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if is_declaration(value):
                held = value["function"] if isinstance(value.get("function"), dict) else value
                schema = held.get("parameters", held.get("input_schema"))
                about = held.get("description")
                known = schema if isinstance(schema, dict) else {}
                found.append(Tool(held["name"], about if isinstance(about, str) else "", known))
    if found:
        return found
    listed = _LISTED.search(system)
    return [_signed(name, body) for name, body in _SIGNATURE.findall(system, listed.end())] if listed else []


def _signed(name: str, body: str) -> Tool:
    """Return a tool that is given as a list of typed parameters."""
    properties: Schema = {}
    required = []
    for key, optional, rest in _TYPED.findall(body):
        kind, _, about = rest.partition(" - ")
        values = re.findall(r'"([^"]*)"', kind) if kind.startswith('"') else []
        part: Schema = {"enum": values} if values else {"type": "array" if kind.endswith("[]") else kind.strip()}
        properties[key] = part | ({"description": about} if about else {})
        if not optional:
            required.append(key)
    about = _TYPED.split(body, maxsplit=1)[0].strip()
    return Tool(name, about, {"type": "object", "properties": properties, "required": required})
