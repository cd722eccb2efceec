"""Head and first bytes of a response in one write."""

import asyncio

from fakes.line import CHAT, KEY
from fittengate.server.http import _Joining


class Transport:
    """Keeps every write."""

    def __init__(self):
        self.writes, self.closed = [], False

    def write(self, data):
        self.writes.append(bytes(data))

    def close(self):
        self.closed = True

    abort = close

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name):
        return None

    def pause_reading(self):
        pass

    resume_reading = pause_reading


def test_a_head_goes_out_with_what_follows_it_unchanged_and_in_order():
    """Later pieces are written as they come, also those that look like a head."""
    transport = Transport()
    joining = _Joining(transport)
    for data in (b"HTTP/1.1 200 OK\r\n\r\n", b"one", b"two", b"HTTP/1.1 200 OK\r\n\r\n", b"three"):
        joining.write(data)
    assert transport.writes == [b"HTTP/1.1 200 OK\r\n\r\none", b"two", b"HTTP/1.1 200 OK\r\n\r\nthree"]


def test_a_head_that_nothing_follows_goes_out_at_the_end_or_the_close():
    """A HEAD request, and a connection that is turned away."""
    for end in ("flush", "close"):
        transport = Transport()
        joining = _Joining(transport)
        joining.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert transport.writes == []
        getattr(joining, end)()
        getattr(joining, end)()
        assert transport.writes == [b"HTTP/1.1 204 No Content\r\n\r\n"]


async def test_a_client_that_waits_for_100_continue_gets_it(gateway):
    """An interim answer is not held back: its client sends nothing before it has it."""
    body = b'{"messages":[{"role":"user","content":"repeat: hi"}]}'
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nExpect: 100-continue\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
