"""From a reply and a plan to what goes over the wire: compression, cutting, splitting, head and framing. Pure.

Law: unless the plan cuts or stalls, the data of the pieces joined is the reply's body, however it is split.
"""

import zlib
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from fittengate.simulator.plan import Plan
from fittengate.simulator.reply import Piece, Pieces, Reply

TURN = 1e-6
"""A pause, in seconds, that is over at the next turn of the event loop."""

_REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    301: "Moved Permanently",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}


class Outgoing(Struct, frozen=True):
    """A reply as it will be sent."""

    status: int
    headers: dict[str, str]
    """Names in lower case, without those about framing, connection and time."""
    steps: Pieces
    """The body and its pauses; the head goes out with the first step that carries data, empty data included."""
    framing: Literal["chunked", "length", "close"]
    length: int
    """What Content-Length says."""
    ending: Literal["end", "close", "reset"]
    pause: float
    """Seconds to wait before a close or reset."""
    keep_alive: bool
    streamed: bool

    def head(self, times: bytes) -> bytes:
        """Return status line and headers; ``times`` are header lines made by the caller."""
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.framing == "chunked":
            lines.append("transfer-encoding: chunked")
        elif self.framing == "length":
            lines.append(f"content-length: {self.length}")
        lines.append("connection: keep-alive" if self.keep_alive else "connection: close")
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n" + times + b"\r\n"

    def framed(self, data: bytes) -> bytes:
        """Return data as one chunk, or as it is."""
        if self.framing != "chunked" or not data:
            return data
        return b"%x\r\n%b\r\n" % (len(data), data)

    @property
    def end(self) -> bytes:
        """What follows the body at a clean end."""
        return b"0\r\n\r\n" if self.framing == "chunked" else b""


def prepare(reply: Reply, plan: Plan, *, gzip_offered: bool = False, keep_alive: bool = True) -> Outgoing:
    """Return the reply as the plan wants it sent."""
    body = reply.pieces if reply.pieces is not None else [Piece(0, reply.body)] * bool(reply.body)
    headers = {"content-type": reply.content_type, **reply.headers}
    gzip = plan.gzip == "always" or (plan.gzip == "offered" and gzip_offered)
    cut = plan.cut or reply.cut
    ending = cut or ("close" if plan.cut_at is not None or plan.cut_after is not None else "end")
    at = plan.cut_at if plan.cut_at is not None else reply.cut_at
    sent, rest = (body, []) if ending == "end" and cut is None else _cut(body, at)
    length = sum(len(piece.data or b"") for piece in (sent if ending == "end" else body))
    if ending == "stall":
        sent = [*sent, Piece(0, None), *rest]
        ending = "end"
    if gzip:
        headers["content-encoding"] = "gzip"
        whole = _compressed(body, whole=True)
        sent = _compressed(sent, whole=ending == "end")
        length = sum(len(piece.data or b"") for piece in (sent if ending == "end" else whole))
    steps = _before(plan) + _split(sent, plan)
    if plan.no_reply in ("close", "reset"):
        steps, ending = [], plan.no_reply
    framing = plan.framing or ("chunked" if reply.pieces is not None else "length")
    for name, value in plan.headers.items():
        headers.pop(name.lower(), None)
        if value:
            headers[name.lower()] = value
    return Outgoing(
        status=reply.status,
        headers=headers,
        steps=steps,
        framing=framing,
        length=max(0, length + plan.length_off),
        ending=ending,
        pause=plan.delay_ms / 1000 if plan.no_reply else 0,
        keep_alive=keep_alive and plan.keep_alive and framing != "close",
        streamed=reply.pieces is not None,
    )


def _before(plan: Plan) -> Pieces:
    """Return what comes before the body: a pause, perhaps a stall, the head."""
    stall = [Piece(0, None)] if plan.no_reply == "stall" else []
    return [*stall, Piece(plan.delay_ms / 1000, b"")]


def _cut(pieces: Pieces, at: int | None) -> tuple[Pieces, Pieces]:
    """Return the pieces before and after an offset; None is the end."""
    if at is None:
        return pieces, []
    sent: Pieces = []
    for index, piece in enumerate(pieces):
        data = piece.data or b""
        if len(data) > at:
            rest = [Piece(0, data[at:]), *pieces[index + 1 :]]
            return ([*sent, Piece(piece.delay, data[:at])] if at else sent), rest
        sent.append(piece)
        at -= len(data)
    return sent, []


def _compressed(pieces: Pieces, *, whole: bool) -> Pieces:
    packer = zlib.compressobj(wbits=31)
    out = [
        piece
        if piece.data is None
        else Piece(piece.delay, packer.compress(piece.data) + packer.flush(zlib.Z_SYNC_FLUSH))
        for piece in pieces
    ]
    return [*out, Piece(0, packer.flush())] if whole else out


def _split(pieces: Pieces, plan: Plan) -> Pieces:
    if not (plan.split or plan.split_at or plan.split_inside):
        return pieces
    pause = plan.split_ms / 1000 or TURN
    out: Pieces = []
    offset = 0
    joined = _joined(pieces)
    for piece in joined:
        if not piece.data:
            out.append(piece)
            continue
        places = _places(piece.data, offset, plan)
        offset += len(piece.data)
        parts = [piece.data[start:end] for start, end in pairwise([0, *places, len(piece.data)])]
        out.append(Piece(piece.delay, parts[0]))
        out.extend(Piece(pause, part) for part in parts[1:])
    return out


def _joined(pieces: Pieces) -> Pieces:
    """Return the pieces with those that follow without a pause joined to the one before."""
    groups: list[tuple[float, list[bytes] | None]] = []
    for piece in pieces:
        if piece.data is None:
            groups.append((piece.delay, None))
        elif groups and not piece.delay and (last := groups[-1][1]) is not None:
            last.append(piece.data)
        else:
            groups.append((piece.delay, [piece.data]))
    return [Piece(delay, None if parts is None else b"".join(parts)) for delay, parts in groups]


def _places(data: bytes, offset: int, plan: Plan) -> list[int]:
    places = {place - offset for place in plan.split_at}
    if plan.split:
        places |= set(range(plan.split, len(data), plan.split))
    if plan.split_inside:
        for index, byte in enumerate(data):
            if byte >= 0xC0 or byte == 0x5C:
                places.add(index + 1)
            if data[index : index + 2] == b"\\u":
                places.add(index + 4)
    return sorted(place for place in places if 0 < place < len(data))
