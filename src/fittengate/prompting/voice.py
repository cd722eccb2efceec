"""The model's own words: restores broken tags, ends at a role tag, takes a leading ``<think>`` block apart.

Always in the path, so text without ``<`` costs next to nothing. Three things are done to what the service says:

- A tag that :mod:`fittengate.prompting.tags` broke, and that the model copied, gets its old form back, in answer and
  reasoning alike.
- A role tag means that the model went on to play the next turn. The tag, the white space before it and all the rest are
  dropped, and ``ended`` is set. In fenced and inline code, in reasoning, and when it came broken, it is text.
- A ``<think>`` block that begins the answer is reasoning; the white space on both sides of its tags is dropped. Without
  its end all is reasoning. Anywhere else ``<think>`` and ``</think>`` are text.

Laws: what comes out, adjacent deltas joined, depends on the joined text and not on its pieces; text without tags comes
out as it went in; only an end that may still become a tag is held back, with the white space before it, and it comes
out before anything that follows. What is held is bounded, so a tag with more than MAX_SPACE joiners or white space
beyond it is not recognised.
"""

import re
from collections.abc import Callable
from itertools import groupby

from fittengate.core.events import Event, TextDelta, ThoughtDelta
from fittengate.prompting.code import CodeTracker
from fittengate.prompting.tags import JOINER, ROLES, TAG_REST

MAX_SPACE = 1024
"""Most characters of white space, or joiners in one tag, that are held back; nobody writes as many."""

_THINK, _THINK_END = "<think>", "</think>"

_TAG = re.compile(rf"<({JOINER}{{0,{MAX_SPACE}}}){TAG_REST}")
_BROKEN = re.compile(rf"<{JOINER}({JOINER}{{0,{MAX_SPACE - 1}}}{TAG_REST})")
_BROKEN_BEGINNING = re.compile(f"<(?:{JOINER}{{1,{MAX_SPACE}}}(?:[|\uff5c][^<>|\uff5c\n]{{0,64}}[|\uff5c]?)?)?")


def _beginnings(tags: list[str]) -> frozenset[str]:
    return frozenset(tag[:size] for tag in tags for size in range(1, len(tag)))


_ROLE_TAGS = frozenset(f"<|{role}|>" for role in ROLES)
_ROLE_BEGINNINGS = _beginnings(sorted(_ROLE_TAGS))
_THINK_END_BEGINNINGS = _beginnings([_THINK_END])
_LONGEST_TAG = len("<|assistant|>")

_STARTING, _THINKING, _AFTER_THINKING, _SPEAKING = range(4)


