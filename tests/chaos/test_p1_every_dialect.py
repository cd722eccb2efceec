"""P1 in every dialect: wherever the service breaks off, stops or talks rubbish, no client believes in a good end."""

import asyncio
from itertools import count as numbers
from itertools import repeat

import pytest

from fakes.chaos import LONG, in_batches, spread
from fakes.ways import WAYS, ended_well, recorded
from fittengate.simulator import Plan

RUBBISH = bytes(range(128, 192))
"""No UTF-8, no JSON, no line break."""

NUMBERS = numbers()
FEW = 5
"""Places in the short form; the long one tries each."""


def places(way, few=FEW):
    """Return where to break. The announced length is a completion's end: what comes behind its last byte is no fault."""
    return spread(range(len(recorded(way)) + (way.route == "chat")), few)


async def replies(gateway, simulator, way, plans):
    """Return place, form and answer for each plan, asked streamed and whole.

    A completion goes out packed, so its plan cannot be told by its words: of those, any answer may be to any plan.
    """
    found = []
    for batch in in_batches(((at, stream, plan) for at, plan in plans for stream in (True, False)), 32):
        asked = []
        for at, stream, plan in batch:
            word = f"<{way.name} {at} {stream}>"
            simulator.plan(way.route, plan, contains="" if way.route == "completion" else word)
            asked.append(gateway.request("POST", way.path, way.asked(word, stream=stream)))
        answers = await asyncio.gather(*asked)
        found += [(way.name, at, stream, reply) for (at, stream, _), reply in zip(batch, answers, strict=True)]
    return found


async def works(gateway, ways=WAYS):
    """Hold the gateway to the other half of each row: it lives, and the next request works in every dialect."""
    for way in ways:
        reply = await gateway.request("POST", way.path, way.asked(f"next {next(NUMBERS)}", stream=True))
        assert reply.status == 200
        assert ended_well(way, reply)


@pytest.mark.parametrize("cut", ["close", "reset"])
async def test_p1_cut_at_any_byte_in_every_dialect(door, simulator, cut, cases):
    """The connection breaks at a byte: an error with its true status, or as the last word of the stream."""
    count = 0
    async with door(upstream={"retries": 0}) as gateway:
        for way in WAYS:
            plans = [(at, Plan(raw=recorded(way), cut=cut, cut_at=at)) for at in places(way)]
            for *case, reply in await replies(gateway, simulator, way, plans):
                assert not ended_well(way, reply), case
                count += 1
        await works(gateway)
    cases(count)


async def test_p1_stalled_at_any_byte_in_every_dialect(door, simulator, cases):
    """The service falls silent at a byte: after its time-out the same, and the connection to the service is closed."""
    count = 0
    # Long enough for all of them to be sent at once by one process that does everything.
    late = {"retries": 0, "idle_timeout": 1, "first_token_timeout": 1}
    async with door(upstream=late) as gateway:
        await works(gateway)
        for group in in_batches(WAYS, 2 if LONG else len(WAYS)):
            stalls = [[(at, Plan(raw=recorded(way), cut="stall", cut_at=at)) for at in places(way, 3)] for way in group]
            found = await asyncio.gather(*map(replies, repeat(gateway), repeat(simulator), group, stalls))
            for way, answers in zip(group, found, strict=True):
                for *case, reply in answers:
                    assert not ended_well(way, reply), case
                    count += 1
        await works(gateway)
        await simulator.wait_closed_by_client(count)
    cases(count)


async def test_p1_garbled_from_any_byte_in_every_dialect(door, simulator, cases):
    """From a byte on there is rubbish, in good HTTP: an end is believed only where the whole reply came before."""
    count = 0
    async with door(upstream={"retries": 0}) as gateway:
        for way in WAYS:
            body = recorded(way)
            plans = [(at, Plan(raw=body[:at] + RUBBISH)) for at in places(way)]
            for name, at, stream, reply in await replies(gateway, simulator, way, plans):
                whole = way.route == "chat" and at == len(body)
                assert ended_well(way, reply) == whole, (name, at, stream, reply)
                count += 1
        await works(gateway)
    cases(count)


async def test_p1_the_recorded_replies_are_good_ones(door, simulator):
    """The control: unbroken, the same bytes are a good reply in every form, with the call where there is one."""
    async with door(upstream={"retries": 0}) as gateway:
        for way in WAYS:
            for *case, reply in await replies(gateway, simulator, way, [(0, Plan(raw=recorded(way)))]):
                assert reply.status == 200
                assert ended_well(way, reply), case
                assert ("a.py" in reply.body.decode()) == way.tools
