"""What was asked of the simulator and how each reply ended: the evidence for tests.

Law: the newest ``limit`` records are kept, and of their bodies at most ``limit_bytes`` in all. Secrets are kept as
fingerprints only: equal secrets have equal fingerprints.
"""

import asyncio
import hashlib
import re
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct, field

from fittengate.simulator.turns import Prompt, parse

_PASSWORD = re.compile(rb'("password"\s*:\s*)"((?:[^"\\]|\\.)*)"')
_CLOSED_TIMES = 1000


def fingerprint(secret: str) -> str:
    """Return what stands for a secret in the log."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()[:16]


class Record(Struct, kw_only=True, eq=False):
    """One request and what became of it."""

    route: str
    """Name of the route, as plans use it; ``unknown`` where no route matched."""
    method: str
    path: str
    query_string: str
    headers: dict[str, str]
    """Names in lower case; ``authorization`` as scheme and fingerprint."""
    body: bytes
    """As sent but decompressed; passwords and refresh tokens as fingerprints. Empty once the log was full."""
    body_size: int
    """Bytes on the wire."""
    at: float
    """Seconds since the epoch."""
    arrived: float
    """By the monotonic clock, in seconds, as the next two."""
    began: float | None = None
    """When the status line was sent."""
    ended: float | None = None
    """When the reply was sent or broken off."""
    status: int = 0
    """0 until a status line was sent."""
    outcome: Literal["open", "complete", "cut", "left"] = "open"
    """``cut``: broken off as planned; ``left``: the client closed the connection before the end."""
    bytes_sent: int = 0
    """Of the reply's body."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the request although the service serves it."""

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; the last one of a name counts."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @property
    def json(self) -> Any:
        """The body as a JSON value; None where it is none."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None

    @property
    def prompt(self) -> Prompt | None:
        """The prompt as the service reads it; None where the request holds none."""
        body = self.json
        inputs = body.get("inputs") if isinstance(body, dict) else None
        return parse(inputs) if isinstance(inputs, str) else None

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """Role and text of each turn of the prompt."""
        prompt = self.prompt
        return tuple((turn.role, turn.text) for turn in prompt.turns) if prompt else ()

    def view(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        prompt = self.prompt
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("body", "query_string")}
        return fields | {
            "query": self.query,
            "body": self.body.decode(errors="replace"),
            "turns": [{"role": role, "text": text} for role, text in self.turns],
            "prefill": prompt.prefill if prompt else None,
        }


class Counters(Struct, kw_only=True):
    """Numbers since the start or the last reset, except ``connections`` and ``open_streams``, which are now."""

    requests: Counter[str] = field(default_factory=Counter)
    """By route name."""
    logins: int = 0
    """Successful ones, in any form."""
    failed_logins: int = 0
    refreshes: int = 0
    """Successful calls of either refresh."""
    failed_refreshes: int = 0
    refused: int = 0
    """Requests refused for their token."""
    chats: int = 0
    """Chat requests that were answered with a stream."""
    completions: int = 0
    connections: int = 0
    """Open now."""
    connections_made: int = 0
    open_streams: int = 0
    """Chat replies that have begun and not ended."""
    open_streams_peak: int = 0
    closed_by_client: int = 0
    """Replies whose client left before the end."""
    closed_times: list[float] = field(default_factory=list)
    """When, by the monotonic clock; the newest thousand."""

    def stream_opened(self) -> None:
        """Count a chat reply that begins."""
        self.open_streams += 1
        self.open_streams_peak = max(self.open_streams_peak, self.open_streams)

    def client_left(self, when: float) -> None:
        """Count a reply whose client left before the end."""
        self.closed_by_client += 1
        self.closed_times.append(when)
        del self.closed_times[:-_CLOSED_TIMES]


class Log:
    """The records, the counters, and whoever waits for either."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self.counters = Counters()
        self._records: deque[Record] = deque()
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._bare = 0
        """How many of the oldest records have lost their bodies."""
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def records(self, route: str | None = None) -> list[Record]:
        """Return what was asked, oldest first, of one route or of all."""
        return [record for record in self._records if route is None or record.route == route]

    def add(self, record: Record) -> None:
        """Keep a record."""
        record.body = _without_secrets(record.route, record.body)
        self._records.append(record)
        self._bytes += len(record.body)
        while len(self._records) > self._limit:
            self._bytes -= len(self._records.popleft().body)
            self._bare = max(0, self._bare - 1)
        while self._bytes > self._limit_bytes:
            oldest = self._records[self._bare]
            self._bytes -= len(oldest.body)
            oldest.body = b""
            self._bare += 1
        self.counters.requests[record.route] += 1
        self.changed()

    def clear(self) -> None:
        """Forget the records and count from nothing, but for what is open now."""
        old = self.counters
        self.counters = Counters(connections=old.connections, open_streams=old.open_streams)
        self._records.clear()
        self._bytes = self._bare = 0

    def resize(self, limit: int, limit_bytes: int) -> None:
        """Take new limits, which hold from the next record on."""
        self._limit, self._limit_bytes = limit, limit_bytes

    def changed(self) -> None:
        """Wake those whose condition has come true."""
        if self._waiting:
            self._waiting = [waiter for waiter in self._waiting if not _settled(*waiter)]

    async def wait(self, condition: Callable[[], bool], seconds: float) -> None:
        """Return when ``condition`` holds; raises TimeoutError after ``seconds``."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        await asyncio.wait_for(future, seconds)


def _settled(condition: Callable[[], bool], future: asyncio.Future[None]) -> bool:
    if future.done():
        return True
    if not condition():
        return False
    future.set_result(None)
    return True


def _without_secrets(route: str, body: bytes) -> bytes:
    if route == "refresh_refresh":
        return msgspec.json.encode(fingerprint(body.decode(errors="replace").strip().strip('"')))
    if route in ("login", "old_login", "account"):
        return _PASSWORD.sub(lambda m: m[1] + msgspec.json.encode(fingerprint(_unescape(m[2]))), body)
    return body


def _unescape(text: bytes) -> str:
    try:
        return msgspec.json.decode(b'"' + text + b'"', type=str)
    except msgspec.DecodeError:
        return text.decode(errors="replace")
