"""P2 in every dialect: one byte at a time, from the service or from the client, is as good as all at once."""

import asyncio
import socket

import pytest

from contract.readers import READERS
from fakes.chaos import spread
from fakes.line import written
from fakes.ways import WAYS, ended_well
from fittengate.simulator import Plan

SAID = 'Gruß, 你好 😀 \\ "quoted" <|end| and a second line.\né'
CALL = (
    'I write.\n<tool_calls>\n<invoke name="write">\n<parameter name="path">é.py</parameter>\n'
    '<parameter name="content">x = 1 < 2  # 你好</parameter>\n</invoke>\n</tool_calls>'
)
FORMS = spread([{}, {"ascii": True}, {"wrap": "sse"}, {"line_end": "\r\n"}, {"blank_lines": True}], 2)
"""How the service writes its lines; the short form tries the one that was seen."""


def plan(way, **fields):
    """Return a reply with thinking and, where there are tools, a call; the natural one to a completion."""
    return Plan(**fields) if way.route == "completion" else Plan(text=CALL if way.tools else SAID, **fields)


def read(way, reply):
    """Return what a client has in hand, without what differs from one reply to the next."""
    assert reply.status == 200
    assert ended_well(way, reply)
    reader = READERS[way.dialect]
    answer = (reader.whole if reply.headers["content-type"] == "application/json" else reader.stream)(reply.body)
    return answer.text, answer.thought, [call[1:] for call in answer.calls], answer.finish


async def asked(gateway, simulator, way, name, *, stream, **fields):
    """Ask with a plan of its own."""
    simulator.plan(way.route, plan(way, **fields))
    return read(way, await gateway.request("POST", way.path, way.asked(name, stream=stream)))


async def test_p2_a_service_that_sends_byte_by_byte(door, simulator, cases):
    """Every dialect reads the same from single bytes as from one piece, streamed and whole."""
    count = 0
    async with door() as gateway:
        for way in WAYS:
            plain = await asked(gateway, simulator, way, "plain", stream=False)
            assert bool(plain[2]) == way.tools
            for number, form in enumerate(FORMS):
                for stream in (True, False):
                    if way.route == "completion" and form:
                        continue
                    name = f"split {number} {stream}"
                    assert await asked(gateway, simulator, way, name, stream=stream, split=1, **form) == plain, way.name
                    count += 1
    cases(count)


@pytest.mark.parametrize("stream", [True, False])
async def test_p2_a_client_that_sends_and_reads_byte_by_byte(door, simulator, stream, cases):
    """A request that comes in single bytes is the same request, and one who reads single bytes gets the same answer."""
    count = 0
    async with door() as gateway:
        for way in WAYS:
            plain = await asked(gateway, simulator, way, "plain", stream=stream)
            simulator.plan(way.route, plan(way))
            async with gateway.line(receive_buffer=2048) as one:
                one._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in written("POST", way.path, way.asked("bytes", stream=stream)):
                    await one.send(bytes([byte]))
                    await asyncio.sleep(0)
                reply = await one.reply()
            assert read(way, reply) == plain, way.name
            count += 1
    cases(count)


async def test_p2_a_client_that_reads_byte_by_byte(door, simulator):
    """What it reads, joined, is what others read at once; the gateway serves others meanwhile."""
    async with door() as gateway:
        for way in WAYS[:5:2]:
            simulator.plan(way.route, plan(way))
            async with gateway.line(receive_buffer=1024) as one:
                await one.send(
                    written("POST", way.path, way.asked("slow", stream=True), headers="Connection: close\r\n")
                )
                got = b""
                while byte := await one._reader.read(1):
                    got += byte
            assert got.count(b"HTTP/1.1 ") == 1
            assert READERS[way.dialect].terminator in got
            assert got.endswith(b"\r\n0\r\n\r\n")
