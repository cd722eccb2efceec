"""The model's own words: restores broken tags, ends the reply at a role tag, and takes a leading ``<think>`` apart.

Always in the path, so it costs next to nothing for text without ``<``. Laws: the result, adjacent deltas joined, depends
on the joined text and not on the cuts; text without tags comes out as it went in; only the end of a text that may still
become a tag is held back, and white space at its end, which belongs to a tag if one follows.

A role tag in the text means that the model began to play the next turn: the tag, the white space before it and all the
rest are dropped, and ``ended`` is set. Inside fenced code and inline code it is text. A ``<think>`` block counts only at
the start; white space beside it and at its ends is dropped.
"""

import re
from collections.abc import Sequence

from fittengate.core.events import Event, TextDelta, ThoughtDelta
from fittengate.prompting.code import CodeTracker
from fittengate.prompting.tags import JOINER, ROLE_TAG, ROLE_TAGS, restore_tags

_THINK, _THINK_END = "<think>", "</think>"
_BROKEN_OPENING = re.compile(rf"<{JOINER}+(?:\|[^<>|\n]{{0,64}}\|?)?\Z")
_START, _THINKING, _AFTER_THINKING, _SPEAKING = range(4)


class Voice:
    """Takes the deltas of one reply as the service gives them; gives what the model meant to say."""

    def __init__(self) -> None:
        self.ended = False
        """A role tag ended the reply: read no further."""
        self._state = _START
        self._held = ""
        self._thought_held = ""
        self._thought_begun = False
        self._quick = False
        """Nothing is held and the text has begun: a piece without ``<`` can pass at once."""
        self._code = CodeTracker()

    def feed(self, events: Sequence[Event]) -> list[Event]:
        """Return the deltas that have become certain."""
        out: list[Event] = []
        for event in events:
            if type(event) is TextDelta:
                text = event.text
                if self._quick and "<" not in text and not text[-1].isspace():
                    self._code.later(text)
                    out.append(event)
                    continue
                if self.ended:
                    break
                self._flush_thought(out)
                self._text(self._held + text, out)
            elif isinstance(event, ThoughtDelta) and not self.ended:
                self._outer_thought(event.text, out)
            self._quick = self._state == _SPEAKING and not (self._held or self._thought_held or self.ended)
        return out

    def close(self) -> list[Event]:
        """Return what was held back; no more comes."""
        out: list[Event] = []
        if not self.ended:
            self._flush_thought(out)
            self._flush_text(out)
        self._quick = False
        return out

    def _text(self, text: str, out: list[Event]) -> None:
        self._held = ""
        if self._state == _START:
            start = text.lstrip()
            if start.startswith(_THINK):
                self._state = _THINKING
                text = start[len(_THINK) :]
            elif _THINK.startswith(start):
                self._held = text
                return
            else:
                self._state = _SPEAKING
        if self._state == _THINKING:
            text = self._think(text, out)
        if self._state == _AFTER_THINKING:
            text = text.lstrip()
            if text:
                self._state = _SPEAKING
        if self._state == _SPEAKING:
            self._speak(text, out)

    def _think(self, text: str, out: list[Event]) -> str:
        """Pass reasoning on up to its end; return the text behind it."""
        end = text.find(_THINK_END)
        if end < 0:
            sure = _sure(text, (_THINK_END,))
            self._held = text[sure:]
            self._thought(text[:sure], out)
            return ""
        self._state = _AFTER_THINKING
        self._thought(text[:end].rstrip(), out)
        return text[end + len(_THINK_END) :]

    def _thought(self, text: str, out: list[Event]) -> None:
        if not self._thought_begun:
            text = text.lstrip()
        if text:
            self._thought_begun = True
            out.append(ThoughtDelta(restore_tags(text)))

    def _speak(self, text: str, out: list[Event]) -> None:
        said = 0
        found = ROLE_TAG.search(text) if "<|" in text else None
        while found is not None:
            self._code.later(text[said : found.start()])
            if not self._code.inside():
                self.ended = True
                _say(text[: found.start()].rstrip(), out)
                return
            said = found.start()
            found = ROLE_TAG.search(text, found.end())
        sure = _sure(text, ROLE_TAGS)
        self._code.later(text[said:sure])
        self._held = text[sure:]
        _say(text[:sure], out)

    def _flush_text(self, out: list[Event]) -> None:
        """Release the held text as what it is: nothing that it might have become came."""
        held, self._held = self._held, ""
        if self._state == _THINKING:
            self._thought(held, out)
        elif self._state != _AFTER_THINKING and held:
            self._state = _SPEAKING
            self._code.later(held)
            _say(held, out)

    def _outer_thought(self, text: str, out: list[Event]) -> None:
        """Pass on reasoning that the service itself marked as such."""
        # White space before the first word stays held: a <think> may still follow it.
        if self._state != _START or self._held.strip():
            self._flush_text(out)
        text = self._thought_held + text
        at = text.rfind("<")
        held = at if at >= 0 and (at == len(text) - 1 or _BROKEN_OPENING.match(text, at)) else len(text)
        self._thought_held = text[held:]
        if held:
            out.append(ThoughtDelta(restore_tags(text[:held])))

    def _flush_thought(self, out: list[Event]) -> None:
        held, self._thought_held = self._thought_held, ""
        if held:
            out.append(ThoughtDelta(held))


def _say(text: str, out: list[Event]) -> None:
    if text:
        out.append(TextDelta(restore_tags(text)))


def _sure(text: str, tags: tuple[str, ...]) -> int:
    """Return up to where ``text`` is sure to stay: before a tag that may be growing, and the white space before it."""
    at = text.rfind("<")
    if at >= 0:
        tail = text[at:]
        if _BROKEN_OPENING.match(tail) or any(tag.startswith(tail.lower()) for tag in tags):
            text = text[:at]
    return len(text.rstrip())
