"""Whether a reply must be asked for again, where it is to be JSON. Pure; the calls themselves are made elsewhere.

A whole reply, and a streamed one that must fit (``strict``), is held until it is judged; what does not fit is asked for
again with the validator's words, twice at most. A streamed one that need not fit is passed on as long as it is the
beginning of some JSON; then it cannot be asked for again, and where it goes wrong the rest is held and mended, if a
mended value begins with what was sent.

Laws: never asked again after a limit or a stop sequence of the request; a reply that a limit cut comes out as far as it
got. At the end of all tries: what must fit is a fault; else the best value is the reply, with a warning; words alone,
in every try, are a refusal where there is a schema. A tool call is an answer, too.
"""

from msgspec import Struct

from fittengate.core.ask import Ask, ReplyFormat
from fittengate.core.conversation import Text
from fittengate.core.events import (
    Began,
    Ended,
    Event,
    RefusalDelta,
    TextDelta,
    ThoughtDelta,
    ToolClosed,
)
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason
from fittengate.prompting.again import Accept, AskAgain, follow_up
from fittengate.prompting.form import Candidate, brackets, candidate, judge, partial, rest_of
from fittengate.prompting.jsontext import JsonText

MAX_TRIES = 3
"""Calls for one reply, the first one included."""

MAX_TOLD = 1000
"""Most characters of the validator's words in a fault."""

UNFIT = "structured_output_invalid"
"""The warning that goes with a reply that is JSON, but not of the form that was asked for."""

_EMPTY = "Your reply was empty."
_WORDS = "There is no JSON value in your reply."
_WRONG = "The JSON value in your reply is not of the form that was asked for:\n{}"
_AGAIN = "Write the whole JSON value, in the form given above, and nothing else."


class _Try(Struct, frozen=True):
    """One reply that was not what was asked for."""

    before: list[Event]
    """Its reasoning, where that was held."""
    text: str
    found: Candidate | None
    ended: Ended


