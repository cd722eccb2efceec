"""What stands in a person's words that can fill a parameter: quotations, paths, addresses, numbers, places, dates.

It is found by simple patterns and never made up: what is not there is missing.
"""

import re
from functools import cached_property

_QUOTED = re.compile(
    r"```[^\n]*\n(.*?)\n?```|`([^`\n]+)`|\"([^\"\n]+)\"|\u201c([^\u201d\n]+)\u201d|\u300c([^\u300d\n]+)\u300d"
    r"|(?<![\w])'([^'\n]+)'(?!\w)",
    re.DOTALL,
)
_PATH = re.compile(r"(?<![\w@/:.])(?:~|\.{1,2})?/?(?:[\w.-]+/)*[\w-]*\.?[\w-]+\.[A-Za-z][A-Za-z0-9]{0,7}(?![\w@/])|(?<![\w@/:])(?:~|\.{1,2})?(?:/[\w.-]+)+/?|(?<![\w@/:])[\w.-]+/(?:[\w.-]+/?)*|\b(?:Makefile|Dockerfile|README|LICENSE)\b")  # fmt: skip
_ADDRESS = re.compile(r"https?://[^\s<>\"'`)\]\uff0c\u3002]+")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)")
_DATE = re.compile(
    r"\b\d{4}-\d{2}-\d{2}(?:T[\d:.]+Z?)?\b|\b(?:today|tomorrow|yesterday|tonight)\b|今天|明天|昨天", re.IGNORECASE
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_SUM = re.compile(r"-?\d[\d.\s]*(?:[-+*/^%\u00d7\u00f7][\d.\s()]*)+\d\)?|\([\d\s.+*/-]+\)[\d\s.+*/()-]*")
_NAME = re.compile(r"[A-Z\u00c0-\u00de][\w\u00c0-\u024f'\u2019-]*(?:\s+[A-Z\u00c0-\u00de][\w\u00c0-\u024f'\u2019-]*)*")
_PLACES = re.compile(
    rf"\b(?:in|for|at|of|to|from|around|near)\s+((?:{_NAME.pattern})(?:(?:,\s*and\s+|,\s*|\s+and\s+)(?:{_NAME.pattern}))*)"
)
_LOW_PLACE = re.compile(
    r"\b(?:in|at|around|near)\s+(?!the\b)([a-z][\w-]*(?:\s+(?!today|tomorrow|now|please)[a-z][\w-]*)?)"
    r"(?=\s*(?:[?.!,;]|$|today|tomorrow|now|please))"
)
_HAN_PLACE = re.compile(r"([\u4e00-\u9fff]{2,14}?)(?:今天|明天|昨天|现在|后天)?的?(?:天气|气温|温度|时间)")
_HAN_BEFORE = re.compile(r"^(?:请|帮我|你|能|查一下|查询|查|告诉我|看看|看一下|看|在|问|一下|现在|今天|明天)+")
_REPLACE = re.compile(
    r"(?:replace|change|rename)\s+(?P<old>.+?)\s+(?:with|to|by|into)\s+(?P<new>.+?)(?=\s+in\s+\S+\s*$|\s+in\s+\S+[.,]|[.;]?\s*$)"
    r"|把(?P<old2>.+?)(?:改成|改为|替换成|替换为|换成)(?P<new2>.+?)(?:[\u3002\uff1b]|$)",
    re.IGNORECASE | re.DOTALL,
)
_COMMAND = re.compile(
    r"\b(?:run|execute|exec)\s+(?:the\s+)?(?:shell\s+)?(?:command\s*:?\s+)?(.+)|(?:运行|执行)(?:命令)?[:\uff1a\s]*(.+)",
    re.IGNORECASE | re.DOTALL,
)
_SEEK = re.compile(
    r"\b(?:search|grep|look|find|query)\b(?:\s+(?:the\s+)?(?:web|internet|code|files?|project))?(?:\s+(?:for|all|every|uses of|where))*\s+(.+?)"
    r"(?=\s+(?:in|inside|within|under|from)\s+\S+|[.?!]?\s*$)|(?:搜索|查找|搜一下|找)(.+?)(?:[\u3002\uff1f]|$)",
    re.IGNORECASE | re.DOTALL,
)
_SAYING = re.compile(
    r"\b(?:with(?: the)? (?:text|content|contents|words?)|saying|containing|that says|with|content[s]?:)\s+(.+)|(?:内容是|内容为|内容[:\uff1a])(.+)",
    re.IGNORECASE | re.DOTALL,
)
_GIVEN = re.compile(r"\b([A-Za-z_]\w*)\s*[=:]\s*(\"[^\"\n]*\"|'[^'\n]*'|`[^`\n]*`|[^\s,;]+)")


class Material:
    """What one request offers. Numbers are used up one by one: the parameters of a sum are not all the first one."""

    def __init__(self, words: str, path: str | None = None) -> None:
        """Look at these words; ``path`` stands for a path where they hold none."""
        self.words = words.strip()
        self.path = path
        self._numbers = 0

    @cached_property
    def quoted(self) -> list[str]:
        """Return what stands in quotation marks, backquotes or code fences."""
        return [next(part for part in found if part) for found in _QUOTED.findall(self.words) if any(found)]

    @cached_property
    def paths(self) -> list[str]:
        """Return what looks like a path or the name of a file."""
        text = _ADDRESS.sub(" ", _MAIL.sub(" ", self.words))
        found = [path.rstrip(".,") for path in _PATH.findall(text)]
        return list(dict.fromkeys(path for path in found if not re.fullmatch(r"[\d.]+|\w\.\w\.?", path)))

    @cached_property
    def addresses(self) -> list[str]:
        """Return the addresses of web pages."""
        return [found.rstrip(".,;") for found in _ADDRESS.findall(self.words)]

    @cached_property
    def mails(self) -> list[str]:
        """Return the mail addresses."""
        return _MAIL.findall(self.words)

    @cached_property
    def numbers(self) -> list[float]:
        """Return the numbers; whole ones as int."""
        return [float(text) if "." in text else int(text) for text in _NUMBER.findall(_DATE.sub(" ", self.words))]

    @cached_property
    def dates(self) -> list[str]:
        """Return dates, and words for days."""
        return _DATE.findall(self.words)

    @cached_property
    def names(self) -> list[str]:
        """Return words with a capital, but for the first of a sentence."""
        text = re.sub(r"(?:^|[.!?\n]\s*)\w+(?:'\w+)?", " ", _ADDRESS.sub(" ", self.words))
        return [name for name in _NAME.findall(text) if name != "I"]

    @cached_property
    def places(self) -> list[str]:
        """Return places: names after in, for or at; in Chinese what stands before the weather or the time."""
        if found := _PLACES.search(self.words):
            return [part for part in re.split(r",\s*and\s+|,\s*|\s+and\s+", found[1]) if part]
        if han := _HAN_PLACE.search(self.words):
            place = _HAN_BEFORE.sub("", han[1])
            return [place] if place else []
        if low := _LOW_PLACE.search(self.words):
            return [low[1]]
        return self.names[:1]

    @cached_property
    def replacement(self) -> tuple[str, str] | None:
        """Return what is to be replaced and by what."""
        found = _REPLACE.search(self.words)
        if found is None:
            return None
        old, new = (found["old"], found["new"]) if found["old"] else (found["old2"], found["new2"])
        return _bare(old), _bare(new)

    @cached_property
    def command(self) -> str | None:
        """Return the command to run: what is in backquotes, else what follows "run"."""
        if code := re.search(r"`([^`\n]+)`", self.words):
            return code[1]
        found = _COMMAND.search(self.words)
        return _bare(found[1] or found[2]) if found else None

    @cached_property
    def sought(self) -> str | None:
        """Return what is searched for."""
        if self.quoted:
            return self.quoted[0]
        found = _SEEK.search(self.words)
        return _bare(found[1] or found[2]) if found else None

    @cached_property
    def content(self) -> str | None:
        """Return what is to be written: the last quotation that is no path, else what follows "with" or "saying"."""
        for text in reversed(self.quoted):
            if text not in self.paths:
                return text
        found = _SAYING.search(self.words)
        return _bare(found[1] or found[2]) if found else None

    @cached_property
    def sum(self) -> str | None:
        """Return a calculation in digits."""
        found = _SUM.search(self.words)
        return found[0].strip() if found else None

    def next_number(self, *, whole: bool) -> float | None:
        """Return the next number that was not returned yet; None where there is none."""
        for at, number in enumerate(self.numbers[self._numbers :], self._numbers + 1):
            if not whole or number == int(number):
                self._numbers = at
                return int(number) if whole else number
        return None

    def given(self, name: str) -> str | None:
        """Return the value of ``name=value`` or ``name: value``."""
        for key, value in _GIVEN.findall(self.words):
            if key.lower() == name.lower():
                return _bare(value)
        return None

    def mentions(self, value: str) -> bool:
        """Tell whether a word is there."""
        return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", self.words, re.IGNORECASE) is not None


def _bare(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] in "\"'`\u201c" and text[-1] in "\"'`\u201d":
        return text[1:-1]
    return text.rstrip(".\u3002!") if not text.endswith("..") else text
