"""Ends a reply where the request wanted it to end, because the service has no such switches.

Stop sequences are looked for in visible text only; what may be the start of one is held back, and nothing else. The
token limit counts everything, reasoning too, by estimate of the text and not by the pieces it came in: so the cut does
not depend on how the network cut the stream. Law: ``ended`` is set once, with its ``reason``; nothing comes after.
"""

import re
from collections.abc import Sequence

from fittengate.core.ask import Sampling
from fittengate.core.events import Event, TextDelta, ThoughtDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened
from fittengate.core.reply import StopReason

CHARS_PER_TOKEN = 4
"""A token of the limit is four ASCII characters, or one of any other kind: near the truth and the same every time."""


class Cutter:
    """Cuts one reply by its Sampling."""

    def __init__(self, sampling: Sampling) -> None:
        self.ended = False
        self.reason: StopReason | None = None
        """stop_sequence or length once ended; None while the reply goes on."""
        self.stop_sequence: str | None = None
        self._stops = sorted(sampling.stop, key=len, reverse=True)
        # Alternatives are tried in order: at one place the longest counts.
        self._search = re.compile("|".join(map(re.escape, self._stops))).search if self._stops else None
        self._held = ""
        self._left = None if sampling.max_tokens is None else sampling.max_tokens * CHARS_PER_TOKEN
        self._call_open = False

    def feed(self, events: Sequence[Event]) -> list[Event]:
        """Return what of the events comes before the cut."""
        out: list[Event] = []
        for event in events:
            if self.ended:
                break
            match event:
                case TextDelta(text):
                    self._text(text, out)
                case ThoughtDelta(text):
                    self._flush(out)
                    self._spend(text, out, ThoughtDelta)
                case ToolDelta(fragment):
                    self._spend(fragment, out, ToolDelta)
                case _:
                    self._flush(out)
                    self._call_open = isinstance(event, ToolOpened) or (
                        self._call_open and not isinstance(event, ToolClosed | ToolAborted)
                    )
                    if not self.ended:
                        out.append(event)
        return out

    def close(self) -> list[Event]:
        """Return the text held back: the stop sequence it might have begun did not come."""
        out: list[Event] = []
        self._flush(out)
        return out

    def _flush(self, out: list[Event]) -> None:
        """Release what is held: nothing can grow any more, but a short stop sequence may stand in it."""
        held, self._held = self._held, ""
        if held and not self.ended:
            found = self._search(held) if self._search else None
            self._release(held, found, out)

    def _text(self, text: str, out: list[Event]) -> None:
        if self._search is None:
            self._spend(text, out, TextDelta)
            return
        text = self._held + text
        self._held = ""
        found = self._search(text)
        growing = self._growing(text)
        if growing < len(text) and (found is None or growing <= found.start()):
            # The one that may still grow begins first, or at the same place and is longer: wait for it.
            self._held = text[growing:]
            self._release(text[:growing], None, out)
        else:
            self._release(text, found, out)

    def _growing(self, text: str) -> int:
        """Return where the end of ``text`` first looks like the beginning of a stop sequence; its length if nowhere."""
        first = len(text)
        for stop in self._stops:
            at = text.find(stop[0], max(0, len(text) - len(stop) + 1))
            while 0 <= at < first:
                if stop.startswith(text[at:]):
                    first = at
                    break
                at = text.find(stop[0], at + 1)
        return first

    def _release(self, text: str, found: re.Match[str] | None, out: list[Event]) -> None:
        if found is not None:
            text = text[: found.start()]
        if text:
            self._spend(text, out, TextDelta)
        if found is not None and not self.ended:
            self.ended, self.reason, self.stop_sequence = True, StopReason.STOP_SEQUENCE, found.group()

    def _spend(self, text: str, out: list[Event], kind: type[TextDelta | ThoughtDelta | ToolDelta]) -> None:
        """Pass on as much of ``text`` as the limit allows, and end there."""
        if self._left is None:
            out.append(kind(text))
            return
        fits, self._left = _fitting(text, self._left)
        if fits:
            out.append(kind(text[:fits]))
        if fits < len(text) or self._left == 0:
            self.ended, self.reason = True, StopReason.LENGTH
            if self._call_open:
                out.append(ToolAborted())


def _fitting(text: str, left: int) -> tuple[int, int]:
    """Return how many characters of ``text`` cost no more than ``left``, and what is left then."""
    if text.isascii():
        fits = min(len(text), left)
        return fits, left - fits
    for at, char in enumerate(text):
        cost = 1 if char.isascii() else CHARS_PER_TOKEN
        if cost > left:
            return at, left
        left -= cost
    return len(text), left
