"""Chooses the tool that does what a person asks, in a simple way that can be read off the words.

A request is cut into steps at "then". For each step every tool is scored: a word of its name in the step counts most, a
verb that fits its name (open a file, run a command) as much, two words of its description together are enough. The
best tool whose required parameters the step fills is called; if none reaches the threshold, none is.
"""

import re

from fittengate.simulator.calls import Call
from fittengate.simulator.filling import filled, kind_of, parts
from fittengate.simulator.material import Material
from fittengate.simulator.toolbox import Tool, Toolbox

MAX_WORDS = 2000
"""Longer requests come from programs and hold any word; of them the last lines count."""

MAX_CALLS = 4
"""Calls of one reply, where a step names several files or places."""

THRESHOLD = 3.0

_NAME, _VERB, _LATER_VERB, _ABOUT = 4.0, 5.0, 3.0, 1.5

_STEPS = re.compile(
    r"(?:,?\s*\b(?:and\s+)?then\b,?\s+)|(?:[,\uff0c\u3002\uff1b;]\s*)?(?:然后|接着)|\n+\s*(?:\d+[.)]|[-*])\s+",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"")
_WORD = re.compile(r"[a-z][a-z0-9]*")

_KINDS: tuple[tuple[str, str], ...] = (
    (r"\b(?:read|open|show|cat|view|display|look at)\b|读|打开|查看", "read view open cat"),
    (r"\b(?:write|create|save|make)\b|写|创建|新建|保存", "write create save"),
    (r"\b(?:edit|replace|change|modify|update|rename|fix)\b|改|替换", "edit replace update patch modify multiedit"),
    (r"\b(?:list|ls)\b|列出|有哪些文件", "list ls dir tree glob"),
    (r"\b(?:run|execute|exec)\b|运行|执行", "run bash shell exec execute command terminal cmd"),
    (r"\b(?:grep|search|find|look for)\b|搜索|查找", "grep search find ripgrep"),
    (r"\b(?:fetch|download|browse|visit)\b|https?://", "fetch browse download web http url"),
    (
        r"\b(?:calculate|compute|evaluate)\b|\u8ba1\u7b97|\d\s*[-+*/\u00d7\u00f7]\s*\d",
        "calculate calculator math evaluate",
    ),
)
"""What is said, and words in the names of tools that do it."""

_LISTING = frozenset({"ls", "list", "dir", "tree"})
"""Tools of such a name list the working directory where no path is given."""

_PICTURES = frozenset({"image", "picture", "photo", "screenshot"})
"""Tools of such a name do nothing for a step that says none of these words."""

_MEANS = {
    "天气": "weather",
    "气温": "weather",
    "温度": "temperature",
    "时间": "time",
    "几点": "time",
    "翻译": "translate",
    "邮件": "email",
    "股票": "stock",
    "价格": "price",
    "forecast": "weather",
    "temperature": "weather",
    "rain": "weather",
    "mail": "email",
    "png": "image",
    "jpg": "image",
    "jpeg": "image",
    "图片": "image",
}

_SMALL = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "for",
        "and",
        "or",
        "is",
        "are",
        "it",
        "this",
        "that",
        "with",
        "on",
        "by",
        "be",
        "as",
        "at",
        "from",
        "get",
        "set",
        "use",
        "do",
        "tool",
        "call",
        "what",
        "which",
        "how",
        "please",
        "can",
        "you",
        "me",
        "my",
        "your",
        "i",
        "file",
        "files",
        "given",
        "current",
        "return",
        "returns",
        "any",
        "one",
    ]
)
"""Words that say nothing about what a tool does."""


def calls_for(words: str, rounds: int, box: Toolbox) -> list[Call]:
    """Return the calls of the next step after so many rounds; none where nothing is left to do, or no tool fits."""
    if not box.tools or box.forbidden:
        return []
    steps = _steps(words[-MAX_WORDS:])
    if rounds >= len(steps):
        if not box.demand:
            return []
        steps = [words[-MAX_WORDS:]] * (rounds + 1)
    step = steps[rounds]
    if box.demand:
        tools = [tool for tool in box.tools if tool.name == box.demand] or _ranked(step, box.tools, 0.0)
        return _calls(step, tools, box, force=False) or _calls(step, tools, box, force=True)
    return _calls(step, _ranked(step, box.tools, THRESHOLD), box, force=False)


def _steps(words: str) -> list[str]:
    """Return the steps of a request; what is quoted stays in one piece."""
    # Of the same length, so that places in one are places in the other.
    plain = _QUOTED.sub(lambda found: "x" * len(found[0]), words)
    edges = [0, *(edge for found in _STEPS.finditer(plain) for edge in found.span()), len(words)]
    return [step for at in range(0, len(edges), 2) if (step := words[edges[at] : edges[at + 1]]).strip()]


def _ranked(step: str, tools: tuple[Tool, ...], least: float) -> list[Tool]:
    said = _said(step)
    kinds = _kinds(step)
    scores = [(_score(tool, said, kinds), -at) for at, tool in enumerate(tools)]
    return [tools[-at] for score, at in sorted(scores, reverse=True) if score >= least]


def _score(tool: Tool, said: set[str], kinds: list[set[str]]) -> float:
    name = {_stem(part) for part in parts(tool.name)}
    if name & _PICTURES and not said & _PICTURES:
        return 0.0
    about = {_stem(word) for word in _WORD.findall(tool.description.lower()[:400])} - _SMALL - name
    score = _NAME * len((name - _SMALL) & said) + min(2, len(about & said)) * _ABOUT
    for at, kind in enumerate(kinds):
        if name & kind:
            return score + (_VERB if at == 0 else _LATER_VERB)
    return score


def _kinds(step: str) -> list[set[str]]:
    """Return words in names of tools for the verbs of a step, the first verb first; what is quoted is no verb."""
    plain = _QUOTED.sub(" ", step)
    found = [(at.start(), names) for pattern, names in _KINDS if (at := re.search(pattern, plain, re.IGNORECASE))]
    return [{_stem(word) for word in names.split()} for _, names in sorted(found)]


def _said(step: str) -> set[str]:
    said = {_stem(word) for word in _WORD.findall(step.lower())} - _SMALL
    return said | {means for word, means in _MEANS.items() if word in said or (not word.isascii() and word in step)}


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _calls(step: str, tools: list[Tool], box: Toolbox, *, force: bool) -> list[Call]:
    for tool in tools:
        lists = not _LISTING.isdisjoint(parts(tool.name))
        words = Material(step, "." if lists else None)
        arguments = filled(tool.schema, words, force=force)
        if arguments is None:
            continue
        return [Call(tool.name, given) for given in _spread(arguments, tool, words, box)]
    return []


def _spread(arguments: dict[str, object], tool: Tool, words: Material, box: Toolbox) -> list[dict[str, object]]:
    """Return arguments for each of several files or places, where the tool takes just one of them."""
    required = tool.schema.get("required")
    if box.several and isinstance(required, list) and len(required) == 1:
        name = required[0]
        part = tool.schema["properties"].get(name) if isinstance(tool.schema.get("properties"), dict) else None
        for several in (words.paths, words.places):
            if len(several) > 1 and arguments.get(name) == several[0] and kind_of(part or {}) == "string":
                return [arguments | {name: value} for value in several[:MAX_CALLS]]
    return [arguments]
