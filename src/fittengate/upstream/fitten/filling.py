"""One code completion at the Fitten service: which of its two doors, the call, further tries, and the events.

The service has completion behind a token, in versions that an account is asked for, and an older one without. The
version is asked for once. An account whose version is not known, whose path has gone, or whose fresh token is rejected
there, is served through the older door; after a while the question is asked again.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from msgspec import Struct

from fittengate.core.account import Tokens
from fittengate.core.ask import FillAsk
from fittengate.core.events import Began, Ended, Event, TextDelta
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.prompting.cutter import Cutter
from fittengate.prompting.estimate import estimate
from fittengate.upstream.breaker import Breaker, Trial
from fittengate.upstream.fitten import completion
from fittengate.upstream.fitten.account import AccountKeeper
from fittengate.upstream.fitten.client import Failure, FittenClient
from fittengate.upstream.fitten.completion import NoAnswer, Place, Suggestion
from fittengate.upstream.fitten.outline import outline
from fittengate.upstream.fitten.watch import Watch

OLD_DOOR_SECONDS = 600.0
"""So long the older door is used before the version is asked for again."""


class Habits(Struct, frozen=True):
    """What a completion has in common with every other call to the service."""

    retries: int
    pause: Callable[[int], float]
    """Seconds to wait before another try, by the number of further tries so far."""
    watch: Callable[[], Watch]
    """Begins to watch the current task."""
    after_401: Callable[[Tokens, int], Awaitable[Tokens]]
    """Gives other tokens, by the number of rejections so far. Raises Fault."""
    breaker: Breaker


class Filler:
    """Completes code for one account."""

    def __init__(self, client: FittenClient, keeper: AccountKeeper, habits: Habits) -> None:
        self._client = client
        self._keeper = keeper
        self._habits = habits
        self._loop = asyncio.get_running_loop()
        self._version: tuple[str, str] | None = None
        """Whose version is known, and how a path spells it."""
        self._old_door_until = float("-inf")

    async def complete(self, fill: FillAsk) -> AsyncGenerator[list[Event], None]:
        """Yield the events of the answer; see :meth:`fittengate.upstream.base.Upstream.complete`."""
        place = completion.place_of(fill)
        if fill.sampling.max_tokens == 0:
            # Some editors ask for no text to warm up a model of their own; there is nothing to ask the service.
            yield [Began(), Ended(StopReason.LENGTH, Usage(0, 0))]
            return
        trial = Trial(self._habits.breaker)
        watch = self._habits.watch()
        watch.waiting = True
        try:
            suggestion = await self._suggestion(place, trial)
        except asyncio.CancelledError:
            late = watch.late()
            if late is None:
                raise
            trial.tell(Breaker.stalled)
            raise late from None
        finally:
            watch.stop()
            trial.tell(Breaker.left)
        text = completion.insertion(suggestion, place, fill.suffix)
        yield _events(fill, place, text)

    async def _suggestion(self, place: Place, trial: Trial) -> Suggestion:
        """Send until there is an answer. Raises Fault."""
        rejections = tries = 0
        resent = False
        tokens = self._keeper.ready() or await self._keeper.fresh()
        while True:
            trial.begin()
            answer = await self._try(tokens, place)
            trial.tell(Breaker.failed if _broken(answer) else Breaker.passed)
            if isinstance(answer, Suggestion):
                return answer
            if answer is None:
                if rejections:
                    # A login in its place would be one for each completion, and chat may like the token well.
                    self._leave_door()
                else:
                    tokens = await self._habits.after_401(tokens, rejections)
                rejections += 1
            elif isinstance(answer, NoAnswer) and answer.lost and not resent:
                resent = True
            elif tries >= self._habits.retries or not _again(answer):
                raise _fault(answer)
            else:
                pause = self._habits.pause(tries)
                tries += 1
                await asyncio.sleep(pause)

    async def _try(self, tokens: Tokens, place: Place) -> Suggestion | NoAnswer | Failure | None:
        """Send once. Returns None for a 401 to the token."""
        version = await self._known_version(tokens)
        if version is not None:
            path = completion.signed_path(version, tokens.user_id)
            packed = completion.signed_body
            body = await asyncio.to_thread(packed, place) if completion.takes_long(place) else packed(place)
            answer = await self._client.open_completion(path, body, tokens.access)
            if not isinstance(answer, Failure) or not answer.gone:
                return self._read(answer) if isinstance(answer, bytes) else answer
            self._leave_door()
        path, body = completion.open_path(tokens.user_id), completion.open_body(place)
        answer = await self._client.open_completion(path, body)
        if answer is None:
            # No token was sent, so another one would not help.
            message = "The Fitten service rejects the account for code completion. Run `fittengate doctor`."
            return Failure(Fault(FaultKind.UPSTREAM_LOGIN, message, detail="401 without a token"), again=False)
        return self._read(answer) if isinstance(answer, bytes) else answer

    def _leave_door(self) -> None:
        self._version, self._old_door_until = None, self._loop.time() + OLD_DOOR_SECONDS

    def _read(self, body: bytes) -> Suggestion | NoAnswer:
        answer = completion.read_answer(body)
        if isinstance(answer, NoAnswer):
            if not answer.lost:
                self._client.note("answer", answer.detail)
        elif answer.strange:
            for name in answer.strange:
                self._client.note("field", f"completion: {name}")
        return answer

    async def _known_version(self, tokens: Tokens) -> str | None:
        """Return how a path spells the account's version; None where the older door is to be used."""
        if self._version is not None and self._version[0] == tokens.user_id:
            return self._version[1]
        if self._loop.time() < self._old_door_until:
            return None
        answer = await self._client.send(completion.version_call(tokens.user_id))
        version = completion.read_version(answer.body) if answer.status == 200 else None
        if version is None and answer.status == 200:
            self._client.note("answer", f"completion version: {outline(answer.body.decode('utf-8', 'replace'))}")
        if version is not None:
            self._version = (tokens.user_id, version)
        elif 0 < answer.status < 500:
            # A service that understood the question and has no such version. One that is out of order is asked again.
            self._old_door_until = self._loop.time() + OLD_DOOR_SECONDS
        return version


