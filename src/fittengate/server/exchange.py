"""The one conductor: takes a request through its whole way, whatever its dialect.

key -> Caller, body -> Ask, turn in the queue, upstream events -> bytes, one line in the log. Every way out passes the
one ``finally`` below: the upstream is closed, the turn given back, the receipt written.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fittengate.core.ask import Ask
from fittengate.core.caller import Caller, ModelCard, Receipt, Scope
from fittengate.core.events import Ended, Event, Fold, RefusalDelta, TextDelta
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Record
from fittengate.core.reply import Usage
from fittengate.dialects import KEEPING
from fittengate.dialects.base import CountingDialect, Dialect, Head, Writer
from fittengate.lib.clock import Clock
from fittengate.lib.timers import Timers
from fittengate.prompting.render import images_left_out
from fittengate.server.asking import Asking, AskingCounts, Leases, again_for
from fittengate.server.content import prompt_text
from fittengate.server.faults import as_fault, headers_of
from fittengate.server.request import Headers, Request
from fittengate.server.stream import ClientStream, Relay
from fittengate.services.ids import Ids
from fittengate.services.keyring import Keys
from fittengate.services.limits import Lease, Limits, Need
from fittengate.services.log import Log
from fittengate.services.models import ModelNames
from fittengate.services.permission import require_model, require_scope
from fittengate.services.queue import Turns
from fittengate.services.responses import Responses
from fittengate.upstream.base import Sink, Upstream
from fittengate.upstream.pictures import Pictures

_JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")

ESTIMATED: tuple[bytes, bytes] = (b"x-fittengate-usage", b"estimated")
"""On an answer whose token counts are not all the service's own. Headers of a stream go out too early to know."""


class Bounds(Struct, frozen=True):
    """The server's own bounds, from the settings."""

    max_body_bytes: int
    hold_seconds: float
    heartbeat_seconds: float


class Services(Struct, frozen=True):
    """Everything that a request may need; made once by ``assemble.py``."""

    upstream: Upstream
    models: ModelNames
    keys: Keys
    turns: Turns
    pictures: Pictures
    responses: Responses
    log: Log
    ids: Ids
    clock: Clock
    timers: Timers
    limits: Limits
    bounds: Bounds


class _Course:
    """What is known of one exchange so far; becomes its Receipt."""

    __slots__ = (
        "asking",
        "at",
        "began",
        "caller",
        "card",
        "fault",
        "first",
        "lease",
        "prompt",
        "turn",
        "usage",
        "words",
    )

    def __init__(self, began: float, at: float) -> None:
        self.began = began
        self.at = at
        self.caller: Caller | None = None
        self.card: ModelCard | None = None
        self.turn = False
        self.lease: Lease | None = None
        """What is reserved; None where nothing is limited, or nothing was admitted yet."""
        self.asking: Asking | None = None
        """What may ask again; None where any reply will do."""
        self.first: float | None = None
        self.usage: Usage | None = None
        self.fault: Fault | None = None
        self.prompt: str | None = None
        self.words: list[str] | None = None
        """The reply's text so far, where the log is to have it; None where it is not."""

    def heard(self, batch: list[Event], loop: asyncio.AbstractEventLoop) -> None:
        """Note when the first event came, and the words if they are wanted."""
        if self.first is None:
            self.first = loop.time()
        if self.words is not None:
            self.words += [event.text for event in batch if isinstance(event, TextDelta | RefusalDelta)]


