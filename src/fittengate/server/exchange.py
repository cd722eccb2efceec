"""The one conductor: takes a request through its whole way, whatever its dialect.

key -> Caller, body -> Ask -> Job, turn in the queue, upstream events -> bytes, one line in the log. What differs from one
kind of ask to another is the job's (:mod:`fittengate.server.job`): here no kind is named. Every way out passes the
one ``finally`` below: the upstream is closed, the turn given back, the receipt written. A client sees the end of an answer
only when its receipt is in the journal (P8): it goes there right before the last bytes go out.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from fittengate.core.ask import Ask
from fittengate.core.caller import Caller, ModelCard, Receipt, Scope
from fittengate.core.events import Ended
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Recalled, Record
from fittengate.core.tape import TAPE
from fittengate.dialects import KEEPING
from fittengate.dialects.base import CountingDialect, Dialect, Head
from fittengate.lib.clock import Clock
from fittengate.lib.timers import Timers
from fittengate.lib.traceparent import read_traceparent
from fittengate.server.admission import Admission, give_back
from fittengate.server.asking import AskingCounts
from fittengate.server.course import Course
from fittengate.server.faults import as_fault, headers_of
from fittengate.server.job import Job, Means
from fittengate.server.kinds import job_for
from fittengate.server.request import JSON, SLOW, Headers, Request
from fittengate.server.stream import ClientStream
from fittengate.server.typing import Typing
from fittengate.services.figures import Figures
from fittengate.services.ids import Ids
from fittengate.services.keyring import Keys
from fittengate.services.ledger import Receipts
from fittengate.services.limits import Limits
from fittengate.services.log import Log
from fittengate.services.models import ModelNames
from fittengate.services.overload import Overload
from fittengate.services.permission import require_model, require_scope
from fittengate.services.queue import Turns
from fittengate.services.recorder import Recorder
from fittengate.services.responses import Responses
from fittengate.services.traces import Traces
from fittengate.upstream.base import Upstream
from fittengate.upstream.pictures import Pictures

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
    typing: Typing
    pictures: Pictures
    responses: Responses
    ledger: Receipts
    log: Log
    figures: Figures
    ids: Ids
    clock: Clock
    timers: Timers
    limits: Limits
    overload: Overload
    bounds: Bounds
    traces: Traces | None
    recorder: Recorder | None = None
    """Keeps the last exchanges; None where that is off."""


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
        self._admission = Admission(services.keys, services.limits, services.upstream)
        self._means = Means(
            upstream=services.upstream,
            models=services.models,
            turns=services.turns,
            typing=services.typing,
            pictures=services.pictures,
            counts=self.asked,
        )
        self._recorder = services.recorder
        self._loop = asyncio.get_running_loop()
        self._now = services.clock.monotonic

    @property
    def turns(self) -> Turns:
        """The turns at the service."""
        return self._services.turns

    @property
    def overload(self) -> Overload:
        """How full the gateway is."""
        return self._services.overload

    @property
    def recorder(self) -> Recorder | None:
        """What keeps the last exchanges; None where that is off."""
        return self._recorder

    @property
    def responses(self) -> Responses:
        """The replies that clients have kept."""
        return self._services.responses

    async def caller(self, request: Request) -> Caller:
        """Return who asks, counting nothing: :meth:`Admission.caller`. Raises Fault."""
        return await self._admission.caller(request)

    async def enter(self, request: Request, scope: Scope | None = None) -> Caller:
        """Return who asks for something that costs no tokens: :meth:`Admission.enter`. Raises Fault."""
        return await self._admission.enter(request, scope)

    async def handle(self, dialect: Dialect, request: Request) -> None:
        """Answer one request in ``dialect``. Never raises, except for a cancellation that is not ours."""
        services = self._services
        course = Course(self._now, services.clock.now())
        request.timing = course.timing
        if services.traces is not None or b"traceparent" in request.headers:
            self._trace(request, course)
        if self._recorder is not None:
            self._record(self._recorder, dialect, request, course)
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
            if course.job is not None:
                course.job.leave()
            if course.lease is not None:
                give_back(course.lease, request, course)
            if course.fault is not None and not request.gone and request.status == 0:
                await self.answer_fault(dialect, request, course.fault, course)
            if course.receipt is None and course.fault is None and request.gone:
                # It left just before the last bytes.
                course.fault = self._left(request)
            self._log(dialect, request, course)
            if (fault := course.fault) is not None:
                # Its traceback holds this frame and, on the way here, the whole body; this frame holds it. Left alone,
                # megabytes would wait for the cycle collector, which runs seldom.
                fault.__traceback__ = fault.__cause__ = fault.__context__ = None
            self.running.discard(request)
            if not self.running and self.idle is not None:
                self.idle()

    def _trace(self, request: Request, course: Course) -> None:
        header, traces = request.headers.get(b"traceparent"), self._services.traces
        if traces is not None:
            course.trace_id, course.trace = traces.begin(header)
        elif header is not None and (parent := read_traceparent(header)) is not None:
            course.trace_id = parent.trace_id

    @staticmethod
    def _record(recorder: Recorder, dialect: Dialect, request: Request, course: Course) -> None:
        tape = request.tape = recorder.begin(request.id, dialect.name, course.at, course.began)
        # Also where there is none: a request that follows on the same connection may begin in the context of the last.
        TAPE.set(tape)
        if tape is not None:
            tape.head(request.method, request.path, request.headers)

    async def _answer(self, dialect: Dialect, request: Request, course: Course) -> None:
        services = self._services
        caller = course.caller = await self._admission.caller(request)
        if dialect.scope is not None:
            require_scope(caller, dialect.scope)
        course.authed_at = self._now()
        if services.overload.grade:
            # Where the path serves both, only the body tells which it is.
            services.overload.check(caller.lane if dialect.scope == "chat" else "completion")
        if self.draining:
            raise Fault(FaultKind.GATEWAY_DRAINING, "The gateway is shutting down. Try again in a moment.")
        body = await request.body(services.bounds.max_body_bytes)
        if request.tape is not None:
            request.tape.asked(body)
        ask = dialect.read(body) if dialect.name not in KEEPING else await self._read_on(dialect, body, caller)
        course.asked, course.stream = ask.model, ask.wishes.stream
        job = course.job = job_for(ask, self._means)
        if dialect.scope is None:
            scopes = sorted(job.scopes)
            for scope in scopes:
                require_scope(caller, scope)
            if services.overload.grade and "chat" in scopes:
                services.overload.check(caller.lane)
        card = course.card = job.find()
        job.require(caller)
        if services.limits.apply_to(caller):
            await self._admission.admit(job, caller, card, course)
        # What is wrong with the form that a reply is to have is found here, before the service is asked.
        await job.prepare()
        course.read_at = self._now()
        if services.log.content:
            course.words = []
            course.prompt = job.words()
        await job.enter(caller)
        course.turn_at = self._now()
        head, headers = self._head(dialect, request, job, card, course)
        if course.stream:
            await self._stream(dialect, request, job, course, head, headers)
        else:
            await self._whole(dialect, request, job, course, head, headers)

    async def _read_on(self, dialect: Dialect, body: bytes, caller: Caller) -> Ask:
        """Read a request that may go on with what was kept. Raises Fault."""
        return KEEPING[dialect.name].read_on(body, await self._recalled(dialect, body, caller))

    async def _recalled(self, dialect: Dialect, body: bytes, caller: Caller) -> Recalled:
        """Return what was kept of the responses that a request goes on with; none where nothing is kept."""
        keeping = KEEPING.get(dialect.name)
        if keeping is None:
            return {}
        responses, owner = self._services.responses, caller.owner
        previous, others = keeping.wanted(body)
        recalled: dict[str, tuple[Record, ...]] = {}
        for name in others:
            record = await responses.find(name, owner)
            recalled[name] = () if record is None else (record,)
        if previous is not None:
            recalled[previous] = await responses.chain(previous, owner)
        return recalled

    def _keep(self, dialect: Dialect, job: Job, head: Head, course: Course) -> None:
        """Keep a reply, if it is one that is kept. It can be fetched before its last byte is sent."""
        keeping = KEEPING.get(dialect.name)
        if keeping is not None and course.caller is not None:
            record = job.record(keeping, head)
            if record is not None:
                self._services.responses.put(record, course.caller.owner)

    async def count(self, dialect: CountingDialect, request: Request) -> None:
        """Tell how many tokens a request has, without sending it. Raises Fault."""
        caller = await self.enter(request, dialect.scope)
        body = await request.body(self._services.bounds.max_body_bytes)
        ask = dialect.read_count(body, await self._recalled(dialect, body, caller))
        card = self._services.models.find(ask.model)
        require_model(caller, card)
        tokens = self._services.upstream.estimate(ask, card).input_tokens
        headers: Headers = [JSON, ESTIMATED, *((name, request.id.encode()) for name in dialect.id_headers)]
        await request.respond(200, headers, dialect.count_body(tokens))

    def note(self, dialect: Dialect, request: Request, fault: Fault) -> None:
        """Write the line of a request that was answered with a fault before it came to an exchange."""
        course = Course(self._now, self._services.clock.now())
        course.fault = fault
        self._log(dialect, request, course)

    def stopwatch(self) -> Callable[[], bytes]:
        """Return what tells the time from now on as ``Server-Timing`` has it, for a request that is no exchange."""
        now, began = self._now, self._now()
        return lambda: b"total;dur=%.2f" % ((now() - began) * 1000)

    async def answer_fault(
        self, dialect: Dialect, request: Request, fault: Fault, course: Course | None = None
    ) -> None:
        """Send a fault as a whole answer in the tongue of ``dialect``. Without a ``course`` there is no receipt of it."""
        headers: Headers = [JSON, *headers_of(fault)]
        if fault.limits is not None:
            headers += dialect.limit_headers(fault.limits)
        headers += [(name, request.id.encode()) for name in dialect.id_headers]
        status = dialect.status(fault)
        before = None if course is None else partial(self._settle, dialect, request, course, status)
        await request.respond(status, headers, dialect.error(fault, request.id), before)

    def _head(
        self, dialect: Dialect, request: Request, job: Job, card: ModelCard, course: Course
    ) -> tuple[Head, Headers]:
        services, card_id = self._services, card.id
        tokens = job.input_tokens() if dialect.tells_input and course.stream else 0
        head = Head(services.ids.tail(), int(course.at), course.asked or card_id, tokens, course.times)
        headers: Headers = [(b"x-fittengate-model", card_id.encode())]
        headers += [(name, request.id.encode()) for name in dialect.id_headers]
        if (source := job.source) is not None:
            headers.append((b"x-fittengate-memory", source.encode()))
        if course.lease is not None and course.caller is not None:
            state = services.limits.state(course.caller)
            if state is not None:
                headers += dialect.limit_headers(state)
        if ignored := job.ignored():
            headers.append((b"x-fittengate-ignored", ", ".join(ignored).encode("ascii", "replace")))
        return head, headers

    async def _whole(
        self, dialect: Dialect, request: Request, job: Job, course: Course, head: Head, headers: Headers
    ) -> None:
        headers.append(JSON)
        feed, events = job.whole()
        try:
            async for batch in events:
                course.heard(batch)
                feed(batch)
        finally:
            await events.aclose()
        course.usage, course.reason = job.answered()
        body = job.body(dialect, head)
        if (warning := job.warning) is not None:
            headers.append((b"x-fittengate-warning", warning.encode()))
        if course.usage.estimated:
            headers.append(ESTIMATED)
        self._keep(dialect, job, head, course)
        await request.respond(200, headers, body, partial(self._settle, dialect, request, course, 200))

    async def _stream(
        self, dialect: Dialect, request: Request, job: Job, course: Course, head: Head, headers: Headers
    ) -> None:
        services = self._services
        bounds = services.bounds
        settle = partial(self._settle, dialect, request, course, 200)
        out = ClientStream(
            request,
            headers,
            services.timers,
            self._loop,
            hold=bounds.hold_seconds,
            beat=bounds.heartbeat_seconds,
            gaps=services.figures.cell(dialect.name, "" if course.card is None else course.card.id).gaps,
            form=dialect.form,
        )
        # The log's copy of the words is made here, so where it is wanted nothing takes the short way.
        writer, events = job.stream(dialect, head, out.relay if course.words is None else None)
        try:
            async for batch in events:
                course.heard(batch)
                data = writer.feed(batch)
                last = batch[-1]
                if type(last) is Ended:
                    course.usage, course.reason = last.usage, last.reason
                    data += writer.close()
                    self._keep(dialect, job, head, course)
                    await out.finish(data, settle)
                elif data or out.started:
                    # Began alone promises nothing: the status line waits for more.
                    await out.write(data)
        except asyncio.CancelledError:
            if request.evicted and not request.gone and out.started and not out.finished:
                course.fault = self._left(request)
                await out.finish(writer.fault(course.fault), settle)
            raise
        except Exception as error:
            if not out.started or out.finished:
                raise
            course.fault = self._noted(request, error)
            await out.finish(writer.fault(course.fault), settle)
        finally:
            out.stop()
            await events.aclose()

    def _noted(self, request: Request, error: Exception) -> Fault:
        """Return the fault behind an error; a defect of ours goes into the log with its place."""
        fault = as_fault(error)
        if fault.kind is FaultKind.GATEWAY_BROKEN:
            self._services.log.defect(request.id, error)
        return fault

    def _settle(self, dialect: Dialect, request: Request, course: Course, status: int) -> Receipt:
        """Return the receipt of an exchange. It is made once; where somebody is known to have asked, it is in the ledger.

        What nobody was recognised for is in the log alone: else anybody could fill the disk by knocking.
        """
        receipt = course.receipt
        if receipt is None:
            receipt = course.receipt = course.made_receipt(dialect.name, request, status)
            if course.caller is not None:
                self._services.ledger.add(receipt)
        return receipt

    def _log(self, dialect: Dialect, request: Request, course: Course) -> None:
        receipt = self._settle(dialect, request, course, request.status or 499)
        services = self._services
        services.figures.count(receipt)
        if course.trace is not None and services.traces is not None:
            services.traces.end(course.passage(course.trace, receipt))
        if self._recorder is not None and request.tape is not None:
            self._recorder.end(request.tape, receipt, self._loop.time())
        if course.words is None:
            services.log.exchange(receipt)
        else:
            services.log.exchange(receipt, course.prompt, "".join(course.words))

    def _left(self, request: Request) -> Fault:
        if request.gone and SLOW in request.scope:
            text = "The client did not read its answer, and was dropped (server.write_timeout)."
            return Fault(FaultKind.CALLER_SLOW, text)
        if request.gone:
            return Fault(FaultKind.CALLER_GONE, "The client went away.")
        return Fault(FaultKind.GATEWAY_DRAINING, "The gateway was shut down before the reply ended. Try again.")