class Voice:
    """Takes the TextDeltas and ThoughtDeltas of one reply as the service gives them; gives those that are meant."""

    def __init__(self, is_data: Callable[[list[Event]], bool] | None = None) -> None:
        """Make one; ``is_data`` takes what was said before a role tag and tells whether the tag is part of a call.

        None where no calls are read.
        """
        self.ended = False
        """A role tag ended the reply: nothing more comes out."""
        self._is_data = is_data
        self._stage = _STARTING
        self._kind: type[Event] = TextDelta
        self._held = ""
        self._plain: type[Event] | None = None
        """A piece of this sort without ``<`` ends nothing, begins nothing and completes nothing."""
        self._thought_begun = False
        self._code = CodeTracker()

    def feed(self, events: list[Event]) -> list[Event]:
        """Return the deltas that have become certain; the list that was given, where nothing is to be done to it."""
        plain = self._plain
        texts = [event.text for event in events if type(event) is plain]  # type: ignore[union-attr]
        if plain is None or len(texts) != len(events):
            return self._feed(events)
        run = "".join(texts)
        if plain is TextDelta:
            if self._held or "<" in run or run[-1:].isspace():
                out: list[Event] = []
                self._speak(texts, out)
                self._plain = plain if self._is_plain() else None
                return out
            self._code.later(run)
        elif "<" in run:
            return self._feed(events)
        return events

    def one(self, text: str) -> bool:
        """Take a piece of the answer if it passes as it is; False: it was not taken, and :meth:`feed` is to have it."""
        if self._plain is not TextDelta or self._held or "<" in text or text[-1].isspace():
            return False
        self._code.later(text)
        return True

    def close(self) -> list[Event]:
        """Return what was held back: it became no tag."""
        out: list[Event] = []
        self._flush(out)
        return out

    def _feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        for kind, group in groupby(events, type):
            if self.ended:
                break
            if kind is not self._kind:
                self._flush(out)
                self._kind = kind
            texts = [event.text for event in group if type(event) is TextDelta or type(event) is ThoughtDelta]
            if kind is ThoughtDelta:
                self._reason(texts, out)
            elif self._stage == _SPEAKING:
                self._speak(texts, out)
            else:
                self._begin("".join(texts), out)
        self._plain = self._kind if self._is_plain() else None
        return out

    def _is_plain(self) -> bool:
        if self.ended or "<" in self._held:
            return False
        return self._kind is ThoughtDelta or self._stage == _SPEAKING

    def _begin(self, run: str, out: list[Event]) -> None:
        """Take the first words, up to where it is clear that they are the answer."""
        run = self._held + run
        self._held = ""
        if self._stage == _STARTING:
            words = run.lstrip()
            if len(run) - len(words) > MAX_SPACE or not _THINK.startswith(words[: len(_THINK)]):
                self._stage = _SPEAKING
            elif len(words) < len(_THINK):
                self._held = run
                return
            else:
                self._stage = _THINKING
                run = words[len(_THINK) :]
        if self._stage == _THINKING:
            run = self._think(run, out)
        if self._stage == _AFTER_THINKING:
            run = run.lstrip()
            if run:
                self._stage = _SPEAKING
        if self._stage == _SPEAKING:
            self._speak([run], out)

    def _think(self, run: str, out: list[Event]) -> str:
        """Pass the block's reasoning on; return what follows its end, if that has come."""
        if not self._thought_begun:
            run = run.lstrip()
        thought, end, answer = run.partition(_THINK_END)
        if end:
            self._stage = _AFTER_THINKING
            thought = thought[: _without_space(thought)]
        else:
            certain = _certain(run, _THINK_END_BEGINNINGS)
            thought, self._held = run[:certain], run[certain:]
        if thought:
            self._thought_begun = True
            out.append(ThoughtDelta(_BROKEN.sub(r"<\1", thought)))
        return answer

    def _reason(self, texts: list[str], out: list[Event]) -> None:
        """Pass on what the service itself calls reasoning, except for an end that may become a broken tag."""
        run = self._held + "".join(texts)
        at = run.rfind("<")
        if at < 0:
            out += map(ThoughtDelta, texts)
            return
        if not _BROKEN_BEGINNING.fullmatch(run, at):
            at = len(run)
        self._held = run[at:]
        if at:
            out.append(ThoughtDelta(_BROKEN.sub(r"<\1", run[:at])))

    def _speak(self, texts: list[str], out: list[Event]) -> None:
        """Pass the answer on up to a role tag, or up to what may still become one."""
        if self._held and texts:
            texts[0] = self._held + texts[0]
            self._held = ""
        run = "".join(texts)
        if ("|" in run and "|>" in run) or "\uff5c>" in run:
            size = len(run)
            settled, run = self._resolve(run, out)
            if self.ended:
                if kept := settled[: _without_space(settled)]:
                    out.append(TextDelta(kept))
                return
            if settled or len(run) < size:
                texts = [settled + run]
        certain = _certain(run, _ROLE_BEGINNINGS)
        self._code.later(run[:certain])
        if held := run[certain:]:
            self._held = held
            _drop_end(texts, len(held))
        out += map(TextDelta, texts)

    def _resolve(self, run: str, out: list[Event]) -> tuple[str, str]:
        """Return the run with its tags restored: up to the last one that matters, which was tracked, and the rest.

        Sets ``ended`` at a role tag; then the rest is to be dropped. Where calls are read, whoever reads them is handed
        all that was said before the tag, and says whether it stands in a call.
        """
        done: list[str] = []
        last = 0
        for match in _TAG.finditer(run):
            at = match.start()
            if match[1]:
                piece, last = run[last : at + 1], at + 2
            elif match.group().lower() in _ROLE_TAGS:
                piece, last = run[last:at], at
            else:
                continue
            done.append(piece)
            self._code.later(piece)
            if last != at:
                continue
            if self._is_data is not None:
                said = "".join(done)
                kept = _without_space(said)
                data = self._is_data([*out, TextDelta(said[:kept])] if kept else out[:])
                out.clear()
                done = [said[kept:]]
                if data:
                    continue
            if not self._code.inside():
                self.ended = True
                break
        return "".join(done), run[last:]

    def _flush(self, out: list[Event]) -> None:
        """Release what is held: what follows cannot make it a tag."""
        held, self._held = self._held, ""
        if not held:
            return
        if self._kind is ThoughtDelta:
            out.append(ThoughtDelta(held))
        elif self._stage == _THINKING:
            self._thought_begun = True
            out.append(ThoughtDelta(held))
        else:
            self._stage = _SPEAKING
            self._code.later(held)
            out.append(TextDelta(held))


def _certain(run: str, beginnings: frozenset[str]) -> int:
    """Return how many characters of the run no tag can concern any more."""
    at = run.rfind("<")
    if at >= 0 and (run[at : at + _LONGEST_TAG].lower() in beginnings or _BROKEN_BEGINNING.fullmatch(run, at)):
        run = run[:at]
    return _without_space(run)


def _without_space(text: str) -> int:
    return max(len(text.rstrip()), len(text) - MAX_SPACE)


def _drop_end(texts: list[str], size: int) -> None:
    """Take the last ``size`` characters off the texts, and with them every text that becomes empty."""
    while size:
        text = texts.pop()
        if len(text) > size:
            texts.append(text[:-size])
            return
        size -= len(text)
