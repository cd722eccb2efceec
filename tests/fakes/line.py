"""An HTTP client that does what it is told, byte by byte: it can be rude, leave, read slowly and note the time."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

KEY = "test-client-key-0123456789"
CHAT = "/v1/chat/completions"


class Reply(NamedTuple):
    """A whole answer. ``complete`` says whether HTTP itself ended well."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def text(self) -> str:
        """What a streamed or a whole chat answer says."""
        if "event-stream" in self.headers["content-type"]:
            return streamed_text(self.body)
        return self.json["choices"][0]["message"]["content"]


def events(body: bytes) -> list[str]:
    """Return the data of each server-sent event, read by the book: a block is its ``data:`` lines."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        lines = [line.removeprefix("data: ") for line in block.split("\n") if line.startswith("data: ")]
        if lines:
            found.append("\n".join(lines))
    return found


def chunks(body: bytes) -> list[dict[str, Any]]:
    """Return the JSON of each event but ``[DONE]``."""
    return [json.loads(data) for data in events(body) if data != "[DONE]"]


def streamed_text(body: bytes) -> str:
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks(body) for choice in chunk.get("choices", ())
    )


def finish_reasons(body: bytes) -> list[str]:
    found = [choice["finish_reason"] for chunk in chunks(body) for choice in chunk.get("choices", ())]
    return [reason for reason in found if reason]


def ask(content: Any = "Hello", **fields: Any) -> dict[str, Any]:
    """Return the body of a chat request."""
    return {"model": "fitten-code", "messages": [{"role": "user", "content": content}], **fields}


def written(method: str, path: str, body: bytes = b"", *, key: str | None = KEY, headers: str = "") -> bytes:
    """Return a request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\n"
    if key is not None:
        head += f"Authorization: Bearer {key}\r\n"
    if body or method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (head + headers + "\r\n").encode() + body


class Line:
    """One connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.complete = False
        """The last body ended as HTTP says it must."""

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def ask(self, content: Any = "Hello", **fields: Any) -> None:
        await self.send(written("POST", CHAT, json.dumps(ask(content, **fields)).encode()))

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read a status line and headers; names are in lower case."""
        first = await self._reader.readline()
        if not first:
            raise ConnectionResetError("closed before the status line")
        headers = {}
        while (line := (await self._reader.readline()).strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(first.split()[1]), headers

    async def pieces(self, headers: dict[str, str]) -> AsyncIterator[tuple[float, bytes]]:
        """Yield each chunk of a body with the time when it came."""
        self.complete = False
        if "chunked" in headers.get("transfer-encoding", ""):
            while (size := await self._reader.readline()) not in (b"", b"0\r\n"):
                data = await self._reader.readexactly(int(size, 16))
                await self._reader.readexactly(2)
                yield time.monotonic(), data
            self.complete = size == b"0\r\n" and await self._reader.readline() == b"\r\n"
            return
        length = int(headers.get("content-length", 0))
        yield time.monotonic(), await self._reader.readexactly(length)
        self.complete = True

    async def reply(self, *, bodiless: bool = False) -> Reply:
        """Read a whole answer."""
        status, headers = await self.head()
        body = b""
        if bodiless:
            return Reply(status, headers, body, complete=True)
        try:
            async for _, data in self.pieces(headers):
                body += data
        except (asyncio.IncompleteReadError, ConnectionError):
            self.complete = False
        return Reply(status, headers, body, self.complete)

    async def ended(self) -> bool:
        """Wait for the other side's end; tell whether it came without another byte."""
        try:
            return await self._reader.read(1) == b""
        except ConnectionError:
            return True

    def leave(self) -> float:
        """Reset the connection, as a killed client does; return when."""
        sock = self._writer.get_extra_info("socket")
        with socket.fromfd(sock.fileno(), sock.family, sock.type) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        return time.monotonic()

    async def close(self) -> float:
        """Close the connection in good order; return when that began."""
        at = time.monotonic()
        self._writer.close()
        return at


@asynccontextmanager
async def line(port: int, receive_buffer: int = 0) -> AsyncIterator[Line]:
    """Connect; ``receive_buffer`` bytes is all that is read ahead, 0 for the system's own measure."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    reader, writer = await asyncio.open_connection(sock=sock, limit=receive_buffer or 65536)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


async def request(
    port: int, method: str, path: str, body: bytes = b"", *, key: str | None = KEY, headers: str = ""
) -> Reply:
    """Make one request on a connection of its own."""
    async with line(port) as one:
        await one.send(written(method, path, body, key=key, headers=headers))
        return await one.reply(bodiless=method == "HEAD")


async def chat(port: int, content: Any = "Hello", *, headers: str = "", **fields: Any) -> Reply:
    """Make one chat request on a connection of its own."""
    return await request(port, "POST", CHAT, json.dumps(ask(content, **fields)).encode(), headers=headers)


async def until(condition: Any, seconds: float = 5.0, pause: float = 0.005) -> None:
    """Return once ``condition()`` holds; raises TimeoutError. For what tells nobody when it changes."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(pause)
