"""Several answers in one reply: as many calls at once, their events put in the order in which they come.

Laws: each call runs in a task of its own; the turns for all are taken together before the first; when one fails the others
are closed and the reply fails; whoever leaves closes all of them; a slow reader stops all of them; one Ended, which sums
the usage, comes after all. Each answer may be asked for again, as a single one may. Tokens are reserved for all together,
and settled when the last call has ended. What was asked several times is looked at once.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias, cast

from fittengate.core.ask import Ask, FillAsk, Several
from fittengate.core.caller import Caller, ModelCard, Scope
from fittengate.core.events import Ended, Event, Folds, OfChoice
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Record
from fittengate.core.reply import Reply, StopReason, Usage, usage_of_all
from fittengate.dialects.base import ChoicesDialect, Dialect, Head, KeepingDialect
from fittengate.server.asking import UNLIMITED, Leases
from fittengate.server.job import Answered, Call, Gathered, Means, Part, Relay, Streamed
from fittengate.server.typing import Source
from fittengate.services.lease_parts import LeaseParts
from fittengate.services.limits import Need
from fittengate.services.permission import require_model
from fittengate.services.shares import CallKind

Settle: TypeAlias = Callable[[], None]


def _nothing() -> None:
    """Settle nothing: nothing is limited."""


class Choices:
    """Implements :class:`fittengate.server.job.Job`."""

    source: Source | None = None

    _card: ModelCard
    _folds: Folds
    _replies: tuple[Reply, ...]

    def __init__(self, wanted: Several, means: Means, part_for: Callable[[Ask | FillAsk, Means], Part]) -> None:
        """``part_for`` makes the part of one ask."""
        self.owing = False
        self._means = means
        known = {id(one): one for one in wanted.asks}
        parts = {at: part_for(one, means) for at, one in known.items()}
        self._distinct = list(parts.values())
        self._parts = [parts[id(one)] for one in wanted.asks]
        """For each answer; the same one where the same is asked."""
        self._prompts: list[int] = []
        """Tokens of each answer's prompt, at most; none where nobody had to know."""
        self._leases = [UNLIMITED] * len(self._parts)
        self._calls: list[Call] = []
        """For each answer, once there can be one."""
        self._settle: Settle = _nothing

    @property
    def scopes(self) -> frozenset[Scope]:
        """What a key must be for: whatever one of the answers needs."""
        return frozenset().union(*[part.scopes for part in self._distinct])

    def find(self) -> ModelCard:
        """Return the model of a conversation among the asks; without any the one that completes code."""
        cards = [part.find() for part in self._distinct]
        self._card = next((card for card in cards if card.section != "completion"), cards[0])
        return self._card

    def require(self, caller: Caller) -> None:
        """Raise Fault (caller_forbidden) unless the caller may ask for the models of all."""
        if self.scopes:
            require_model(caller, self._card)
        for part in self._distinct:
            part.require(caller)

    def need(self) -> Need:
        """Return what all prompts come to, and the answers, if all of them have a limit."""
        tokens = {id(part): part.input_tokens() for part in self._distinct}
        self._prompts = [tokens[id(part)] for part in self._parts]
        limits = [part.ask.sampling.max_tokens for part in self._parts]
        known = [limit for limit in limits if limit is not None]
        output = sum(known) if len(known) == len(limits) else None
        return Need(sum(self._prompts), output, answers=len(self._parts))

    def take(self, leases: Leases) -> None:
        """Divide what is reserved, and end each answer where its part of what is left ends."""
        divided = LeaseParts(leases.first, self._prompts)
        self._leases = [Leases(part, leases.reserve) for part in divided.parts]
        self._settle = divided.settle
        if (output := leases.first.output) is not None:
            for part in self._distinct:
                part.cut(output)

    async def prepare(self) -> None:
        """Fetch pictures, and compile what the answers are to fit."""
        for part in self._distinct:
            await part.fetch()
        self._calls = [part.call(leases) for part, leases in zip(self._parts, self._leases, strict=True)]

    def words(self) -> str:
        """Return what was asked; the same question asked several times is one text."""
        return "\n".join(dict.fromkeys([part.words() for part in self._distinct]))

    async def enter(self, caller: Caller) -> None:
        """Wait for all turns together: in the caller's lane, or, where there is code alone, in that of completions."""
        turns, count, kind = self._means.turns, len(self._parts), self._kind
        if not turns.try_enter(count, kind):
            await turns.enter(caller.name, count, "completion" if kind == "completion" else caller.lane)
        self.owing = True

    def input_tokens(self) -> int:
        """Return what all prompts come to at most."""
        return sum([part.input_tokens() for part in self._parts])

    def ignored(self) -> tuple[str, ...]:
        """Return what is ignored in the first one: the others have the same parameters."""
        return self._parts[0].ignored()

    def whole(self) -> Gathered:
        """Ask, for all answers at once."""
        folds = self._folds = Folds(len(self._parts))
        return Gathered(folds.feed, self._events())

    def answered(self) -> Answered:
        """Return what all of them came to together."""
        replies = self._replies = self._folds.replies()
        return Answered(usage_of_all(reply.usage for reply in replies), None)

    def body(self, dialect: Dialect, head: Head) -> bytes:
        """Return all answers."""
        return _speaks(dialect).whole_choices(self._replies, self._asks(), head)

    def stream(self, dialect: Dialect, head: Head, relay: Relay | None) -> Streamed:  # noqa: ARG002 - events are merged
        """Ask, and put the answers together as they come."""
        return Streamed(_speaks(dialect).choices_writer(self._asks(), head), self._events())

    @property
    def warning(self) -> str | None:
        """What the client should know of one of the answers; None where there is nothing."""
        return next((call.warning for call in self._calls if call.warning is not None), None)

    def record(self, keeping: KeepingDialect, head: Head) -> Record | None:  # noqa: ARG002 - the signature of jobs
        """Return None: who keeps replies has one answer in each."""
        return None

    def leave(self) -> None:
        """Give back all turns."""
        if self.owing:
            self._means.turns.leave(len(self._parts), self._kind)

    def spent(self, delivered: Usage | None) -> Usage | None:  # noqa: ARG002 - the signature of jobs
        """Return what all replies came to, those that were broken off too; None before the first has ended."""
        spent = [call.spent for call in self._calls if call.spent is not None]
        return usage_of_all(spent) if spent else None

    @property
    def _kind(self) -> CallKind:
        return "completion" if self._card.section == "completion" else "chat"

    def _asks(self) -> Several:
        return Several(tuple([part.ask for part in self._parts]))

    def _events(self) -> AsyncGenerator[list[OfChoice | Ended], None]:
        """Yield the events of all answers, and one Ended after them. Raises Fault."""
        both = zip(self._parts, self._calls, strict=True)
        return _merged([call.events(part.ask, self._card) for part, call in both], self._settle)


def _speaks(dialect: Dialect) -> ChoicesDialect:
    # Nobody else reads a request for several answers.
    return cast("ChoicesDialect", dialect)


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
