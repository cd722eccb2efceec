"""Requests that are no plain question: code completions, and several answers in one reply.

Several answers are as many calls at once, each in a task of its own, their events put in the order in which they come.
Laws: the turns for all are taken together before the first; when one fails the others are closed and the reply fails;
whoever leaves closes all of them; a slow reader stops all of them; one Ended, which sums the usage, comes after all.
Tokens are reserved for all together, and settled when the last call has ended.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeAlias, cast

from fittengate.core.ask import COMPLETION, Ask, FillAsk, Several
from fittengate.core.caller import ModelCard, Scope
from fittengate.core.events import Ended, Event, OfChoice
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage, usage_of_all
from fittengate.server.asking import Asking, AskingCounts, Leases, again_for, room_of, with_most
from fittengate.services.limits import Lease
from fittengate.services.models import ModelNames, must_talk
from fittengate.upstream.base import Upstream
from fittengate.upstream.pictures import Pictures

Settle: TypeAlias = Callable[[], None]


_CHAT: frozenset[Scope] = frozenset({"chat"})


def asks_of(wanted: Ask | FillAsk | Several) -> tuple[Ask | FillAsk, ...]:
    """Return the calls to the service that a request takes at the same time."""
    return wanted.asks if isinstance(wanted, Several) else (wanted,)


def scopes_of(wanted: Ask | FillAsk | Several) -> frozenset[Scope]:
    """Return what a key must be for: it goes by what is asked for, not by where.

    Where no text is asked for, as by who wants a model loaded, that is nothing.
    """
    if type(wanted) is Ask:
        return _CHAT
    asks = asks_of(wanted)
    if all(isinstance(ask, FillAsk) and ask.sampling.max_tokens == 0 for ask in asks):
        return frozenset()
    return frozenset({"completion" if isinstance(ask, FillAsk) else "chat" for ask in asks})


def card_for(wanted: Ask | FillAsk | Several, card: ModelCard, names: ModelNames) -> ModelCard:
    """Return the model that answers where ``card`` was asked for: code is completed by one only.

    Raises Fault (caller_unsupported) for a conversation with that one.
    """
    return names.find(COMPLETION) if "chat" not in scopes_of(wanted) else must_talk(card)


def cut(wanted: Ask | FillAsk | Several, tokens: int) -> Ask | FillAsk | Several:
    """Return the request with so many tokens at most for each answer that has no limit of its own."""
    done: dict[int, Ask | FillAsk] = {}
    for ask in asks_of(wanted):
        if id(ask) not in done:
            done[id(ask)] = with_most(ask, tokens) if ask.sampling.max_tokens is None else ask
    # What was the same stays the same: it is looked at once.
    return Several(tuple([done[id(ask)] for ask in wanted.asks])) if isinstance(wanted, Several) else done[id(wanted)]


async def with_pictures(wanted: FillAsk | Several, pictures: Pictures) -> FillAsk | Several:
    """Return the request with its pictures in place; the same conversation asked several times is looked at once."""
    if isinstance(wanted, FillAsk):
        return wanted
    done: dict[int, Ask | FillAsk] = {}
    for ask in wanted.asks:
        if id(ask) not in done:
            done[id(ask)] = await pictures.inline(ask) if isinstance(ask, Ask) else ask
    return Several(tuple([done[id(ask)] for ask in wanted.asks]))


class Choices:
    """The calls of a reply with several answers; each may be asked again, as a single one may."""

    def __init__(
        self, upstream: Upstream, wanted: Several, counts: AskingCounts, leases: Sequence[Leases], settle: Settle
    ) -> None:
        """Take a request. Raises Fault (caller_bad_request) for a form that no reply can have.

        ``leases`` are one for each answer; ``settle`` is called when the last of them has ended.
        """
        self._upstream = upstream
        self._askings = [_asking(upstream, ask, counts, lease) for ask, lease in zip(wanted.asks, leases, strict=True)]
        self._leases = leases
        self._settle = settle
        self._plain: list[Usage] = []

    @property
    def spent(self) -> Usage | None:
        """What all replies came to together, those that were broken off too; None before the first has ended."""
        spent = [asking.spent for asking in self._askings if asking is not None and asking.spent is not None]
        return usage_of_all(spent + self._plain) if spent or self._plain else None

    @property
    def warning(self) -> str | None:
        """What the client should know of one of the answers; None where there is nothing."""
        warnings = [asking.warning for asking in self._askings if asking is not None]
        return next((warning for warning in warnings if warning is not None), None)

    def events(self, wanted: Several, card: ModelCard) -> AsyncGenerator[list[OfChoice | Ended], None]:
        """Yield the events of all answers, and one Ended after them. Raises Fault."""
        streams = [
            self._plainly(ask, card, leases.first) if asking is None else asking.events(cast("Ask", ask), card)
            for ask, asking, leases in zip(wanted.asks, self._askings, self._leases, strict=True)
        ]
        return _merged(streams, self._settle)

    async def _plainly(self, ask: Ask | FillAsk, card: ModelCard, lease: Lease) -> AsyncGenerator[list[Event], None]:
        """Yield the events of a reply that is taken as it comes."""
        if isinstance(ask, FillAsk):
            events = self._upstream.complete(ask)
        else:
            events = self._upstream.chat(ask, card, None, room_of(lease), self._plain.append)
        at_work = True
        heard = False
        try:
            async for batch in events:
                if not batch:
                    continue
                heard = True
                if isinstance(last := batch[-1], Ended):
                    self._plain.append(last.usage)
                    lease.settle(last.usage)
                yield batch
        except Fault:
            at_work = heard
            raise
        finally:
            if at_work:
                lease.settle(None)
            await events.aclose()


def _asking(upstream: Upstream, ask: Ask | FillAsk, counts: AskingCounts, leases: Leases) -> Asking | None:
    again = again_for(ask) if isinstance(ask, Ask) else None
    return None if again is None else Asking(upstream, again, counts, leases)


async def _merged(
    streams: list[AsyncGenerator[list[Event], None]], settle: Settle
) -> AsyncGenerator[list[OfChoice | Ended], None]:
    """Yield what the streams yield, as it comes. Raises what the first of them to fail raises."""
    # One place: a stream whose events were not taken yet waits, and with it the connection behind it.
    ready: asyncio.Queue[OfChoice | Exception] = asyncio.Queue(1)
    tasks = [asyncio.create_task(_run(index, stream, ready)) for index, stream in enumerate(streams)]
    usages: list[Usage] = []
    try:
        while len(usages) < len(streams):
            batch = await ready.get()
            if isinstance(batch, Exception):
                raise batch
            if isinstance(last := batch.events[-1], Ended):
                usages.append(last.usage)
            yield [batch]
    finally:
        for task in tasks:
            task.cancel()
        # Each closes its own connection before it is done.
        await asyncio.gather(*tasks, return_exceptions=True)
        settle()
    yield [Ended(StopReason.DONE, usage_of_all(usages))]


async def _run(
    index: int, stream: AsyncGenerator[list[Event], None], ready: "asyncio.Queue[OfChoice | Exception]"
) -> None:
    """Hand on the events of one stream, and what it raises."""
    ended = False
    try:
        async for events in stream:
            ended = isinstance(events[-1], Ended)
            await ready.put(OfChoice(index, events))
    except Exception as error:  # noqa: BLE001 - it is raised where the reply is written
        await ready.put(error)
        return
    finally:
        await stream.aclose()
    if not ended:
        detail = "a choice ended without an end"
        await ready.put(Fault(FaultKind.UPSTREAM_BROKEN, "The reply broke off. Try again.", detail=detail))
