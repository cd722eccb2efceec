"""The Fitten service as an Upstream: asks in, events out.

The way of one call: tokens, prompt, bytes out, bytes in, events. A try that broke before the first event is repeated
with a growing pause (P5); a 401 is answered by one renewal and then one login (P4); the connection is closed as soon as
nobody wants the rest (P3).
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable

from msgspec import Struct

from fittengate.core.account import Tokens
from fittengate.core.ask import Ask, FillAsk
from fittengate.core.caller import ModelCard
from fittengate.core.events import Event
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.limits import Room
from fittengate.core.reply import Usage
from fittengate.core.tape import TAPE, Pieces
from fittengate.lib.timers import Timers
from fittengate.prompting.estimate import estimate_low, may_exceed
from fittengate.prompting.render import Rendered, render
from fittengate.prompting.trouble import Trouble
from fittengate.upstream.base import Sink
from fittengate.upstream.breaker import Breaker, Trial
from fittengate.upstream.calibrator import Calibrator
from fittengate.upstream.fitten import catalogue
from fittengate.upstream.fitten.account import AccountKeeper
from fittengate.upstream.fitten.call import Call
from fittengate.upstream.fitten.client import NETWORK_ERRORS, Failure, FittenClient, broken
from fittengate.upstream.fitten.filling import Filler, Habits, fill_tokens
from fittengate.upstream.fitten.reply import ReplyStream
from fittengate.upstream.fitten.tap import Tap
from fittengate.upstream.fitten.watch import Deadlines, Watch
from fittengate.upstream.fitten.wire import CHAT_PATH, chat_body, models_call

PROVIDER = "fitten"
"""The service's name in traces (OpenTelemetry, `gen_ai.provider.name`)."""

NEWEST_CHARS = 4 * 1024 * 1024
"""A longer prompt is made anew for the call."""

RETRY_SECONDS = 0.25
RETRY_MOST_SECONDS = 4.0
"""Pause before the first further try and longest pause; doubled each time, with up to half of it by chance on top."""

MODELS_SECONDS = 3600.0
MODELS_AGAIN_SECONDS = 60.0
"""The model list is fetched every hour, and every minute while that fails."""

HIDDEN_TOKENS = 128
"""What the service's own hidden prompt comes to, with room: a trivial request was billed 94 (protocol: prompt format)."""

LIKELY_HIDDEN_TOKENS = 80
"""The same without room: that request had about a dozen tokens of its own."""

UPKEEP_SECONDS = 15.0
"""How often the background work looks whether something is due."""


class _Newest(Struct, frozen=True):
    """The prompt that was made last, and of what."""

    ask: Ask
    rendered: Rendered


class Rules(Struct, frozen=True):
    """What bounds a call."""

    deadlines: Deadlines
    retries: int
    context_window: int
    breaker_calls: int = 0
    breaker_pause: float = 5.0


class Chance(Struct, frozen=True):
    """Everything random, handed in."""

    dice: Callable[[], float]
    """Numbers from 0 to 1."""
    make_id: Callable[[], str]
    """Ids for calls that the model makes."""
    secret: bytes
    """What the suffix of call tags is made from: the same for the life of the process."""


class _Open(Struct, frozen=True):
    """A reply that has begun."""

    response: Call
    stream: ReplyStream
    events: list[Event]
    raw: Pieces | None
    """Takes the bytes of the reply; None where nothing does."""


