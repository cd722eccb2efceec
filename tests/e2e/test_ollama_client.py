"""An unmodified Ollama client: prompts, chat, tools, structured answers, pictures, code completion, models, errors."""

import asyncio
import json

import ollama
import pytest
from pydantic import BaseModel

from fakes.line import KEY
from fittengate.simulator import Plan

CALL = (
    'Let me look.\n<tool_calls>\n<invoke name="read_file">\n<parameter name="path">a.py</parameter>\n</invoke>\n'
    '<invoke name="read_file">\n<parameter name="path">b.py</parameter>\n</invoke>\n</tool_calls>'
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ADD = {"prompt": "def add(a, b):", "suffix": "\n\nprint(add(1, 2))\n"}
BODY = "\n    return a + b"
HELLO = [{"role": "user", "content": "hello"}]


def read_file(path: str) -> str:
    """Read a file."""
    return path


class Town(BaseModel):
    """A form for an answer."""

    name: str
    people: int


@pytest.fixture
async def client(gateway):
    """Make the client as Ollama's documents do for a server that wants a key."""
    async with ollama.AsyncClient(gateway.url, headers={"Authorization": f"Bearer {KEY}"}) as made:
        yield made


def prompts(simulator):
    """Return what the service was asked, as text."""
    return ["\n".join(text for _, text in asked.turns) for asked in simulator.requests("chat")]


async def joined(stream):
    """Return the pieces of a stream."""
    return [piece async for piece in await stream]


async def test_a_chat_whole_and_streamed(client, simulator):
    """The same words, the reason, counts and times that are there; the name comes back as it was sent."""
    simulator.plan("chat", Plan(deltas=("Hello,", " all", " of you."), interval_ms=20), times=2)
    whole = await client.chat("fitten-code:latest", HELLO)
    pieces = await joined(client.chat("fitten-code:latest", HELLO, stream=True))
    assert whole.message.content == "".join(piece.message.content for piece in pieces) == "Hello, all of you."
    assert len(pieces) > 2
    for last in (whole, pieces[-1]):
        assert (last.done, last.done_reason, last.model) == (True, "stop", "fitten-code:latest")
        assert last.prompt_eval_count > 0
        assert last.eval_count > 0
        assert 0 < last.prompt_eval_duration < last.total_duration < 60e9
        assert last.eval_duration == last.total_duration - last.prompt_eval_duration
    assert [piece.done for piece in pieces[:-1]] == [False] * (len(pieces) - 1)


async def test_a_prompt_with_a_system_text_whole_and_streamed(client, simulator):
    """It is a conversation of one turn."""
    simulator.plan("chat", Plan(text="Hello."), times=2)
    whole = await client.generate("fitten-code", "hello", system="Be kind.")
    pieces = await joined(client.generate("fitten-code", "hello", stream=True))
    assert whole.response == "".join(piece.response for piece in pieces) == "Hello."
    assert whole.context is None
    (_, system), (_, said), *_ = simulator.requests("chat")[0].turns
    assert ("Be kind." in system, "hello" in said) == (True, True)


async def test_an_answer_is_streamed_unless_told_otherwise(gateway):
    """Ollama's default is the opposite of all others; each line is a JSON value."""
    reply = await gateway.request("POST", "/api/generate", b'{"model":"fitten-code","prompt":"hello"}')
    assert reply.headers["content-type"] == "application/x-ndjson"
    values = [json.loads(line) for line in reply.body.splitlines()]
    assert [value["done"] for value in values] == [False] * (len(values) - 1) + [True]
    assert len(values) > 1


async def test_reasoning_stands_apart(client, simulator):
    """Under ``thinking``, and nowhere if it is not wanted."""
    simulator.plan("chat", Plan(reasoning="Let me think.", text="Yes."), times=3)
    shown = await client.chat("deepseek-r1", HELLO, think=True)
    pieces = await joined(client.chat("deepseek-r1", HELLO, stream=True))
    hidden = await client.chat("deepseek-r1", HELLO, think=False)
    assert (shown.message.thinking, shown.message.content) == ("Let me think.", "Yes.")
    assert "".join(piece.message.thinking or "" for piece in pieces) == "Let me think."
    assert (hidden.message.thinking, hidden.message.content) == (None, "Yes.")


async def test_calls_and_what_they_gave(client, simulator):
    """A Python function is a tool; its calls come whole; results go back in the order in which they were asked for."""
    simulator.plan("chat", Plan(text=CALL), times=2)
    whole = (await client.chat("fitten-code", HELLO, tools=[read_file])).message
    pieces = await joined(client.chat("fitten-code", HELLO, tools=[read_file], stream=True))
    streamed = [call for piece in pieces for call in piece.message.tool_calls or []]
    for calls in (whole.tool_calls, streamed):
        assert [(call.function.name, call.function.arguments) for call in calls] == [
            ("read_file", {"path": "a.py"}),
            ("read_file", {"path": "b.py"}),
        ]
    results = [{"role": "tool", "tool_name": "read_file", "content": text} for text in ("text of a", "text of b")]
    await client.chat("fitten-code", [*HELLO, whole, *results], tools=[read_file])
    prompt = prompts(simulator)[-1]
    assert prompt.index("a.py") < prompt.index("b.py") < prompt.index("text of a") < prompt.index("text of b")
    assert "no result recorded" not in prompt


async def test_structured_answers(client, simulator):
    """A schema is kept to, by asking again if need be; ``json`` takes any object."""
    simulator.plan("chat", Plan(text="In words?"))
    simulator.plan("chat", Plan(text='```json\n{"name":"Bern","people":5}\n```'), times=2)
    answer = await client.chat("fitten-code", HELLO, format=Town.model_json_schema())
    assert Town.model_validate_json(answer.message.content) == Town(name="Bern", people=5)
    answer = await client.generate("fitten-code", "hello", format="json")
    assert json.loads(answer.response) == {"name": "Bern", "people": 5}


async def test_what_does_not_fit_a_schema_is_an_error(client, simulator):
    """Ollama itself would have let no other text be written."""
    simulator.plan("chat", Plan(text='{"name": 5}'), times=3)
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat("fitten-code", HELLO, format=Town.model_json_schema())
    assert caught.value.status_code == 502


async def test_a_picture_reaches_the_prompt(client, simulator):
    """As bare base64, in either way of asking."""
    await client.chat("fitten-code", [{"role": "user", "content": "What?", "images": [PNG]}])
    await client.generate("fitten-code", "What?", images=[PNG])
    assert [f"![Base64 Image](data:image/png;base64,{PNG})" in prompt for prompt in prompts(simulator)] == [True] * 2
    with pytest.raises(ollama.ResponseError, match=r"images\[0\]"):
        await client.generate("fitten-code", "What?", images=["AAAA"])


async def test_a_suffix_is_a_code_completion_whatever_the_model(client, simulator):
    """Whole and streamed, cut as the options say; the chat is not asked."""
    whole = await client.generate("qwen2.5-coder:1.5b", **ADD)
    pieces = await joined(client.generate("fitten-code", **ADD, stream=True))
    cut = await client.generate("codellama", **ADD, options={"stop": ["+"], "num_ctx": 4096})
    raw = f"<fim_prefix>{ADD['prompt']}<fim_suffix>{ADD['suffix']}<fim_middle>"
    marked = await client.generate("starcoder2:3b", raw, raw=True)
    alone = await client.generate("fitten-completion:latest", ADD["prompt"])
    assert whole.response == "".join(piece.response for piece in pieces) == marked.response == alone.response == BODY
    assert cut.response == "\n    return a "
    assert not simulator.requests("chat")


async def test_nothing_to_say_is_a_model_to_load(client, simulator):
    """The service is asked nothing; a name that nobody knows is told at once."""
    for answer in (await client.generate("fitten-code"), await client.chat("fitten-code", [])):
        assert (answer.done, answer.done_reason) == (True, "load")
    assert (await client.generate("fitten-code", "", keep_alive=0)).done_reason == "unload"
    with pytest.raises(ollama.ResponseError):
        await client.generate("no-such-model")
    assert not simulator.requests("chat")
    assert not simulator.requests("completion")


async def test_models_are_listed_and_shown(client):
    """Every listed name can be shown and asked; what a model can do is told."""
    listed = (await client.list()).models
    names = [model.model for model in listed]
    assert {"fitten-code:latest", "fitten-completion:latest", "deepseek-r1:latest"} <= set(names)
    assert len({model.digest for model in listed}) == len(names)
    for name in names:
        shown = await client.show(name)
        assert shown.modelinfo["fitten.context_length"] == 131072
        assert ("tools" in shown.capabilities) == (name != "fitten-completion:latest")
        assert "insert" in shown.capabilities
    with pytest.raises(ollama.ResponseError) as caught:
        await client.show("no-such-model")
    assert caught.value.status_code == 404


async def test_errors_are_a_text(gateway, client, simulator):
    """A wrong key, an unknown model, a wrong field, a model that does not talk, a path that is not there."""
    async with ollama.AsyncClient(gateway.url, headers={"Authorization": "Bearer wrong"}) as other:
        for asked in (other.chat("fitten-code", HELLO), other.list(), other.show("fitten-code")):
            with pytest.raises(ollama.ResponseError, match="API key") as caught:
                await asked
            assert caught.value.status_code == 401
    with pytest.raises(ollama.ResponseError, match="no-such-model") as caught:
        await client.chat("no-such-model:7b", HELLO)
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match=r"options\.stop") as caught:
        await client.generate("fitten-code", "x", options={"stop": list("abc") * 20})
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="takes no conversations"):
        await client.chat("fitten-completion", HELLO)
    with pytest.raises(ollama.ResponseError, match="nothing at /api/embed") as caught:
        await client.embed("fitten-code", "x")
    assert caught.value.status_code == 404
    simulator.plan("chat", Plan(status=429, headers={"Retry-After": "9"}))
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat("fitten-code", HELLO)
    assert caught.value.status_code == 429


