"""Ends a reply where the request wanted it to end, because the service has no such switches.

A stop sequence is looked for in the answer only; what may be the beginning of one is held back and nothing else. The
first in the text counts, at one place the longest. Reasoning or a call between two pieces of the answer parts them: a
stop sequence does not reach across.

The token limit counts answer, reasoning and arguments of calls alike. It counts bytes and not deltas, though a delta is
about one token: how many deltas a text comes in must not decide where it is cut (P2).

Law: what comes out, and how it ends, depends on the joined text, and where there is a :class:`Room` on what that gives,
and not on the pieces; ``ended`` is set once, with its ``reason``, and nothing comes after.
"""

from fittengate.core.ask import Sampling
from fittengate.core.events import Event, TextDelta, ThoughtDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened
from fittengate.core.limits import Room
from fittengate.core.reply import StopReason
from fittengate.prompting.estimate import TOKEN_BYTES


class Cutter:
    """Cuts one reply by its Sampling. Put it in the path only where that asks for something."""

    def __init__(self, sampling: Sampling, room: Room | None = None) -> None:
        """``room`` is what is reserved for the answer, where that may be less than it may have."""
        self.ended = False
        self.reason: StopReason | None = None
        """stop_sequence or length once ended; None while the reply goes on."""
        self.stop_sequence: str | None = None
        self._limit = None if sampling.max_tokens is None else sampling.max_tokens * TOKEN_BYTES
        self._spent = 0
        # Where nobody's limit ends before, there is no need to ask for more.
        self._room = (
            room if self._limit is None or (room is not None and room.answer * TOKEN_BYTES < self._limit) else None
        )
        self._most = self._limit
        if self._room is not None:
            self._limit = self._room.answer * TOKEN_BYTES
        self._seekers = [Seeker(stop) for stop in sampling.stop]
        self._held = ""
        self._found: tuple[int, int, str] | None = None
        """The best stop sequence in what is held: its place, its length below zero, itself."""
        self._call_open = False
        self.plain = not sampling.stop
        """It looks at the length alone: nothing is ever held back, and :meth:`fits` may be asked."""

    @property
    def spent(self) -> int:
        """Tokens passed on so far, by the count that the limit is held to; counted only where there is a limit."""
        return -(-self._spent // TOKEN_BYTES)

    @property
    def most(self) -> int | None:
        """The length in tokens at which the answer ends, as far as is known now; None where it has no limit."""
        return None if self._limit is None else self._limit // TOKEN_BYTES

    def fits(self, text: str) -> int:
        """Return the bytes of a piece of the answer that passes whole; 0: perhaps not, and :meth:`feed` is to have it.

        Only where it is :attr:`plain`. Nothing is noted yet: :meth:`passed` is to be told of what goes on its way.
        """
        size = _size(text)
        return size if self._limit is None or self._spent + size < self._limit else 0

    def passed(self, size: int) -> None:
        """Note a piece of so many bytes that went past :meth:`feed`, as :meth:`fits` allowed."""
        if self._limit is not None:
            self._spent += size

    def feed(self, events: list[Event]) -> list[Event]:
        """Return what of the events comes before the cut; the list that was given, where there is nothing to cut."""
        if self.plain and self._limit is not None:
            texts = [event.text for event in events if type(event) is TextDelta or type(event) is ThoughtDelta]
            spent = self._spent + _size("".join(texts))
            if spent < self._limit and len(texts) == len(events):
                self._spent = spent
                return events
        out: list[Event] = []
        for event in events:
            if self.ended:
                break
            self._event(event, out)
        return out

    def close(self) -> list[Event]:
        """Return what was held back: no longer stop sequence came of it, perhaps a shorter one."""
        out: list[Event] = []
        if not self.plain:
            self._flush(out)
        return out

    def _event(self, event: Event, out: list[Event]) -> None:
        if type(event) is TextDelta:
            if self._seekers:
                self._seek(event.text, out)
            else:
                self._spend(event.text, TextDelta, out)
            return
        self._flush(out)
        if self.ended:
            return
        match event:
            case ThoughtDelta(text):
                self._spend(text, ThoughtDelta, out)
            case ToolDelta(fragment):
                self._spend(fragment, ToolDelta, out)
            case _:
                if isinstance(event, ToolOpened | ToolClosed | ToolAborted):
                    self._call_open = isinstance(event, ToolOpened)
                out.append(event)

    def _seek(self, text: str, out: list[Event]) -> None:
        """Release what no stop sequence can begin in any more; end before one that none can come before."""
        before = len(self._held)
        run = self._held + text
        growing = len(run)
        for seeker in self._seekers:
            end = seeker.feed(text)
            if end is not None:
                size = len(seeker.stop)
                found = (before + end - size, -size, seeker.stop)
                self._found = found if self._found is None else min(self._found, found)
            growing = min(growing, len(run) - seeker.matched)
        # One that still grows begins earlier, or at the same place and is longer.
        if self._found is not None and self._found[0] < growing:
            self._held = run
            self._flush(out)
            return
        self._held = run[growing:]
        if self._found is not None:
            self._found = (self._found[0] - growing, *self._found[1:])
        if growing:
            self._spend(run[:growing], TextDelta, out)

    def _flush(self, out: list[Event]) -> None:
        """Release what is held, up to the stop sequence that was found in it."""
        for seeker in self._seekers:
            seeker.matched = 0
        text, self._held = self._held, ""
        if self._found is not None:
            text = text[: self._found[0]]
        if text:
            self._spend(text, TextDelta, out)
        if self._found is not None and not self.ended:
            self.ended, self.reason, self.stop_sequence = True, StopReason.STOP_SEQUENCE, self._found[2]

    def _spend(self, text: str, kind: type[TextDelta | ThoughtDelta | ToolDelta], out: list[Event]) -> None:
        """Pass on as much of ``text`` as the limit allows; end where it is used up."""
        if self._limit is not None:
            self._spent += _size(text)
            if self._spent >= self._limit and not self._grown(self._room):
                text = _without_end(text, self._spent - self._limit)
                self._spent = self._limit
                self.ended, self.reason = True, StopReason.LENGTH
        if text:
            out.append(kind(text))
        if self.ended and self._call_open:
            out.append(ToolAborted())

    def _grown(self, room: Room | None) -> bool:
        """Have more reserved for what was said; tell whether it goes on."""
        limit = self._limit
        if room is None or limit is None:
            return False
        while limit <= self._spent and limit != self._most:
            more = room.more()
            if not more:
                self._room = None
                break
            limit += more * TOKEN_BYTES
            if self._most is not None and limit >= self._most:
                limit = self._most
                self._room = None
        self._limit = limit
        return self._spent < limit


class Seeker:
    """Looks for one stop sequence in a text that comes in pieces, in time linear in the text (Knuth, Morris, Pratt).

    Law: after ``feed``, ``matched`` is the length of the longest end of the text that a match can still grow from, or 0
    after a match, because a later one would not be the first.
    """

    def __init__(self, stop: str) -> None:
        self.stop = stop
        self.matched = 0
        # At n: the longest proper end of the first n characters that is also a beginning. Made as far as needed.
        self._borders = [0, 0]

    def feed(self, text: str) -> int | None:
        """Return where in ``text`` the first match ends; None where there is none."""
        stop, matched, at = self.stop, self.matched, 0
        while at < len(text):
            if matched and text[at] != stop[matched]:
                matched = self._border(matched)
                continue
            if not matched:
                at = text.find(stop[0], at)
                if at < 0:
                    break
            matched += 1
            at += 1
            if matched == len(stop):
                self.matched = 0
                return at
        self.matched = matched
        return None

    def _border(self, size: int) -> int:
        borders, stop = self._borders, self.stop
        while len(borders) <= size:
            last = stop[len(borders) - 1]
            border = borders[-1]
            while border and stop[border] != last:
                border = borders[border]
            borders.append(border + (stop[border] == last))
        return borders[size]


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _without_end(text: str, size: int) -> str:
    """Return ``text`` without its last ``size`` bytes, and without a character that is cut in two."""
    if not size:
        return text
    # Decoded again only to count: a lone surrogate has become a question mark.
    kept = text.encode("utf-8", "replace")[:-size].decode("utf-8", "ignore")
    return text[: len(kept)]
