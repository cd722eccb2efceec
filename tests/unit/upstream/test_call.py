"""One request and its reply on a pooled connection, against sockets that behave and that do not."""

import asyncio
import contextlib

import pytest

from fakes.called import Called
from fittengate.upstream.fitten.call import HOLD_BYTES, LARGE_BYTES, MAX_HEAD_BYTES, Line, ReplyBrokenError
from fittengate.upstream.fitten.spares import Spares

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Service(Called):
    """Answers each request with the next script: pieces of bytes; None closes the connection."""

    target_path = "/chat?ft_token=%20a"

    def __init__(self, *scripts):
        self.scripts, self.asked, self.connections, self.resets = list(scripts), [], 0, 0
        self.closed = asyncio.Event()

    async def serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.asked.append((head, await reader.readexactly(length)))
                for piece in self.scripts.pop(0):
                    if piece is None:
                        writer.close()
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        self.closed.set()
        writer.close()


async def whole(call):
    body = bytearray()
    while part := await call.readany():
        body += part
    return bytes(body)


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * (LARGE_BYTES + 1)])
async def test_a_request_is_sent_whole_and_its_connection_used_again(body):
    """Head, length and body arrive as they are; after a whole reply the next request takes the same connection."""
    async with Service([OK], [CHUNKED, b"2\r\nok\r\n", b"0\r\n\r\n"], [OK]) as service:
        for _ in range(3):
            call = await service.post(body)
            assert (call.status, call.framed, await whole(call), call.at_eof()) == (200, True, b"ok", True)
            call.close()
        assert service.connections == 1
    assert {asked for _, asked in service.asked} == {body}
    assert service.asked[0][0] == service.head + b"%d\r\n\r\n" % len(body)


@pytest.mark.parametrize("answer", [OK, CHUNKED + b"1\r\no\r\n1;ext=a\r\nk\r\n0\r\nx-trailer: 1\r\n\r\n"])
async def test_a_reply_is_the_same_however_it_is_split(answer):
    """Byte by byte as well as in one piece, trailers and chunk extensions included."""
    async with Service([answer[at : at + 1] for at in range(len(answer))], [OK]) as service:
        call = await service.post()
        assert await whole(call) == b"ok"
        call = await service.post()
        assert await whole(call) == b"ok"
        assert service.connections == 1


async def test_an_interim_answer_is_passed_over():
    """100 and 103 come before the reply and are none."""
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nretry-after: 9\r\n\r\n"
    async with Service([early + OK]) as service:
        call = await service.post()
        assert (call.status, call.header(b"retry-after"), await whole(call)) == (200, None, b"ok")


@pytest.mark.parametrize(
    "script",
    [
        [None],
        [b"HTTP/1.1 200 OK\r\nContent-Le", None],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", None],
        [CHUNKED + b"2\r\nok\r\n", None],
        [CHUNKED + b"5\r\nok", None],
        [b"hello, I speak no HTTP\r\n\r\n"],
        [CHUNKED + b"zz\r\nok\r\n"],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw"],
        [b"HTTP/1.1 200 OK\r\n" + b"x-filler: " + b"a" * (4 * MAX_HEAD_BYTES)],
        [CHUNKED + b"1;" + b"a" * (8 * MAX_HEAD_BYTES)],
        [CHUNKED + b"0\r\n" + b"x-trailer: aaaaaaaaaa\r\n" * (MAX_HEAD_BYTES // 2)],
    ],
    ids=[
        "nothing",
        "head",
        "length",
        "chunk-end",
        "in-chunk",
        "no-http",
        "chunk-size",
        "upgrade",
        "head-bomb",
        "extension-bomb",
        "trailer-bomb",
    ],
)
async def test_a_torn_or_endless_reply_is_broken_and_its_connection_closed(script):
    """Cut anywhere, or no HTTP, or a head that does not end: an error that quotes nothing; the next call works."""
    async with Service(script, [OK]) as service:
        with pytest.raises(ReplyBrokenError) as caught:
            await whole(await service.post())
        assert "ok" not in str(caught.value)
        assert await whole(await service.post()) == b"ok"
        assert service.connections == 2


async def test_without_a_length_the_end_of_the_connection_is_the_end_of_the_body():
    """Whether it was a clean end is for the decoder to judge: ``framed`` is false."""
    async with Service([b"HTTP/1.1 200 OK\r\n\r\nok", None]) as service:
        call = await service.post()
        assert (call.framed, await whole(call), call.at_eof()) == (False, b"ok", True)


async def test_p1_a_reset_is_never_the_end_of_a_reply():
    """P1: without a length only an orderly end of the connection can be the end of the body; what came before is given."""
    async with Service([b"HTTP/1.1 200 OK\r\n\r\nok"]) as service:
        call = await service.post()
        assert await call.readany() == b"ok"
        call.lost(ConnectionResetError("reset by peer"))
        with pytest.raises(ReplyBrokenError, match=r"^ConnectionResetError$"):
            await call.readany()
        assert not call.at_eof()
        call.close()


async def test_p6_of_an_endless_error_so_much_is_read_and_no_more():
    """P6: whoever wants the first bytes of a body does not wait for its end, nor gets more than was asked for."""
    async with Service([CHUNKED + b"4\r\nabcd\r\n"]) as service:
        call = await service.post()
        async with asyncio.timeout(5):
            assert await call.read(3) == b"abc"
        call.close()


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake no HTTP at all\r\n\r\n",
        OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"),
        OK + b"no HTTP at all\r\n\r\n",
        OK + b"\0",
    ],
)
async def test_a_connection_with_more_than_the_reply_is_not_used_again(answer):
    """An answer that nobody asked for would be taken for the next one's."""
    async with Service([answer], [OK]) as service:
        assert await whole(await service.post()) == b"ok"
        assert await whole(await service.post()) == b"ok"
        assert service.connections == 2


