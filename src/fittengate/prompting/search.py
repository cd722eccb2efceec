"""What begins at a place of an answer's text, as far as it is believed: tags of the conversation, and plain ones.

Reasoning that does not begin the answer is text, but what would be a call in it is none: it begins with ``<think>`` on
a line of its own. Where it is never closed and ends with calls, they are calls; so they wait till that is clear.
"""

from msgspec.structs import replace

from fittengate.prompting.calls import Calls
from fittengate.prompting.cursor import Cursor
from fittengate.prompting.held import Held
from fittengate.prompting.opening import THINK, THINK_END, Found, Opening, Wait
from fittengate.prompting.speech import Speech
from fittengate.prompting.syntax import Tags


class Search:
    """Looks at places outside code; whether a place is in code is for others to ask."""

    def __init__(self, tags: Tags, calls: Calls, speech: Speech, held: Held) -> None:
        self.openings = calls.openings(tags.suffix)
        self._plain = calls.openings("") if tags.suffix else None
        self._calls = calls
        self._speech = speech
        self._held = held
        self.thinking = False
        """The text is in reasoning that was not closed yet."""

    def at(self, cursor: Cursor, at: int) -> Found:
        """Return what begins at a ``<`` of the cursor's text, which was said up to the cursor."""
        text, last = cursor.text, cursor.last
        blank = self._speech.begins_line(text, cursor.at, at)
        tag = THINK_END if self.thinking else THINK
        if text.startswith(tag, at):
            if not self.thinking:
                return Opening("think", at + len(tag)) if blank else None
            self.thinking = False
            return None
        if not last and len(text) - at < len(tag) and tag.startswith(text[at:]) and (blank or self.thinking):
            return Wait.WAIT
        found = self._call_at(text, at, last=last, blank=blank)
        if self.thinking and isinstance(found, Opening):
            return None if found.form == "results" else Opening("thought", at)
        return found

    def _call_at(self, text: str, at: int, *, last: bool, blank: bool) -> Found:
        found = self.openings.at(text, at, last=last, begins_line=blank, called=self._calls.called)
        foreign = isinstance(found, Opening) and found.form not in {"invoke", "results"}
        if foreign and not self._held.hopeful:
            return None
        if self._plain is not None and blank and not isinstance(found, Opening):
            plain = self._plain.at(text, at, last=last, begins_line=True, called=False)
            if isinstance(plain, Wait):
                return plain
            if plain is not None and plain.form == "invoke" and self._calls.names.find(plain.tool) is not None:
                return replace(plain, form="plain", end=at)
        return found

    def plain_came(self) -> None:
        """Look for tags without the suffix no more: a block of them came, and there is one chance."""
        self._plain = None
