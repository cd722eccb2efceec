"""What may be calls and must be whole before one can tell: held, and let go of as calls or as text."""

from collections.abc import Callable

from msgspec import Struct

from fittengate.prompting.call import Call
from fittengate.prompting.foreign import Foreign
from fittengate.prompting.forms import Gathers, Reads, Unsuffixed, body_of, gathering_of, thought_of, whole_json
from fittengate.prompting.gathering import Gathered
from fittengate.prompting.opening import Opening
from fittengate.prompting.quotes import Quotes
from fittengate.prompting.start import unfenced
from fittengate.prompting.syntax import Tags
from fittengate.prompting.trouble import Trouble

_MAX_FAILURES = 8
"""A text that begins a foreign form this often, and never ends one, is about something else."""

_TROUBLES = {"plain": Trouble.PLAIN_TAGS, "thought": Trouble.RESCUED}
_UNMARKED = frozenset({"", "element"})
"""Forms, JSON the first of them, that give no reason for a suffix where the prompt holds them."""


class Came(Struct, frozen=True):
    """What came of it."""

    calls: list[Call] | None
    """None: it is no call."""
    text: str
    """All that was held, from the ``<`` on where it is no call."""
    at: int
    """The place in it where reading goes on; what stands before is said already, or text."""
    trouble: Trouble
    """What kind of calls they are."""


class Held:
    """Holds one such text at a time."""

    def __init__(self, foreign: Foreign, tags: Tags, quotes: Quotes, make_reader: Callable[[Tags], Reads]) -> None:
        """``make_reader`` makes a reader for a text that may be one block of calls and nothing else."""
        self.holds = False
        self._foreign = foreign
        self._tags = tags
        self._quotes = quotes
        self._make_reader = make_reader
        self._gathering: Gathers | None = None
        self._form = ""
        self._before = ""
        """What came before the text that is gathered, and is text like it if it comes to nothing."""
        self._failures = 0

    @property
    def hopeful(self) -> bool:
        """What begins a foreign form is still believed to be one."""
        return self._failures < _MAX_FAILURES

    def json(self, text: str, sole: str | None) -> Came | None:
        """Begin with an answer that may be calls as a whole; ``sole`` is the tool that must be called, where it is clear which."""
        self._form = self._before = ""
        return self._begin(whole_json(self._foreign, sole), text)

    def form(self, opening: Opening, before: str, text: str) -> Came | None:
        """Begin with a form, of which ``before`` has been read already."""
        self._form, self._before = opening.form, before
        if opening.form == "body":
            return self._begin(body_of(opening.tool, self._foreign, self._tags.suffix), text)
        if opening.form == "thought":
            return self._begin(thought_of(self._make_reader(self._tags)), text)
        if opening.form == "plain":
            return self._begin(Unsuffixed(self._make_reader(Tags()), before, self._tags, self._quotes), text)
        return self._begin(gathering_of(opening, self._foreign), text)

    def feed(self, text: str) -> Came | None:
        """Go on with ``text``; return what came of it, or None while more must come."""
        gathered = None if self._gathering is None else self._gathering.feed(text)
        return None if gathered is None else self._came(gathered)

    def close(self) -> Came | None:
        """Return what the text comes to, if it ends here; None where nothing is held."""
        return None if self._gathering is None else self._came(self._gathering.close())

    def may_end(self) -> bool:
        """Return whether nothing is cut in its middle if the text ends here."""
        return self._gathering is None or self._gathering.may_end()

    def _begin(self, gathering: Gathers, text: str) -> Came | None:
        self._gathering = gathering
        self.holds = True
        return self.feed(text)

    def _came(self, gathered: Gathered[list[Call]]) -> Came:
        self._gathering = None
        self.holds = False
        form = self._form
        trouble = _TROUBLES.get(form, Trouble.FOREIGN_FORM)
        calls = gathered.value
        if calls is not None and form in _UNMARKED and self._quotes.hold(unfenced(gathered.text[: gathered.end])):
            calls = None
        if calls is not None or form == "body":
            return Came(calls, gathered.text, gathered.end, trouble)
        if form == "thought":
            return Came(None, gathered.text, gathered.end, trouble)
        self._failures += form not in ("", "plain")
        # It is text from its first character on, and what is behind that may still be something else.
        return Came(None, self._before + gathered.text, 1 if form else 0, trouble)
