"""P6: nothing of a request outlives it, whatever was asked and however it ended."""

import gc

import pytest

from fakes.line import until, written
from fakes.running import running
from fakes.ways import WAYS
from fittengate.server.course import Course
from fittengate.simulator import Plan


def held():
    """Return how many requests are in memory. Nothing is collected for it: what is done is let go of at once."""
    return sum(type(one) is Course for one in gc.get_objects())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_p6_a_request_that_is_over_is_let_go_of(simulator, way, stream):
    """A cycle of objects would wait for the collector, and one through an object that it does not see stays for ever."""
    simulator.plan("chat", Plan(text="one two"), times=None)
    gc.collect()
    gc.disable()
    try:
        before = held()
        async with running(simulator) as gateway:
            for number in range(3):
                async with gateway.line() as line:
                    await line.send(written("POST", way.path, way.asked(f"<{number}>", stream=stream)))
                    assert (await line.reply()).status == 200
            # One may be held by the task that is just ending.
            await until(lambda: held() == before)
    finally:
        gc.enable()
