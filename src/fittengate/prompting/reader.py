"""Reads calls out of an answer: text in, text and calls out. In the path only where the request has tools.

The way an answer is taken apart, each state a method:

- start: white space, a fence that may be packaging around calls, or JSON that may be calls as a whole
- speaking: text, up to what begins a call outside code
- block: calls, their parameters and their values, in :mod:`fittengate.prompting.block`
- holding: a foreign form, a JSON body or a block without the suffix, in :mod:`fittengate.prompting.held`

Laws: what comes out, adjacent deltas joined, depends on the text and not on its pieces; every character is text, a
value, part of a tag, white space beside a call, or behind the end; a call that was cut off is never complete; time is
linear in the text. Where text follows text with calls between, a line break joins them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import ToolSpec
from fittengate.core.events import Event, TextDelta
from fittengate.core.reply import StopReason
from fittengate.prompting.block import Block, Went
from fittengate.prompting.calls import Calls
from fittengate.prompting.cursor import Cursor
from fittengate.prompting.foreign import Foreign
from fittengate.prompting.forms import block_of
from fittengate.prompting.held import Came, Held
from fittengate.prompting.marks import marks
from fittengate.prompting.opening import Opening, Wait
from fittengate.prompting.quotes import Quotes
from fittengate.prompting.search import Search
from fittengate.prompting.speech import Speech
from fittengate.prompting.start import look
from fittengate.prompting.syntax import Tags
from fittengate.prompting.thoughts import Thoughts
from fittengate.prompting.trouble import Trouble

_START, _SPEAKING, _BLOCK, _HOLDING = range(4)


class Reader:
    """Takes the TextDeltas and ThoughtDeltas of one reply; gives its text, its reasoning and its calls.

    ``make_id`` gives a new id for each call. ``json_reply`` says that the answer itself is to be JSON: then no JSON is
    taken for calls. ``prompt`` is the text that is answered, which an answer may quote. Reasoning that comes while a
    call is open, or something is held, comes out after it.
    """

    def __init__(
        self,
        tools: Sequence[ToolSpec],
        tool_use: ToolUse,
        make_id: Callable[[], str],
        tags: Tags,
        *,
        json_reply: bool = False,
        prompt: str = "",
    ) -> None:
        self._tags = tags
        self._json = not json_reply and not tags.suffix
        self._sole = _sole(tools, tool_use)
        self._speech = Speech()
        self._thoughts = Thoughts()
        self._calls = Calls(tools, tool_use, make_id, self._speech, self._thoughts)
        self._make_parts = partial(_Parts, tools, tags, prompt, self._calls, self._speech)
        self._made: _Parts | None = None
        self._cursor = Cursor()
        self._state = _START
        self._package = ""
        """The line of a code fence around what is held, which is text like it if that comes to nothing."""

    @property
    def ended(self) -> bool:
        """The reply is over for us: results were invented, or a call came where one was enough, or none was wanted."""
        return self._calls.ended

    @property
    def calls(self) -> int:
        """Calls that were completed and passed on."""
        return self._calls.count

    @property
    def full(self) -> bool:
        """Every call so far was of a declared tool and had all that it requires."""
        return self._calls.full

    @property
    def reason(self) -> StopReason | None:
        """tool_calls where a call was completed; None where the reply's own reason stands."""
        return StopReason.TOOL_CALLS if self._calls.count else None

    @property
    def counts(self) -> Mapping[Trouble, int]:
        """How often each oddity was met."""
        return self._calls.troubles

    @property
    def in_call(self) -> bool:
        """A call is open, or something is held that may be one."""
        return self._calls.writer is not None or self._holds

    @property
    def in_value(self) -> bool:
        """A role tag that comes next is part of a call: it stands in a value, or in what may be one."""
        if self._calls.writer is None and not self._holds:
            return False
        return not self._parts.held.may_end() if self._holds else self._parts.block.in_value

    def feed(self, events: Sequence[Event]) -> list[Event]:
        """Return what has become certain; the list that was given, where it is plain text."""
        out: list[Event] = []
        cursor = self._cursor
        speaking = self._state == _SPEAKING and cursor.at == len(cursor.text)
        if len(events) == 1 and type(events[0]) is TextDelta:
            run = events[0].text
            if speaking and "<" not in run and self._speech.passes(run):
                return events if type(events) is list else list(events)
            if not self._calls.ended:
                self._take(run, out)
            return out
        if speaking:
            texts = [event.text for event in events if type(event) is TextDelta]
            run = "".join(texts)
            if len(texts) == len(events) and "<" not in run and self._speech.passes(run):
                return events if type(events) is list else list(events)
        for kind, group in groupby(events, type):
            if self._calls.ended:
                break
            if kind is TextDelta:
                self._take("".join([event.text for event in group if type(event) is TextDelta]), out)
            else:
                for event in group:
                    self._think(event, out)
        return out

    def close(self) -> list[Event]:
        """Return what was held back: as a call where it is one, as text where it is none, aborted where it was cut."""
        out: list[Event] = []
        if self._calls.ended:
            return out
        self._cursor.last = True
        self._run(out)
        while self._holds:
            self._settle(self._parts.held.close(), out)
            self._run(out)
        if self._calls.writer is not None:
            self._calls.close(out, named=False)
        self._speech.release(out)
        self._thoughts.settle(out)
        if not self._speech.said and not self._calls.opened:
            self._rescue(out)
        return out

    @property
    def _parts(self) -> "_Parts":
        """What takes calls apart, made when something comes that may be one: most answers go without."""
        made = self._made
        if made is None:
            made = self._made = self._make_parts(self._cursor)
        return made

    @property
    def _holds(self) -> bool:
        return self._made is not None and self._made.held.holds

    def _think(self, event: Event, out: list[Event]) -> None:
        if not self._speech.said and not self._calls.opened:
            self._thoughts.keep(event)
        if self.in_call:
            self._thoughts.wait(event)
        else:
            out.append(event)

    def _take(self, run: str, out: list[Event]) -> None:
        if self._holds:
            self._settle(self._parts.held.feed(run), out)
        else:
            self._cursor.add(run)
        self._run(out)

    def _run(self, out: list[Event]) -> None:
        """Go on through the text until there is nothing to be done before more of it comes."""
        moved = True
        while moved and not self._calls.ended:
            state = self._state
            if state == _BLOCK:
                moved = self._go_on(out)
            elif state == _SPEAKING:
                moved = self._speak(out)
            else:
                moved = state == _START and self._start(out)

    # The states. Each returns whether it got anywhere.

    def _start(self, out: list[Event]) -> bool:
        cursor = self._cursor
        sole = self._sole
        start = look(
            cursor.text[cursor.at :],
            self._calls.openings(self._tags.suffix),
            json=self._json,
            last=cursor.last,
            parameters=() if sole is None else self._calls.schema(sole).types,
        )
        if start.begins == "wait" and not cursor.last:
            return False
        if start.begins == "json":
            self._state = _HOLDING
            self._settle(self._parts.held.json(cursor.take(cursor.at), sole), out)
            return True
        if start.begins == "calls":
            self._package = cursor.text[cursor.at : cursor.at + start.at]
            self._parts.block.fence = start.fence
            self._calls.troubles[Trouble.PACKAGED] += 1
            cursor.at += start.at
        self._state = _SPEAKING
        return True

    def _speak(self, out: list[Event]) -> bool:
        cursor = self._cursor
        text, at = cursor.text, cursor.at
        while (at := text.find("<", at)) >= 0:
            found = self._parts.search.at(cursor, at)
            if found is None:
                at += 1
                continue
            self._speech.say(text[cursor.at : at], out)
            cursor.at = at
            if self._speech.in_code():
                # What may be a tag once it is whole is none here either.
                at += 1
                continue
            if isinstance(found, Wait):
                return False
            self._open(found, out)
            return True
        self._speech.say(text[cursor.at :], out)
        cursor.at = len(text)
        return False

    def _go_on(self, out: list[Event]) -> bool:
        """In a block."""
        step = self._parts.block.step(out)
        if isinstance(step, Opening):
            self._open(step, out)
        elif step is Went.OUT:
            self._state = _SPEAKING
        return step is not Went.WAITS

    # What begins, and what is held.

    def _open(self, opening: Opening, out: list[Event]) -> None:
        cursor = self._cursor
        start, cursor.at = cursor.at, opening.end
        if opening.form == "results":
            self._calls.troubles[Trouble.INVENTED_RESULT] += 1
            self._calls.ended = True
            return
        if opening.form == "think":
            self._parts.search.thinking = True
            self._speech.say(cursor.text[start : opening.end], out)
            return
        if opening.form != "body":
            self._parts.block.wrapped = opening.wrapped
        if opening.form == "invoke":
            self._package = ""
            self._state = _BLOCK
            self._parts.block.open(opening, out)
            return
        if opening.form == "plain":
            self._parts.search.plain_came()
        if opening.form == "thought":
            # What comes of it begins where no reasoning is open any more.
            self._parts.search.thinking = False
        before = cursor.text[start : opening.end]
        self._state = _HOLDING
        self._settle(self._parts.held.form(opening, before, cursor.take(opening.end)), out)

    def _settle(self, came: Came | None, out: list[Event]) -> None:
        """Go on behind what was held, as soon as it is clear what it is."""
        if came is None:
            return
        cursor = self._cursor
        cursor.text, cursor.at = came.text, came.at
        package, self._package = self._package, ""
        self._state = _BLOCK
        if self._calls.writer is not None:
            self._calls.close_with(came.calls[0] if came.calls else None, out)
        elif came.calls is not None:
            self._calls.troubles[came.trouble] += 1
            self._calls.write(came.calls, out)
        else:
            self._state = _SPEAKING
            if package:
                # Then it was no packaging, either.
                self._parts.block.fence = ""
                del self._calls.troubles[Trouble.PACKAGED]
            self._speech.say(package + came.text[: came.at], out)
            self._thoughts.settle(out)

    def _rescue(self, out: list[Event]) -> None:
        """Take the calls at the end of the reasoning, where there is nothing else."""
        thought = self._thoughts.text.rstrip()
        start = thought.rfind(self._tags.calls)
        if start < 0 or not thought.endswith(self._tags.calls_end):
            return
        calls = block_of(self._parts.inner(self._tags), thought[start:])
        if calls is not None:
            self._calls.troubles[Trouble.RESCUED] += 1
            self._calls.write(calls, out)


class _Parts:
    """What is needed once something may be a call."""

    __slots__ = ("block", "held", "inner", "search")

    def __init__(
        self, tools: Sequence[ToolSpec], tags: Tags, prompt: str, calls: Calls, speech: Speech, cursor: Cursor
    ) -> None:
        self.inner = partial(_inner, tools)
        foreign = Foreign(calls.names, calls.schema, calls.troubles)
        self.held = Held(foreign, tags, Quotes(prompt), self.inner)
        self.search = Search(tags, calls, speech, self.held)
        self.block = Block(cursor, calls, self.search.openings, marks(tags.suffix), bodies=not tags.suffix)


def _sole(tools: Sequence[ToolSpec], tool_use: ToolUse) -> str | None:
    """Return the one tool that must be called; None where none must be, or it might be another."""
    if tool_use.choice == "named":
        return tool_use.name
    return tools[0].name if tool_use.choice == "required" and len(tools) == 1 else None


def _inner(tools: Sequence[ToolSpec], tags: Tags) -> Reader:
    """Return a reader for a text that may be one block of calls and nothing else."""
    return Reader(tools, ToolUse(), lambda: "", tags)
