"""One reply of the service: bytes to the events of our grammar. Pure; the whole chain behind ``client.py``.

bytes -> decoder -> voice -> reader (where there are tools) or JSON cutter (where the reply is to be JSON) -> cutter ->
events, with Began before and Ended after them. Law: after the bytes of a reply that ended well, or after one of the
parts ended the reply itself, the last event is Ended; after any other end ``fault`` is set and no Ended comes.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from fittengate.core.ask import Ask
from fittengate.core.events import Began, Ended, Event, TextDelta, ThoughtDelta
from fittengate.core.faults import Fault
from fittengate.core.limits import Room
from fittengate.core.reply import StopReason, Usage
from fittengate.prompting import form
from fittengate.prompting.cutter import Cutter
from fittengate.prompting.estimate import estimate
from fittengate.prompting.jsontext import JsonCutter
from fittengate.prompting.reader import Reader
from fittengate.prompting.render import Rendered
from fittengate.prompting.trouble import Trouble
from fittengate.prompting.voice import Voice
from fittengate.upstream.fitten.packed import decoder_of

_CHARS_PER_TOKEN = 4
"""A delta is about one token; where deltas are longer than a word, their length counts."""


class ReplyStream:
    """Takes the bytes of one reply; gives its events."""

    def __init__(
        self,
        ask: Ask,
        rendered: Rendered,
        make_id: Callable[[], str],
        *,
        framed: bool,
        coding: str | None = None,
        count: Callable[[str], int] = estimate,
        room: Room | None = None,
    ) -> None:
        """``make_id`` gives an id for each call; ``framed`` says that HTTP itself tells a whole body from one cut short.

        ``coding`` is the reply's ``Content-Encoding``. ``count`` estimates the tokens of a prompt for which the service
        tells none; ``room`` is what is reserved for the answer, where that may be less than it may have.
        """
        self.decoder = decoder_of(coding, framed=framed)
        self.fault: Fault | None = None
        self.ended = False
        """Ended was returned: read no further and close the connection."""
        self._prompt = rendered.text
        self._count_prompt = count
        tools = ask.conversation.tools
        wants_json = ask.reply_format is not None
        self._reader = (
            Reader(tools, ask.tool_use, make_id, rendered.tags, json_reply=wants_json, prompt=rendered.text)
            if tools
            else None
        )
        self._early: list[Event] = []
        """What the reader gave while the voice asked it about a role tag."""
        self._voice = Voice(None if self._reader is None else partial(_is_data, self._reader, self._early))
        # Where there are tools, a call may still come behind the value.
        starts = form.brackets(ask.reply_format) if ask.reply_format is not None and not tools else ""
        self._json = JsonCutter(starts) if starts else None
        sampling = ask.sampling
        self._cutter = Cutter(sampling, room) if sampling.stop or sampling.max_tokens is not None else None
        # Between the decoder and the client stands only the voice, and perhaps what looks at the length alone.
        self._bare = self._reader is None and self._json is None and (self._cutter is None or self._cutter.plain)
        self._began = False
        self._deltas = 0
        self._chars = 0
        self._thoughts = 0

    @property
    def calls(self) -> int:
        """Calls of tools that were completed."""
        return 0 if self._reader is None else self._reader.calls

    @property
    def troubles(self) -> Mapping[Trouble, int]:
        """How often each oddity of calls was met: every repair and every failure."""
        return {} if self._reader is None else self._reader.counts

    def feed(self, data: bytes, now: float) -> list[Event]:
        """Return the events that ``data`` completes; ``now`` is monotonic, in seconds."""
        return self._pass_on(self.decoder.feed(data, now), last=False)

    def one(self, data: bytes, now: float) -> Event | None:
        """Return the event of ``data`` where it is one ordinary delta in the middle of an answer.

        None: nothing has happened, and :meth:`feed` is to have the bytes. Law: where it gives an event, ``feed`` would
        have given that event alone.
        """
        if not self._bare:
            return None
        text = self.decoder.one(data, now)
        if text is None:
            return None
        cutter = self._cutter
        if cutter is None:
            if not self._voice.one(text):
                return None
        else:
            size = cutter.fits(text)
            if not size or not self._voice.one(text):
                return None
            cutter.passed(size)
        self._deltas += 1
        self._chars += len(text)
        return TextDelta(text)

    def close(self) -> list[Event]:
        """Say that the body ended; return what was held back, and Ended if the end was a clean one."""
        return self._pass_on(self.decoder.close(), last=True)

    def _pass_on(self, events: list[Event], *, last: bool) -> list[Event]:
        if self.ended or self.fault is not None:
            return []
        self._count(events)
        fault = self.decoder.fault
        events = self._through(events, fault, last=last)
        cut = self._cut()
        if not self._began and (events or cut or (last and fault is None)):
            self._began = True
            events = [Began(), *events]
        if cut:
            self._end(events, cut=True)
        elif fault is not None:
            self.fault = fault
            self._bare = False
        elif last:
            self._end(events, cut=False)
        return events

    def _through(self, events: list[Event], fault: Fault | None, *, last: bool) -> list[Event]:
        """Pass events through the parts; at the end, and at a part that ended the reply, the later ones give what they hold."""
        voice, reader, cutter = self._voice, self._reader, self._cutter
        over = last or fault is not None
        events = voice.feed(events) if events else events
        if over and not voice.ended:
            events = events + voice.close()
        over = over or voice.ended
        if reader is not None:
            events = reader.feed(events)
            if self._early:
                events = self._early + events
                self._early.clear()
            # A reply that broke off must not have its last call completed: half a command is none.
            if over and fault is None and not reader.ended:
                events = events + reader.close()
            over = over or reader.ended
        if self._json is not None:
            events = self._json.feed(events)
            over = over or self._json.ended
        if cutter is not None:
            events = cutter.feed(events)
            if over and not cutter.ended:
                events = events + cutter.close()
        return events

    def _cut(self) -> bool:
        """Tell whether one of the parts ended the reply before the service did."""
        return (
            self._voice.ended
            or (self._reader is not None and self._reader.ended)
            or (self._json is not None and self._json.ended)
            or (self._cutter is not None and self._cutter.ended)
        )

    def _count(self, events: list[Event]) -> None:
        self._deltas += len(events)
        for event in events:
            if isinstance(event, TextDelta):
                self._chars += len(event.text)
            elif isinstance(event, ThoughtDelta):
                self._chars += len(event.text)
                self._thoughts += 1

    def _end(self, events: list[Event], *, cut: bool) -> None:
        """Add Ended. A reply that we cut has no usage line: the service is not asked for the rest of it."""
        self.ended = True
        reason, stop = StopReason.LENGTH if self.decoder.length_stop else StopReason.DONE, None
        lost = self._lost_call() if reason is StopReason.DONE else None
        if reason is StopReason.DONE and self._reader is not None:
            if self.troubles.get(Trouble.ABORTED):
                # A call that was cut off in its middle: the model had no room to end it.
                reason = StopReason.LENGTH
            elif self._reader.calls:
                reason = StopReason.TOOL_CALLS
        if self._cutter is not None and self._cutter.reason is not None:
            reason, stop, lost = self._cutter.reason, self._cutter.stop_sequence, None
        most = self._cutter.most if reason is StopReason.LENGTH and cut and self._cutter is not None else None
        events.append(Ended(reason, self.usage(told=not cut, most=most), stop, lost))

    def usage(self, *, told: bool = True, most: int | None = None) -> Usage:
        """Return what the reply came to so far. ``told``: what the service said of it counts, as far as it did.

        ``most`` is the length that it was cut to, if it was.
        """
        told_in, told_out = (self.decoder.input_tokens, self.decoder.output_tokens) if told else (None, None)
        out = max(self._deltas, self._chars // _CHARS_PER_TOKEN) if told_out is None else told_out
        if most is not None:
            out = most
        return Usage(
            self._count_prompt(self._prompt) if told_in is None else told_in,
            out,
            min(out, self._thoughts),
            estimated=told_in is None or told_out is None,
        )

    def _lost_call(self) -> Literal["broken", "unwanted"] | None:
        if self.troubles.get(Trouble.UNWANTED):
            return "unwanted"
        return "broken" if self.troubles.get(Trouble.ABORTED) else None


def _is_data(reader: Reader, early: list[Event], said: list[Event]) -> bool:
    """Pass on what was said before a role tag, and tell whether the tag is part of a call."""
    early += reader.feed(said)
    return reader.in_value
