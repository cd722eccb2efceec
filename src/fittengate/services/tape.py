"""What is kept of one exchange: what the client sent, what the service was sent, what it sent, what the client got.

Laws: whatever is kept was granted by the recorder first, so that all tapes together never hold more than they may; of
what is longer than an artifact may be, the beginning and the end are kept; noting copies nothing that exists anyway.
Nothing is looked at here: hashing and hiding are done when somebody asks (``services/bundle.py``).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from fittengate.core.caller import Receipt

TAPE_BYTES = 3072
"""What a tape and its receipt come to without any artifact."""

ADVANCE_BYTES = 4096
"""Granted together with a tape, and whenever more is asked for: most exchanges need no second grant."""

FIRST_BYTES = 2048
"""Least room that a stream asks for; there is four times as much each time."""

PIECE_BYTES = 96
"""What a piece takes up beside its bytes: two objects and their places in a list."""

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

    __slots__ = ("_cut", "_cut_pieces", "_grant", "_head", "_most", "_parts", "_room", "_size")

    def __init__(self, grant: Grant, most: int) -> None:
        """``most`` is how many bytes may be kept, as far as they are granted."""
        self._grant = grant
        self._most = most
        self._room = 0
        self._parts: list[Any] = []
        """Time and piece by turns; once something was left out, those at the end."""
        self._size = 0
        """What all that is kept takes up."""
        self._head: list[Any] | None = None
        """Those at the beginning, once something was left out behind them."""
        self._cut = 0
        self._cut_pieces = 0

    def add(self, now: float, data: bytes) -> None:
        """Note a piece: it is kept itself, not a copy."""
        parts = self._parts
        parts.append(now)
        parts.append(data)
        size = self._size = self._size + len(data) + PIECE_BYTES
        if size > self._room:
            self._make_room()

    def kept(self) -> Stream:
        """Return what there is so far."""
        parts = self._parts
        head, tail = (parts, []) if self._head is None else (self._head, parts)
        first, last = b"".join(head[1::2]), b"".join(tail[1::2])
        times = tuple([(both[at], len(both[at + 1])) for both in (head, tail) for at in range(0, len(both), 2)])
        return Stream(len(first) + len(last) + self._cut, first, last, len(times) + self._cut_pieces, times)

    def wipe(self) -> None:
        """Keep nothing, from now on."""
        self._room = self._most = self._size = 0
        self._head = []
        self._parts.clear()
        # What leads back to the tape would be a cycle, and wait for the collector.
        self._grant = _nothing

    def _make_room(self) -> None:
        size, room, most = self._size, self._room, self._most
        if self._head is None and room < most:
            # Four times as much each time, or what there is: a stream that comes in large pieces asks once.
            wanted = min(max(4 * room, FIRST_BYTES, size), most)
            while not self._grant(wanted - room):
                wanted = (wanted + room) // 2
                if wanted - room < FIRST_BYTES:
                    wanted = room
                    break
            room = self._room = wanted
        if size <= room:
            return
        parts, side = self._parts, self._room // 4
        held = sum(map(len, parts[1::2]))
        count = len(parts) // 2
        if self._head is None:
            self._head = _ends(parts, side, -1)
            held_before = count_before = 0
        else:
            held_before, count_before = sum(map(len, self._head[1::2])), len(self._head) // 2
        head = self._head
        tail = self._parts = _ends(parts, side, 1)
        kept, pieces = sum(map(len, head[1::2] + tail[1::2])), (len(head) + len(tail)) // 2
        self._cut += held + held_before - kept
        self._cut_pieces += count + count_before - pieces
        self._size = kept + pieces * PIECE_BYTES


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


def _ends(parts: list[Any], most: int, end: Literal[-1, 1]) -> list[Any]:
    """Return the first pieces (``end`` -1) or the last ones (1) that ``most`` bytes have room for, a large one cut."""
    found: list[Any] = []
    order = range(0, len(parts), 2) if end < 0 else range(len(parts) - 2, -1, -2)
    for at in order:
        room = most - PIECE_BYTES
        if room <= 0:
            break
        data = parts[at + 1]
        if len(data) > room:
            data = data[:room] if end < 0 else data[-room:]
        most -= PIECE_BYTES + len(data)
        found += (parts[at], data) if end < 0 else (data, parts[at])
    return found if end < 0 else found[::-1]


def _nothing(count: int) -> bool:  # noqa: ARG001 - the signature of a grant
    return False
