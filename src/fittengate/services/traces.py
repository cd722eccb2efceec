"""Traces: spans of each exchange, sent to a collector (OTLP over HTTP) by a thread of its own.

Laws: on the event loop a trace costs an id at the beginning and, when the client has its answer, some microseconds for bytes
that are put into a queue: made while all they tell of is at hand, they cost half of what they cost a thread later. Everything
else is the thread's. What waits is bounded, and what finds no room is counted. A collector that is slow, away or wrong hurts
nobody: what it did not take is tried again with growing pauses, and given up when the queue is full behind it. A client's
``traceparent`` decides which trace a request belongs to and, by its flag, whether it is kept at all.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fittengate.lib.traceparent import read_traceparent
from fittengate.services import otlp
from fittengate.services.spans import Origin, Passage, Trace, spans_of

if TYPE_CHECKING:
    from requests import Session

GATHER_SECONDS = 1.0
"""How long spans gather before they are sent: a request to the collector costs as much as the spans of a hundred others."""

MAX_QUEUED = 8192
"""Exchanges in memory at most, some 10 MB."""

BATCH = 512
"""Exchanges in one request to the collector: about half a megabyte."""

TIMEOUT = (5.0, 10.0)
"""Seconds for a connection to the collector, and for its answer."""

RETRY_SECONDS = 1.0
RETRY_MOST_SECONDS = 30.0

CLOSE_SECONDS = 3.0

AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may be sent again (OTLP specification, "Retryable Response Codes")."""

_IDS = 256


class Collector(Struct, frozen=True):
    """Where spans go."""

    endpoint: str
    """Base URL of an OTLP receiver; ``/v1/traces`` is added where it is not there already."""
    headers: Mapping[str, str]
    version: str
    """The gateway's own."""

    @property
    def url(self) -> str:
        """The URL that spans are sent to."""
        return f"{self.endpoint.rstrip('/').removesuffix('/v1/traces')}/v1/traces"


class Traces:
    """Takes exchanges. ``begin`` and ``end`` belong to the event loop."""

    def __init__(
        self, collector: Collector, origin: Origin, random_bytes: Callable[[int], bytes], say: Callable[..., None]
    ) -> None:
        """Start the thread. ``say`` is the log's; ``random_bytes`` gives so many unguessable bytes."""
        self.sent = 0
        """Exchanges whose spans the collector has taken."""
        self.lost = 0
        """Exchanges that it has not taken, or that found the queue full."""
        self._collector = collector
        self._origin = origin
        self._random_bytes = random_bytes
        self._say = say
        self._ids: list[bytes] = []
        self._queue: deque[bytes] = deque()
        self._awake = False
        self._bell = threading.Lock()
        self._bell.acquire()
        self._closing = threading.Event()
        self._problem: str | None = None
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="fittengate-traces", daemon=True)
        self._thread.start()

    def begin(self, header: bytes | None) -> tuple[str, Trace | None]:
        """Return the id of a request's trace, and where its spans belong: None where they are not to be kept.

        ``header`` is the client's ``traceparent``.
        """
        parent = None if header is None else read_traceparent(header)
        if not self._ids:
            block = self._random_bytes(24 * _IDS)
            self._ids = [block[at : at + 24] for at in range(0, len(block), 24)]
        chance = self._ids.pop()
        span_id = int.from_bytes(chance[:8], "little") or 1
        if parent is None:
            trace_id = chance[8:].hex()
            return trace_id, Trace(trace_id, span_id, 0)
        if not parent.sampled:
            return parent.trace_id, None
        return parent.trace_id, Trace(parent.trace_id, span_id, int.from_bytes(parent.span_id, "little"))

    def end(self, passage: Passage) -> None:
        """Take an exchange that has ended. Never waits, never raises."""
        if len(self._queue) >= MAX_QUEUED:
            self.lost += 1
            return
        try:
            self._queue.append(b"".join(spans_of(passage, self._origin)))
        except Exception as error:  # noqa: BLE001 - the request has ended well, whatever its spans are
            self.lost += 1
            self._tell("error", "spans could not be made", error)
            return
        if not self._awake:
            self._awake = True
            self._ring()

    def close(self) -> None:
        """Send what is left, once, and stop; takes some seconds at most."""
        self._closing.set()
        self._ring()
        self._thread.join(CLOSE_SECONDS)

    def _tell(self, level: str, what: str, error: Exception) -> None:
        if what not in self._told:
            self._told.add(what)
            self._say(level, what, error=f"{type(error).__name__}: {error}"[:300])

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._bell.release()

    # From here on: the thread.

    def _run(self) -> None:
        self._bell.acquire()
        session: Session | None = None
        try:
            envelope = None
            while True:
                self._closing.wait(GATHER_SECONDS)
                self._awake = False
                while self._queue:
                    if session is None or envelope is None:
                        session, envelope = _session(self._collector), _envelope(self._collector.version)
                    self._send(session, envelope, self._batch())
                if self._closing.is_set():
                    return
                self._bell.acquire()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not come out of a thread
            self._tell("error", "traces have stopped", error)
        finally:
            if session is not None:
                session.close()

    def _batch(self) -> list[bytes]:
        """Return the spans of the exchanges that come next, one exchange an entry."""
        return [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]

    def _send(self, session: "Session", envelope: tuple[bytes, bytes], batch: list[bytes]) -> None:
        body = otlp.request(*envelope, batch)
        wait = RETRY_SECONDS
        while True:
            problem, again = _posted(session, self._collector.url, body)
            if problem is None:
                self.sent += len(batch)
                if self._problem is not None:
                    self._say("info", "the collector of traces works again")
                self._problem = None
                return
            if self._problem is None:
                self._say("warning", "spans cannot be sent to the collector", error=problem)
            self._problem = problem
            # With the queue full, newer ones are lost for the sake of these.
            if not again or self._closing.is_set() or len(self._queue) >= MAX_QUEUED:
                self.lost += len(batch)
                return
            self._closing.wait(wait)
            wait = min(2 * wait, RETRY_MOST_SECONDS)


def _session(collector: Collector) -> "Session":
    import requests

    session = requests.Session()
    # Neither a proxy nor a password out of the environment: the settings say where spans go.
    session.trust_env = False
    session.headers.update(collector.headers)
    session.headers["content-type"] = "application/x-protobuf"
    session.headers["user-agent"] = f"fittengate/{collector.version}"
    return session


def _posted(session: "Session", url: str, body: bytes) -> tuple[str | None, bool]:
    """Send; return what went wrong, None if nothing did, and whether another try may help."""
    import requests

    try:
        answer = session.post(url, data=body, timeout=TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        # Its words hold the whole URL and an address in memory; the kind says enough.
        return type(error).__name__, True
    if answer.ok:
        return None, False
    return f"status {answer.status_code}", answer.status_code in AGAIN


def _envelope(version: str) -> tuple[bytes, bytes]:
    """Return what is around all spans, as bytes: who sends them, and by which library."""
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource as WrittenResource
    from opentelemetry.sdk.resources import Resource

    # It also takes up what OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say, which goes before ours.
    known: Mapping[str, Any] = {
        "service.name": "fittengate",
        "service.version": version,
        **{
            key: value
            for key, value in Resource.create().attributes.items()
            if not str(value).startswith("unknown_service")
        },
    }
    attributes = [KeyValue(key=key, value=AnyValue(string_value=str(value))) for key, value in known.items()]
    written = WrittenResource(attributes=attributes)
    return written.SerializeToString(), InstrumentationScope(name="fittengate", version=version).SerializeToString()
