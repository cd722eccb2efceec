"""A conversation that is to go on: one answer, perhaps asked for again."""

from collections.abc import AsyncGenerator

from fittengate.core.ask import Ask
from fittengate.core.caller import Caller, ModelCard, Scope
from fittengate.core.events import Event, Fold
from fittengate.core.record import Record
from fittengate.core.reply import Reply, Usage
from fittengate.dialects.base import Dialect, Head, KeepingDialect, Writer
from fittengate.prompting.render import images_left_out
from fittengate.server.asking import UNLIMITED, Asking, Leases, Once, again_for, room_of, with_most
from fittengate.server.content import said
from fittengate.server.job import CHAT, Answered, Gathered, Means, Relay, Streamed
from fittengate.server.typing import Source
from fittengate.services.limits import Need
from fittengate.services.models import must_talk
from fittengate.services.permission import require_model
from fittengate.upstream.base import Sink


class Talk:
    """Implements :class:`fittengate.server.job.Job`, and its Part."""

    __slots__ = ("_asking", "_broke_off", "_card", "_fold", "_leases", "_means", "_reply", "_written", "ask", "owing")

    scopes: frozenset[Scope] = CHAT
    source: Source | None = None

    _card: ModelCard
    _fold: Fold
    _reply: Reply

    def __init__(self, ask: Ask, means: Means) -> None:
        self.ask = ask
        self.owing = False
        self._means = means
        self._leases = UNLIMITED
        self._asking: Asking | None = None
        self._broke_off: Usage | None = None
        """What the reply came to, if it was broken off."""
        self._written: bytes | Writer = b""

    def find(self) -> ModelCard:
        """Return the model that was asked for."""
        card = self._card = must_talk(self._means.models.find(self.ask.model))
        return card

    def require(self, caller: Caller) -> None:
        """Raise Fault (caller_forbidden) unless the caller may ask for it."""
        require_model(caller, self._card)

    def need(self) -> Need:
        """Return what the prompt comes to at most, and the limit of the answer if it has one."""
        return Need(self.input_tokens(), self.ask.sampling.max_tokens)

    def take(self, leases: Leases) -> None:
        """End the answer where what is left ends."""
        self._leases = leases
        if (output := leases.first.output) is not None:
            self.cut(output)

    def cut(self, tokens: int) -> None:
        """Let an answer without a limit of its own have so many tokens at most."""
        if self.ask.sampling.max_tokens is None:
            self.ask = with_most(self.ask, tokens)

    async def prepare(self) -> None:
        """Fetch pictures, and compile what the answer is to fit."""
        self.ask = await self._means.pictures.inline(self.ask)
        self._asking = self._judged(self._leases)

    async def fetch(self) -> None:
        """Fetch pictures."""
        self.ask = await self._means.pictures.inline(self.ask)

    def call(self, leases: Leases) -> Asking | Once:
        """Return what asks, and asks again where not every reply will do."""
        if (asking := self._judged(leases)) is not None:
            return asking
        upstream, room = self._means.upstream, room_of(leases.first)
        return Once(lambda ask, card, tell: upstream.chat(ask, card, None, room, tell), leases.first)

    def words(self) -> str:
        """Return who said what."""
        return said(self.ask.conversation)

    async def enter(self, caller: Caller) -> None:
        """Wait for a turn in the caller's lane."""
        turns = self._means.turns
        if not turns.try_enter():
            await turns.enter(caller.name, 1, caller.lane)
        self.owing = True

    def input_tokens(self) -> int:
        """Return what the prompt comes to at most."""
        return self._means.upstream.estimate(self.ask, self._card).input_tokens

    def ignored(self) -> tuple[str, ...]:
        """Return parameters that cannot be honoured, and how many pictures are left out."""
        left_out = images_left_out(self.ask.conversation)
        return (*self.ask.ignored, f"images:{left_out}") if left_out else self.ask.ignored

    def whole(self) -> Gathered:
        """Ask, for all deltas at once."""
        fold = self._fold = Fold()
        return Gathered(fold.feed, self._events(None))

    def answered(self) -> Answered:
        """Return what it came to."""
        reply = self._reply = self._fold.reply()
        return Answered(reply.usage, reply.reason)

    def body(self, dialect: Dialect, head: Head) -> bytes:
        """Return the answer."""
        body = self._written = dialect.whole(self._reply, self.ask, head)
        return body

    def stream(self, dialect: Dialect, head: Head, relay: Relay | None) -> Streamed:
        """Ask, and let deltas take the short way where there is one."""
        writer = self._written = dialect.writer(self.ask, head)
        return Streamed(writer, self._events(None if relay is None else relay(writer)))

    @property
    def warning(self) -> str | None:
        """What is wrong with an answer that was taken all the same."""
        return None if self._asking is None else self._asking.warning

    def record(self, keeping: KeepingDialect, head: Head) -> Record | None:
        """Return what the dialect keeps of it."""
        return keeping.record(self.ask, head, self._written)

    def leave(self) -> None:
        """Give back the turn, and let go of what was written: through its head that knows the request, which knows this."""
        self._written = b""
        if self.owing:
            self._means.turns.leave()

    def spent(self, delivered: Usage | None) -> Usage | None:
        """Return what all replies came to, those that were broken off too."""
        return (delivered or self._broke_off) if self._asking is None else self._asking.spent

    def _events(self, sink: Sink | None) -> AsyncGenerator[list[Event], None]:
        if self._asking is not None:
            return self._asking.events(self.ask, self._card)
        room = room_of(self._leases.first)
        return self._means.upstream.chat(self.ask, self._card, sink, room, self._note)

    def _judged(self, leases: Leases) -> Asking | None:
        """Return what looks at the replies; None where any will do."""
        again = again_for(self.ask)
        return None if again is None else Asking(self._means.upstream, again, self._means.counts, leases)

    def _note(self, usage: Usage) -> None:
        self._broke_off = usage
