"""What a request has held is freed with its end, not when the cycle collector comes by, which it seldom does."""

import asyncio
import contextlib
import gc
import json
from collections import Counter

import pytest

from fakes.line import ask, written
from fittengate.simulator import Plan

FILL = {"model": "fitten-completion", "prompt": "def f(", "suffix": "\n    return 1\n"}
KINDS = {
    "whole": ("/v1/chat/completions", ask("Hello")),
    "stream": ("/v1/chat/completions", ask("Hello", stream=True)),
    "messages": ("/v1/messages", ask("Hello", stream=True, max_tokens=100)),
    "responses": ("/v1/responses", {"model": "fitten-code", "input": "Hello", "stream": True, "store": False}),
}


@contextlib.contextmanager
def collected():
    """Give what only the cycle collector could free, once the block has ended: a count by type."""
    found = Counter()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found.update(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_leaves_nothing_to_the_cycle_collector(gateway, simulator, kind):
    """Ten requests on one connection, with words that come one by one."""
    path, body = KINDS[kind]
    simulator.plan("chat", Plan(text="one two three four", interval_ms=2), times=None)
    data = written("POST", path, json.dumps(body).encode())
    async with gateway.line() as one:

        async def asked(times):
            for _ in range(times):
                await one.send(data)
                assert (await one.reply()).status == 200
            await asyncio.sleep(0.1)

        await asked(3)
        with collected() as found:
            await asked(10)
    assert sorted(f"{name} {count}" for name, count in found.items() if count >= 10) == []
