"""Reads calls out of an answer: text in, text and calls out. In the path only where the request has tools.

The way an answer is taken apart, each state a method:

- start: white space, a fence that may be packaging around calls, or JSON that may be calls as a whole
- speaking: text, up to what begins a call outside code
- block: between calls; closing tags and white space are swallowed
- call: between the parameters of a call
- value: in a parameter; :mod:`fittengate.prompting.closing` says where it ends
- gathering: a foreign form, a JSON body or a block without the suffix, held until it is whole

Laws: what comes out, adjacent deltas joined, depends on the text and not on its pieces; every character is text, a
value, part of a tag, white space beside a call, or behind the end; a call that was cut off is never complete; time is
linear in the text. Where text follows text with calls between, a line break joins them.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import ToolSpec
from fittengate.core.events import Event, TextDelta, ThoughtDelta, ToolOpened
from fittengate.core.reply import StopReason
from fittengate.prompting.call import Call, CallWriter
from fittengate.prompting.closing import State, Value
from fittengate.prompting.foreign import Foreign
from fittengate.prompting.forms import Gathers, Unsuffixed, block_of, body_of, gathering_of, whole_json
from fittengate.prompting.gathering import Gathered
from fittengate.prompting.marks import MAX_SPACE, Tag, marks, skip_space
from fittengate.prompting.names import Names
from fittengate.prompting.opening import Found, Opening, Openings, Wait
from fittengate.prompting.speech import Speech
from fittengate.prompting.start import look
from fittengate.prompting.syntax import Tags, whole
from fittengate.prompting.trouble import Trouble
from fittengate.prompting.values import Schema, schema_of

_START, _SPEAKING, _BLOCK, _CALL, _VALUE, _GATHERING = range(6)
_MAX_FOREIGN_FAILURES = 8
"""A text that begins a foreign form this often, and never ends one, is about something else."""

_MAX_RESCUED = 262_144
"""Characters of reasoning that are kept in case the calls stand at its end."""

_FENCE_END = re.compile(r"(`{3,}|~{3,})[ \t]*(?=\n|\Z)")


class Reader:
    """Takes the TextDeltas and ThoughtDeltas of one reply; gives its text, its reasoning and its calls.

    ``make_id`` gives a new id for each call. ``json_reply`` says that the answer itself is to be JSON: then no JSON is
    taken for calls. Reasoning that comes while a call is open, or something is held, comes out after it.
    """

    def __init__(
        self,
        tools: Sequence[ToolSpec],
        tool_use: ToolUse,
        make_id: Callable[[], str],
        tags: Tags,
        *,
        json_reply: bool = False,
    ) -> None:
        self.ended = False
        """The reply is over for us: results were invented, or a call came where one was enough, or none was wanted."""
        self.calls = 0
        """Calls that were completed and passed on."""
        self.troubles: list[Trouble] = []
        """What was odd about the calls, in order."""
        self.full = True
        """Every call so far was of a declared tool and had all that it requires."""
        self._tools = {tool.name: tool for tool in tools}
        self._tool_use = tool_use
        self._make_id = make_id
        self._tags = tags
        self._json = not json_reply and not tags.suffix
        self._marks = marks(tags.suffix)
        self._names = Names(self._tools)
        self._schemas: dict[str, Schema] = {}
        self._foreign = Foreign(self._names, self._schema, self.troubles)
        self._openings = Openings(self._marks, self._names, self._schema, self._tools, tags.suffix)
        self._plain: Openings | None = None
        if tags.suffix:
            self._plain = Openings(marks(""), self._names, self._schema, self._tools, "")
        self._state = _START
        self._text = ""
        self._at = 0
        self._last = False
        """Nothing comes after the text."""
        self._speech = Speech()
        self._called = False
        self._fence = ""
        """The marks of the code fence that the calls stand in."""
        self._wrapped = False
        """The calls stand in a block."""
        self._opened = 0
        self._writer: CallWriter | None = None
        self._muted = False
        """The open call is dropped."""
        self._value: Value | None = None
        self._gathering: Gathers | None = None
        self._form = ""
        self._before = ""
        """What came before the text that is gathered, and is text like it if it comes to nothing."""
        self._failures = 0
        self._thoughts: list[Event] = []
        self._kept: list[str] = []
        self._kept_size = 0

    @property
    def reason(self) -> StopReason | None:
        """tool_calls where a call was completed; None where the reply's own reason stands."""
        return StopReason.TOOL_CALLS if self.calls else None

    @property
    def counts(self) -> dict[Trouble, int]:
        """How often each oddity was met."""
        return dict(Counter(self.troubles))

    @property
    def in_call(self) -> bool:
        """What comes next belongs to a call, whatever it looks like."""
        return self._writer is not None or self._gathering is not None

    def feed(self, events: Sequence[Event]) -> list[Event]:
        """Return what has become certain; the list that was given, where it is plain text."""
        if self._state == _SPEAKING and self._at == len(self._text):
            if len(events) == 1 and type(events[0]) is TextDelta:
                run, plain = events[0].text, True
            else:
                texts = [event.text for event in events if type(event) is TextDelta]
                run, plain = "".join(texts), len(texts) == len(events)
            if plain and "<" not in run and self._speech.passes(run):
                return events if type(events) is list else list(events)
        out: list[Event] = []
        for kind, group in groupby(events, type):
            if self.ended:
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
        if self.ended:
            return out
        self._last = True
        self._run(out)
        while self._gathering is not None:
            self._end_gathering(self._gathering.close(), out)
            self._run(out)
        if self._writer is not None:
            self._end_call(self._writer.close(self._sink(out), named=False), out)
        self._speech.release(out)
        self._settle(out)
        if not self._speech.said and not self._opened:
            self._rescue(out)
        return out

    def _schema(self, name: str) -> Schema:
        if name not in self._schemas:
            tool = self._tools.get(name)
            self._schemas[name] = Schema({}, frozenset()) if tool is None else schema_of(tool)
        return self._schemas[name]

    def _think(self, event: Event, out: list[Event]) -> None:
        if not self._speech.said and not self._opened and isinstance(event, ThoughtDelta):
            self._kept.append(event.text)
            self._kept_size += len(event.text)
            if self._kept_size > 2 * _MAX_RESCUED:
                self._kept = ["".join(self._kept)[-_MAX_RESCUED:]]
                self._kept_size = _MAX_RESCUED
        if self._writer is None and self._gathering is None:
            out.append(event)
        else:
            self._thoughts.append(event)

    def _settle(self, out: list[Event]) -> None:
        """Let go of the reasoning that came meanwhile."""
        out += self._thoughts
        self._thoughts.clear()

    def _take(self, run: str, out: list[Event]) -> None:
        if self._gathering is not None:
            gathered = self._gathering.feed(run)
            if gathered is None:
                return
            self._end_gathering(gathered, out)
        else:
            self._text = self._text[self._at :] + run
            self._at = 0
        self._run(out)

    def _run(self, out: list[Event]) -> None:
        """Go on through the text until there is nothing to be done before more of it comes."""
        steps = (self._start, self._speak, self._between, self._inside, self._read_value, self._stay)
        while not self.ended and steps[self._state](out):
            pass

    def _stay(self, _: list[Event]) -> bool:
        return False

    # The states. Each returns whether it got anywhere.

    def _start(self, out: list[Event]) -> bool:
        start = look(self._text[self._at :], self._openings, json=self._json, last=self._last)
        if start.begins == "wait" and not self._last:
            return False
        if start.begins == "json":
            self._form = self._before = ""
            self._gather(whole_json(self._foreign), self._at, out)
            return True
        if start.begins == "calls":
            self._at += start.at
            self._fence = start.fence
            self.troubles.append(Trouble.PACKAGED)
        self._state = _SPEAKING
        return True

    def _speak(self, out: list[Event]) -> bool:
        text, at = self._text, self._at
        while (at := text.find("<", at)) >= 0:
            found = self._find(at)
            if found is None:
                at += 1
                continue
            self._speech.say(text[self._at : at], out)
            self._at = at
            if self._speech.in_code():
                # What may be a tag once it is whole is none here either.
                at += 1
                continue
            if isinstance(found, Wait):
                return False
            self._open(found, out)
            return True
        self._speech.say(text[self._at :], out)
        self._at = len(text)
        return False

    def _find(self, at: int) -> Found:
        blank = self._speech.begins_line(self._text, self._at, at)
        found = self._openings.at(self._text, at, last=self._last, begins_line=blank, called=self._called)
        foreign = isinstance(found, Opening) and found.form not in {"invoke", "results"}
        if foreign and self._failures >= _MAX_FOREIGN_FAILURES:
            return None
        if self._plain is not None and blank and not isinstance(found, Opening):
            plain = self._plain.at(self._text, at, last=self._last, begins_line=True, called=False)
            if isinstance(plain, Wait):
                return plain
            if plain is not None and plain.form == "invoke" and self._names.find(plain.tool) is not None:
                return plain._replace(form="plain", end=at)
        return found

    def _between(self, out: list[Event]) -> bool:
        """Between calls."""
        text, at = self._text, self._at
        while at < len(text) and text[at].isspace():
            at += 1
        self._at = at
        if at == len(text):
            return False
        if self._fence and text[at] == self._fence[0]:
            return self._unfence(at)
        if text[at] == "<":
            tag = self._marks.tag(text, at)
            if tag is not None and not tag.opens:
                self._wrapped = self._wrapped and tag.kind != "calls"
                self._at = tag.end
                return True
            found = self._openings.next(text, at, last=self._last, wrapped=self._wrapped)
            if isinstance(found, Wait):
                return False
            if found is not None:
                self._open(found, out)
                return True
        self._state = _SPEAKING
        return True

    def _unfence(self, at: int) -> bool:
        """Drop the end of the code fence that the calls stand in."""
        text = self._text
        end = _FENCE_END.match(text, at)
        size = len(text) - at
        if not self._last and size < MAX_SPACE and not text[at:].lstrip(self._fence[0]).strip(" \t"):
            return False
        if end is not None and end[1].startswith(self._fence):
            self._at = end.end()
        else:
            self._state = _SPEAKING
        self._fence = ""
        return True

    def _inside(self, out: list[Event]) -> bool:
        """Between the parameters of a call."""
        writer = self._writer
        if writer is None:
            raise AssertionError("there is no call to be inside of")
        text, at = self._text, skip_space(self._text, self._at)
        if at == len(text):
            return False
        tag = self._marks.tag(text, at) if text[at] == "<" else None
        if tag is not None:
            self._at = tag.end
            self._read_tag(writer, tag, at, out)
            return True
        if text[at] == "<" and self._marks.may_become(text, at):
            return False
        self._at = at
        if text[at] == "{" and writer.untouched and not self._tags.suffix:
            self._gather_body(writer, at, out)
        else:
            self._end_call(writer.close(self._sink(out), named=False), out)
        return True

    def _read_tag(self, writer: CallWriter, tag: Tag, at: int, out: list[Event]) -> None:
        """Go on behind a tag that stands between the parameters of a call."""
        if tag.opens and tag.kind == "parameter":
            writer.begin(tag.name, tag.text, self._sink(out))
            if tag.closed:
                writer.end(self._sink(out))
            else:
                self._value = Value(self._marks, writer.expects)
                self._state = _VALUE
        elif tag.opens and tag.kind == "arguments" and writer.untouched:
            self._gather_body(writer, tag.end, out)
        elif tag.kind == "invoke" and not tag.opens:
            self._end_call(writer.close(self._sink(out), named=True), out)
        elif tag.kind in {"invoke", "calls"}:
            self.troubles.append(Trouble.MISSING_CLOSE)
            self._at = at
            self._end_call(writer.close(self._sink(out), named=True), out)

    def _read_value(self, out: list[Event]) -> bool:
        writer, value = self._writer, self._value
        if writer is None or value is None:
            raise AssertionError("there is no value to be read")
        scanned = value.scan(self._text, self._at, last=self._last)
        self._at = scanned.at
        if scanned.text:
            writer.feed(scanned.text, self._sink(out))
        if scanned.state is State.OPEN:
            if self._last:
                self._at = len(self._text)
                self._end_call(writer.abort(self._sink(out)), out)
            return self._last
        if scanned.state is State.IMPLIED:
            self.troubles.append(Trouble.IMPLIED_CLOSE)
        writer.end(self._sink(out))
        self._state = _CALL
        return True

    # Calls.

    def _open(self, opening: Opening, out: list[Event]) -> None:
        start, self._at = self._at, opening.end
        if opening.form == "results":
            self.troubles.append(Trouble.INVENTED_RESULT)
            self.ended = True
            return
        self._wrapped = opening.wrapped
        if opening.form == "invoke":
            self._speech.drop_space()
            self._open_call(opening.tool, out)
            tag = self._marks.tag(self._text, opening.end)
            if tag is None or self.ended:
                return
            self._at = tag.end
            if tag.closed and self._writer is not None:
                self._end_call(self._writer.close(self._sink(out), named=True), out)
            return
        self._form, self._before = opening.form, self._text[start : opening.end]
        if opening.form == "plain":
            self._plain = None
            self._gather(Unsuffixed(self._inner(Tags()), self._before, self._tags), opening.end, out)
        else:
            self._gather(gathering_of(opening, self._foreign), opening.end, out)

    def _open_call(self, name: str, out: list[Event]) -> None:
        tool = self._names.find(name)
        if self._is_unwanted(tool or name):
            if self.ended:
                return
        elif tool is None:
            self.full = False
            self.troubles.append(Trouble.UNKNOWN_TOOL)
        if tool is not None and tool != name:
            self.troubles.append(Trouble.REPAIRED_NAME)
        opened = ToolOpened(self._opened, "" if self._muted else self._make_id(), whole(tool or name))
        self._opened += not self._muted
        self._writer = CallWriter(opened, self._schema(tool or name), self.troubles)
        self._writer.open(self._sink(out))
        self._state = _CALL

    def _is_unwanted(self, name: str) -> bool:
        """Return whether a call is to be dropped; one that no call was wanted beside ends the reply."""
        choice = self._tool_use.choice
        self._called = True
        self._muted = choice == "none" or (choice == "named" and name != self._tool_use.name)
        if self._muted:
            self.troubles.append(Trouble.UNWANTED)
            self.ended = choice == "none"
        return self._muted

    def _sink(self, out: list[Event]) -> list[Event]:
        return [] if self._muted else out

    def _end_call(self, complete: bool, out: list[Event]) -> None:  # noqa: FBT001
        if self._writer is not None:
            self.full = self.full and self._writer.full
        self._writer = self._value = None
        self._state = _BLOCK
        self._speech.after_call()
        if complete and not self._muted:
            self.calls += 1
            self.ended = not self._tool_use.parallel
        self._muted = False
        self._settle(out)

    def _write(self, call: Call, out: list[Event]) -> None:
        """Write a whole call."""
        self._open_call(call.name, out)
        writer = self._writer
        if writer is None:
            return
        self._end_call(writer.close_with(call, self._sink(out)), out)

    # Gathering.

    def _gather(self, gathering: Gathers, at: int, out: list[Event]) -> None:
        """Hold what comes from a place on until it is whole."""
        rest, self._text, self._at = self._text[at:], "", 0
        self._gathering, self._state = gathering, _GATHERING
        gathered = gathering.feed(rest)
        if gathered is not None:
            self._end_gathering(gathered, out)

    def _gather_body(self, writer: CallWriter, at: int, out: list[Event]) -> None:
        """Hold the arguments of the open call, which come as one JSON object or as elements."""
        self._form = "body"
        self._gather(body_of(writer.name, self._foreign, self._tags.suffix), at, out)

    def _end_gathering(self, gathered: Gathered[list[Call]], out: list[Event]) -> None:
        self._gathering = None
        self._state = _BLOCK
        self._text, self._at = gathered.text, gathered.end
        calls, writer = gathered.value, self._writer
        if writer is not None:
            sink = self._sink(out)
            self._end_call(writer.close_with(calls[0], sink) if calls else writer.abort(sink), out)
        elif calls is None:
            # It is text, and what is in it may still be something else.
            self._text, self._at = self._before + gathered.text, 0
            self._state = _SPEAKING
            if self._form:
                self._failures += self._form != "plain"
                self._speech.say("<", out)
                self._at = 1
            self._settle(out)
        else:
            self.troubles.append(Trouble.PLAIN_TAGS if self._form == "plain" else Trouble.FOREIGN_FORM)
            self._speech.drop_space()
            self._write_all(calls, out)

    def _write_all(self, calls: list[Call], out: list[Event]) -> None:
        for call in calls:
            if self.ended:
                break
            self._write(call, out)

    def _inner(self, tags: Tags) -> "Reader":
        """Return a reader for a text that may be one block of calls and nothing else."""
        return Reader(list(self._tools.values()), ToolUse(), lambda: "", tags)

    def _rescue(self, out: list[Event]) -> None:
        """Take the calls at the end of the reasoning, where there is nothing else."""
        thought = "".join(self._kept).rstrip()
        start = thought.rfind(self._tags.calls)
        if start < 0 or not thought.endswith(self._tags.calls_end):
            return
        calls = block_of(self._inner(self._tags), thought[start:])
        if calls is not None:
            self.troubles.append(Trouble.RESCUED)
            self._write_all(calls, out)
