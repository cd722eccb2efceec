"""Asks the service, and asks again where the reply is not what the request was for.

What decides that, and makes the next ask, is pure and stands in ``prompting``; here are the calls. Laws: one call at a
time, each with tokens reserved for it, each closed before the next one begins and on every way out; the turn at the
service is held all the while; what the client is told it used is the delivered reply, what goes into the books is every
reply that ended.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from fittengate.core.ask import Ask, FillAsk
from fittengate.core.caller import ModelCard
from fittengate.core.events import Ended, Event
from fittengate.core.faults import Fault
from fittengate.core.reply import Usage, usage_of_all
from fittengate.prompting.again import Accept, Again, AskAgain, ToolsAgain
from fittengate.prompting.again_json import JsonAgain
from fittengate.services.limits import NO_LEASE, Lease
from fittengate.upstream.base import Upstream

T = TypeVar("T", bound=Ask | FillAsk)


class AskingCounts:
    """How often it was asked again, since the start of the process."""

    def __init__(self) -> None:
        self.again: Counter[str] = Counter()
        """Further calls by their reason: ``missing``, ``broken``, ``invalid`` and so on."""
        self.outcomes: Counter[str] = Counter()
        """Replies that took more than one call: ``mended``, ``kept`` (no better than before) or ``failed``."""


def again_for(ask: Ask) -> Again | None:
    """Return what judges the replies to an ask; None where any reply will do. Raises Fault (caller_bad_request).

    Where a tool must be called the reply's form does not matter: the call is the answer.
    """
    if ask.reply_format is not None and ask.tool_use.choice not in ("required", "named"):
        return JsonAgain(ask)
    return ToolsAgain(ask) if ask.conversation.tools else None


async def _unlimited(ask: Ask) -> Lease:  # noqa: ARG001 - the signature of those who reserve
    return NO_LEASE


class Leases(Struct, frozen=True):
    """What reserves tokens for the calls of one request. As it is made by default, nothing is limited."""

    first: Lease = NO_LEASE
    """Made for the first call; whoever made it gives it back."""
    reserve: Callable[[Ask], Awaitable[Lease]] = _unlimited
    """Makes one for a further call; raises Fault where there is no room."""


UNLIMITED = Leases()
"""For those of whom no tokens are limited."""


def with_most(ask: T, tokens: int) -> T:
    """Return the ask with an answer of so many tokens at most."""
    return replace(ask, sampling=replace(ask.sampling, max_tokens=tokens))


def room_of(lease: Lease | None) -> Lease | None:
    """Return what is reserved for an answer, where that may be less than it may have."""
    return None if lease is None or lease.output is None else lease


class Asking:
    """One ask, and those that follow from it."""

    def __init__(self, upstream: Upstream, again: Again, counts: AskingCounts, leases: Leases = UNLIMITED) -> None:
        self.spent: Usage | None = None
        """What all replies came to together, those that were broken off too; None before the first has ended."""
        self._upstream = upstream
        self._again = again
        self._counts = counts
        self._leases = leases

    @property
    def warning(self) -> str | None:
        """What the client should know of the accepted reply; None where there is nothing."""
        return self._again.warning

    async def events(self, ask: Ask, card: ModelCard) -> AsyncGenerator[list[Event], None]:
        """Yield the events of the reply that is delivered. Raises Fault. Closing it closes the call that is running."""
        again = self._again
        decided: Accept | AskAgain = AskAgain(ask, "")
        why = ""
        lease = self._leases.first
        while isinstance(decided, AskAgain):
            broken: Fault | None = None
            passed: list[Event] = []
            heard = False
            call = self._upstream.chat(decided.ask, card, None, room_of(lease), self._add)
            try:
                async for batch in call:
                    heard = True
                    passed = again.feed(batch)
                    last = batch[-1]
                    if type(last) is Ended:
                        self._add(last.usage)
                        lease.settle(last.usage)
                    elif passed:
                        yield passed
                        passed = []
            except Fault as fault:
                broken = fault
            finally:
                if broken is None or heard:
                    lease.settle(None)
                if lease is not self._leases.first:
                    lease.release()
                await call.aclose()
            decided = self._decided(broken, why)
            if isinstance(decided, AskAgain):
                lease, decided = await self._reserved(decided)
            if isinstance(decided, AskAgain):
                why = decided.why
                self._counts.again[why] += 1
                if passed:
                    yield passed
        if why:
            self._counts.outcomes["mended" if decided.mended else "kept"] += 1
        # The last words and the end go out in one piece.
        yield [*passed, *decided.events]

    async def _reserved(self, decided: AskAgain) -> tuple[Lease, Accept | AskAgain]:
        """Return a lease for another call, and what to ask; without room for it the reply stands as it is, if it can."""
        try:
            lease = await self._leases.reserve(decided.ask)
        except Fault as refused:
            return NO_LEASE, self._again.failed(refused)
        if lease.output is None:
            return lease, decided
        return lease, replace(decided, ask=with_most(decided.ask, lease.output))

    def _decided(self, broken: Fault | None, why: str) -> Accept | AskAgain:
        try:
            return self._again.close() if broken is None else self._again.failed(broken)
        except Fault:
            if why:
                self._counts.outcomes["failed"] += 1
            raise

    def _add(self, usage: Usage) -> None:
        before = self.spent
        self.spent = usage if before is None else usage_of_all((before, usage))


class Once:
    """One ask among several, whose reply is taken as it comes. Otherwise as :class:`Asking`."""

    warning: str | None = None

    def __init__(self, begin: "Begin", lease: Lease) -> None:
        """``begin`` asks; ``lease`` is made for that, and whoever made it gives it back."""
        self.spent: Usage | None = None
        self._begin = begin
        self._lease = lease

    async def events(self, ask: Any, card: ModelCard) -> AsyncGenerator[list[Event], None]:
        """Yield the events of the reply. Raises Fault. Closing it closes the call."""
        events = self._begin(ask, card, self._add)
        lease = self._lease
        at_work = True
        heard = False
        try:
            async for batch in events:
                if not batch:
                    continue
                heard = True
                if isinstance(last := batch[-1], Ended):
                    self._add(last.usage)
                    lease.settle(last.usage)
                yield batch
        except Fault:
            at_work = heard
            raise
        finally:
            if at_work:
                lease.settle(None)
            await events.aclose()

    def _add(self, usage: Usage) -> None:
        before = self.spent
        self.spent = usage if before is None else usage_of_all((before, usage))


Begin: TypeAlias = Callable[[Any, ModelCard, Callable[[Usage], object]], AsyncGenerator[list[Event], None]]
"""Asks once: what, which model, and who is told of a reply that is broken off, as with ``Upstream.chat``."""
