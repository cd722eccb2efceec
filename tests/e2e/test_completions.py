"""Code completion and text completion with an unmodified OpenAI SDK, and what a code completion must never do."""

import json
import time

import msgspec
import openai
import pytest

from fakes.line import KEY, until, written
from fittengate.simulator import Completion, Plan

ADD = {"prompt": "def add(a, b):", "suffix": "\n\nprint(add(1, 2))\n"}
BODY = "\n    return a + b"
PATH = "/v1/completions"


@pytest.fixture
async def client(gateway):
    """Make the asynchronous client as the README makes it; tries are switched off."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def set_form(simulator, **fields):
    simulator.set_scenario(msgspec.structs.replace(simulator.scenario, completion=Completion(**fields)))


async def test_a_prompt_and_a_suffix_are_filled_in_between(client, simulator):
    """Requirement 27: no fences, and nothing that repeats what follows the cursor."""
    answer = await client.completions.create(model="gpt-4o", **ADD)
    assert answer.choices[0].text == BODY
    simulator.plan("completion", Plan(json={"generated_text": "a + b"}))
    answer = await client.completions.create(model="gpt-4o", prompt="return ", suffix="a + b\n")
    assert answer.choices[0].text == ""


@pytest.mark.parametrize("model", ["fitten-completion", "fitten-code", "codestral-latest", "deepseek-v3"])
async def test_a_suffix_means_code_completion_whatever_the_model(client, simulator, model):
    """The name is echoed; the chat is not asked."""
    raw = await client.completions.with_raw_response.create(model=model, **ADD)
    answer = raw.parse()
    assert answer.choices[0].text == BODY
    assert (answer.choices[0].finish_reason, answer.model, answer.object) == ("stop", model, "text_completion")
    assert raw.headers["x-fittengate-model"] == "fitten-completion"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert not simulator.requests("chat")


async def test_a_streamed_completion(client):
    """Text first, then the finish, then the usage that was asked for."""
    stream = await client.completions.create(
        model="fitten-completion", **ADD, stream=True, stream_options={"include_usage": True}
    )
    got = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in got for choice in chunk.choices) == BODY
    assert [choice.finish_reason for chunk in got for choice in chunk.choices] == [None, "stop"]
    assert got[-1].usage.total_tokens > 0
    assert len({chunk.id for chunk in got}) == 1


@pytest.mark.parametrize(
    "prompt",
    [
        "<fim_prefix>def add(a, b):<fim_suffix>\n<fim_middle>",
        "[SUFFIX]\n[PREFIX]def add(a, b):",
        "<|fim_prefix|>def add(a, b):<|fim_suffix|>\n<|fim_middle|>",
    ],
)
async def test_marked_prompts_are_code_completions(client, simulator, prompt):
    """An editor that believes to talk to another model is answered by the service's own completion."""
    answer = await client.completions.create(model="qwen2.5-coder", prompt=prompt, stop=[f"<{n}>" for n in range(9)])
    assert answer.choices[0].text == BODY
    assert not simulator.requests("chat")


async def test_the_completion_model_needs_no_suffix(client):
    """`fitten-completion` names code completion, wherever the cursor stands."""
    answer = await client.completions.create(model="fitten-completion", prompt=ADD["prompt"])
    assert answer.choices[0].text == BODY


async def test_a_plain_prompt_is_answered_as_a_question(client, simulator):
    """Without suffix, marker or that model the chat answers; stop and length hold."""
    answer = await client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt="repeat: one two three", stop=[" th"]
    )
    assert answer.choices[0].text == "one two"
    assert not simulator.requests("completion")
    stream = await client.completions.create(model="fitten-code", prompt="repeat: one two", stream=True)
    assert "".join([choice.text async for chunk in stream for choice in chunk.choices]) == "one two"


async def test_reasoning_is_no_part_of_a_completion(client, simulator):
    """The format has no place for it."""
    simulator.plan("chat", Plan(reasoning="let me think", text="done"))
    answer = await client.completions.create(model="deepseek-r1", prompt="Think.")
    assert answer.choices[0].text == "done"


