"""An unmodified OpenAI SDK talks to the gateway: whole, streamed, errors, models, and each word at its time."""

import time
from itertools import pairwise

import openai
import pytest

from fakes.line import KEY
from fittengate.simulator import Plan

QUESTION = [{"role": "user", "content": "repeat: 你好 from the SDK"}]


@pytest.fixture
async def client(gateway):
    """Make the asynchronous client as the README makes it; tries are its own business and switched off."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


async def test_a_whole_answer(client):
    """Text, role, finish reason and usage arrive as the SDK's own types."""
    answer = await client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert answer.choices[0].message.content == "你好 from the SDK"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-4o"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_a_streamed_answer(client):
    """One id, the role first, one finish reason last, no usage unless it was asked for."""
    stream = await client.chat.completions.create(model="fitten-code", messages=QUESTION, stream=True)
    got = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in got) == "你好 from the SDK"
    assert len({chunk.id for chunk in got}) == 1
    assert got[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in got if chunk.choices[0].finish_reason] == ["stop"]
    assert all(chunk.usage is None for chunk in got)


async def test_usage_comes_last_when_it_is_asked_for(client):
    """A chunk without choices that holds the counts."""
    options = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="fitten-code", messages=QUESTION, stream=True, stream_options=options
    )
    got = [chunk async for chunk in stream]
    assert got[-1].choices == []
    assert got[-1].usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in got[:-1])


async def test_reasoning_stands_apart(client, simulator):
    """``reasoning_content`` in deltas and in the whole message, never in the text."""
    simulator.plan("chat", Plan(reasoning="let me think", text="done"), times=2)
    stream = await client.chat.completions.create(model="deepseek-r1", messages=QUESTION, stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream if chunk.choices]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "let me think"
    assert "".join(delta.content or "" for delta in deltas) == "done"
    whole = await client.chat.completions.create(model="deepseek-r1", messages=QUESTION)
    assert whole.choices[0].message.reasoning_content == "let me think"
    assert simulator.requests("chat")[-1].json["meta_datas"]["model"] == "S3"


async def test_the_stream_helper(client):
    """The SDK's own stricter reader of streams is content."""
    async with client.chat.completions.stream(model="fitten-code", messages=QUESTION) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == "你好 from the SDK"


async def test_stop_and_length_cut_the_answer(client):
    """The text before the stop sequence, and ``length`` when the tokens are used up."""
    ask = [{"role": "user", "content": "repeat: one two three four five"}]
    stopped = await client.chat.completions.create(model="fitten-code", messages=ask, stop=[" three"])
    assert stopped.choices[0].message.content == "one two"
    assert stopped.choices[0].finish_reason == "stop"
    short = await client.chat.completions.create(model="fitten-code", messages=ask, max_tokens=2)
    assert short.choices[0].finish_reason == "length"
    assert "one two three four five".startswith(short.choices[0].message.content)


