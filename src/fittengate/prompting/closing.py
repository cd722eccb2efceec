"""Where the value of a parameter ends: the one question of the syntax that needs thought, since nothing is escaped.

A file may hold ``</parameter>`` and whole blocks of calls. A closing tag therefore counts only where what stands around
it agrees, and tags that the value itself opened are closed first:

1. ``</parameter>`` closes the value where ``</invoke>`` follows, then the block's end, another call or the end of the
   reply, unless the value opened an ``<invoke>`` of its own.
2. Otherwise it closes a ``<parameter>`` that the value opened.
3. Otherwise, with nothing open, it closes the value where any tag of the syntax, or the end, follows.
4. Of closing tags that end the reply the last ``</parameter>`` closes the value, whatever is open.
5. A missing ``</parameter>`` is implied before a declared parameter that has not come yet, on a line of its own, with
   nothing open; before ``</invoke>`` where rule 1 has it; and before a block's end that ends the reply.

What is undecided is held back: a run of closing tags, at most MAX_RUN characters of it. A value that begins with a
CDATA section ends behind the section; then the rules are off, but for the fourth.
"""

import re
from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from fittengate.prompting.marks import Marks, Tag, skip_space
from fittengate.prompting.syntax import CDATA, CDATA_END

MAX_RUN = 512
"""Of closing tags that end a reply, those further from the end than this are data."""

_MAX_OPEN = 64
"""Tags that a value opens inside one another are followed up to here."""

_SECTION_MARK = re.compile(r"\]\]>|<")


class State(Enum):
    """What has become of a value."""

    OPEN = "open"
    CLOSED = "closed"
    """Its closing tag has come."""
    IMPLIED = "implied"
    """It ended without one."""


class Scanned(Struct, frozen=True, gc=False):
    """How far a value was read."""

    text: str
    """What became certain of it."""
    at: int
    """The place behind that, and behind the closing tag."""
    state: State


class _Run(Struct, frozen=True):
    """Closing tags with nothing but white space between them, and what comes after them."""

    tags: list[tuple[int, Tag]]
    after: Tag | None
    undecided: bool
    ends: bool
    end: int


