"""Several answers in one reply: as many calls at once, one end, all or nothing."""

import asyncio
import json
import time

import openai
import pytest

from fakes.line import CHAT, KEY, ask, chunks, finish_reasons, until, written
from fittengate.simulator import Plan


@pytest.fixture
async def client(gateway):
    """Make the asynchronous client as the README makes it; tries are switched off."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def plan_words(simulator, *words, **fields):
    for word in words:
        simulator.plan("chat", Plan(text=word, **fields))


async def test_n_answers_are_n_choices_of_one_reply(client, simulator):
    """Each is a call of its own; the usage is that of all of them."""
    question = [{"role": "user", "content": "Pick a number."}]
    one = await client.chat.completions.create(model="fitten-code", messages=question)
    plan_words(simulator, "one", "two", "three", input_tokens=10, output_tokens=2)
    answer = await client.chat.completions.create(model="fitten-code", messages=question, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert sorted(choice.message.content for choice in answer.choices) == ["one", "three", "two"]
    assert {choice.finish_reason for choice in answer.choices} == {"stop"}
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (30, 6)
    assert one.choices[0].index == 0
    assert len(simulator.requests("chat")) == 4


async def test_streamed_answers_come_under_their_index(client):
    """The SDK's own accumulator puts them together; usage comes once, last."""
    messages = [{"role": "user", "content": "repeat: 你好 from the SDK"}]
    async with client.chat.completions.stream(
        model="fitten-code", messages=messages, n=4, stream_options={"include_usage": True}
    ) as stream:
        async for _ in stream:
            pass
        answer = await stream.get_final_completion()
    assert [choice.message.content for choice in answer.choices] == ["你好 from the SDK"] * 4
    assert answer.usage.total_tokens > 0


async def test_each_answer_may_be_asked_again(gateway, simulator):
    """One of two answers does not fit the form: it alone is asked for again, and the log has the sum of three calls."""
    form = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}}
    plan_words(simulator, "no JSON at all", '{"a": 1}', '{"a": 2}')
    reply = await gateway.chat("Give me an object.", n=2, response_format=form)
    said = sorted(choice["message"]["content"] for choice in reply.json["choices"])
    assert [json.loads(text) for text in said] == [{"a": 1}, {"a": 2}]
    assert len(simulator.requests("chat")) == 3


async def test_a_form_that_no_answer_can_have_is_refused_at_once(gateway, simulator):
    """Several answers are checked as one is."""
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "no-such-type"}}}
    assert (await gateway.chat("Give me an object.", n=2, response_format=form)).status == 400
    assert not simulator.requests("chat")


async def test_calls_run_at_the_same_time(gateway, simulator):
    """Four answers that take 0.3 s each take together not much longer than one."""
    await gateway.chat()
    plan_words(simulator, *"abcd", first_ms=300)
    began = time.monotonic()
    reply = await gateway.chat(n=4)
    assert len(reply.json["choices"]) == 4
    assert 0.3 <= time.monotonic() - began < 0.9


@pytest.mark.parametrize("stream", [False, True])
async def test_one_failure_fails_the_reply_and_stops_the_others(gateway, simulator, stream):
    """P1: no terminator; the calls that still ran are closed, and every turn is given back."""
    simulator.plan("chat", Plan(deltas=("a", "b"), cut="stall", cut_after=1), times=2)
    simulator.plan("chat", Plan(deltas=("c", "d"), interval_ms=50, cut="reset", cut_after=1))
    reply = await gateway.chat(n=3, stream=stream)
    if stream:
        assert reply.status == 200
        assert "error" in chunks(reply.body)[-1]
        assert b"[DONE]" not in reply.body
    else:
        assert reply.status == 502
    await until(lambda: gateway.running == 0)
    assert gateway.turns.running == 0
    await until(lambda: simulator.counters.open_streams == 0)


async def test_an_early_failure_has_its_status(gateway, simulator):
    """Nothing was promised: a 429 of one call is a 429 of the reply, streamed too."""
    simulator.plan("chat", Plan(status=429, headers={"Retry-After": "7"}))
    simulator.plan("chat", Plan(no_reply="stall"))
    reply = await gateway.chat(n=2, stream=True)
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_closes_every_call(gateway, simulator, stream):
    """P3: within 100 ms all connections to the service are closed."""
    await gateway.chat()
    simulator.plan("chat", Plan(deltas=("a", "b"), cut="stall", cut_after=1), times=3)
    async with gateway.line() as line:
        await line.send(written("POST", CHAT, json.dumps(ask(n=3, stream=stream)).encode()))
        await until(lambda: simulator.counters.open_streams == 3)
        left = line.leave()
        await until(lambda: simulator.counters.open_streams == 0)
    assert time.monotonic() - left < 0.1
    await until(lambda: gateway.running == 0)
    assert gateway.turns.running == 0


async def test_all_turns_are_taken_at_once_or_none(start, simulator):
    """With one turn taken of two, a request for two answers waits and sends nothing."""
    async with start(upstream={"max_concurrency": 2, "queue_timeout": 0.3}) as gateway:
        await gateway.chat()
        simulator.plan("chat", Plan(no_reply="stall"))
        async with gateway.line() as line:
            await line.ask()
            await until(lambda: len(simulator.requests("chat")) == 2)
            reply = await gateway.chat(n=2)
            assert (reply.status, reply.error["code"]) == (503, "gateway_busy")
            assert len(simulator.requests("chat")) == 2
            line.leave()
        await until(lambda: gateway.turns.running == 0)
        assert len((await gateway.chat(n=2)).json["choices"]) == 2
        reply = await gateway.chat(n=3)
        assert (reply.status, reply.error["param"]) == (400, "n")


async def test_a_choice_that_is_late_fails_the_reply(start, simulator):
    """Deadlines hold for each call."""
    async with start(upstream={"first_token_timeout": 0.3, "retries": 0}) as gateway:
        await gateway.chat()
        simulator.plan("chat", Plan(no_reply="stall"))
        assert (await gateway.chat(n=2)).status == 504


async def test_a_slow_reader_stops_all_calls(gateway, simulator):
    """P6: what is not read is not fetched; when the client reads, nothing is lost."""
    simulator.plan("chat", Plan(deltas=("x" * 8000,) * 1500), times=2)
    async with gateway.line(receive_buffer=65536) as line:
        await line.ask(n=2, stream=True)
        records = await simulator.wait_requests("chat", 2)
        last, calm = -1, 0
        async with asyncio.timeout(10):
            while calm < 15:
                await asyncio.sleep(0.02)
                now = sum(record.bytes_sent for record in records)
                calm = calm + 1 if now == last else 0
                last = now
        assert 0 < last < 1500 * 8000
        reply = await line.reply()
    assert reply.complete
    assert finish_reasons(reply.body) == ["stop", "stop"]
    assert len(reply.text) == 2 * 1500 * 8000


async def test_pictures_are_looked_at_once(gateway):
    """A picture in a question asked several times is the same picture."""
    tiny = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": tiny}}]
    reply = await gateway.chat(parts, n=2)
    assert reply.status == 200
    assert all("png" in choice["message"]["content"] for choice in reply.json["choices"])
