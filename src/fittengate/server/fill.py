"""A code completion: answered from memory or with others where it can be (:mod:`fittengate.server.typing`)."""

from collections.abc import AsyncGenerator

from fittengate.core.ask import COMPLETION, FillAsk
from fittengate.core.caller import Caller, ModelCard, Scope
from fittengate.core.events import Event, Fold
from fittengate.core.record import Record
from fittengate.core.reply import Reply, Usage
from fittengate.dialects.base import Dialect, Head, KeepingDialect
from fittengate.server.asking import UNLIMITED, Leases, Once, with_most
from fittengate.server.job import COMPLETING, NOTHING, Answered, Gathered, Means, Relay, Streamed
from fittengate.server.typing import Filling, Source
from fittengate.services.limits import Need
from fittengate.services.permission import require_model


class Fill:
    """Implements :class:`fittengate.server.job.Job`, and its Part."""

    __slots__ = ("_card", "_filling", "_fold", "_leases", "_means", "_reply", "ask")

    warning: str | None = None

    _card: ModelCard
    _fold: Fold
    _reply: Reply

    def __init__(self, ask: FillAsk, means: Means) -> None:
        self.ask = ask
        self._means = means
        self._leases = UNLIMITED
        self._filling: Filling | None = None
        """What reads the answer; it looks after its turn itself."""

    @property
    def scopes(self) -> frozenset[Scope]:
        """What a key must be for: nothing, where an editor wants no text and only warms the model up."""
        return NOTHING if self.ask.sampling.max_tokens == 0 else COMPLETING

    def find(self) -> ModelCard:
        """Return the one model that completes code; the name that was asked for has to be known."""
        models = self._means.models
        models.find(self.ask.model)
        card = self._card = models.find(COMPLETION)
        return card

    def require(self, caller: Caller) -> None:
        """Raise Fault (caller_forbidden) unless the caller may ask for it."""
        if self.scopes:
            require_model(caller, self._card)

    def need(self) -> Need:
        """Return what the prompt comes to at most, and the limit of the answer if it has one."""
        return Need(self.input_tokens(), self.ask.sampling.max_tokens)

    def take(self, leases: Leases) -> None:
        """Remember where the answer is to end. The ask stays as it is: what it is known by must not change with that."""
        self._leases = leases

    def cut(self, tokens: int) -> None:
        """Let an answer without a limit of its own have so many tokens at most."""
        if self.ask.sampling.max_tokens is None:
            self.ask = with_most(self.ask, tokens)

    async def prepare(self) -> None:
        """There is nothing to do."""

    async def fetch(self) -> None:
        """There are no pictures."""

    def call(self, leases: Leases) -> Once:
        """Return what asks, past all memory."""
        complete = self._means.upstream.complete
        return Once(lambda ask, _card, _tell: complete(ask), leases.first)

    def words(self) -> str:
        """Return what is around the cursor."""
        return f"before: {self.ask.prefix}\nafter: {self.ask.suffix}"

    async def enter(self, caller: Caller) -> None:
        """Wait until the answer is known, or its call has a turn."""
        self._filling = await self._means.typing.begin(self.ask, caller, self._leases.first.output)

    def input_tokens(self) -> int:
        """Return what the prompt comes to at most."""
        return self._means.upstream.estimate(self.ask, self._card).input_tokens

    def ignored(self) -> tuple[str, ...]:
        """Return parameters that cannot be honoured."""
        return self.ask.ignored

    @property
    def source(self) -> Source | None:
        """Where the answer comes from, if the service was not asked for it."""
        return None if self._filling is None else self._filling.source

    def whole(self) -> Gathered:
        """Read the answer, for all of it at once."""
        fold = self._fold = Fold()
        return Gathered(fold.feed, self._events())

    def answered(self) -> Answered:
        """Return what it came to."""
        reply = self._reply = self._fold.reply()
        return Answered(reply.usage, reply.reason)

    def body(self, dialect: Dialect, head: Head) -> bytes:
        """Return the answer."""
        return dialect.whole(self._reply, self.ask, head)

    def stream(self, dialect: Dialect, head: Head, relay: Relay | None) -> Streamed:  # noqa: ARG002 - it comes at once
        """Read the answer as it comes."""
        return Streamed(dialect.writer(self.ask, head), self._events())

    def record(self, keeping: KeepingDialect, head: Head) -> Record | None:  # noqa: ARG002 - the signature of jobs
        """Return None: nothing goes on with it."""
        return None

    def leave(self) -> None:
        """Read no more."""
        if self._filling is not None:
            self._filling.leave()

    @property
    def owing(self) -> bool:
        """Its reader was the last to leave, and nobody was told what the call cost."""
        return self._filling is not None and self._filling.unpaid

    def spent(self, delivered: Usage | None) -> Usage | None:
        """Return what this reader was told."""
        return delivered

    def _events(self) -> AsyncGenerator[list[Event], None]:
        assert self._filling is not None  # noqa: S101
        return self._filling.events()
