"""What is kept of one exchange: what the client sent, what the service was sent, what it sent, what the client got.

Laws: whatever is kept was granted by the recorder first, so that all tapes together never hold more than they may; of
what is longer than an artifact may be, the beginning and the end are kept; noting copies no body that exists anyway.
Nothing is looked at here: hashing and hiding are done when somebody asks (``services/bundle.py``).
"""

from array import array
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import Struct

from fittengate.core.caller import Receipt

TAPE_BYTES = 3072
"""What a tape and its receipt come to without any artifact."""

ADVANCE_BYTES = 4096
"""Granted together with a tape, and whenever more is asked for: most exchanges need no second grant."""

FIRST_BYTES = 1024
FIRST_MARKS = 64
"""Room of a stream at its beginning: bytes, and numbers (two for each piece); doubled as long as there is more."""

MARK_BYTES = 8

CALL_BYTES = 512
MAX_CALLS = 16
"""Calls of one exchange that are kept: several answers, tries and further asks."""

Grant = Callable[[int], bool]


class Body(Struct, frozen=True, gc=False):
    """Something that was there at once."""

    size: int
    """How long it was."""
    head: bytes
    tail: bytes
    """Empty where ``head`` is all of it."""


class Stream(NamedTuple):
    """What became of a stream."""

    size: int
    head: bytes
    tail: bytes
    """Empty where ``head`` is all of it."""
    pieces: int
    times: tuple[tuple[float, int], ...]
    """When a piece came or went, and how long it was; of too many, the first and the last ones."""


