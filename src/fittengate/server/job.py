"""What the conductor may expect of any kind of ask: a job, made for one request by :mod:`fittengate.server.kinds`.

A conversation (:mod:`fittengate.server.talk`), a code completion (:mod:`fittengate.server.fill`) and several answers in one
reply (:mod:`fittengate.server.choices`) differ in which keys and models they take, what is reserved for them, whose turn
they wait for, where their events come from and how a reply is made of these. That is here; the way of a request, which
is the same for all, is in :mod:`fittengate.server.exchange`. Law: a job knows nothing of the exchange that it is part of.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from fittengate.core.ask import Ask, FillAsk
from fittengate.core.caller import Caller, ModelCard, Scope
from fittengate.core.events import Event
from fittengate.core.record import Record
from fittengate.core.reply import StopReason, Usage
from fittengate.dialects.base import ChoicesWriter, Dialect, Head, KeepingDialect, Writer
from fittengate.server.asking import AskingCounts, Leases
from fittengate.server.typing import Source, Typing
from fittengate.services.limits import Need
from fittengate.services.models import ModelNames
from fittengate.services.queue import Turns
from fittengate.upstream.base import Sink, Upstream
from fittengate.upstream.pictures import Pictures

CHAT: frozenset[Scope] = frozenset({"chat"})
COMPLETING: frozenset[Scope] = frozenset({"completion"})
NOTHING: frozenset[Scope] = frozenset()
"""What a key must be for, by what is asked for and not by where; nothing where no text is asked for."""

Relay: TypeAlias = Callable[[Writer], Sink]
"""Returns the short way to the client for events that a writer writes."""


class Means(Struct, frozen=True):
    """What jobs are done with."""

    upstream: Upstream
    models: ModelNames
    turns: Turns
    typing: Typing
    pictures: Pictures
    counts: AskingCounts


class Gathered(NamedTuple):
    """A whole answer that has not begun: events as they come, and what gathers them."""

    feed: Callable[[Iterable[Any]], None]
    events: AsyncGenerator[list[Any], None]
    """To be closed on every way out."""


class Answered(NamedTuple):
    """What a whole answer came to."""

    usage: Usage
    reason: StopReason | None
    """None where it has several ends."""


class Streamed(NamedTuple):
    """A streamed answer that has not begun: events as they come, and what makes bytes of them."""

    writer: Writer | ChoicesWriter
    events: AsyncGenerator[list[Any], None]
    """To be closed on every way out."""


class Job(Protocol):
    """One request, as far as the kind of its ask decides what is done for it.

    Its methods are called in the order in which they stand here, those up to ``enter`` once; ``leave`` in any case.
    """

    @property
    def scopes(self) -> frozenset[Scope]:
        """What a key must be for."""
        ...

    def find(self) -> ModelCard:
        """Return the model that answers. Raises Fault: caller_no_model, caller_unsupported."""
        ...

    def require(self, caller: Caller) -> None:
        """Raise Fault (caller_forbidden) unless the caller may ask for every model that answers."""
        ...

    def need(self) -> Need:
        """Return what is to be reserved for it, tokens included."""
        ...

    def take(self, leases: Leases) -> None:
        """Keep to what was reserved. Where no tokens are limited, this is not called."""
        ...

    async def prepare(self) -> None:
        """Fetch what is missing, and see whether there can be such an answer at all. Raises Fault."""
        ...

    def words(self) -> str:
        """Return what was asked, as text for the log."""
        ...

    async def enter(self, caller: Caller) -> None:
        """Wait for a turn at the service. Raises Fault: gateway_busy, caller_superseded, caller_unsupported."""
        ...

    def input_tokens(self) -> int:
        """Return an estimate of the prompt's tokens, for those who tell it before the reply."""
        ...

    def ignored(self) -> tuple[str, ...]:
        """Return what was asked for and cannot be honoured."""
        ...

    @property
    def source(self) -> Source | None:
        """How it came that the service was not asked; None where it was."""
        ...

    def whole(self) -> Gathered:
        """Ask, for a whole answer. May raise Fault as it is read."""
        ...

    def answered(self) -> Answered:
        """Return what the whole answer came to, once all of its events are gathered."""
        ...

    def body(self, dialect: Dialect, head: Head) -> bytes:
        """Return the whole answer as the client reads it."""
        ...

    def stream(self, dialect: Dialect, head: Head, relay: Relay | None) -> Streamed:
        """Ask, and return the answer as it comes. Events may go through ``relay`` instead; None: all are to come here."""
        ...

    @property
    def warning(self) -> str | None:
        """What the client should know of a whole answer; None where there is nothing."""
        ...

    def record(self, keeping: KeepingDialect, head: Head) -> Record | None:
        """Return what is to be kept of the answer that was given; None for nothing."""
        ...

    def leave(self) -> None:
        """Give back the turn."""
        ...

    @property
    def owing(self) -> bool:
        """It had a turn, and nobody else answers for what the service did in it; true after :meth:`leave`, too."""
        ...

    def spent(self, delivered: Usage | None) -> Usage | None:
        """Return what goes into the books where ``delivered`` is what the client was told; None: nothing is known."""
        ...


class Part(Protocol):
    """One ask, alone or among several."""

    @property
    def ask(self) -> Ask | FillAsk:
        """What is asked, by now."""
        ...

    @property
    def scopes(self) -> frozenset[Scope]:
        """As :attr:`Job.scopes`."""
        ...

    def find(self) -> ModelCard:
        """As :meth:`Job.find`."""
        ...

    def require(self, caller: Caller) -> None:
        """As :meth:`Job.require`."""
        ...

    def input_tokens(self) -> int:
        """As :meth:`Job.input_tokens`; never less than the service will count."""
        ...

    def cut(self, tokens: int) -> None:
        """Let an answer that has no limit of its own have so many tokens at most."""
        ...

    async def fetch(self) -> None:
        """Put pictures in their place. Raises Fault."""
        ...

    def words(self) -> str:
        """As :meth:`Job.words`."""
        ...

    def ignored(self) -> tuple[str, ...]:
        """As :meth:`Job.ignored`."""
        ...

    def call(self, leases: Leases) -> "Call":
        """Return what gets one answer, to be made for each that is wanted. Raises Fault (caller_bad_request)."""
        ...


class Call(Protocol):
    """What gets one answer."""

    spent: Usage | None
    """What it came to so far, all that was asked for it together; None where nothing is known."""

    @property
    def warning(self) -> str | None:
        """What the client should know of the answer; None where there is nothing."""
        ...

    def events(self, ask: Any, card: ModelCard) -> AsyncGenerator[list[Event], None]:
        """Yield the events of the answer; ``ask`` is that of the part which made this. Raises Fault."""
        ...
