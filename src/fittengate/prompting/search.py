"""What begins at a place of an answer's text, as far as it is believed: tags of the conversation, and plain ones."""

from msgspec.structs import replace

from fittengate.prompting.calls import Calls
from fittengate.prompting.cursor import Cursor
from fittengate.prompting.held import Held
from fittengate.prompting.opening import Found, Opening, Wait
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

    def at(self, cursor: Cursor, at: int) -> Found:
        """Return what begins at a ``<`` of the cursor's text, which was said up to the cursor."""
        text, last = cursor.text, cursor.last
        blank = self._speech.begins_line(text, cursor.at, at)
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