class Value:
    """Reads one value. Law: what it holds depends on the text and not on its pieces."""

    def __init__(self, marks: Marks, expected: Callable[[str], bool]) -> None:
        """Begin; ``expected`` says whether a parameter of this name is declared and has not come yet."""
        self._marks = marks
        self._expected = expected
        self._begun = self._block = self._section = False
        self._opened = ""
        """Tags that the value opened: ``c`` for a block, ``i`` for a call, ``p`` for a parameter."""
        self._blank = False
        """The value's line so far has nothing but indentation, after a line break."""

    def scan(self, text: str, at: int, *, last: bool) -> Scanned:
        """Read on at a place of the text; ``last`` says that nothing comes after it."""
        if not self._begun:
            start = at
            block = text.startswith("\n", at)
            at += block
            rest = text[at : at + len(CDATA)]
            if len(rest) < len(CDATA) and CDATA.startswith(rest) and not last:
                return Scanned("", start, State.OPEN)
            self._begun, self._block = True, block
            self._blank = block
            if rest == CDATA:
                self._section = True
                at += len(CDATA)
        scanned = self._scan_section(text, at, last) if self._section else self._scan(text, at, last)
        self._blank = self._is_blank(scanned.text, 0, len(scanned.text))
        return scanned

    def may_end(self, text: str, at: int) -> bool:
        """Return whether closing tags that are not decided yet close the value if the reply ends behind them."""
        at = skip_space(text, at)
        run = self._run(text, at, last=True) if text.startswith("<", at) else None
        return run is not None and run.ends and _last_closer(text, run) is not None

    def _scan(self, text: str, start: int, last: bool) -> Scanned:  # noqa: FBT001 - passed on
        at = start
        while (at := self._marks.find(text, at)) >= 0:
            tag = self._marks.tag(text, at)
            if tag is None:
                if not last and self._marks.may_become(text, at):
                    return self._hold(text, start, at)
                at += 1
            elif tag.opens:
                alone = tag.kind == "parameter" and not self._opened and self._is_blank(text, start, at)
                if alone and self._expected(tag.name):
                    return self._end(text, start, at, at, State.IMPLIED)
                if not tag.closed and tag.kind != "arguments" and len(self._opened) < _MAX_OPEN:
                    self._opened += tag.kind[0]
                at = tag.end
            else:
                run = self._run(text, at, last)
                ended, data = self._judge(text, run)
                if ended is not None:
                    place, end, state = ended
                    return self._end(text, start, place, end, state)
                at = data
                if run.undecided:
                    return self._hold(text, start, at)
        return self._hold(text, start, len(text))

    def _judge(self, text: str, run: _Run) -> tuple[tuple[int, int, State] | None, int]:
        """Return where the value ends and where reading goes on after it; else up to where all is data."""
        opened = before = self._opened
        for number, (place, tag) in enumerate(run.tags):
            state = _verdict(run, number, opened)
            if state is None:
                break
            if state is not State.OPEN:
                return (place, tag.end if state is State.CLOSED else place, state), 0
            before, opened = opened, _closed(opened, tag)
        if run.ends:
            last = _last_closer(text, run)
            if last is not None:
                return (*last, State.CLOSED), 0
            place, tag = run.tags[-1]
            if tag.kind == "calls" and "c" not in before:
                return (place, place, State.IMPLIED), 0
        if not run.undecided:
            self._opened = opened
            return None, run.end
        # What is too far from the end, if that should come now, is data.
        for place, tag in run.tags:
            if len(text) - place <= MAX_RUN:
                return None, place
            self._opened = _closed(self._opened, tag)
        return None, run.end

    def _run(self, text: str, at: int, last: bool) -> _Run:  # noqa: FBT001 - passed on
        tags: list[tuple[int, Tag]] = []
        while True:
            if at == len(text):
                return _Run(tags, None, not last, last, at)
            tag = self._marks.tag(text, at) if text[at] == "<" else None
            if tag is None:
                undecided = text[at] == "<" and not last and self._marks.may_become(text, at)
                # White space that was skipped is data like what follows it; up to the last tag is enough.
                return _Run(tags, None, undecided, ends=False, end=at)
            if tag.opens:
                return _Run(tags, tag, undecided=False, ends=False, end=at)
            tags.append((at, tag))
            at = skip_space(text, tag.end)

    def _is_blank(self, text: str, start: int, at: int) -> bool:
        """Return whether the line is still blank at a place of a text that goes on from what was read."""
        while at > start and text[at - 1] in " \t":
            at -= 1
        return text[at - 1] == "\n" if at > start else self._blank

    def _hold(self, text: str, start: int, at: int) -> Scanned:
        """Keep back what begins at ``at``, and a line break before it, which may belong to a closing tag."""
        if at > start and text[at - 1] == "\n":
            at -= 1
        return Scanned(text[start:at], at, State.OPEN)

    def _end(self, text: str, start: int, place: int, at: int, state: State) -> Scanned:
        end = place
        if (self._block or state is State.IMPLIED) and end > start and text[end - 1] == "\n":
            end -= 1
        return Scanned(text[start:end], at, state)

    def _scan_section(self, text: str, start: int, last: bool) -> Scanned:  # noqa: FBT001 - passed on
        at = start
        while (found := _SECTION_MARK.search(text, at)) is not None:
            at = found.start()
            if found[0] == "<":
                run = self._run(text, at, last)
                closer = _last_closer(text, run)
                if run.ends and closer is not None:
                    return Scanned(text[start : closer[0]], closer[1], State.CLOSED)
                if run.undecided:
                    at = next((place for place, _ in run.tags if len(text) - place <= MAX_RUN), at)
                    return Scanned(text[start:at], at, State.OPEN)
                at = max(run.end, at + 1)
                continue
            behind = skip_space(text, found.end())
            close = self._marks.tag(text, behind) if text.startswith("<", behind) else None
            if close is not None and not close.opens:
                if close.kind == "parameter":
                    return Scanned(text[start:at], close.end, State.CLOSED)
                return Scanned(text[start:at], behind, State.IMPLIED)
            if close is None and not last and (behind == len(text) or self._marks.may_become(text, behind)):
                return Scanned(text[start:at], at, State.OPEN)
            at = found.end()
        end = len(text) - (0 if last else _section_end_begun(text[at:]))
        return Scanned(text[start:end], end, State.OPEN)


def _section_end_begun(text: str) -> int:
    """Return how many characters at the end of a text may begin the end of a CDATA section."""
    return next((size for size in (2, 1) if text.endswith(CDATA_END[:size])), 0)


def _last_closer(text: str, run: _Run) -> tuple[int, int] | None:
    """Return the place and the end of the last ``</parameter>`` of a run that is near the end of the text."""
    for place, tag in reversed(run.tags):
        if tag.kind == "parameter" and len(text) - place <= MAX_RUN:
            return place, tag.end
    return None


def _verdict(run: _Run, number: int, opened: str) -> State | None:
    """Return what a closing tag does to the value; None where that is not decided yet."""
    kind = run.tags[number][1].kind
    if kind == "parameter":
        closes = _closes(run, number, opened)
        return closes if closes is None else State.CLOSED if closes else State.OPEN
    if kind == "invoke" and "i" not in opened:
        ends = _ends_call(run, number)
        return ends if ends is None else State.IMPLIED if ends else State.OPEN
    return State.OPEN


def _closes(run: _Run, number: int, opened: str) -> bool | None:
    """Return whether a ``</parameter>`` closes the value by rules 1 to 3."""
    if number + 1 == len(run.tags):
        if run.undecided:
            return None
        return not opened and (run.ends or (run.after is not None and run.after.kind in {"parameter", "invoke"}))
    follows = run.tags[number + 1][1].kind
    if follows == "invoke" and "i" not in opened:
        ends = _ends_call(run, number + 1)
        if ends is not False:
            return ends
    return not opened and follows in {"invoke", "calls"}


def _ends_call(run: _Run, number: int) -> bool | None:
    """Return whether a ``</invoke>`` of the run ends a call, which what comes after it decides."""
    if number + 1 < len(run.tags):
        return run.tags[number + 1][1].kind == "calls"
    if run.undecided:
        return None
    return run.ends or (run.after is not None and run.after.kind == "invoke")


def _closed(opened: str, tag: Tag) -> str:
    """Return what is still open after a closing tag."""
    at = opened.rfind(tag.kind[0])
    return opened if at < 0 else opened[:at]
