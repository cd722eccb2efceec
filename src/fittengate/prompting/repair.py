"""JSON as models write it, for forms where a whole call is JSON. The prompted form needs none of this.

Each step is taken only where the one before failed, and a repaired value must be validated by who asked for it: a
repair is a guess. Laws: time is linear in the text, and where two readings could be meant, neither is taken.
"""

import json
import re

# A string that is never closed goes on to the end: were its quotes looked at one by one, each look would go as far.
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z))"""
    r"""|(?P<open>[{\[])|(?P<shut>[}\]])|,(?P<comma>\s*)(?=[}\]])|\b(?P<word>True|False|None)\b""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_SPELLING = re.compile(rf'{_ESCAPE.pattern}|"', re.DOTALL)
_BETWEEN = re.compile(r"(?:[\s,;]|</?tool_call>)*", re.IGNORECASE)
_WORDS = {"True": "true", "False": "false", "None": "null"}
_ENDS = {"{": "}", "[": "]"}


def read_json(text: str) -> object:
    """Return the value of a JSON text. Raises ValueError where it is none; NaN and the infinities are none."""
    return _load(text, strict=True)


def read_several(text: str) -> list[object]:
    """Return the values of JSON texts that follow each other. Raises ValueError where there is anything else."""
    values: list[object] = []
    at = _between(text, 0)
    while at < len(text):
        try:
            value, at = _SEVERAL.raw_decode(text, at)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        values.append(value)
        at = _between(text, at)
    return values


def _between(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _load(text: str, *, strict: bool) -> object:
    try:
        return json.loads(text, strict=strict, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


_SEVERAL = json.JSONDecoder(parse_constant=_refuse)


def repair_json(text: str, *, ended: bool = False) -> tuple[object, bool]:
    """Return the value of a JSON text, and whether it took a repair. Raises ValueError where nothing helped.

    Forgiven are raw control characters; then commas and closing brackets too many, a backslash that is no escape, and
    Python's spelling. ``ended`` says that the text was not cut off: then brackets that lack their ends get them.
    """
    try:
        return read_json(text), False
    except ValueError:
        pass
    try:
        return _load(text, strict=False), True
    except ValueError:
        pass
    pieces, stack = _respelt(text)
    if stack and not ended:
        raise ValueError("a bracket is not closed")
    pieces += [_ENDS[bracket] for bracket in reversed(stack)]
    return _load("".join(pieces), strict=False), True


def _respelt(text: str) -> tuple[list[str], list[str]]:
    """Return a text in the spelling of JSON, in pieces, and the brackets that were not closed.

    Brackets that close nothing are dropped: what follows the value otherwise is for the reader to refuse. Raises
    ValueError where a bracket closes one of another kind, or a string can be meant in two ways.
    """
    pieces: list[str] = []
    stack: list[str] = []
    at, begun = 0, False
    for found in _TOKEN.finditer(text):
        pieces.append(text[at : found.start()])
        at, token = found.end(), found[0]
        if found["string"]:
            token = _string(token)
        elif found["open"]:
            begun = True
            stack.append(token)
        elif found["shut"]:
            if not begun or (stack and _ENDS[stack[-1]] != token):
                raise ValueError("a bracket closes what it did not open")
            token = token if stack else ""
            del stack[-1:]
        else:
            token = _WORDS[token] if found["word"] else found["comma"]
        pieces.append(token)
    return [*pieces, text[at:]], stack


def _string(token: str) -> str:
    """Return a string in the spelling of JSON.

    A backslash that begins no escape stands for itself, as in a pattern or a path of Windows; then so must all others
    in the string, and where one could be a line break or a tab all the same, nobody can tell.
    """
    quote = token[0]
    if len(token) == 1 or token[-1] != quote:
        raise ValueError("a string is not closed")
    escapes = {found[1] for found in _ESCAPE.finditer(token)}
    odd = {one for one in escapes if one not in '"\\/bfnrtu' and not (quote == "'" and one[0] in "'x")}
    if odd and ("'" in odd or max(map(len, odd)) > 1 or escapes & set("nrtu")):
        raise ValueError("a backslash may be meant in two ways")
    literal = odd | {"b", "f"} if odd else odd

    def spelt(found: re.Match[str]) -> str:
        escape = found[1]
        if escape is None:
            return '\\"'
        if escape in literal:
            return "\\\\" + escape
        if len(escape) > 1:
            return "\\u00" + escape[1:]
        return "'" if escape == "'" else found[0]

    return f'"{_SPELLING.sub(spelt, token[1:-1])}"'


def ends_in_string(text: str) -> bool:
    """Return whether a JSON text that was cut off here was cut inside a string."""
    return _ESCAPE.sub("", text).count('"') % 2 == 1