class FittenService:
    """Implements the Upstream protocol."""

    def __init__(
        self,
        client: FittenClient,
        keeper: AccountKeeper,
        timers: Timers,
        rules: Rules,
        chance: Chance,
        calibrator: Calibrator,
    ) -> None:
        self.keeper = keeper
        self.calibrator = calibrator
        self.retried = 0
        """Further tries so far, for the metrics."""
        self.odd_lines = 0
        """Lines of no known kind so far: signs of a changed service."""
        self.calls = 0
        """Calls of tools that models made and completed so far."""
        self.troubles: Counter[Trouble] = Counter()
        """How often each oddity of calls was met so far: every repair and every failure, so that drift shows."""
        self._newest: _Newest | None = None
        self.drift = client.drift
        """What the service did that is not known of it."""
        self._client = client
        self._timers = timers
        self._rules = rules
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._models = catalogue.built_in()
        self._models_rejected = False
        """The list's host rejects even renewed tokens: another renewal, once a minute, would be for nothing."""
        # The service has other machines for the two. One of them may be down alone, and the many calls for completion
        # would hide the few for chat.
        self.chat_breaker, self.completion_breaker = (
            Breaker(what, rules.breaker_calls, rules.breaker_pause, self._loop.time) for what in ("chat", "completion")
        )
        habits = Habits(rules.retries, self._pause, self._watch, self._after_401, self.completion_breaker)
        self._filler = Filler(client, keeper, habits)

    def models(self) -> tuple[ModelCard, ...]:
        """Return the last good list; the built-in one when none was ever fetched."""
        return self._models

    def problem(self) -> str | None:
        """Return why a request could not be answered now, in words for a person; None when it could."""
        if self.keeper.ready() is not None:
            return None
        if self.keeper.problem is not None:
            return self.keeper.problem.message
        return "Not signed in to the Fitten service yet."

    def connections(self) -> tuple[int, int]:
        """Return how many connections to the service carry a call, and how many are kept for the next one."""
        return self._client.connections()

    async def refresh_models(self) -> Fault | None:
        """Fetch the model list; return why it stays as it was, or None when it was fetched."""
        try:
            tokens = await self.keeper.fresh()
            answer = await self._client.send_models(models_call(tokens.access))
            if answer.status == 401 and not self._models_rejected:
                tokens = await self.keeper.replace(tokens)
                answer = await self._client.send_models(models_call(tokens.access))
                self._models_rejected = answer.status == 401
        except Fault as fault:
            return fault
        cards = None
        if answer.status == 200:
            self._models_rejected = False
            cards = catalogue.read(answer.body)
            for kind, sample in catalogue.strange(answer.body):
                self._client.note(kind, sample)
        if cards is None:
            detail = answer.error or f"model list: status {answer.status}"
            message = "The model list could not be fetched."
            return Fault(FaultKind.UPSTREAM_BROKEN, message, detail=detail, retry_after=answer.retry_after)
        self._models = cards
        return None

    async def upkeep(self) -> None:
        """Renew tokens and fetch the model list when due, without end; never depends on traffic."""
        next_models = 0.0
        while True:
            # The keeper remembers a failure as its ``problem``, and tries again by rules of its own.
            with contextlib.suppress(Fault):
                await self.keeper.fresh()
                if self._loop.time() >= next_models:
                    failed = await self.refresh_models()
                    wait = MODELS_SECONDS if failed is None else max(MODELS_AGAIN_SECONDS, failed.retry_after or 0.0)
                    next_models = self._loop.time() + wait
            await asyncio.sleep(UPKEEP_SECONDS)

    async def chat(
        self,
        ask: Ask,
        card: ModelCard,
        sink: Sink | None = None,
        room: Room | None = None,
        tell: Callable[[Usage], object] | None = None,
    ) -> AsyncGenerator[list[Event], None]:
        """Yield the events of the answer; see :class:`fittengate.upstream.base.Upstream`."""
        trial = Trial(self.chat_breaker)
        rendered = self._render(ask, last=True)
        self._check_length(rendered.text)
        watch = self._watch()
        begun: _Open | None = None
        try:
            begun = await self._begin(ask, card, rendered, watch, trial, room)
            stream, events = begun.stream, begun.events
            response, raw = begun.response, begun.raw
            tap = None if sink is None else Tap(stream, watch, self._loop, sink, raw)
            response.tap = tap
            while True:
                if stream.ended:
                    # Whoever has seen the end may not come back.
                    trial.tell(Breaker.passed)
                if events:
                    yield events
                if stream.ended:
                    return
                if stream.fault is not None:
                    trial.tell(Breaker.passed if stream.decoder.refused else Breaker.failed)
                    raise stream.fault
                watch.waiting = True
                data = await response.readany()
                now = self._loop.time()
                watch.heard(now)
                if raw is not None:
                    raw.add(now, data)
                events = stream.feed(data, now) if tap is None or tap.left is None else tap.taken()
                if response.at_eof():
                    events += stream.close()
        except asyncio.CancelledError:
            late = watch.late()
            if late is None:
                raise
            trial.tell(Breaker.stalled)
            raise late from None
        except NETWORK_ERRORS as error:
            trial.tell(Breaker.failed)
            raise broken(error).fault from error
        finally:
            watch.stop()
            trial.tell(Breaker.left if begun is None else Breaker.passed)
            if begun is not None:
                self._heed(begun.stream, tell)
                told = begun.stream.decoder.input_tokens
                # A prompt with a picture has tokens that are no words.
                if told is not None and rendered.text is rendered.prompt:
                    self.calibrator.heard(card.id, rendered.text, told - LIKELY_HIDDEN_TOKENS)
                # At the end of a body the connection is kept for another call already.
                begun.response.close()

    def complete(self, fill: FillAsk) -> AsyncGenerator[list[Event], None]:
        """Yield the events of the completion; see :class:`fittengate.upstream.base.Upstream`."""
        return self._filler.complete(fill)

    def estimate(self, ask: Ask | FillAsk, card: ModelCard) -> Usage:
        """Return what the prompt of ``ask`` comes to at most; nothing is sent."""
        if isinstance(ask, FillAsk):
            return Usage(fill_tokens(ask), 0, estimated=True)
        tokens = self.calibrator.at_most(card.id, self._render(ask).text)
        return Usage(tokens + HIDDEN_TOKENS, 0, estimated=True)

    def _render(self, ask: Ask, *, last: bool = False) -> Rendered:
        """Return the prompt of an ask. What was counted is mostly sent next, so the newest one is kept until then."""
        known, self._newest = self._newest, None
        if known is not None and _same_prompt(known.ask, ask):
            self._newest = None if last else known
            return known.rendered
        made = self._rendered(ask)
        # A long one would be held for nobody, where the request is refused.
        if not last and len(made.text) <= NEWEST_CHARS:
            self._newest = _Newest(ask, made)
        return made

    def _rendered(self, ask: Ask) -> Rendered:
        return render(ask.conversation, ask.tool_use, self._chance.secret, ask.reply_format)

    def _check_length(self, text: str) -> None:
        window = self._rules.context_window
        if not window or not may_exceed(text, window):
            return
        tokens = estimate_low(text)
        if tokens > window:
            raise Fault(
                FaultKind.CALLER_TOO_LONG,
                f"This model's maximum context length is {window} tokens, but the messages come to at least {tokens} "
                f"tokens. Shorten the messages.",
                param="messages",
                numbers=(tokens, window),
            )

    async def _begin(
        self, ask: Ask, card: ModelCard, rendered: Rendered, watch: Watch, trial: Trial, room: Room | None
    ) -> _Open:
        """Return a reply at its first event. Raises Fault."""
        rejections = tries = 0
        watch.waiting = True
        tokens = self.keeper.ready() or await self.keeper.fresh()
        while True:
            watch.waiting = True
            body = chat_body(rendered.prompt, tokens.user_id, card)
            trial.begin()
            opened = await self._try(tokens, body, ask, card, rendered, watch, room)
            if isinstance(opened, _Open):
                watch.spoke()
                trial.spoke()
                return opened
            trial.tell(Breaker.failed if opened is not None and opened.broken else Breaker.passed)
            if opened is None:
                tokens = await self._after_401(tokens, rejections)
                rejections += 1
            elif not opened.again or tries >= self._rules.retries:
                raise opened.fault
            else:
                pause = self._pause(tries)
                tries += 1
                watch.waiting = True
                await asyncio.sleep(pause)

    def _pause(self, tries: int) -> float:
        """Return how long to wait before one more try, and count it."""
        self.retried += 1
        return min(RETRY_MOST_SECONDS, RETRY_SECONDS * 2.0**tries) * (1 + self._chance.dice() / 2)

    def _watch(self) -> Watch:
        return Watch(self._timers, self._loop, self._rules.deadlines)

    async def _after_401(self, tokens: Tokens, rejections: int) -> Tokens:
        if rejections < 2:
            return await self.keeper.replace(tokens, force_login=rejections == 1)
        message = "The Fitten service rejects even a fresh login. Run `fittengate doctor`."
        raise Fault(FaultKind.UPSTREAM_LOGIN, message, detail="401 after refresh and login")

    async def _try(
        self,
        tokens: Tokens,
        body: bytes,
        ask: Ask,
        card: ModelCard,
        rendered: Rendered,
        watch: Watch,
        room: Room | None,
    ) -> _Open | Failure | None:
        """Send once and read up to the first event. Returns None for a 401."""
        tape = TAPE.get()
        call = None if tape is None else tape.call(self._loop.time(), CHAT_PATH, body)
        raw = None if call is None else call.raw
        try:
            response = await self._client.open_chat(tokens, body)
        except NETWORK_ERRORS as error:
            return broken(error)
        if call is not None:
            call.replied(self._loop.time(), response.status)
        try:
            if response.status == 401:
                response.close()
                return None
            if response.status != 200:
                return await self._client.refusal(response, raw)
            opened = await self._first(response, ask, card, rendered, watch, raw, room)
        except NETWORK_ERRORS as error:
            response.close()
            return broken(error)
        except BaseException:
            response.close()
            raise
        if isinstance(opened, Failure):
            response.close()
        return opened

    def _heed(self, stream: ReplyStream, tell: Callable[[Usage], object] | None = None) -> None:
        """Count what a reply held that is worth counting: calls and their oddities, and what is not known of the service.

        ``tell`` is called with what it came to, where it was broken off.
        """
        if tell is not None and not stream.ended:
            tell(stream.usage())
        self.calls += stream.calls
        if troubles := stream.troubles:
            self.troubles.update(troubles)
        decoder = stream.decoder
        self.odd_lines += decoder.odd_lines
        for kind, sample in decoder.strange:
            self._client.note(kind, sample)

    async def _first(
        self,
        response: Call,
        ask: Ask,
        card: ModelCard,
        rendered: Rendered,
        watch: Watch,
        raw: Pieces | None,
        room: Room | None,
    ) -> _Open | Failure:
        stream = ReplyStream(
            ask,
            rendered,
            self._chance.make_id,
            framed=response.framed,
            coding=response.header(b"content-encoding"),
            count=lambda text: self.calibrator.likely(card.id, text) + LIKELY_HIDDEN_TOKENS,
            room=room,
        )
        while True:
            data = await response.readany()
            now = self._loop.time()
            watch.heard(now)
            if raw is not None:
                raw.add(now, data)
            events = stream.feed(data, now)
            # Often the end has come with the last words: one look spares a round through the event loop.
            if response.at_eof():
                events += stream.close()
            if events:
                return _Open(response, stream, events, raw)
            if stream.fault is not None:
                self._heed(stream)
                refused = stream.decoder.refused
                return Failure(stream.fault, again=not refused, answered=refused)
            watch.waiting = True


def _same_prompt(one: Ask, other: Ask) -> bool:
    """Tell whether two asks are of one request, so that their prompts are the same; False where it takes a long look."""
    if one.conversation is not other.conversation or one.reply_format is not other.reply_format:
        return False
    return one.tool_use == other.tool_use
