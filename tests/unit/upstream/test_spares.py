"""Connections that wait for their next call: which one is taken, and when one is not taken any more."""

import asyncio
import contextlib

import pytest

from fakes.called import Called
from fittengate.upstream.fitten.spares import Spares

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Service(Called):
    """Answers every request with ``OK`` as soon as it may; holds its side of each connection."""

    def __init__(self):
        self.writers, self.asked = [], []
        self.go = asyncio.Event()
        self.go.set()

    async def ask(self, spares=None):
        call = await self.post(b"", spares)
        assert await call.readany() == b"ok"
        return call

    async def serve(self, reader, writer):
        number = len(self.writers)
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.asked.append(number)
                await self.go.wait()
                writer.write(OK)
        writer.close()


async def until(true):
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def test_the_newest_one_is_taken_first():
    """It is warm yet, and what is not needed may grow old."""
    async with Service() as service:
        service.go.clear()
        asking = [asyncio.create_task(service.ask()) for _ in range(3)]
        await until(lambda: len(service.asked) == 3)
        service.go.set()
        await asyncio.gather(*asking)
        assert len(service.spares) == 3
        service.asked.clear()
        for _ in range(4):
            await service.ask()
        assert len(set(service.asked)) == 1
        assert (len(service.writers), len(service.spares)) == (3, 3)


async def test_a_call_that_has_ended_has_no_power_over_the_next_one():
    """Its connection serves another call by now: closing it again closes nothing."""
    async with Service() as service:
        first = await service.ask()
        service.go.clear()
        second = asyncio.create_task(service.ask())
        await until(lambda: service.asked == [0, 0])
        first.close()
        service.go.set()
        await second
        assert len(service.writers) == 1


@pytest.mark.parametrize("what", ["speaks", "closes"])
async def test_one_that_speaks_or_closes_while_nobody_asks_is_gone_at_once(what):
    """Its words are never the next call's reply, and the next call does not find a closed connection."""
    async with Service() as service:
        await service.ask()
        assert len(service.spares) == len(service.connector._acquired) == 1
        if what == "speaks":
            service.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake")
        else:
            service.writers[0].close()
        await until(lambda: not len(service.spares))
        assert not service.connector._acquired
        await service.ask()
        assert service.asked == [0, 1]


async def test_one_that_has_waited_too_long_is_not_taken_and_does_not_stay():
    """A proxy on the way may have dropped it silently."""
    async with Service() as service:
        spares = Spares(0.05, asyncio.get_running_loop())
        await service.ask(spares)
        # Nobody looks in this turn of the loop, so the sweep cannot have been there first.
        (spare,) = spares._kept
        spares._kept[spare] -= 1
        assert spares.take() is None
        assert not service.connector._acquired
        await service.ask(spares)
        assert service.asked == [0, 1]
        await until(lambda: not len(spares))
        await until(lambda: spares._timer is None)
        assert not service.connector._acquired
        spares.close()


async def test_at_the_end_all_are_closed_and_none_is_kept_any_more():
    """What ends after that is closed and not kept; aiohttp has nothing left."""
    async with Service() as service:
        await service.ask()
        service.go.clear()
        late = asyncio.create_task(service.ask())
        other = asyncio.create_task(service.ask())
        await until(lambda: len(service.asked) == 3)
        service.spares.close()
        service.go.set()
        await asyncio.gather(late, other)
        assert len(service.spares) == 0
        assert not service.connector._acquired
        await service.session.close()


async def test_a_line_keeps_its_protocol_while_it_lives():
    """Setting one stops and starts reading in uvloop, for two system calls each time."""
    async with Service() as service:
        await service.ask()
        (line,) = service.spares._kept
        for _ in range(3):
            await service.ask()
            assert list(service.spares._kept) == [line]
            assert line.transport.get_protocol() is line