class Pieces:
    """A stream, kept piece by piece: see :class:`fittengate.core.tape.Pieces`."""

    __slots__ = ("_cut", "_cut_marks", "_grant", "_head", "_held", "_mark_room", "_marks", "_most", "_room")

    def __init__(self, grant: Grant, most: int) -> None:
        """``most`` is how many bytes may be kept. Nothing is kept where not even a beginning is granted."""
        room = min(FIRST_BYTES, most)
        granted = grant(room + MARK_BYTES * FIRST_MARKS)
        self._grant = grant
        self._most = most
        self._room = room if granted else 0
        self._mark_room = FIRST_MARKS if granted else 0
        self._head: int | None = None
        """Bytes at the beginning that stay, once something was left out behind them; None before that."""
        self._held = bytearray()
        self._marks = array("d")
        self._cut = 0
        self._cut_marks = 0

    def add(self, now: float, data: bytes) -> None:
        """Note a piece."""
        held, marks = self._held, self._marks
        held += data
        marks.append(now)
        marks.append(len(data))
        if len(held) > self._room or len(marks) > self._mark_room:
            self._make_room()

    def kept(self) -> Stream:
        """Return what there is so far."""
        held, marks = bytes(self._held), self._marks
        head = len(held) if self._head is None else self._head
        times = tuple((marks[at], int(marks[at + 1])) for at in range(0, len(marks) - 1, 2))
        return Stream(len(held) + self._cut, held[:head], held[head:], (len(marks) + self._cut_marks) // 2, times)

    def wipe(self) -> None:
        """Keep nothing, from now on."""
        self._room = self._mark_room = self._most = self._head = 0
        self._held.clear()
        del self._marks[:]

    def _make_room(self) -> None:
        held, marks = self._held, self._marks
        if self._head is None:
            while len(held) > self._room and (more := min(self._room, self._most - self._room)) and self._grant(more):
                self._room += more
        if len(held) > self._room:
            side = self._room // 4
            self._head = side if self._head is None else self._head
            self._cut += len(held) - self._head - side
            del held[self._head : len(held) - side]
        if len(marks) > self._mark_room:
            # Timings may take up an eighth of what the bytes may.
            most = self._most // 8 // MARK_BYTES
            if self._mark_room < most and self._mark_room and self._grant(self._mark_room * MARK_BYTES):
                self._mark_room *= 2
            else:
                side = self._mark_room // 8 * 2
                self._cut_marks += len(marks) - 2 * side
                del marks[side : len(marks) - side]


class CallTape:
    """One call to the service: see :class:`fittengate.core.tape.CallTape`."""

    __slots__ = ("began", "body", "path", "raw", "replied_at", "status")

    def __init__(self, began: float, path: str, body: Body, raw: Pieces) -> None:
        self.began = began
        self.path = path
        self.body = body
        self.raw = raw
        self.status = 0
        """0 where no reply came."""
        self.replied_at: float | None = None

    def replied(self, now: float, status: int) -> None:
        """Note that the head of a reply came."""
        self.replied_at, self.status = now, status


class Tape:
    """One exchange: see :class:`fittengate.core.tape.Tape`. Begun and ended by the recorder."""

    __slots__ = (
        "_grant",
        "_most",
        "_spare",
        "agent",
        "answer",
        "at",
        "began",
        "calls",
        "dialect",
        "ended",
        "headers",
        "id",
        "method",
        "path",
        "receipt",
        "received",
        "sent",
        "status",
        "taken",
    )

    def __init__(self, request_id: str, dialect: str, at: float, began: float, grant: Grant, most: int) -> None:
        """``at`` is the time of day, ``began`` the loop's; ``grant`` says whether so many bytes more may be kept."""
        self.id = request_id
        self.dialect = dialect
        self.at = at
        self.began = began
        self.ended: float | None = None
        """None while the exchange is under way."""
        self.method = self.path = ""
        self.headers: tuple[bytes, ...] = ()
        """Their names."""
        self.agent: bytes | None = None
        """The client's own name; the only value of a header that is kept: keys stand in headers."""
        self.received: Body | None = None
        """What the client sent; None where it was not read."""
        self.calls: list[CallTape] = []
        self.status = 0
        self.answer: Body | None = None
        """What the client got, where that was one answer."""
        self.sent: Pieces | None = None
        """What the client got, where that was a stream."""
        self.receipt: Receipt | None = None
        self.taken = TAPE_BYTES + ADVANCE_BYTES
        """Bytes that were granted."""
        self._spare = ADVANCE_BYTES
        self._most = most
        self._grant = grant

    def head(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Note what the client's request began with. ``headers`` is not kept."""
        self.method, self.path = method, path
        self.headers = tuple(headers)
        self.agent = headers.get(b"user-agent")

    def asked(self, body: bytes) -> None:
        """Note what the client sent."""
        self.received = self._body(body)

    def call(self, now: float, path: str, body: bytes) -> CallTape | None:
        """Note that the service is called."""
        if len(self.calls) >= MAX_CALLS or not self.granted(CALL_BYTES):
            return None
        made = CallTape(now, path, self._body(body), Pieces(self.granted, self._most))
        self.calls.append(made)
        return made

    def answered(self, status: int, body: bytes) -> None:
        """Note a whole answer to the client."""
        self.status = status
        self.answer = self._body(body)

    def streaming(self) -> Pieces:
        """Return what takes a streamed answer."""
        sent = self.sent = Pieces(self.granted, self._most)
        return sent

    def granted(self, count: int) -> bool:
        """Ask for so many bytes."""
        spare = self._spare - count
        if spare < 0:
            more = ADVANCE_BYTES - spare
            if not self._grant(more):
                return False
            self.taken += more
            spare += more
        self._spare = spare
        return True

    def wipe(self) -> None:
        """Let go of everything that is large. Whoever still holds this tape may go on, in vain."""
        self.received = self.answer = None
        for call in self.calls:
            call.body = Body(call.body.size, b"", b"")
            call.raw.wipe()
        self.calls.clear()
        if self.sent is not None:
            self.sent.wipe()
        self._grant = _nothing
        self._spare = 0

    def _body(self, data: bytes) -> Body:
        size, most = len(data), self._most
        if size <= most:
            return Body(size, data, b"") if self.granted(size) else Body(size, b"", b"")
        side = most // 2
        return Body(size, data[:side], data[-side:]) if side and self.granted(2 * side) else Body(size, b"", b"")


def _nothing(count: int) -> bool:  # noqa: ARG001 - the signature of a grant
    return False
