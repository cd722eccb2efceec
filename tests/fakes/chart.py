"""Writes the chart's templates out, as far as our own use of Helm's language goes; what it does not know is an error.

It is no Helm: it shows that the templates make sound manifests, not that every version of Helm reads them.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

_TAG = re.compile(r"(\s*)\{\{-\s+(.*?)\s+(-?)\}\}|\{\{\s*(.*?)\s*(-?)\}\}", re.DOTALL)
_WORD = re.compile(r'"[^"]*"|\(|\)|\||[^\s()|]+')


def rendered(chart: Path, values: dict[str, Any], release: str = "prod") -> list[dict[str, Any]]:
    """Return the manifests that the chart makes with these values over its own."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    root = {
        "Values": _merged(yaml.safe_load((chart / "values.yaml").read_text()), values),
        "Release": {"Name": release},
        "Chart": {"AppVersion": about["appVersion"]},
    }
    texts = {path.name: path.read_text() for path in sorted((chart / "templates").iterdir())}
    scope = _Scope({})
    for name, text in texts.items():
        if name.endswith(".tpl"):
            scope.write(_parsed(text), root, root, {})
    found = []
    for name, text in texts.items():
        if name.endswith(".yaml"):
            made = yaml.safe_load(scope.write(_parsed(text), root, root, {}))
            found += [made] if made is not None else []
    return found


def _merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {name: _merged(below.get(name), value) for name, value in above.items()}


def _parsed(text: str) -> list[Any]:
    """Return texts and tags in order; a block is a tag with what is in it."""
    stack: list[list[Any]] = [[]]
    at = 0
    for found in _TAG.finditer(text):
        trimmed = found[2] is not None
        tag = found[2] if trimmed else found[4]
        stack[-1].append(text[at : found.start()])
        at = found.end()
        if (found[3] if trimmed else found[5]) == "-":
            at += len(text[at:]) - len(text[at:].lstrip())
        word = tag.split()[0]
        if word == "end":
            stack.pop()
        elif word in {"if", "with", "range", "define"}:
            inside: list[Any] = []
            stack[-1].append((tag, inside))
            stack.append(inside)
        else:
            stack[-1].append((tag, None))
    stack[-1].append(text[at:])
    assert len(stack) == 1, "a block has no end"
    return stack[0]


class _Scope:
    """What was defined so far."""

    def __init__(self, defined: dict[str, list[Any]]) -> None:
        self.defined = defined

    def write(self, parts: list[Any], dot: Any, root: Any, names: dict[str, Any]) -> str:
        out = []
        for part in parts:
            if isinstance(part, str):
                out.append(part)
                continue
            tag, inside = part
            word, _, rest = tag.partition(" ")
            if inside is None:
                value = self.value(_WORD.findall(tag), dot, root, names)
                out.append(json.dumps(value) if isinstance(value, bool) else str(value))
            elif word == "define":
                self.defined[json.loads(rest)] = inside
            elif word == "range":
                key, value, source = re.fullmatch(r"(\$\w+), (\$\w+) := (\S+)", rest).groups()
                for one, other in sorted(self.value([source], dot, root, names).items()):
                    out.append(self.write(inside, dot, root, names | {key: one, value: other}))
            elif found := self.value(_WORD.findall(rest), dot, root, names):
                out.append(self.write(inside, found if word == "with" else dot, root, names))
        return "".join(out)

    def value(self, words: list[str], dot: Any, root: Any, names: dict[str, Any]) -> Any:
        """Return what an expression comes to: calls, with pipes between them."""
        calls: list[list[Any]] = [[]]
        depth: list[int] = []
        for at, word in enumerate(words):
            if word == "(":
                depth.append(at)
            elif word == ")":
                begin = depth.pop()
                if not depth:
                    calls[-1].append(("value", self.value(words[begin + 1 : at], dot, root, names)))
            elif not depth:
                if word == "|":
                    calls.append([])
                else:
                    calls[-1].append(word)
        result: list[Any] = []
        for call in calls:
            result = [self.call(call, result, dot, root, names)]
        return result[0]

    def call(self, words: list[Any], piped: list[Any], dot: Any, root: Any, names: dict[str, Any]) -> Any:
        first, *rest = words
        given = [self.term(word, dot, root, names) for word in rest] + piped
        match first:
            case "not":
                return not given[0]
            case "quote":
                return json.dumps(str(given[0]))
            case "default":
                return given[1] or given[0]
            case "add":
                return sum(given)
            case "printf":
                return given[0].replace("%s", str(given[1]))
            case "toYaml":
                return yaml.safe_dump(given[0], default_flow_style=False).rstrip("\n")
            case "sha256sum":
                return hashlib.sha256(given[0].encode()).hexdigest()
            case "nindent":
                return "\n" + "\n".join(" " * given[0] + line for line in given[1].split("\n"))
            case "include":
                return self.write(self.defined[given[0]], given[1], root, names).strip("\n")
        assert not rest, f"unknown: {first}"
        return self.term(first, dot, root, names)

    def term(self, word: Any, dot: Any, root: Any, names: dict[str, Any]) -> Any:
        if isinstance(word, tuple):
            return word[1]
        if word.startswith('"'):
            return json.loads(word)
        if word.isdigit():
            return int(word)
        if word.startswith("$"):
            return names[word]
        assert word.startswith("."), f"unknown: {word}"
        found = dot if word == "." else root
        for name in filter(None, word.split(".")):
            found = found[name]
        return found
