"""The short way of an answer sends what uvicorn would send."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from fakes.line import CHAT, KEY
from fakes.transport import Transport
from fittengate.server.http import protocol_class
from fittengate.server.outlet import SHORT_BYTES, _Bell
from fittengate.server.request import OUTLET

HEADERS = [(b"content-type", b"text/plain"), (b"x-request-id", b"req_1")]


async def through(app, request, kind=None):
    """Return the transport and the protocol after ``app`` has answered ``request``."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Mon, 23 Nov 2026 12:00:00 GMT")]
    kind = kind or protocol_class(0, 0, SimpleNamespace(grade=0))
    protocol = kind(config, state, {}, asyncio.get_running_loop())
    transport = Transport()
    protocol.connection_made(transport)
    protocol.data_received(request)
    for _ in range(10):
        await asyncio.sleep(0)
    # What timers hold would outlive the test.
    protocol._unset_keepalive_if_required()
    return transport, protocol


def by_messages(status, pieces, *, stream):
    async def app(scope, receive, send):
        length = [] if stream else [(b"content-length", b"%d" % len(b"".join(pieces)))]
        await send({"type": "http.response.start", "status": status, "headers": HEADERS + length})
        for piece in pieces[:-1]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": pieces[-1]})

    return app


def by_outlet(status, pieces, *, stream):
    async def app(scope, receive, send):
        outlet = scope[OUTLET]
        if not stream:
            outlet.whole(status, [*HEADERS, (b"content-length", b"%d" % len(b"".join(pieces)))], b"".join(pieces))
            return
        outlet.begin(status, HEADERS)
        for piece in pieces[:-1]:
            outlet.piece(piece)
        outlet.last(pieces[-1])

    return app


def by_turns(status, pieces, *, stream):
    """As by_outlet, but each piece goes out with those of other streams, and some turns of the loop have several."""
    if not stream:
        return by_outlet(status, pieces, stream=False)

    async def app(scope, receive, send):
        outlet = scope[OUTLET]
        outlet.begin(status, HEADERS)
        for number, piece in enumerate(pieces[:-1]):
            outlet.soon(piece)
            if number % 3 == 2:
                await asyncio.sleep(0)
        outlet.last(pieces[-1])

    return app


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("asked", [b"", b"connection: close\r\n", b"connection: keep-alive\r\n"])
@pytest.mark.parametrize(
    ("method", "status", "pieces", "stream"),
    [
        ("POST", 200, [b"hello"], False),
        ("POST", 429, [b"{}"], False),
        ("POST", 529, [b""], False),
        ("HEAD", 200, [b"hello"], False),
        ("POST", 200, [b"one", b"", b"two", b"three" * 100], True),
        ("POST", 200, [b"one", b""], True),
        ("POST", 200, [b""], True),
        ("POST", 200, [b"one", b"two", b"", b"three", b"four", b"five" * 2000, b"six", b"seven"], True),
    ],
)
async def test_all_ways_send_the_same_bytes_and_leave_the_same_state(method, status, pieces, stream, asked, version):
    """Heads, chunks, ends; connections kept and closed."""
    request = f"{method} / HTTP/{version}\r\nhost: a\r\n".encode() + asked + b"\r\n"
    seen = []
    for way in (by_messages, by_outlet, by_turns):
        transport, protocol = await through(way(status, pieces, stream=stream), request)
        cycle = protocol.cycle
        state = (cycle.response_started, cycle.response_complete, cycle.keep_alive, cycle.message_event.is_set())
        seen.append((b"".join(transport.writes), transport.closed, state, protocol.server_state.total_requests))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0].startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("way", [by_messages, by_outlet])
@pytest.mark.parametrize(
    ("asked", "kept", "told"),
    [
        (b"", False, b"connection: close"),
        (b"connection: close\r\n", False, b"connection: close"),
        (b"Connection: Keep-Alive\r\n", True, b"connection: keep-alive"),
    ],
)
async def test_a_client_of_http_1_0_keeps_its_connection_if_it_asks(way, asked, kept, told):
    """Such a connection ends with the answer unless both sides say otherwise (RFC 9112, appendix C.2.2)."""
    request = b"POST / HTTP/1.0\r\n" + asked + b"\r\n"
    transport, protocol = await through(way(200, [b"hello"], stream=False), request)
    head, _, body = b"".join(transport.writes).partition(b"\r\n\r\n")
    assert [line for line in head.split(b"\r\n") if line.startswith(b"connection")] == [told]
    assert (body, transport.closed) == (b"hello", not kept)
    if kept:
        protocol.data_received(request)
        for _ in range(10):
            await asyncio.sleep(0)
        assert b"".join(transport.writes) == 2 * (head + b"\r\n\r\nhello")