async def test_bytes_on_an_idle_connection_are_never_the_next_reply():
    """The service speaks on a connection of aiohttp's pool: that marks it, and no call takes it."""
    async with Service([OK, b"", b""], [OK]) as service:
        call = await service.post()
        assert await whole(call) == b"ok"
        service.spares.close()
        service.spares = Spares(30, asyncio.get_running_loop())
        handler = next(iter(service.connector._conns.values()))[0][0]
        handler.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake")
        with pytest.raises(ReplyBrokenError):
            await service.post()
        assert await whole(await service.post()) == b"ok"


async def test_closing_before_the_end_closes_the_connection_at_once():
    """The service sees it leave; closing again does nothing."""
    async with Service([CHUNKED + b"2\r\nok\r\n"]) as service:
        call = await service.post()
        assert await call.readany() == b"ok"
        call.close()
        call.close()
        async with asyncio.timeout(5):
            await service.closed.wait()


async def test_a_reader_that_does_not_read_stops_the_service():
    """So much is held and no more, as often as it stops reading; once it is read, the rest comes (P6)."""
    size = 200 * HOLD_BYTES
    async with Service([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size]) as service:
        call = await service.post()
        taken = 0
        for _ in range(3):
            while not call.paused:
                await asyncio.sleep(0.001)
            held = call.size
            for _ in range(20):
                await asyncio.sleep(0)
            assert call.size == held < size / 5
            while call.paused:
                taken += len(await call.readany())
        assert taken + len(await whole(call)) == size


async def test_much_that_comes_at_once_is_given_in_parts():
    """However much was taken in, a reader gets little more than the measure at a time, in order and without loss."""
    pieces = [b"%06d" % number * 1000 for number in range(300)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    async with Service([answer], [answer]) as service:
        call = await service.post()
        got = []
        while not call.at_eof():
            got.append(await call.readany())
            await asyncio.sleep(0.001)
        assert b"".join(got) == b"".join(pieces)
        assert max(map(len, got)) <= HOLD_BYTES + len(pieces[0])
        assert call.size == 0
        assert not call.paused
        assert len(await whole(await service.post())) == 300 * 6000


async def test_a_tap_takes_what_comes_while_somebody_waits_and_nothing_else():
    """What it refuses is read in the ordinary way, in order and once; the end always is."""
    seen = []

    def tap(data):
        seen.append(data)
        return data == b"one"

    async with Service([CHUNKED]) as service:
        call = await service.post()
        call.tap, line = tap, call._line
        line.data_received(b"4\r\nzero\r\n")
        assert (seen, await call.readany()) == ([], b"zero")
        reading = asyncio.create_task(call.readany())
        await asyncio.sleep(0)
        for piece in (b"one", b"two", b"six"):
            line.data_received(b"3\r\n%b\r\n" % piece)
        assert (seen, await reading) == ([b"one", b"two"], b"twosix")
        reading = asyncio.create_task(call.readany())
        await asyncio.sleep(0)
        line.data_received(b"3\r\none\r\n3\r\none\r\n")
        assert (seen, await reading) == ([b"one", b"two"], b"oneone"), "of several pieces in one read none is taken"
        reading = asyncio.create_task(call.readany())
        await asyncio.sleep(0)
        line.data_received(b"3\r\none\r\n0\r\n\r\n")
        assert (seen, await reading, call.at_eof()) == ([b"one", b"two"], b"one", True)


async def test_a_gone_connection_is_an_error_and_not_an_answer():
    """A call on a connection that closed meanwhile raises, and gives it up."""

    class Gone:
        protocol = transport = None
        closed = 0

        def close(self):
            self.closed += 1

    gone = Gone()
    with pytest.raises(ReplyBrokenError):
        Line(gone, Spares(30, asyncio.get_running_loop()))
    assert gone.closed == 1