async def test_several_prompts_are_several_choices(client):
    """Requirement 27: in the order of the prompts, each asked n times; code completions among them."""
    answer = await client.completions.create(
        model="fitten-code", prompt=["repeat: a", "<fim_prefix>def add(a, b):<fim_suffix>\n<fim_middle>"], n=2
    )
    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "a"), (1, "a"), (2, BODY), (3, BODY)]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"echo": True}, "echo"),
        ({"best_of": 2}, "best_of"),
        ({"logprobs": 1}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 5}, "n"),
        ({"model": "no-such-model"}, "model"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(client, simulator, fields, param):
    """A 400 or 404 that says which field, before the service is asked."""
    with pytest.raises(openai.APIStatusError) as caught:
        await client.completions.create(**({"model": "fitten-code", "prompt": "Hi.", "suffix": ""} | fields))
    assert caught.value.status_code == (404 if param == "model" else 400)
    assert caught.value.body["param"] == param
    assert not simulator.requests("completion")


async def test_the_completion_model_takes_no_conversations(client):
    """A chat with it would be answered by another model than the one that was named."""
    with pytest.raises(openai.BadRequestError, match="completes code"):
        await client.chat.completions.create(model="fitten-completion", messages=[{"role": "user", "content": "Hi."}])


async def test_the_list_of_models_has_the_completion_model(client):
    """It is the last one, and can be looked up."""
    listed = [model.id async for model in client.models.list()]
    assert listed[-1] == "fitten-completion"
    assert (await client.models.retrieve("fitten-completion")).id == "fitten-completion"


@pytest.mark.parametrize("path", ["/completions", "/beta/completions", "/v1/beta/completions", "/v1/v1/completions"])
async def test_the_aliases_answer_too(gateway, path):
    """Base URLs with and without /v1, and DeepSeek's path."""
    reply = await gateway.request("POST", path, json.dumps(ADD).encode())
    assert reply.json["choices"][0]["text"] == BODY


async def test_a_proposal_that_would_harm_the_file_is_nothing(client, simulator):
    """A replacement that no insertion can express gives an empty text and a clean end."""
    harm = {"generated_text": "", "ex_msg": "1+2)*3", "delta_char": 5, "delta_line": 0}
    simulator.plan("completion", Plan(json=harm))
    answer = await client.completions.create(model="fitten-completion", prompt="(", suffix="1+2*3")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("", "stop")
    set_form(simulator, form="ex_msg")
    answer = await client.completions.create(model="fitten-completion", prompt=ADD["prompt"], suffix="  \n")
    assert answer.choices[0].text == BODY


async def test_a_broken_service_is_an_error_and_no_empty_text(client, simulator):
    """P1: an outage never looks like a completion of nothing, streamed or not."""
    simulator.plan("completion", Plan(status=503), times=None)
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as caught:
            await client.completions.create(model="fitten-completion", **ADD, stream=stream)
        assert caught.value.status_code == 502


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_closes_the_connection_to_the_service(gateway, simulator, stream):
    """P3: an editor cancels most of what it asks for."""
    await gateway.request("POST", PATH, json.dumps(ADD).encode())
    simulator.plan("completion", Plan(no_reply="stall"))
    async with gateway.line() as line:
        asked = {"prompt": "def subtract(a, b):", "suffix": "", "stream": stream}
        await line.send(written("POST", PATH, json.dumps(asked).encode()))
        await until(lambda: len(simulator.requests("completion")) == 2)
        left = line.leave()
        await simulator.wait_closed_by_client()
    assert time.monotonic() - left < 0.1
    await until(lambda: gateway.running == 0)
    assert gateway.turns.running == 0


async def test_hostile_files_do_not_stop_the_gateway(gateway):
    """P11: a line of ten megabytes, NULs, a cursor inside a grapheme; and half a character is a clear 400."""
    for fields in (
        {"prompt": "x" * 5_000_000, "suffix": "y" * 5_000_000},
        {"prompt": "\0" * 1000, "suffix": "\0"},
        {"prompt": "👩‍", "suffix": "👩‍👧\r\n"},
    ):
        assert (await gateway.request("POST", PATH, json.dumps(fields).encode())).status == 200
    assert (await gateway.request("POST", PATH, b'{"prompt": "\\ud83d", "suffix": ""}')).status == 400


async def test_the_log_has_the_file_only_where_it_is_wanted(start):
    """P10: what is around a cursor is content."""
    for wanted in (False, True):
        async with start(log={"content": wanted, "format": "json"}) as gateway:
            await gateway.request("POST", PATH, json.dumps(ADD).encode())
            gateway.gateway.log.close()
            assert ("print(add" in gateway.terminal.getvalue()) == wanted
            line = [json.loads(one) for one in gateway.terminal.getvalue().splitlines() if PATH in one][-1]
            assert line["model"] == "fitten-completion"