@pytest.mark.parametrize("way", [by_messages, by_outlet])
async def test_a_client_of_http_1_0_gets_a_stream_without_chunks(way):
    """It would take their lengths for part of the answer (RFC 9112, section 6.1); the connection's end is the stream's."""
    transport, _ = await through(
        way(200, [b"one", b"", b"two"], stream=True), b"POST / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"
    )
    head, _, body = b"".join(transport.writes).partition(b"\r\n\r\n")
    assert body == b"onetwo"
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert transport.closed


async def test_the_head_goes_out_with_the_first_piece():
    """One write for a whole answer; for a stream one for the head and the first piece together."""
    request = b"POST / HTTP/1.1\r\nhost: a\r\n\r\n"
    transport, _ = await through(by_outlet(200, [b"hello"], stream=False), request)
    assert len(transport.writes) == 1
    transport, _ = await through(by_outlet(200, [b"one", b"two", b"three"], stream=True), request)
    assert [write[-8:] for write in transport.writes] == [b"3\r\none\r\n", b"3\r\ntwo\r\n", b"e\r\n0\r\n\r\n"]


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"])
async def test_a_header_never_becomes_two(value):
    """A line end or NUL in a value stops the answer before a byte of it is out."""
    caught = []

    async def app(scope, receive, send):
        for begin in (lambda o: o.whole(200, [(b"x", value)], b""), lambda o: o.begin(200, [(b"x", value)])):
            with pytest.raises(ValueError) as error:
                begin(scope[OUTLET])
            caught.append(error)
        await by_messages(200, [b"ok"], stream=False)(scope, receive, send)

    transport, _ = await through(app, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert len(caught) == 2
    assert transport.writes[0].startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_answer_is_not_begun_twice():
    """A second head would be read as a second answer."""
    caught = []

    async def app(scope, receive, send):
        outlet = scope[OUTLET]
        outlet.whole(200, [(b"content-length", b"0")], b"")
        with pytest.raises(RuntimeError) as error:
            outlet.whole(200, [(b"content-length", b"0")], b"")
        caught.append(error)

    transport, _ = await through(app, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert len(caught) == len(transport.writes) == 1


async def test_a_body_is_taken_at_once_only_when_all_of_it_is_there():
    """What is still to come is awaited in the ordinary way; what was taken is not given twice."""
    bodies = []

    async def app(scope, receive, send):
        bodies.append(scope[OUTLET].taken())
        if bodies[-1] is None:
            message = await receive()
            bodies.append((message["body"], message["more_body"]))
        await by_messages(200, [b"ok"], stream=False)(scope, receive, send)

    head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n"
    await through(app, head + b"hello")
    await through(app, head + b"hel")
    assert bodies == [b"hello", None, (b"hel", True)]


async def test_a_client_that_left_is_sent_nothing():
    """After the connection is lost every way of answering is silent."""
    transports = []

    async def app(scope, receive, send):
        outlet = scope[OUTLET]
        outlet.disconnected = True
        outlet.begin(200, HEADERS)
        outlet.piece(b"one")
        outlet.last(b"two")
        outlet.whole(200, HEADERS, b"three")
        transports.append(outlet.transport)

    transport, _ = await through(app, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert transports == [transport]
    assert transport.writes == []


@pytest.mark.parametrize("way", ["whole", "stream"])
@pytest.mark.parametrize("gone", [False, True])
async def test_p8_the_receipt_is_made_right_before_the_last_bytes(way, gone):
    """P8: head and body of a whole answer, or the end of a stream, go out behind it; it is not made for a client that left."""
    seen = []

    async def app(scope, receive, send):
        outlet = scope[OUTLET]
        outlet.disconnected = gone
        note = lambda: seen.append(len(outlet.transport.writes))  # noqa: E731
        if way == "whole":
            outlet.whole(200, [(b"content-length", b"2")], b"ok", note)
        else:
            outlet.begin(200, HEADERS)
            outlet.piece(b"one")
            outlet.last(b"two", note)

    transport, _ = await through(app, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert seen == ([] if gone else [len(transport.writes) - 1])


async def test_a_client_that_left_is_not_waited_for():
    """It will never read what waits: an answer to it ends at once, and its body is not taken."""
    seen = []

    async def app(scope, receive, send):
        outlet = scope[OUTLET]
        seen.append(outlet.paused)
        outlet.flow.pause_writing()
        seen.append(outlet.paused)
        outlet.disconnected = True
        seen.append(outlet.paused)
        seen.append(outlet.taken())
        outlet.flow.resume_writing()

    await through(app, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")
    assert seen == [False, True, False, None]


async def test_p3_a_connection_is_read_while_its_request_is_at_work():
    """P3: a client that leaves is noticed only then, so taking a large body up lets the reading go on; it is kept once."""
    seen = []

    async def app(scope, receive, send):
        outlet = scope[OUTLET]
        seen.append(outlet.flow.read_paused)
        seen.append(len(outlet.taken()))
        seen.append(outlet.flow.read_paused)
        seen.append(len(outlet.body))

    size = 100_000
    await through(app, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
    assert seen == [True, size, False, 0]


async def test_p6_who_waits_for_a_slow_client_waits():
    """P6: until it has read, or is gone."""
    tasks = []

    async def app(scope, receive, send):
        outlet = scope[OUTLET]
        outlet.flow.pause_writing()
        tasks.append((outlet, asyncio.create_task(outlet.writable())))

    await through(app, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    ((outlet, waiting),) = tasks
    await asyncio.sleep(0)
    assert not waiting.done()
    outlet.flow.resume_writing()
    await waiting


async def test_whoever_waits_for_news_of_a_request_is_woken_each_time_and_leaves_nothing():
    """As asyncio.Event: set lets all go on, clear lets them wait again; one that is cancelled is forgotten."""
    bell = _Bell()
    gone = asyncio.create_task(bell.wait())
    await asyncio.sleep(0)
    gone.cancel()
    for _ in range(2):
        assert not bell.is_set()
        waiting = [asyncio.create_task(bell.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        bell.set()
        await asyncio.gather(*waiting)
        await bell.wait()
        assert bell.is_set()
        bell.clear()
    assert bell._waiters == []


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


async def test_the_date_goes_on():
    """Uvicorn makes its headers anew once a second; a connection that stays sends the newest ones."""
    request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    transport, protocol = await through(by_outlet(200, [b"ok"], stream=False), request)
    for second in (1, 2):
        protocol.server_state.default_headers = [(b"date", b"Mon, 23 Nov 2026 12:00:%02d GMT" % second)]
        protocol.data_received(request)
        for _ in range(10):
            await asyncio.sleep(0)
    dates = [write.split(b"date: ")[1].split(b"\r\n")[0][-6:] for write in transport.writes]
    assert dates == [b"00 GMT", b"01 GMT", b"02 GMT"]


@contextlib.asynccontextmanager
async def streaming(count):
    """Yield so many outlets of one server with their transports, each in the middle of a stream."""
    found, done = [], asyncio.Event()
    kind = protocol_class(0, 0, SimpleNamespace(grade=0))

    async def app(scope, receive, send):
        outlet = scope[OUTLET]
        outlet.begin(200, HEADERS)
        outlet.piece(b"first")
        outlet.transport.writes.clear()
        found.append((outlet, outlet.transport))
        await done.wait()
        outlet.disconnected = True

    for _ in range(count):
        await through(app, b"POST / HTTP/1.1\r\nhost: a\r\n\r\n", kind)
    try:
        yield found
    finally:
        done.set()
        await asyncio.sleep(0)


async def test_pieces_of_one_turn_of_the_loop_leave_together_at_its_end():
    """None before all are made, each in a write of its own, in the order in which they were made; the next turn anew."""
    async with streaming(3) as streams:
        order = []
        for number, (_, transport) in enumerate(streams):
            transport.write = lambda data, number=number: order.append((number, data))
        for _ in range(2):
            for outlet, _ in reversed(streams):
                outlet.soon(b"two")
            assert order == []
            asyncio.get_running_loop().call_soon(order.append, "the turn after")
            await asyncio.sleep(0)
            assert order == [*((number, b"3\r\ntwo\r\n") for number in (2, 1, 0)), "the turn after"]
            order.clear()


@pytest.mark.parametrize(
    ("then", "sent"),
    [
        (lambda outlet: outlet.piece(b"beat"), b"4\r\nbeat\r\n"),
        (lambda outlet: outlet.soon(b"next"), b"4\r\nnext\r\n"),
        (lambda outlet: outlet.last(b"end"), b"3\r\nend\r\n0\r\n\r\n"),
        (lambda outlet: outlet.flush(), b""),
    ],
    ids=["beat", "second piece", "end", "flush"],
)
async def test_nothing_overtakes_a_piece_that_waits_and_it_leaves_once(then, sent):
    """What comes behind it in the same turn takes it along."""
    async with streaming(1) as ((outlet, transport),):
        outlet.soon(b"one")
        assert transport.writes == []
        then(outlet)
        assert transport.writes == [b"3\r\none\r\n" + sent]
        await asyncio.sleep(0)
        assert len(transport.writes) == 1


async def test_a_long_piece_does_not_wait():
    """What waits is no more than a few kilobytes for each stream."""
    async with streaming(1) as ((outlet, transport),):
        outlet.soon(b"x" * (SHORT_BYTES + 1))
        assert len(transport.writes) == 1
        outlet.soon(b"x" * SHORT_BYTES)
        assert len(transport.writes) == 1
        await asyncio.sleep(0)
        assert len(transport.writes) == 2


async def test_a_stream_that_is_gone_does_not_keep_the_others_waiting():
    """What waited for it is dropped: its client has left, or its connection is being closed."""
    async with streaming(3) as ((left, silent), (closing, closed), (outlet, transport)):
        for one in (left, closing, outlet):
            one.soon(b"two")
        left.disconnected = True
        closed.close()
        await asyncio.sleep(0)
        assert (silent.writes, closed.writes) == ([], [])
        assert transport.writes == [b"3\r\ntwo\r\n"]
