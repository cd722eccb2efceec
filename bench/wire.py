"""One HTTP/1.1 request as bytes, and its reply read from a plain socket: the same small cost for every target."""

import socket
import time
from typing import NamedTuple

LAST_CHUNK = b"\r\n0\r\n\r\n"
REPLY_SECONDS = 60.0


class Post(NamedTuple):
    """A POST request to a port of this machine."""

    port: int
    path: str
    headers: dict[str, str]
    body: bytes

    def bytes(self) -> bytes:
        """Return it as it goes over the wire."""
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Content-Type: application/json",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class Reply(NamedTuple):
    """A reply as it was read."""

    status: int
    body: bytes
    size: int
    """Bytes on the wire."""
    first_byte: float
    """Seconds from the request to the first byte of the body."""


class ReplyError(Exception):
    """A reply that cannot be read."""


def exchange(post: Post) -> Reply:
    """Send a request over a connection of its own and return the reply."""
    with connect(post.port) as sock:
        return ask(sock, post.bytes())


def connect(port: int) -> socket.socket:
    """Return a connection that sends at once."""
    sock = socket.create_connection(("127.0.0.1", port), REPLY_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def ask(sock: socket.socket, request: bytes) -> Reply:
    """Send a request and read the reply; raises ReplyError."""
    start = time.perf_counter()
    sock.sendall(request)
    data = b""
    while (head_end := data.find(b"\r\n\r\n") + 4) < 4 or len(data) == head_end:
        data += _more(sock)
    first_byte = time.perf_counter() - start
    head = data[:head_end].decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    if "transfer-encoding: chunked" in head:
        while not data.endswith(LAST_CHUNK):
            data += _more(sock)
        body = _joined(data[head_end:])
    else:
        length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0])
        while len(data) < head_end + length:
            data += _more(sock)
        body = data[head_end:]
    return Reply(status, body, len(data), first_byte)


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise ReplyError("the connection ended in the middle of a reply")
    return data


def _joined(chunks: bytes) -> bytes:
    parts: list[bytes] = []
    while True:
        size, _, chunks = chunks.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            return b"".join(parts)
        parts.append(chunks[:count])
        chunks = chunks[count + 2 :]