class JsonAgain:
    """Judges the replies to an ask whose reply is to be JSON. Raises Fault (caller_bad_request) for a bad schema."""

    def __init__(self, ask: Ask) -> None:
        if ask.reply_format is None:
            raise ValueError("the ask wants no form of its reply")
        self.warning: str | None = None
        self._ask = ask
        self._form: ReplyFormat = ask.reply_format
        judge(self._form)
        self._brackets = brackets(self._form)
        self._streams = ask.wishes.stream and not self._form.strict and bool(self._brackets)
        self._tries: list[_Try] = []
        self._reset()

    def _reset(self) -> None:
        self._json = JsonText(self._brackets or "{[")
        self._text: list[str] = []
        self._sent: list[str] = []
        self._held: list[Event] = []
        self._called = False
        """A call came; where calls are passed on, so is all that follows."""
        self._whole_call = False
        self._ended: Ended | None = None

    def feed(self, events: list[Event]) -> list[Event]:
        """Return what goes to the client at once."""
        out: list[Event] = []
        for event in events:
            kind = type(event)
            if kind is Ended:
                self._ended = event  # type: ignore[assignment]
            elif kind is Began:
                if not self._tries:
                    out.append(event)
            elif kind is TextDelta:
                self._feed_text(event.text, out)  # type: ignore[union-attr]
            else:
                self._feed_other(event, out)
        return out

    def _feed_text(self, text: str, out: list[Event]) -> None:
        self._text.append(text)
        if not self._streams:
            self._held.append(TextDelta(text))
        elif self._called:
            out.append(TextDelta(text))
        elif piece := self._json.feed(text):
            self._sent.append(piece)
            out.append(TextDelta(piece))

    def _feed_other(self, event: Event, out: list[Event]) -> None:
        is_call = type(event) is not ThoughtDelta
        if is_call and not self._called:
            self._called = True
            if self._streams and not self._sent and (text := "".join(self._text)):
                out.append(TextDelta(text))
        self._whole_call = self._whole_call or type(event) is ToolClosed
        (out if self._streams else self._held).append(event)

    def close(self) -> Accept | AskAgain:
        """Return how the reply ends, or what is to be asked next. Raises Fault (output_invalid)."""
        ended, text = self._ended, "".join(self._text)
        if ended is None:
            raise ValueError("the reply has not ended: nothing can be said of it")
        mended = bool(self._tries)
        if self._whole_call or (self._called and self._streams):
            return Accept([*self._held, ended], mended=mended)
        if self._sent:
            return Accept([*self._remainder(text, ended), ended], mended=mended)
        thoughts: list[Event] = [event for event in self._held if type(event) is ThoughtDelta]
        if ended.reason is StopReason.LENGTH:
            beginning = partial(text, self._form)
            return Accept([*thoughts, *([TextDelta(beginning)] if beginning else []), ended])
        found = candidate(text, self._form)
        if found is not None and not found.errors:
            return Accept([*thoughts, TextDelta(found.text), ended], mended=mended)
        self._tries.append(_Try(thoughts, text, found, ended))
        if len(self._tries) >= MAX_TRIES or ended.reason is StopReason.STOP_SEQUENCE:
            return self._last(None)
        self._reset()
        return AskAgain(self._next(text, found), "invalid")

    def failed(self, fault: Fault) -> Accept:
        """Return the best of the replies before, if there is one to stand; else raise ``fault``."""
        if self._sent or (self._called and self._streams) or not self._tries:
            raise fault
        return self._last(fault)

    def _next(self, text: str, found: Candidate | None) -> Ask:
        if found is not None:
            what = _WRONG.format("\n".join([f"- {error}" for error in found.errors]))
        else:
            what = _WORDS if text.strip() else _EMPTY
        said = [Text(text)] if text.strip() else []
        return follow_up(self._ask, said, [Text(f"{what}\n{_AGAIN}")])

    def _remainder(self, text: str, ended: Ended) -> list[Event]:
        """Return what makes whole the value that was begun. Raises Fault where nothing can."""
        if self._json.state == "done":
            return []
        sent = "".join(self._sent)
        if ended.reason is not StopReason.DONE:
            # A limit cut it: what is held is a part of it all the same, unless it broke the form before.
            rest = text[self._json.start + len(sent) :] if self._json.state == "inside" else ""
        else:
            found = candidate(text, self._form)
            mended = None if found is None or found.errors else rest_of(sent, found.value)
            if mended is None:
                raise self._fault(["it broke off, or was no longer JSON"] if found is None else found.errors)
            rest = mended
        return [TextDelta(rest)] if rest else []

    def _last(self, fault: Fault | None) -> Accept:
        """Return what is made of replies none of which fits. Raises Fault."""
        fair = [one for one in self._tries if one.found is not None]
        best = min(reversed(fair), key=lambda one: len(one.found.errors) if one.found else 0, default=None)
        if best is not None and best.found is not None and not self._form.strict:
            self.warning = UNFIT
            return Accept([*best.before, TextDelta(best.found.text), best.ended])
        if fault is not None:
            raise fault
        last = self._tries[-1]
        if best is None and self._form.schema is not None and all(one.text.strip() for one in self._tries):
            return Accept([*last.before, RefusalDelta(last.text.strip()), last.ended])
        raise self._fault(best.found.errors if best is not None and best.found is not None else ["it holds no JSON"])

    def _fault(self, errors: list[str]) -> Fault:
        tries = max(len(self._tries), 1)
        told = "; ".join(errors)[:MAX_TOLD] or "it could not be read"
        count = "in one try" if tries == 1 else f"in {tries} tries"
        message = f"The model gave no JSON of the form that was asked for {count}: {told}."
        # The validator quotes the reply, which is nothing for the log.
        return Fault(FaultKind.OUTPUT_INVALID, message, detail=f"no JSON of the form {count}, {len(errors)} errors")
