"""An unmodified Mistral SDK completes code: whole, streamed, cut, and refused."""

import json

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from fakes.line import KEY
from fittengate.simulator import Plan

ADD = {"prompt": "def add(a, b):", "suffix": "\n\nprint(add(1, 2))\n"}
BODY = "\n    return a + b"


@pytest.fixture
async def client(gateway):
    """Make the client as Mistral's documents do, with another address."""
    async with Mistral(api_key=KEY, server_url=gateway.url) as made:
        yield made


async def test_a_whole_completion(client, simulator):
    """The text, its finish and its usage arrive as the SDK's own types; the chat is not asked."""
    answer = await client.fim.complete_async(model="codestral-latest", **ADD)
    assert answer.choices[0].message.content == BODY
    assert (answer.choices[0].finish_reason, answer.model) == ("stop", "codestral-latest")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert not simulator.requests("chat")


async def test_a_streamed_completion(client):
    """Requirement 27: text in chat's shape, then the chunk with finish and usage, which Mistral always sends."""
    stream = await client.fim.stream_async(model="codestral-latest", **ADD)
    got = [event.data async for event in stream]
    assert "".join(chunk.choices[0].delta.content for chunk in got) == BODY
    assert got[-1].choices[0].finish_reason == "stop"
    assert got[-1].usage.total_tokens > 0


async def test_stop_and_length(client):
    """Both cut what the service proposed."""
    answer = await client.fim.complete_async(model="codestral-latest", **ADD, stop=["+", "[PREFIX]"])
    assert answer.choices[0].message.content == "\n    return a "
    answer = await client.fim.complete_async(model="codestral-latest", **ADD, max_tokens=1)
    assert answer.choices[0].finish_reason == "length"


async def test_errors_have_mistrals_shape(client, simulator):
    """A wrong key, an unknown model, and a service that is out of order."""
    async with Mistral(api_key="wrong", server_url=client.sdk_configuration.server_url) as other:
        with pytest.raises(SDKError) as caught:
            await other.fim.complete_async(model="codestral-latest", **ADD)
    assert (caught.value.status_code, json.loads(caught.value.body)["code"]) == (401, "invalid_api_key")
    with pytest.raises(SDKError) as caught:
        await client.fim.complete_async(model="no-such-model", **ADD)
    told = json.loads(caught.value.body)
    assert (caught.value.status_code, told["object"], told["param"]) == (404, "error", "model")
    simulator.plan("completion", Plan(status=429, headers={"Retry-After": "9"}))
    with pytest.raises(SDKError) as caught:
        await client.fim.complete_async(model="codestral-latest", **ADD)
    assert (caught.value.status_code, caught.value.headers["retry-after"]) == (429, "9")


@pytest.mark.parametrize("path", ["/fim/completions", "/v1/v1/fim/completions"])
async def test_the_aliases_answer_too(gateway, path):
    """Base URLs without /v1 and with it twice."""
    reply = await gateway.request("POST", path, json.dumps(ADD).encode())
    assert reply.json["choices"][0]["message"]["content"] == BODY