async def test_errors_are_the_exceptions_that_programs_catch(client, gateway, simulator):
    """Wrong key, unknown model, bad value, too many requests, no service: each its own class with its own facts."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as wrong:
            await stranger.chat.completions.create(model="fitten-code", messages=QUESTION)
        assert wrong.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="no-such-model", messages=QUESTION)
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model="fitten-code", messages=QUESTION, temperature=9)
    assert bad.value.param == "temperature"
    simulator.plan("chat", Plan(status=429, headers={"retry-after": "7"}))
    with pytest.raises(openai.RateLimitError) as rate:
        await client.chat.completions.create(model="fitten-code", messages=QUESTION, stream=True)
    assert rate.value.response.headers["retry-after"] == "7"
    simulator.plan("chat", Plan(status=500, headers={"retry-after": "1"}))
    with pytest.raises(openai.InternalServerError) as broken:
        await client.chat.completions.create(model="fitten-code", messages=QUESTION)
    assert broken.value.status_code == 502


async def test_an_error_in_mid_stream_is_raised(client, simulator):
    """The SDK raises what the error frame says, after the words that came."""
    simulator.plan("chat", Plan(text="one two three", cut="reset", cut_after=2))
    stream = await client.chat.completions.create(model="fitten-code", messages=QUESTION, stream=True)
    said = []

    async def read():
        async for chunk in stream:
            said.extend(choice.delta.content or "" for choice in chunk.choices)

    with pytest.raises(openai.APIError) as broken:
        await read()
    assert "".join(said) == "one two"
    assert broken.value.code == "upstream_error"


async def test_models(client):
    """The list, and single ones by id, by alias, by selection name, and with a slash in the name."""
    listed = [model.id async for model in client.models.list()]
    assert listed[0] == "fitten-code"
    assert "deepseek-r1" in listed
    for name in (*listed, "gpt-4o", "claude-sonnet-4-5", "S2", "DeepSeek V3", "qwen/qwen3-coder"):
        assert (await client.models.retrieve(name)).id == name
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("openai/unknown")


async def test_headers_tell_what_answered_and_what_was_ignored(client):
    """``x-fittengate-model``, ``x-fittengate-ignored`` and the caller's own request id."""
    raw = await client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=QUESTION, temperature=0.5, seed=1, extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-fittengate-model"] == "fitten-code"
    assert set(raw.headers["x-fittengate-ignored"].split(", ")) == {"temperature", "seed"}


async def test_the_synchronous_client_against_a_real_process(serve):
    """Whole and streamed through ``fittengate serve``."""
    import anyio

    process = await serve()

    def talk():
        with openai.OpenAI(base_url=f"http://127.0.0.1:{process.port}/v1", api_key=KEY, max_retries=0) as client:
            whole = client.chat.completions.create(model="fitten-code", messages=QUESTION)
            stream = client.chat.completions.create(model="fitten-code", messages=QUESTION, stream=True)
            return whole.choices[0].message.content, "".join(c.choices[0].delta.content or "" for c in stream)

    assert await anyio.to_thread.run_sync(talk) == ("你好 from the SDK", "你好 from the SDK")


async def test_each_word_arrives_when_it_was_said(client, simulator):
    """Words 50 ms apart at the service are 50 ms apart at the client: one by one, not collected."""
    words = tuple(f" word{n}" for n in range(10))
    simulator.plan("chat", Plan(deltas=words, interval_ms=50))
    stream = await client.chat.completions.create(model="fitten-code", messages=QUESTION, stream=True)
    came = [(time.monotonic(), chunk.choices[0].delta.content) async for chunk in stream if chunk.choices]
    times = [at for at, text in came if text]
    assert [text for _, text in came if text] == list(words)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) > 0.02
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(0.05, abs=0.025)
    assert times[-1] - times[0] == pytest.approx(0.45, abs=0.15)


async def test_a_silent_service_gets_heartbeats_after_the_hold(start, simulator):
    """The status line waits ``hold_seconds``; then headers, and comments for as long as it takes."""
    simulator.plan("chat", Plan(text="late", first_ms=700))
    async with (
        start(server={"hold_seconds": 0.2, "heartbeat_seconds": 0.1}) as gateway,
        gateway.line() as one,
    ):
        began = time.monotonic()
        await one.ask(stream=True)
        status, headers = await one.head()
        held = time.monotonic() - began
        assert status == 200
        assert 0.2 <= held < 0.5
        pieces = [data async for _, data in one.pieces(headers)]
    beats = [data for data in pieces if data.startswith(b":")]
    assert 3 <= len(beats) <= 6
    assert pieces[0].startswith(b":")
    assert b"late" in b"".join(pieces)
    assert pieces[-1].endswith(b"data: [DONE]\n\n")


async def test_an_early_fault_keeps_its_status_within_the_hold(start, simulator):
    """A refusal that comes before the hold is over is a status, not an event."""
    simulator.plan("chat", Plan(status=429, delay_ms=150))
    async with start(server={"hold_seconds": 1}) as gateway:
        reply = await gateway.chat(stream=True)
        assert reply.status == 429
        assert "retry-after" in reply.headers
