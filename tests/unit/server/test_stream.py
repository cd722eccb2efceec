"""A streamed reply on its way out: heartbeats and pieces, driven by hand on both ways to the connection."""

import asyncio
from types import SimpleNamespace

import pytest

from fittengate.dialects.base import EVENTS
from fittengate.lib.timers import Timer
from fittengate.server.stream import ClientStream

BEAT = EVENTS.heartbeat


class Wire:
    """The connection: keeps what is sent, and is full when a test says so."""

    def __init__(self):
        self.said, self.settled = [], []
        self.flow = SimpleNamespace(write_paused=False)
        self.room = asyncio.Event()

    def fill(self):
        self.flow.write_paused = True
        self.room.clear()

    def empty(self):
        self.flow.write_paused = False
        self.room.set()

    @property
    def paused(self):
        return self.flow.write_paused

    async def writable(self):
        await self.room.wait()

    def begin(self, status, headers):
        self.said.append((status, dict(headers)))

    def piece(self, data):
        assert not self.paused, "more was sent than the client takes"
        if data:
            self.said.append(data)

    soon = piece

    def last(self, data, before):
        assert not self.paused, "more was sent than the client takes"
        before()
        self.said += [data, "end"]

    async def send(self, message):
        """Take the messages of the other way, which wait by themselves where the client is slow."""
        await asyncio.sleep(0)
        if self.paused:
            await self.writable()
        if message["type"] == "http.response.start":
            self.said.append((message["status"], dict(message["headers"])))
        else:
            self.said += [message["body"]] if message["body"] else []
            self.said += [] if message["more_body"] else ["end"]


class Timers:
    """Deadlines that are met when a test says so."""

    def __init__(self):
        self.started = []

    def start(self, seconds, callback):
        self.started.append(seconds)
        self.newest = Timer(asyncio.get_running_loop().time() + seconds, callback)
        return self.newest

    def ring(self):
        self.newest.callback()


class Gaps:
    """The figures of the time between two pieces."""

    def __init__(self):
        self.noted = []

    def note(self, seconds):
        self.noted.append(seconds)


class Case:
    """One stream and all that is around it."""

    def __init__(self, *, short, hold=5.0, beat=10.0):
        self.wire, self.timers, self.gaps = Wire(), Timers(), Gaps()
        self.request = SimpleNamespace(
            outlet=self.wire if short else None, send=self.wire.send, tape=None, timing=None, id="req_1", status=0
        )
        self.stream = ClientStream(
            self.request,
            [(b"x-more", b"1")],
            self.timers,
            asyncio.get_running_loop(),
            hold=hold,
            beat=beat,
            gaps=self.gaps,
        )

    @property
    def body(self):
        """What was sent behind the head."""
        assert [one for one in self.wire.said if isinstance(one, tuple)] == self.wire.said[:1]
        return self.wire.said[1:]

    def settle(self):
        assert "end" not in self.wire.said
        self.wire.settled.append(tuple(self.body))


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


both = pytest.mark.parametrize("short", [True, False], ids=["short way", "messages"])


@both
async def test_the_head_goes_out_with_the_first_piece_and_once(short):
    """It says what is streamed and to whom, and its status is known to the request from then on."""
    case = Case(short=short)
    assert (case.wire.said, case.stream.started, case.request.status) == ([], False, 0)
    for piece in (b"one", b"two"):
        await case.stream.write(piece)
    assert case.stream.started
    assert case.request.status == 200
    status, headers = case.wire.said[0]
    assert status == 200
    assert headers[b"content-type"] == EVENTS.content_type
    assert (headers[b"x-request-id"], headers[b"x-more"], headers[b"x-accel-buffering"]) == (b"req_1", b"1", b"no")
    assert case.body == [b"one", b"two"]


@both
@pytest.mark.parametrize("data", [b"", b"last"])
async def test_the_receipt_is_made_before_the_last_piece_goes_out_even_where_it_is_the_first(short, data):
    """P8: what the end needs is done when the end goes out; an answer without a piece has a head and an end."""
    case = Case(short=short)
    await case.stream.finish(data, lambda: case.wire.settled.append(list(case.wire.said)))
    assert case.stream.finished
    (before,) = case.wire.settled
    assert "end" not in before
    assert b"last" not in before
    assert [one for one in case.body if one] == ([data] if data else []) + ["end"]


@both
async def test_beats_go_out_while_nothing_else_does_and_bring_the_head(short):
    """The first one comes when the head was held long enough, the next ones at the pace of beats."""
    case = Case(short=short)
    for _ in range(3):
        case.timers.ring()
        await turns()
    assert case.body == [BEAT] * 3
    assert case.timers.started == [5.0, 10.0, 10.0, 10.0]
    await case.stream.write(b"one")
    assert case.body == [BEAT] * 3 + [b"one"]


