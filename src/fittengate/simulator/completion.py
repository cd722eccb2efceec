"""Code completion: what a request says about a file, the cache that diffs build on, and a small honest suggestion.

Law of the cache: it keeps one text per account and file, the last one. A diff that does not build on exactly that text
is refused, and a refused diff empties the place.
"""

import hashlib
import re
from collections import OrderedDict
from typing import Any

from msgspec import Struct

from fittengate.lib.clock import Clock
from fittengate.simulator.accounts import Random
from fittengate.simulator.reply import Refused, Reply, Request, json_reply
from fittengate.simulator.scenario import Completion

END_OF_TEXT = "<|endoftext|>"

SIGHT_CHARS = 8192
"""So far back a function is looked for."""

_MARKED = re.compile(r"\A!FCPREFIX!(.*)!FCSUFFIX!(.*)!FCMIDDLE!\Z", re.DOTALL)
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_HEAD = re.compile(r"^[ \t]*(?:async )?def\s+\w+\(([^()\n]*)\).*:$", re.MULTILINE)
_RETURN = re.compile(r"\s+return ")
_BEGUN = re.compile(r"^[ \t]*(?:async )?def [^\n]*:\n[ \t]+\Z", re.MULTILINE)
"""Right behind the head of a function."""

_FUNCTION = re.compile(r"^\s*def\s+\w+\((\w+)(?::[^,)]*)?,\s*(\w+)(?::[^,)]*)?\).*:$")


class Place(Struct, frozen=True):
    """A cursor in a text."""

    before: str
    after: str
    edit: bool = False


class Completions:
    """Answers completion requests; holds the texts that diffs build on."""

    def __init__(self, rules: Completion, clock: Clock, random: Random) -> None:
        self.rules = rules
        self._clock = clock
        self._random = random
        self._texts: OrderedDict[tuple[str, str], str] = OrderedDict()

    def forget(self) -> None:
        """Lose all texts, as a restart of the service would."""
        self._texts.clear()

    def answer(self, user: str, body: Any, request: Request) -> Reply:
        """Return the reply to a request body of either kind; raises Refused for one that cannot be served."""
        if not isinstance(body, dict) or not isinstance(body.get("inputs"), str):
            raise Refused(json_reply({"error": "inputs must be a string"}))
        meta = body.get("meta_datas")
        meta = meta if isinstance(meta, dict) else {}
        place = self._from_diff(user, meta, request) if "diff" in meta else _from_markers(body["inputs"])
        return json_reply(self._reply(place) | {"server_request_id": self._request_id()})

    def _reply(self, place: Place) -> dict[str, Any]:
        form = self.rules.form
        rest = place.after.split("\n", 1)[0]
        if form == "nothing":
            return {}
        if place.edit or form in ("edit", "edit_insert"):
            return _edit(place, insert=form == "edit_insert")
        known = self._from_files(place)
        text = suggest(place) if known is None else known
        if form == "empty":
            text = ""
        elif form == "rest_of_line":
            text = rest
        elif form == "end_of_text":
            text += END_OF_TEXT
        elif form == "ex_msg":
            return {"generated_text": "", "ex_msg": text + rest, "delta_char": _units(rest), "delta_line": 0}
        return {"generated_text": text, "ex_msg": "", "delta_char": 0, "delta_line": 0}

    def _from_files(self, place: Place) -> str | None:
        """Return how a known file goes on; None where no known file is like this one."""
        for file in self.rules.files:
            between = len(file) - len(place.before) - len(place.after)
            if between >= 0 and file.startswith(place.before) and file.endswith(place.after):
                return foretold(file, len(place.before), between, self.rules)
        return None

    def _from_diff(self, user: str, meta: dict[str, Any], request: Request) -> Place:
        """Return the place that ``meta_datas`` describe (protocol: generate_one_stage_auth)."""
        key = (user, str(meta.get("filename", "")))
        previous = self._texts.pop(key, None)
        text = self._rebuilt(previous, meta, request.problems)
        if text is None or self._random.random() < self.rules.diff_errors * bool(meta.get("pmd5")):
            raise Refused(json_reply({"error": "diff data error"}))
        self._texts[key] = text
        while len(self._texts) > self.rules.cache:
            self._texts.popitem(last=False)
        units = text.encode("utf-16-le", "surrogatepass")
        cursor = _number(meta, "cpos") * 2
        before = units[:cursor].decode("utf-16-le", "replace")
        if len(before.encode("utf-8", "replace")) != _number(meta, "bcpos"):
            request.problems.append("cpos and bcpos name different places")
        return Place(before, units[cursor:].decode("utf-16-le", "replace"), edit=meta.get("edit_mode") == "true")

    @staticmethod
    def _rebuilt(previous: str | None, meta: dict[str, Any], problems: list[str]) -> str | None:
        """Return the whole text, or None where it cannot be had from the diff."""
        text = str(meta.get("diff", ""))
        if known := meta.get("pmd5"):
            if previous is None or _md5(previous) != known:
                return None
            old = previous.encode("utf-16-le", "surrogatepass")
            head, tail = _number(meta, "plen") * 2, _number(meta, "slen") * 2
            if head + tail > len(old):
                return None
            kept = old[:head].decode("utf-16-le", "replace"), old[len(old) - tail :].decode("utf-16-le", "replace")
            for part, name in zip(kept, ("bplen", "bslen"), strict=True):
                if len(part.encode()) != _number(meta, name):
                    problems.append(f"{name} does not fit its length in UTF-16 units")
            text = kept[0] + text + kept[1]
        return text if _md5(text) == meta.get("nmd5") else None

    def _request_id(self) -> str:
        now = self._clock.now()
        number = int(self._random.random() * 1_000_000)
        return f"{int(now)}.{int(now % 1 * 1000):03d}.{number:06d}"


