"""Where figures come from, and what is learned from the service's own, through the whole gateway."""

import json

import pytest

from fakes.line import CHAT, KEY, ask, chunks
from fakes.running import process
from fittengate.simulator import Plan

MODEL = "fitten-code"
LONG = "The gardener looked at the sky and decided to walk around the old wall once more. " * 60
COUNT = "/v1/messages/count_tokens"
MESSAGES = "/v1/messages"
HEADER = "x-fittengate-usage"


def body(text=LONG, **fields):
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}).encode()


async def count(gateway, text=LONG):
    reply = await gateway.request("POST", COUNT, body(text))
    assert reply.headers[HEADER] == "estimated"
    return reply.json["input_tokens"]


async def test_a_whole_answer_says_where_its_usage_is_an_estimate(gateway, simulator):
    """Not where all of it is the service's own; where the service sent none and where we cut the answer, it does."""
    assert HEADER not in (await gateway.chat()).headers
    simulator.plan("chat", Plan(text="a b c d", usage="none"))
    assert (await gateway.chat()).headers[HEADER] == "estimated"
    cut = await gateway.chat("long 50 words", max_tokens=5)
    assert cut.headers[HEADER] == "estimated"
    assert cut.json["usage"]["completion_tokens"] == 5
    message = await gateway.request("POST", MESSAGES, body("long 50 words", max_tokens=5))
    assert message.headers[HEADER] == "estimated"


async def test_a_stream_has_no_such_header(gateway):
    """Its headers go out before its usage is known."""
    reply = await gateway.chat("Hello", stream=True, stream_options={"include_usage": True})
    assert HEADER not in reply.headers
    assert chunks(reply.body)[-1]["usage"]["prompt_tokens"] > 0


async def test_requirement_43_counts_grow_with_the_input_and_ask_nobody(gateway, simulator):
    """Requirement 43: monotone, and without a call to the service."""
    await gateway.chat()
    simulator.reset()
    found = [await count(gateway, LONG[:size]) for size in range(1, len(LONG), 400)]
    assert found == sorted(found)
    assert not simulator.requests("chat")


async def test_what_the_service_tells_raises_the_counts(gateway, simulator):
    """A model whose tokens are smaller than thought: later counts and estimates lie above what it tells."""
    before = await count(gateway)
    calibrator = gateway.gateway.service.calibrator
    told = before + 20
    for _ in range(30):
        simulator.plan("chat", Plan(text="ok", input_tokens=told))
        await gateway.chat(LONG)
        assert await calibrator.settle() is None
    assert calibrator.known(MODEL).used == 30
    assert await count(gateway) > told
    simulator.plan("chat", Plan(text="ok", usage="none"))
    assert (await gateway.chat(LONG)).json["usage"]["prompt_tokens"] == pytest.approx(told, rel=0.05)


async def test_pictures_and_short_prompts_teach_nothing(gateway, simulator):
    """Their tokens are not those of words, or mostly the service's own."""
    picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    content = [{"type": "text", "text": LONG}, {"type": "image_url", "image_url": {"url": picture}}]
    assert (await gateway.chat(content)).status == 200
    await gateway.chat("Hello")
    await gateway.gateway.service.calibrator.settle()
    known = gateway.gateway.service.calibrator.known(MODEL)
    assert (known.used, known.too_small) == (0, 1)


async def test_what_was_learned_is_on_the_disk_when_the_process_has_ended(simulator, tmp_path):
    """A drain keeps what waits; the next process reads it."""
    state = tmp_path / "state"
    async with process(simulator, state) as one:
        reply = await one.request("POST", CHAT, json.dumps(ask(LONG)).encode(), key=KEY)
        assert reply.status == 200
        one.signal(15)
        assert await one.ended() == 0
    kept = json.loads((state / "tokens.json").read_text())["models"][MODEL]
    assert kept["used"] + kept["too_odd"] == 1
    async with process(simulator, state) as two:
        assert "not kept" not in two.stderr
