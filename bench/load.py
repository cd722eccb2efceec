"""Clients: wrk for as much as a program can do, sockets of our own where replies are slow or must be counted."""

import asyncio
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from processes import BenchError, stop
from targets import TOKEN
from wire import LAST_CHUNK, Post, ask, connect

_MARK = TOKEN.encode()

WARM_UP = 20
"""Requests before those that count."""

_SCRIPT = """\
local file = assert(io.open({body}, "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
{headers}
function done(summary)
  local e = summary.errors
  io.write(string.format("\\nRESULT %d %d %d\\n", summary.requests, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def wrk(post: Post, folder: Path, *, connections: int, seconds: float, sizes: tuple[int, int]) -> int:
    """Send a request over and over, from this process's core; return how many were answered.

    ``sizes`` are the least and the most that one right reply has on the wire: deltas that are read together may leave
    together. Raises BenchError when a reply was no 200, a connection broke, or the replies had another size on average.
    """
    body = folder / "wrk.body"
    body.write_bytes(post.body)
    headers = "\n".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in post.headers.items())
    script = folder / "wrk.lua"
    script.write_text(_SCRIPT.format(body=json.dumps(str(body)), headers=headers))
    url = f"http://127.0.0.1:{post.port}{post.path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "20s", "-s", str(script), url]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output = process.communicate(timeout=seconds + 30)[0].decode(errors="replace")
    finally:
        stop(process)
    if process.returncode or "RESULT " not in output:
        raise BenchError(f"wrk failed: {output.strip()[-1000:]}")
    count, received, errors = map(int, output.rsplit("RESULT ", 1)[1].split())
    if errors or not count:
        raise BenchError(f"wrk counted {errors} errors in {count} requests: {output.strip()[-1000:]}")
    # The replies under way at the end are in the bytes but not in the count.
    if not count * sizes[0] * 0.97 <= received <= (count + connections) * sizes[1] * 1.03:
        low, high = sizes
        raise BenchError(f"replies of {received / count:.0f} bytes on average; a right one has {low} to {high}")
    return count


def first_byte(post: Post, seconds: float) -> float:
    """Ask one by one over one connection; return the median time to the first byte of the body, in seconds."""
    request = post.bytes()
    times: list[float] = []
    with connect(post.port) as sock:
        for _ in range(WARM_UP):
            ask(sock, request)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            reply = ask(sock, request)
            if reply.status != 200 or _MARK not in reply.body:
                raise BenchError(f"not the right reply: {reply.status} {reply.body[:200]!r}")
            times.append(reply.first_byte)
    return statistics.median(times)


def one_by_one(post: Callable[[int], Post], seconds: float, mark: bytes, *, first: bool) -> float:
    """Ask one by one over one connection; return the median time, in seconds, to the first byte or to the last.

    ``post`` makes each request by its number. Raises BenchError for a reply that is no 200 or does not hold ``mark``.
    """
    times: list[float] = []
    with connect(post(0).port) as sock:
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end or number < WARM_UP + 5:
            request = post(number).bytes()
            start = time.perf_counter()
            reply = ask(sock, request)
            took = time.perf_counter() - start
            if reply.status != 200 or mark not in reply.body:
                raise BenchError(f"not the right reply: {reply.status} {reply.body[:200]!r}")
            if number >= WARM_UP:
                times.append(reply.first_byte if first else took)
            number += 1
    return statistics.median(times)


_GOLDEN = 0.6180339887498949
"""Multiples of it fall evenly between whole numbers, however many there are."""


class _Stream(asyncio.Protocol):
    """Asks again as soon as a reply is complete, and counts the deltas of all."""

    def __init__(self, streams: "Streams") -> None:
        self._streams = streams
        self._transport: asyncio.Transport | None = None
        self._tail = b""
        self._seen = 0
        self._fresh = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._streams.transports.append(transport)
        transport.write(self._streams.request)

    def data_received(self, data: bytes) -> None:
        if self._fresh:
            self._fresh = False
            if not data.startswith(b"HTTP/1.1 200 "):
                self._streams.wrong += 1
        # A mark may be torn by the packets: the piece that could begin one is looked at again.
        window = self._tail + data
        found = window.count(_MARK)
        self._seen += found
        self._streams.deltas += found
        if window.endswith(LAST_CHUNK):
            if self._seen != self._streams.per_reply:
                self._streams.wrong += 1
            self._streams.replies += 1
            self._seen = 0
            self._tail = b""
            self._fresh = True
            if self._transport is not None:
                self._transport.write(self._streams.request)
            return
        keep = max(len(LAST_CHUNK), len(_MARK)) - 1
        self._tail = window[-keep:]
        if _MARK in self._tail:
            self._tail = self._tail[self._tail.index(_MARK) + 1 :]

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._streams.closing:
            self._streams.wrong += 1


class Streams:
    """Many clients that read slow streams at the same time."""

    def __init__(self, post: Post, per_reply: int) -> None:
        self.request = post.bytes()
        self.per_reply = per_reply
        self.transports: list[asyncio.Transport] = []
        self.deltas = 0
        self.replies = 0
        self.wrong = 0
        self.closing = False
        self._port = post.port

    async def open(self, count: int, over: float, apart: float) -> None:
        """Open so many, evenly over some seconds, with deltas ``apart`` seconds from one another.

        No two streams keep step: each begins at a place of its own within that time too, so that their deltas come one
        by one, as those of people who do not know each other do.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        places = sorted(
            (over * number / count) // apart * apart + apart * (number * _GOLDEN % 1) for number in range(count)
        )
        for place in places:
            await asyncio.sleep(max(0.0, start + place - loop.time()))
            await loop.create_connection(lambda: _Stream(self), "127.0.0.1", self._port)

    def close(self) -> None:
        """Drop them all; raises BenchError if one was not right."""
        self.closing = True
        for transport in self.transports:
            transport.abort()
        if self.wrong:
            raise BenchError(f"{self.wrong} streams broke or had not {self.per_reply} deltas")