def suggest(place: Place) -> str:
    """Return what could stand at the cursor, going by the text alone; empty where nothing is obvious."""
    line = place.before.rsplit("\n", 1)[-1]
    if place.after.split("\n", 1)[0].strip():
        return ""
    indent = line[: len(line) - len(line.lstrip())]
    if function := _FUNCTION.match(line):
        return f"\n{indent}    return {function[1]} + {function[2]}"
    if _RETURN.fullmatch(line) and (given := _returned(place.before)):
        return given
    if _BEGUN.search(place.before[-SIGHT_CHARS:]) and (given := _returned(place.before)):
        return f"return {given}"
    if line.endswith((":", "{")):
        return f"\n{indent}    pass" if line.endswith(":") else f"\n{indent}    \n{indent}}}"
    if repeated := _earlier(place.before, line):
        return repeated
    return _open_brackets(line)


def _returned(before: str) -> str:
    """Return what the function around the cursor could give: its parameters, as far as its head is in sight."""
    heads = _HEAD.findall(before[-SIGHT_CHARS:])
    names = [part.strip().partition(":")[0].partition("=")[0].strip() for part in heads[-1].split(",")] if heads else []
    return " + ".join(name for name in names if name.isidentifier() and name not in {"self", "cls"})


def foretold(file: str, cursor: int, between: int, rules: Completion) -> str:
    """Return the rest of the line of a file, or its next line; at most ``between`` characters of the file."""
    wrong_lines = rules.wrong_lines
    start = file.rfind("\n", 0, cursor) + 1
    end = _end_of_line(file, cursor)
    if end == cursor:
        # Nothing of this line is missing: what comes is the line end and the next line.
        start, end = cursor + 1, _end_of_line(file, cursor + 1)
    end = min(end, cursor + between)
    if len(file[start:cursor].replace(" ", "")) < rules.silent_chars:
        return ""
    middle = (start + end) // 2
    if wrong_lines and file.count("\n", 0, start) % wrong_lines == wrong_lines - 1 and cursor < middle:
        return file[cursor:middle] + "_other"
    return file[cursor:end]


def _end_of_line(file: str, at: int) -> int:
    end = file.find("\n", at)
    return len(file) if end < 0 else end


def _earlier(before: str, line: str) -> str:
    """Return how the newest earlier line goes on that begins like this one."""
    start = line.strip()
    if len(start) < 2:
        return ""
    for earlier in reversed(before.split("\n")[:-1]):
        if earlier.strip().startswith(start) and earlier.strip() != start:
            return earlier.strip()[len(start) :]
    return ""


def _open_brackets(line: str) -> str:
    waiting: list[str] = []
    for char in line:
        if char in _PAIRS:
            waiting.append(_PAIRS[char])
        elif waiting and char == waiting[-1]:
            waiting.pop()
    return "".join(reversed(waiting))


def _edit(place: Place, *, insert: bool) -> dict[str, Any]:
    line = place.before.rsplit("\n", 1)[-1] + place.after.split("\n", 1)[0]
    new = "# a new line" if insert else f"{line.rstrip()}  # edited"
    return {
        "generated_text": new,
        "delete_offsets": [] if insert else [[0, len(line)]],
        "insert_offsets": [[0, len(new)]],
        "ori_start_line": 1 if insert else 0,
        "ori_end_line": 0,
        "res_start_line": 0,
        "res_end_line": 0,
    }


def _from_markers(inputs: str) -> Place:
    match = _MARKED.match(inputs)
    if match is None:
        raise Refused(json_reply({"error": "inputs are not in the form prefix, suffix, middle"}))
    return Place(match[1], match[2])


def _number(meta: dict[str, Any], name: str) -> int:
    value = meta.get(name)
    return value if isinstance(value, int) and value >= 0 else 0


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
