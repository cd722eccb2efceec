"""What the server may expect of any service behind it, and what a service may expect of the server."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from fittengate.core.account import Tokens
from fittengate.core.ask import Ask, FillAsk
from fittengate.core.caller import ModelCard
from fittengate.core.events import Event
from fittengate.core.limits import Room
from fittengate.core.reply import Usage


class Flow(Protocol):
    """A connection to a client."""

    write_paused: bool
    """The client reads too slowly: it is to get no more for now."""


class Sink(Protocol):
    """Takes events in the very turn of the loop in which they came, without waking the task that waits for them.

    It does so only while it is open and its flow is not paused.
    """

    open: bool
    flow: Flow

    def take(self, events: list[Event], now: float, /) -> None:
        """Take the next events, which came at ``now`` by the loop's clock; never waits.

        What it raises is raised in the task that reads the answer.
        """
        ...


class Upstream(Protocol):
    """A service that goes on with conversations."""

    def chat(
        self,
        ask: Ask,
        card: ModelCard,
        sink: Sink | None = None,
        room: Room | None = None,
        tell: Callable[[Usage], object] | None = None,
    ) -> AsyncGenerator[list[Event], None]:
        """Yield the events of the answer, as many at a time as came together; the first is Began, the last Ended.

        Events after the first ones and before Ended may go to ``sink`` instead, in their order, while it is open.
        ``room`` is what is reserved for an answer that may grow past it: more is asked for as it does, and where there
        is none it ends with the reason ``length``. ``tell`` is called, once and before the iterator has ended, with what an
        answer came to that had begun and does not come to its end, as far as that is known.

        Closing the iterator (``aclose``) closes the connection behind it at once. May raise Fault: ``upstream_*`` at
        any moment, ``caller_too_long`` before anything is sent.
        """
        ...

    def complete(self, fill: FillAsk) -> AsyncGenerator[list[Event], None]:
        """Yield the events of a code completion, all text and as :meth:`chat` does; no text where there is none.

        Inserting the text at the cursor never damages the file. May raise Fault ``upstream_*`` before the first event.
        """
        ...

    def estimate(self, ask: Ask | FillAsk, card: ModelCard) -> Usage:
        """Return what the prompt of ``ask`` comes to at most, without sending it; ``card`` is that of conversations."""
        ...

    def models(self) -> tuple[ModelCard, ...]:
        """Return the models known now, the default one first; never empty."""
        ...


class NoteStore(Protocol):
    """Where something small outlives the process. Both may block: call them in a thread."""

    def load(self) -> bytes | None:
        """Return what was saved last; None when nothing was. Raises OSError, ValueError."""
        ...

    def save(self, data: bytes) -> None:
        """Replace what is saved, atomically. Raises OSError."""
        ...


class TokenVault(Protocol):
    """Where tokens outlive the process, shared by every process of one account."""

    problem: str | None
    """Why the last :meth:`load` could not read what is there; None when it could, or when nothing is."""

    async def load(self) -> Tokens | None:
        """Return what was saved last; None when nothing was, or when it cannot be read."""
        ...

    async def save(self, tokens: Tokens) -> None:
        """Replace what is saved, atomically: a reader sees the old or the new, never half."""
        ...

    async def forget(self) -> None:
        """Remove what is saved."""
        ...

    async def acquire(self) -> None:
        """Wait until nobody else signs in or refreshes. Raises TimeoutError after a minute."""
        ...

    async def release(self) -> None:
        """Let the next one."""
        ...

    async def refusal(self) -> tuple[str, float, str] | None:
        """Return the last refused login: fingerprint of the credentials, until when to wait, message; None: none."""
        ...

    async def note_refusal(self, fingerprint: str, until: float, message: str) -> None:
        """Remember a refused login for every process; ``until`` in seconds since the epoch."""
        ...

    async def clear_refusal(self) -> None:
        """Forget it: a login worked."""
        ...