class Exchanges:
    """Handles requests until it is told to drain."""

    def __init__(self, services: Services) -> None:
        self.draining = False
        self.running: set[Request] = set()
        """Requests under way."""
        self.asked = AskingCounts()
        """How often replies were asked for again."""
        self.idle: Callable[[], None] | None = None
        """Called when the last of ``running`` has ended."""
        self._services = services
        self._loop = asyncio.get_running_loop()

    @property
    def turns(self) -> Turns:
        """The turns at the service."""
        return self._services.turns

    @property
    def responses(self) -> Responses:
        """The replies that clients have kept."""
        return self._services.responses

    async def caller(self, request: Request) -> Caller:
        """Return who asks. Raises Fault: caller_no_key, gateway_busy."""
        keys = self._services.keys
        shown = request.credentials or (None,)
        for credential in shown[:-1]:
            try:
                return keys.known(credential) or await keys.find(credential or "")
            except Fault:
                pass  # The other one may be good.
        return keys.known(shown[-1]) or await keys.find(shown[-1] or "")

    async def handle(self, dialect: Dialect, request: Request) -> None:
        """Answer one request in ``dialect``. Never raises, except for a cancellation that is not ours."""
        services = self._services
        course = _Course(self._loop.time(), services.clock.now())
        self.running.add(request)
        request.watch_client(self._loop)
        try:
            await self._answer(dialect, request, course)
        except asyncio.CancelledError:
            if not (request.gone or request.evicted):
                raise
            course.fault = course.fault or self._left(request)
        except Exception as error:  # noqa: BLE001 - whatever it was, the client gets an answer and the log its cause
            course.fault = self._noted(request, error)
        finally:
            request.unwatch()
            if course.turn:
                services.turns.leave()
            if course.lease is not None:
                self._give_back(course.lease, request, course)
            if course.fault is not None and not request.gone and request.status == 0:
                await self.answer_fault(dialect, request, course.fault)
            self._log(dialect, request, course)
            if (fault := course.fault) is not None:
                # Its traceback holds this frame and, on the way here, the whole body; this frame holds it. Left alone,
                # megabytes would wait for the cycle collector, which runs seldom.
                fault.__traceback__ = fault.__cause__ = fault.__context__ = None
            self.running.discard(request)
            if not self.running and self.idle is not None:
                self.idle()

    async def _answer(self, dialect: Dialect, request: Request, course: _Course) -> None:
        services = self._services
        caller = course.caller = await self.caller(request)
        require_scope(caller, dialect.scope)
        if self.draining:
            raise Fault(FaultKind.GATEWAY_DRAINING, "The gateway is shutting down. Try again in a moment.")
        body = await request.body(services.bounds.max_body_bytes)
        ask = dialect.read(body) if dialect.name not in KEEPING else await self._read_on(dialect, body, caller)
        course.card = services.models.find(ask.model)
        require_model(caller, course.card)
        if services.limits.apply_to(caller):
            ask = await self._admit(ask, caller, course.card, course)
        ask = await services.pictures.inline(ask)
        # What is wrong with the form that a reply is to have is found here, before the service is asked.
        if (again := again_for(ask)) is not None:
            course.asking = Asking(services.upstream, again, self.asked, self._leases(course))
        if services.log.content:
            course.words = []
            course.prompt = prompt_text(ask)
        if not services.turns.try_enter():
            await services.turns.enter(caller.name, "completion" if dialect.scope == "completion" else caller.lane)
        course.turn = True
        if ask.wishes.stream:
            await self._stream(dialect, request, ask, course)
        else:
            await self._whole(dialect, request, ask, course)

    async def enter(self, request: Request, scope: Scope | None = None) -> Caller:
        """Return who asks for something that costs no tokens; it counts as a request. None: a key of any scope will do.

        Raises Fault: caller_no_key, caller_forbidden, policy_rate, gateway_busy.
        """
        caller = await self.caller(request)
        if scope is not None:
            require_scope(caller, scope)
        limits = self._services.limits
        if limits.apply_to(caller):
            (await limits.admit(caller, Need(slots=0))).release()
        return caller

    async def _admit(self, ask: Ask, caller: Caller, card: ModelCard, course: _Course) -> Ask:
        """Reserve what a request needs, and return it with the answer's limit in it. Raises Fault."""
        limits = self._services.limits
        tokens = self._services.upstream.estimate(ask, card).input_tokens if limits.count_tokens_of(caller) else None
        lease = course.lease = await limits.admit(caller, Need(tokens, ask.sampling.max_tokens))
        return ask if lease.output is None else replace(ask, sampling=replace(ask.sampling, max_tokens=lease.output))

    def _leases(self, course: _Course) -> Leases | None:
        """Return what reserves for further calls of a request; None where no tokens are limited."""
        caller, card, first = course.caller, course.card, course.lease
        services = self._services
        if caller is None or card is None or first is None or not services.limits.count_tokens_of(caller):
            return None

        async def reserve(ask: Ask) -> Lease:
            tokens = services.upstream.estimate(ask, card).input_tokens
            return await services.limits.admit(caller, Need(tokens, ask.sampling.max_tokens, requests=0, slots=0))

        return Leases(first, reserve)

    def _give_back(self, lease: Lease, request: Request, course: _Course) -> None:
        if course.usage is not None:
            lease.settle(course.usage)
        elif course.first is not None or (course.turn and (request.gone or request.evicted)):
            # The service was at work for it, and nobody knows how far it came.
            lease.settle(None)
        lease.release()

    async def _read_on(self, dialect: Dialect, body: bytes, caller: Caller) -> Ask:
        """Read a request that may go on with what was kept. Raises Fault."""
        keeping = KEEPING[dialect.name]
        responses, owner = self._services.responses, caller.owner
        previous, others = keeping.wanted(body)
        recalled: dict[str, tuple[Record, ...]] = {}
        for name in others:
            record = await responses.find(name, owner)
            recalled[name] = () if record is None else (record,)
        if previous is not None:
            recalled[previous] = await responses.chain(previous, owner)
        return keeping.read_on(body, recalled)

    def _keep(self, dialect: Dialect, ask: Ask, head: Head, written: bytes | Writer, course: _Course) -> None:
        """Keep a reply, if it is one that is kept. It can be fetched before its last byte is sent."""
        keeping = KEEPING.get(dialect.name)
        if keeping is not None and course.caller is not None:
            record = keeping.record(ask, head, written)
            if record is not None:
                self._services.responses.put(record, course.caller.owner)

    async def count(self, dialect: CountingDialect, request: Request) -> None:
        """Tell how many tokens a request has, without sending it. Raises Fault."""
        caller = await self.enter(request, dialect.scope)
        ask = dialect.read_count(await request.body(self._services.bounds.max_body_bytes))
        card = self._services.models.find(ask.model)
        require_model(caller, card)
        tokens = self._services.upstream.estimate(ask, card).input_tokens
        headers: Headers = [_JSON, ESTIMATED, *((name, request.id.encode()) for name in dialect.id_headers)]
        await request.respond(200, headers, dialect.count_body(tokens))

    def note(self, dialect: Dialect, request: Request, fault: Fault) -> None:
        """Write the line of a request that was answered with a fault before it came to an exchange."""
        course = _Course(self._loop.time(), self._services.clock.now())
        course.fault = fault
        self._log(dialect, request, course)

    async def answer_fault(self, dialect: Dialect, request: Request, fault: Fault) -> None:
        """Send a fault as a whole answer in the tongue of ``dialect``."""
        headers: Headers = [_JSON, *headers_of(fault)]
        if fault.limits is not None:
            headers += dialect.limit_headers(fault.limits)
        headers += [(name, request.id.encode()) for name in dialect.id_headers]
        await request.respond(dialect.status(fault), headers, dialect.error(fault, request.id))

    def _events(self, ask: Ask, course: _Course, sink: Sink | None = None) -> AsyncGenerator[list[Event], None]:
        assert course.card is not None  # noqa: S101
        if course.asking is not None:
            return course.asking.events(ask, course.card)
        return self._services.upstream.chat(ask, course.card, sink)

    def _head(self, dialect: Dialect, request: Request, ask: Ask, course: _Course) -> tuple[Head, Headers]:
        assert course.card is not None  # noqa: S101
        card, card_id = course.card, course.card.id
        services = self._services
        tells_input = dialect.tells_input and ask.wishes.stream
        tokens = services.upstream.estimate(ask, card).input_tokens if tells_input else 0
        head = Head(services.ids.tail(), int(course.at), ask.model or card_id, tokens)
        headers: Headers = [(b"x-fittengate-model", card_id.encode())]
        headers += [(name, request.id.encode()) for name in dialect.id_headers]
        if course.lease is not None and course.caller is not None:
            state = services.limits.state(course.caller)
            if state is not None:
                headers += dialect.limit_headers(state)
        ignored = ask.ignored
        if left_out := images_left_out(ask.conversation):
            ignored = (*ignored, f"images:{left_out}")
        if ignored:
            headers.append((b"x-fittengate-ignored", ", ".join(ignored).encode("ascii", "replace")))
        return head, headers

    async def _whole(self, dialect: Dialect, request: Request, ask: Ask, course: _Course) -> None:
        head, headers = self._head(dialect, request, ask, course)
        headers.append(_JSON)
        total = Fold()
        events = self._events(ask, course)
        try:
            async for batch in events:
                course.heard(batch, self._loop)
                total.feed(batch)
        finally:
            await events.aclose()
        reply = total.reply()
        course.usage = reply.usage
        if course.asking is not None and course.asking.warning is not None:
            headers.append((b"x-fittengate-warning", course.asking.warning.encode()))
        if reply.usage.estimated:
            headers.append(ESTIMATED)
        body = dialect.whole(reply, ask, head)
        self._keep(dialect, ask, head, body, course)
        await request.respond(200, headers, body)

    async def _stream(self, dialect: Dialect, request: Request, ask: Ask, course: _Course) -> None:
        services = self._services
        head, headers = self._head(dialect, request, ask, course)
        bounds = services.bounds
        writer = dialect.writer(ask, head)
        out = ClientStream(
            request, headers, services.timers, self._loop, hold=bounds.hold_seconds, beat=bounds.heartbeat_seconds
        )
        # The log's copy of the words is made here, so where it is wanted nothing takes the short way.
        events = self._events(ask, course, Relay(writer, out) if course.words is None else None)
        try:
            async for batch in events:
                course.heard(batch, self._loop)
                data = writer.feed(batch)
                last = batch[-1]
                if type(last) is Ended:
                    course.usage = last.usage
                    data += writer.close()
                    self._keep(dialect, ask, head, writer, course)
                    await out.finish(data)
                elif data or out.started:
                    # Began alone promises nothing: the status line waits for more.
                    await out.write(data)
        except asyncio.CancelledError:
            if request.evicted and not request.gone and out.started and not out.finished:
                course.fault = self._left(request)
                await out.finish(writer.fault(course.fault))
            raise
        except Exception as error:
            if not out.started or out.finished:
                raise
            course.fault = self._noted(request, error)
            await out.finish(writer.fault(course.fault))
        finally:
            out.stop()
            await events.aclose()

    def _noted(self, request: Request, error: Exception) -> Fault:
        """Return the fault behind an error; a defect of ours goes into the log with its place."""
        fault = as_fault(error)
        if fault.kind is FaultKind.GATEWAY_BROKEN:
            self._services.log.defect(request.id, error)
        return fault

    def _log(self, dialect: Dialect, request: Request, course: _Course) -> None:
        receipt = self._receipt(dialect, request, course)
        if course.words is None:
            self._services.log.exchange(receipt)
        else:
            self._services.log.exchange(receipt, course.prompt, "".join(course.words))

    def _left(self, request: Request) -> Fault:
        if request.gone:
            return Fault(FaultKind.CALLER_GONE, "The client went away.")
        return Fault(FaultKind.GATEWAY_DRAINING, "The gateway was shut down before the reply ended. Try again.")

    def _receipt(self, dialect: Dialect, request: Request, course: _Course) -> Receipt:
        fault = course.fault
        if fault is None:
            outcome = "complete"
        elif request.gone:
            outcome = "cancelled"
        else:
            outcome = "truncated" if request.status == 200 else "failed"
        # Where it was asked again, the books have all replies, and the client the one it got.
        usage = course.usage if course.asking is None else course.asking.spent
        agent: Any = request.headers.get(b"user-agent", b"-").split(b" ", 1)[0][:40]
        return Receipt(
            course.at,
            request.id,
            "-" if course.caller is None else course.caller.name,
            dialect.name,
            request.method,
            request.path,
            request.status or 499,
            outcome,
            "" if course.card is None else course.card.id,
            usage,
            None if course.first is None else course.first - course.began,
            self._loop.time() - course.began,
            agent.decode("ascii", "replace"),
            None if fault is None else fault.kind.value,
            None if fault is None else fault.detail or fault.message,
        )