def _again(answer: NoAnswer | Failure) -> bool:
    """Tell whether another try may help; what the service refused is not sent to it again (P5)."""
    return answer.again if isinstance(answer, Failure) else not answer.lost


def _broken(answer: Suggestion | NoAnswer | Failure | None) -> bool:
    """Tell whether the service is out of order; that it refuses, or has lost track of a text, is an answer."""
    return answer.broken if isinstance(answer, Failure) else isinstance(answer, NoAnswer) and not answer.lost


def _fault(answer: NoAnswer | Failure) -> Fault:
    if isinstance(answer, Failure):
        return answer.fault
    message = "The Fitten service did not answer with a completion. Try again in a moment."
    return Fault(FaultKind.UPSTREAM_BROKEN, message, detail=answer.detail)


def fill_tokens(fill: FillAsk) -> int:
    """Return what the text around the cursor comes to: the count that the usage will have."""
    return 0 if fill.sampling.max_tokens == 0 else _tokens(completion.place_of(fill))


def _tokens(place: Place) -> int:
    return estimate(place.before + place.after)


def _events(fill: FillAsk, place: Place, text: str) -> list[Event]:
    """Return the events of a whole answer, cut as the request wants it; its usage is ours."""
    cutter = Cutter(fill.sampling)
    events: list[Event] = cutter.feed([TextDelta(text)]) if text else []
    if not cutter.ended:
        events += cutter.close()
    said = "".join([event.text for event in events if isinstance(event, TextDelta)])
    usage = Usage(_tokens(place), estimate(said), estimated=True)
    ended = Ended(cutter.reason or StopReason.DONE, usage, cutter.stop_sequence)
    return [Began(), *([TextDelta(said)] if said else []), ended]