async def test_without_beats_there_is_no_timer_and_no_early_head():
    """A beat of 0 seconds means none."""
    case = Case(short=True, beat=0.0)
    assert case.timers.started == []
    await case.stream.write(b"one")
    case.stream.relay(SimpleNamespace(feed=b"".join)).take([b"two"], 1.0)
    await case.stream.finish(b"three", case.settle)
    case.stream.stop()
    assert case.body == [b"one", b"two", b"three", "end"]


@both
async def test_p1_no_beat_comes_behind_the_end_or_into_a_piece(short):
    """P1: a beat that is under way when the next piece comes is sent before it, and one that is due later is not."""
    for ends in (False, True):
        case = Case(short=short)
        case.timers.ring()
        await (case.stream.finish(b"x", case.settle) if ends else case.stream.write(b"x"))
        await turns()
        assert case.body == [BEAT, b"x", *(["end"] if ends else [])]
        if ends:
            case.timers.ring()
            await turns()
            assert case.body[-1] == "end"


@both
async def test_p6_a_client_that_reads_slowly_gets_no_beats_and_the_end_when_it_can(short):
    """P6: nothing piles up: one beat at most waits with the piece, whichever of them was first."""
    case = Case(short=short)
    await case.stream.write(b"one")
    case.wire.fill()
    writing = asyncio.create_task(case.stream.write(b"two"))
    await turns()
    for _ in range(3):
        case.timers.ring()
        await turns()
    assert case.body == [b"one"]
    case.wire.empty()
    await writing
    await turns()
    assert case.body == [b"one", b"two"]
    case.wire.fill()
    for _ in range(3):
        case.timers.ring()
        await turns()
    ending = asyncio.create_task(case.stream.finish(b"three", case.settle))
    await turns()
    case.timers.ring()
    await turns()
    assert not ending.done()
    case.wire.empty()
    await ending
    await turns()
    assert case.body == [b"one", b"two", BEAT, b"three", "end"]


@both
async def test_a_stream_that_was_stopped_sends_no_beat(short):
    """Neither by a timer that rings in that very moment nor later; stopping twice is no error."""
    case = Case(short=short)
    await case.stream.write(b"one")
    timer = case.timers.newest
    bucket = {timer: None}
    timer._bucket = bucket
    case.stream.stop()
    case.stream.stop()
    assert not bucket, "the timer is given back"
    timer.callback()
    await turns()
    assert case.body == [b"one"]
    assert len(case.timers.started) == 1


@both
async def test_a_piece_puts_the_next_beat_off(short):
    """A beat is for silence: each piece moves it to a whole pace from then on, on every way that a piece can take."""
    loop = asyncio.get_running_loop()
    case = Case(short=short, hold=0.5)
    await case.stream.write(b"one")
    assert case.timers.newest.when >= loop.time() + 9.9
    if short:
        sink = case.stream.relay(SimpleNamespace(feed=b"".join))
        sink.take([b"two"], loop.time() + 50)
        assert case.timers.newest.when >= loop.time() + 59.9


async def test_the_short_way_of_a_delta_is_open_only_between_two_writes():
    """Not before the head is out, not while a beat or a piece waits for the client, and not behind the end."""
    case = Case(short=True)
    assert not case.stream.open
    await case.stream.write(b"one")
    assert case.stream.open
    case.timers.ring()
    assert not case.stream.open, "a beat is about to be sent"
    await turns()
    assert case.stream.open
    case.wire.fill()
    for waits in (case.stream.write, lambda data: case.stream.finish(data, case.settle)):
        case.wire.fill()
        waiting = asyncio.create_task(waits(b"two"))
        await turns()
        assert not case.stream.open
        case.wire.empty()
        await waiting
    assert not case.stream.open
    other = Case(short=False)
    await other.stream.write(b"one")
    other.timers.ring()
    await turns()
    assert not other.stream.open
    assert other.stream.flow.write_paused


async def test_the_time_between_two_pieces_is_counted_whichever_way_they_take():
    """Beats and what gives no bytes are no pieces; before the first one there is no time between."""
    loop = asyncio.get_running_loop()
    case = Case(short=True)
    sink = case.stream.relay(SimpleNamespace(feed=b"".join))
    await case.stream.write(b"")
    await case.stream.write(b"one")
    assert case.gaps.noted == []
    now = loop.time()
    sink.take([b"two"], now + 1)
    sink.take([], now + 2)
    sink.take([b"three"], now + 4)
    assert [round(gap) for gap in case.gaps.noted] == [1, 3]
    await case.stream.write(b"four")
    assert len(case.gaps.noted) == 3
    assert case.body == [b"one", b"two", b"three", b"four"]
