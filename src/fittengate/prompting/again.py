"""Whether a reply must be asked for again, where the request has tools. Pure; the calls themselves are made elsewhere.

One more call at most, and never after a limit or a stop sequence of the request cut the reply:

- ``missing``: a call was required, or one tool named, and the reply ended without one
- ``unfit``: the arguments for the one tool that was named are not what its schema says (whole replies only)
- ``broken``: a call could not be read or broke off, no other was whole, and the client has seen nothing of it
- ``unwanted``: calls were forbidden, and the reply began with one
- ``silent``: there was reasoning, and then nothing

Laws: text goes to the client as it comes, so what a call costs in time is paid only by replies with calls; the words
behind a call that is held wait with it. Where text
was passed on, the second reply gives its calls and nothing else; where none was, it takes the place of the first. If the
second is no better, or fails before anything of it was passed on, the first stands. A call of which a piece of the
arguments was passed on cannot be taken back: it stays cut off, and the reply ends with ``length``. Where one tool was named,
words wait for its call, and are dropped when it comes: at the vendors such a reply has none.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from fittengate.core.ask import Ask, Sampling, ToolUse
from fittengate.core.conversation import Message, Part, Text, ToolCall, ToolResult
from fittengate.core.events import (
    Began,
    Ended,
    Event,
    TextDelta,
    ThoughtDelta,
    ToolAborted,
    ToolClosed,
    ToolDelta,
    fold,
)
from fittengate.core.faults import Fault
from fittengate.core.reply import Reply, StopReason, Usage
from fittengate.prompting.estimate import TOKEN_BYTES
from fittengate.prompting.repair import read_json
from fittengate.prompting.validation import BadSchemaError, validator

Why: TypeAlias = Literal["missing", "unfit", "broken", "unwanted", "silent"]
"""Why it is asked again; replies that are to be JSON have one reason of their own, ``invalid``."""

_MISSING = "You called no tool. Call at least one tool now: write the block, in the form given above, and nothing else."
_MISSING_NAMED = (
    "You did not call the tool {}. Call it now: write the block, in the form given above, and nothing else."
)
_BROKEN = (
    "The call at the end of your reply broke off or could not be read, and was not carried out. Write the whole block "
    "again, in the form given above, and nothing else."
)
_UNWANTED = "No tool may be called now, and nothing was carried out. Answer in words."
_SILENT = "You have thought, but not answered. Give your answer now."
_UNFIT = "Not carried out: the arguments do not fit the tool's schema.\n{}\nCall the tool again with all its arguments."


class Accept(Struct, frozen=True):
    """What was passed on, and these last events, are the reply."""

    events: list[Event]
    """Ends with Ended."""
    mended: bool = False
    """It took more than one call, and the last one helped."""


class AskAgain(Struct, frozen=True):
    """The reply is not what was asked for: this is to be asked next, and its reply fed to the same object."""

    ask: Ask
    why: str
    """One word for the reason: a :data:`Why`."""


class Again(Protocol):
    """Takes the replies to one ask: the events of each, then ``close``; or ``failed`` where one broke off."""

    warning: str | None
    """What the client should know of the accepted reply; None where there is nothing. A stable word."""

    def feed(self, events: list[Event]) -> list[Event]:
        """Return what of the events is passed on to the client: perhaps nothing, never Ended."""
        ...

    def close(self) -> Accept | AskAgain:
        """Say that the reply has ended; return what follows. Raises Fault (output_invalid)."""
        ...

    def failed(self, fault: Fault) -> Accept:
        """Say that the reply broke off; return what stands all the same. Raises the fault where nothing does."""
        ...


def follow_up(ask: Ask, said: Sequence[Part], correction: Sequence[Part]) -> Ask:
    """Return the ask with a reply and its correction as further turns; a reply without words makes no turn."""
    conversation = ask.conversation
    messages = list(conversation.messages)
    if said:
        messages.append(Message("assistant", tuple(said)))
    messages.append(Message("user", tuple(correction)))
    return replace(ask, conversation=replace(conversation, messages=tuple(messages)))


class ToolsAgain:
    """Judges the replies to an ask with tools."""

    def __init__(self, ask: Ask) -> None:
        self.warning: str | None = None
        self._ask = ask
        self._streams = ask.wishes.stream
        self._wordless = ask.tool_use.choice == "named"
        self._second = False
        """The reply that is fed is the second one."""
        self._hidden = False
        """Of the second reply only calls are passed on."""
        self._first: list[Event] = []
        """How the first reply ends, should the second be no better."""
        self._reason: Why | None = None
        self._reset()

    def _reset(self) -> None:
        self._text: list[str] = []
        self._waiting: list[Event] = []
        """Words that are told only where no call comes."""
        self._thought = 0
        self._passed = False
        """Something that the client sees was passed on."""
        self._open: list[Event] = []
        """The open call, of which nothing was passed on yet."""
        self._showing = False
        """Of the open call something was passed on."""
        self._cut_off = False
        """A call was cut off after something of it was passed on."""
        self._held: list[Event] = []
        """Whole calls that are passed on at the end, and the words behind them."""
        self._calls = 0
        self._ended: Ended | None = None

    def feed(self, events: list[Event]) -> list[Event]:
        """Return what goes to the client at once: text always, calls where they are streamed."""
        texts = [event.text for event in events if type(event) is TextDelta]
        if len(texts) == len(events) and not (self._hidden or self._held or self._wordless):
            self._text += texts
            self._passed = True
            return events
        if self._showing and {ToolDelta}.issuperset(map(type, events)):
            # What is showing was passed on.
            return events
        out: list[Event] = []
        for event in events:
            self._event(event, out)
        # Nothing comes before Began, which says nothing by itself.
        self._passed = self._passed or (bool(out) and type(out[-1]) is not Began)
        return out

    def _event(self, event: Event, out: list[Event]) -> None:
        if isinstance(event, TextDelta):
            self._text.append(event.text)
            if not self._hidden:
                (self._waiting if self._wordless else self._held or out).append(event)
        elif isinstance(event, ThoughtDelta):
            self._thought += len(event.text)
            if not self._hidden:
                out.append(event)
        elif isinstance(event, Began):
            if not self._second:
                out.append(event)
        elif isinstance(event, Ended):
            self._ended = event
        else:
            self._call(event, out)

    def _call(self, event: Event, out: list[Event]) -> None:
        """Pass a call on from its first argument on, if the first reply is streamed; else hold it till it is whole."""
        if isinstance(event, ToolAborted):
            if self._showing:
                out.append(event)
            self._cut_off = self._cut_off or self._showing
            self._open = []
            self._showing = False
            return
        if self._showing:
            out.append(event)
        else:
            self._open.append(event)
            if isinstance(event, ToolDelta) and self._streams and not self._second:
                out += self._open
                self._open = []
                self._showing = True
        if isinstance(event, ToolClosed):
            self._calls += 1
            self._showing = False
            # A whole reply keeps its calls until they are judged; a streamed one has let them go, or does so now.
            (out if self._streams else self._held).extend(self._open)
            self._open = []

    def close(self) -> Accept | AskAgain:
        """Return how the reply ends, or what is to be asked next."""
        ended = self._ended
        if ended is None:
            raise ValueError("the reply has not ended: nothing can be said of it")
        if self._second:
            return self._choose(ended)
        why = self._why(ended)
        ask = None if why is None else self._next(why)
        words = [] if self._calls or self._cut_off else self._waiting
        if why is None or ask is None:
            return Accept([*words, *self._held, ended])
        self._first = [*words, *self._held, ended]
        self._reason = why
        self._hidden = bool(self._said()) or why == "unfit"
        self._second = True
        self._reset()
        return AskAgain(ask, why)

    def failed(self, fault: Fault) -> Accept:
        """Return the first reply, if the second broke off before anything of it was passed on; else raise ``fault``."""
        if not self._second or self._passed:
            raise fault
        return Accept(self._first)

    def _choose(self, ended: Ended) -> Accept:
        if self._calls:
            fits = not self._unfit(self._held) or not any(type(event) is ToolClosed for event in self._first)
            return Accept([*self._held, ended], mended=True) if fits else Accept(self._first)
        # Its words were passed on, where the first had none; so it is the reply.
        mended = self._reason in ("unwanted", "silent")
        spoken = self._passed or self._waiting
        return Accept([*self._waiting, ended], mended=mended) if spoken else Accept(self._first)

    def _said(self) -> str:
        text = "".join(self._text)
        return text if text.strip() else ""

    def _why(self, ended: Ended) -> Why | None:
        if ended.reason is StopReason.STOP_SEQUENCE or (
            ended.reason is StopReason.LENGTH and ended.lost_call != "broken"
        ):
            return None
        choice = self._ask.tool_use.choice
        if self._calls or self._cut_off:
            return "unfit" if self._unfit(self._held) else None
        if ended.lost_call == "broken":
            return "broken"
        if choice in ("required", "named"):
            return "missing"
        if self._said():
            return None
        if choice == "none" and ended.lost_call == "unwanted":
            return "unwanted"
        return "silent" if self._thought else None

    def _unfit(self, events: list[Event]) -> dict[str, str]:
        """Return what is wrong with the arguments of each held call, by its id; only a named tool is so judged."""
        name = self._ask.tool_use.name
        tool = next((tool for tool in self._ask.conversation.tools if tool.name == name), None)
        if tool is None or not events:
            return {}
        try:
            judge = validator(tool.parameters)
        except BadSchemaError:
            # It was the client's to get right, and the client will judge the call.
            return {}
        wrong: dict[str, str] = {}
        for call in _reply(events).calls:
            try:
                errors = judge.errors(read_json(call.arguments))
            except ValueError:
                # Whole arguments are JSON; what is nested too deeply to be read here is for the client to judge.
                continue
            if errors:
                wrong[call.id] = "\n".join([f"- {error}" for error in errors])
        return wrong

    def _next(self, why: Why) -> Ask | None:
        """Return what is asked next; None where the request's limit leaves no room for it."""
        ask = self._ask
        text = self._said()
        said: list[Part] = [Text(text)] if text else []
        correction: list[Part]
        use = ask.tool_use
        if why == "unfit":
            wrong = self._unfit(self._held)
            said += [ToolCall(call.id, call.name, call.arguments) for call in _reply(self._held).calls]
            correction = [
                ToolResult(key, (Text(_UNFIT.format(errors)),), is_error=True) for key, errors in wrong.items()
            ]
        else:
            missing = _MISSING if use.name is None else _MISSING_NAMED.format(use.name)
            words = {"missing": missing, "broken": _BROKEN, "unwanted": _UNWANTED, "silent": _SILENT}
            correction = [Text(words[why])]
            if why == "broken" and use.choice == "auto":
                use = ToolUse("required", parallel=use.parallel)
        sampling = ask.sampling
        if sampling.max_tokens is not None and text:
            left = sampling.max_tokens - -(-len(text.encode("utf-8", "replace")) // TOKEN_BYTES)
            if left < 1:
                return None
            sampling = replace(sampling, max_tokens=left)
        if text:
            # The text of the next reply is not shown: nothing in it may end the reply before its call.
            sampling = Sampling(sampling.max_tokens)
        return follow_up(replace(ask, tool_use=use, sampling=sampling), said, correction)


def _reply(calls: list[Event]) -> Reply:
    """Return whole calls as a reply of their own."""
    return fold([Began(), *calls, Ended(StopReason.TOOL_CALLS, Usage(0, 0))])
