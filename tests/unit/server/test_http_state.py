"""What a connection waits for, as the sweep is told."""

import asyncio
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from fittengate.server.http import protocol_class
from fittengate.server.patience import Phase

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"


class Transport(asyncio.Transport):
    """Goes nowhere."""

    waiting = 0

    def write(self, data):
        pass

    def close(self):
        pass

    def is_closing(self):
        return False

    def get_extra_info(self, name, default=None):
        return default

    def get_write_buffer_size(self):
        return self.waiting

    def pause_reading(self):
        pass

    resume_reading = pause_reading


@pytest.fixture
async def made():
    """Give a protocol on a transport, and what lets its application read the body, and then answer."""
    reads, answers = asyncio.Event(), asyncio.Event()

    async def app(_scope, receive, send):
        await reads.wait()
        await receive()
        await answers.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    config.load()
    protocol = protocol_class(0, 0, SimpleNamespace(grade=0))(config, ServerState(), {}, asyncio.get_running_loop())
    transport = Transport()
    protocol.connection_made(transport)

    async def phase():
        for _ in range(5):
            await asyncio.sleep(0)
        return protocol.state().phase

    return SimpleNamespace(protocol=protocol, transport=transport, reads=reads, answers=answers, phase=phase)


async def test_a_request_goes_through_the_phases(made):
    """Head, body, our work, and nothing; and the head of the next one."""
    assert await made.phase() is Phase.HEAD
    made.protocol.data_received(HEAD)
    assert await made.phase() is Phase.HEAD
    made.protocol.data_received(b"\r\n")
    assert await made.phase() is Phase.BODY
    made.protocol.data_received(b"body")
    assert await made.phase() is Phase.WORK
    made.reads.set()
    made.answers.set()
    assert await made.phase() is Phase.IDLE
    made.protocol.data_received(b"GET")
    assert await made.phase() is Phase.HEAD


async def test_a_body_that_was_not_asked_for_is_not_late(made):
    """The client waits for ``100 Continue``: until that is sent, time is ours."""
    made.protocol.data_received(HEAD + b"Expect: 100-continue\r\n\r\n")
    assert await made.phase() is Phase.WORK
    made.reads.set()
    assert await made.phase() is Phase.BODY


async def test_a_client_that_reads_slowly_counts_once_somebody_waits_for_it(made):
    """Bytes in a buffer are slowness only where the buffer is full, or the answer has been written."""
    made.protocol.data_received(HEAD + b"\r\nbody")
    made.transport.waiting = 70_000
    assert await made.phase() is Phase.WORK
    made.protocol.pause_writing()
    assert await made.phase() is Phase.WRITE
    made.protocol.resume_writing()
    assert await made.phase() is Phase.WORK
    made.reads.set()
    made.answers.set()
    assert await made.phase() is Phase.WRITE
    made.transport.waiting = 0
    assert await made.phase() is Phase.IDLE
