"""What every client wire format promises the server, and the route that carries it.

A dialect turns a client's bytes into an Ask, and Events into bytes. It is pure: no clock, no ids of its own making, no
I/O. It never knows which upstream answers.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from fittengate.core.ask import Ask, FillAsk, Several
from fittengate.core.caller import Scope
from fittengate.core.events import Ended, Event, OfChoice
from fittengate.core.faults import Fault
from fittengate.core.limits import LimitState
from fittengate.core.record import Recalled, Record
from fittengate.core.reply import Reply
from fittengate.lib import ndjson, sse


class StreamForm(Struct, frozen=True, gc=False):
    """How a streamed reply travels."""

    content_type: bytes
    heartbeat: bytes
    """What may stand between two pieces of the reply, and says nothing."""


EVENTS = StreamForm(sse.CONTENT_TYPE, sse.HEARTBEAT)
"""Server-sent events: what nearly all dialects have."""

LINES = StreamForm(ndjson.CONTENT_TYPE, ndjson.HEARTBEAT)
"""One JSON value a line."""


def _untimed() -> tuple[float, float]:
    return 0.0, 0.0


class Head(Struct, frozen=True):
    """What a reply needs beside its events: made by the server, because ids and times are not a dialect's to make."""

    id: str
    """Unique tail of the reply's id: 24 letters and digits; the dialect puts its own prefix before it."""
    created: int
    """Seconds since the epoch."""
    model: str
    """The name as the client asked for it, or the id of the default model."""
    input_tokens: int = 0
    """Estimate of the prompt's tokens, for dialects that tell them at the start; 0 where there is none."""
    times: Callable[[], tuple[float, float]] = _untimed
    """Returns the seconds from the request to its first event and until now, for dialects that tell them."""


class Writer(Protocol):
    """Events of one reply to bytes of its stream. ``feed`` in order, then ``close`` or ``fault``, nothing after."""

    def feed(self, events: Sequence[Event], /) -> bytes:
        """Return the bytes of these events, without the terminator: perhaps none."""
        ...

    def close(self) -> bytes:
        """Return what ends a clean reply: finish, usage if wished, terminator. Only after Ended was fed."""
        ...

    def fault(self, fault: Fault) -> bytes:
        """Return the error frame of a reply that broke after its headers were sent; never a clean terminator."""
        ...


class ChoicesWriter(Protocol):
    """Events of a reply with several answers to bytes of its stream; otherwise as :class:`Writer`."""

    def feed(self, events: Sequence[OfChoice | Ended], /) -> bytes:
        """Return the bytes of these events, without the terminator. Ended comes once, after that of every answer."""
        ...

    def close(self) -> bytes:
        """Return what ends a clean reply."""
        ...

    def fault(self, fault: Fault) -> bytes:
        """Return the error frame of a reply that broke after its headers were sent."""
        ...


class Dialect(Protocol):
    """One wire format. Everything raises Fault for what the client did wrong, naming the place in ``param``."""

    name: str
    """In logs and metrics: ``openai_chat``."""
    paths: tuple[str, ...]
    """Every path that this dialect answers POST on, aliases included."""
    id_headers: tuple[bytes, ...]
    """Further names, beside ``x-request-id``, under which the vendor's SDKs look for the request's id."""
    tells_input: bool
    """A streamed reply begins with the number of input tokens (:attr:`Head.input_tokens`)."""
    form: StreamForm
    """How streamed replies travel: :data:`EVENTS`, or another form."""

    @property
    def scope(self) -> Scope | None:
        """Return what a key must be for; None where that depends on what is asked for."""
        ...

    def read(self, body: bytes) -> Ask | FillAsk | Several:
        """Return what the client wants; Several only from a :class:`ChoicesDialect`.

        Raises Fault (caller_bad_request, caller_unsupported).
        """
        ...

    def writer(self, ask: Any, head: Head) -> Writer:
        """Return the writer of a streamed reply; ``ask`` is what :meth:`read` gave."""
        ...

    def whole(self, reply: Reply, ask: Any, head: Head) -> bytes:
        """Return the body of an unstreamed reply."""
        ...

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        ...

    def status(self, fault: Fault) -> int:
        """Return the HTTP status of a fault in this dialect."""
        ...

    def limit_headers(self, state: LimitState) -> list[tuple[bytes, bytes]]:
        """Return the headers that tell a client where it stands with its limits."""
        ...


class ChoicesDialect(Dialect, Protocol):
    """A dialect whose replies may have several answers."""

    def choices_writer(self, asks: Several, head: Head) -> ChoicesWriter:
        """Return the writer of a streamed reply with an answer for each of the asks."""
        ...

    def whole_choices(self, replies: Sequence[Reply], asks: Several, head: Head) -> bytes:
        """Return the body of an unstreamed reply with several answers."""
        ...


class CountingDialect(Dialect, Protocol):
    """A dialect that can also be asked how many tokens a request has."""

    count_paths: tuple[str, ...]
    """Every path that answers such a question."""

    def read_count(self, body: bytes, recalled: Recalled) -> Ask:
        """Return what is to be counted, with the records it goes on with. Raises Fault as :meth:`Dialect.read`."""
        ...

    def count_body(self, tokens: int) -> bytes:
        """Return the body that tells a count."""
        ...


class KeepingDialect(Dialect, Protocol):
    """A dialect whose replies are kept, so that they can be fetched, listed, deleted and gone on with."""

    def wanted(self, body: bytes) -> tuple[str | None, tuple[str, ...]]:
        """Return the id of the record that a request goes on with, and of those it refers to. Never raises."""
        ...

    def read_on(self, body: bytes, recalled: Recalled) -> Ask:
        """Return what the client wants, with the records it wanted. Raises Fault as :meth:`Dialect.read`."""
        ...

    def record(self, ask: Ask, head: Head, written: bytes | Writer) -> Record | None:
        """Return what is to be kept of a reply, None for nothing; ``written`` is its body, or its writer, closed."""
        ...
