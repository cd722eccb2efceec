"""P5: another try only while nothing was promised: before the first event, with backoff, never after a refusal."""

import asyncio

import pytest

from fakes.line import events
from fittengate.simulator import Plan


async def warm(gateway, simulator):
    """Sign in first, so that only the tries are counted."""
    assert (await gateway.chat("warm")).status == 200
    simulator.reset()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("broken", [Plan(no_reply="reset"), Plan(status=503), Plan(body=""), Plan(page="502")])
async def test_p5_two_accidents_before_the_first_word_are_made_good(gateway, simulator, broken, stream):
    """The third try works and the client never knows; each pause is longer than the one before."""
    await warm(gateway, simulator)
    simulator.plan("chat", broken, times=2)
    reply = await gateway.chat("hello", stream=stream)
    assert reply.status == 200
    tries = [record.arrived for record in simulator.requests("chat")]
    assert len(tries) == 3
    assert tries[1] - tries[0] >= 0.25
    assert tries[2] - tries[1] >= 0.5


async def test_p5_the_tries_are_bounded(start, simulator):
    """``retries`` further tries and no more; then the truth."""
    async with start(upstream={"retries": 1}) as gateway:
        await warm(gateway, simulator)
        simulator.plan("chat", Plan(no_reply="reset"), times=None)
        assert (await gateway.chat("hello")).status == 502
        assert simulator.counters.requests["chat"] == 2


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (Plan(status=429, headers={"retry-after": "7"}), 429, "upstream_rate_limited"),
        (Plan(status=422), 502, "upstream_refused"),
        (Plan(status=400), 502, "upstream_refused"),
        (Plan(status=403), 502, "upstream_refused"),
        (Plan(status=413), 400, "context_length_exceeded"),
        (Plan(json={"error": "no"}), 502, "upstream_error"),
        (Plan(status=503, headers={"retry-after": "9"}), 502, "upstream_error"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_p5_a_refusal_is_passed_on_at_once(gateway, simulator, refusal, status, code, stream):
    """Whoever read the request and said no is not asked again, nor is who said when to come back."""
    await warm(gateway, simulator)
    simulator.plan("chat", refusal, times=None)
    reply = await gateway.chat("hello", stream=stream)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert simulator.counters.requests["chat"] == 1
    if wait := refusal.headers.get("retry-after"):
        assert reply.headers["retry-after"] == wait
    if status == 429:
        assert int(reply.headers["retry-after"]) == 7


@pytest.mark.parametrize("cut", ["reset", "close"])
async def test_p5_nothing_is_tried_again_after_the_first_word(gateway, simulator, cut):
    """A reply that broke after its first word is an error: another one could say something else."""
    await warm(gateway, simulator)
    simulator.plan("chat", Plan(text="one two three", cut=cut, cut_after=1))
    reply = await gateway.chat("hello", stream=True)
    assert reply.status == 200
    assert "error" in events(reply.body)[-1]
    assert simulator.counters.requests["chat"] == 1


async def test_p5_whole_answers_are_not_tried_again_after_the_first_word(gateway, simulator):
    """The same for an unstreamed request: the service has begun to work for it."""
    await warm(gateway, simulator)
    simulator.plan("chat", Plan(text="one two three", cut="reset", cut_after=1))
    assert (await gateway.chat("hello")).status == 502
    assert simulator.counters.requests["chat"] == 1


async def test_p5_a_connection_that_died_while_idle_costs_the_client_nothing(gateway, simulator):
    """The service closed a kept connection: the next request finds out and goes over a new one."""
    await warm(gateway, simulator)
    await asyncio.gather(*(gateway.chat(f"number {n}") for n in range(5)))
    simulator.close_idle()
    assert {reply.status for reply in await asyncio.gather(*(gateway.chat("after") for _ in range(5)))} == {200}