async def test_a_stream_that_breaks_is_an_error_to_the_client(client, simulator):
    """P1: the words so far, then an error; never a last line."""
    simulator.plan("chat", Plan(deltas=("Hello", " you."), interval_ms=20, cut="close", cut_after=1))
    stream = await client.chat("fitten-code", HELLO, stream=True)
    piece = await anext(stream)
    assert (piece.message.content, piece.done) == ("Hello", False)
    with pytest.raises(ollama.ResponseError):
        await anext(stream)


async def test_a_silent_stream_is_kept_alive(start, simulator):
    """White space before the next line: the client reads every line and sees nothing of it."""
    async with start(server={"hold_seconds": 0.05, "heartbeat_seconds": 0.05}) as gateway:
        simulator.plan("chat", Plan(deltas=("Hello", " you."), interval_ms=300))
        async with ollama.AsyncClient(gateway.url, headers={"Authorization": f"Bearer {KEY}"}) as client:
            pieces = await asyncio.wait_for(joined(client.chat("fitten-code", HELLO, stream=True)), 20)
        assert "".join(piece.message.content for piece in pieces) == "Hello you."
        simulator.plan("chat", Plan(deltas=("Hello", " you."), interval_ms=300))
        body = json.dumps({"model": "fitten-code", "messages": HELLO}).encode()
        assert b"  {" in (await gateway.request("POST", "/api/chat", body)).body
