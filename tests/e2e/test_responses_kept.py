"""Kept responses over HTTP: whose they are, where they lie, and what a broken disk does to replies."""

import contextlib
import json
import sqlite3
import stat

import openai
import pytest

from fakes.line import KEY

OTHER = "another-key-of-this-gateway"


async def create(gateway, path="/v1/responses", key=KEY, **fields):
    body = json.dumps({"model": "fitten-code", "input": "repeat: one", **fields}).encode()
    return await ask(gateway, "POST", path, body, key)


async def ask(gateway, method, path, body=b"", key=KEY):
    return await gateway.request(method, path, body, key=key)


async def test_responses_survive_a_restart_in_a_private_file(serve):
    """What is kept is in ``fittengate.db`` in the state directory, mode 0600, and the next process goes on with it."""
    first = await serve()
    made = json.loads((await create(first)).body)
    first.signal(15)
    assert await first.ended() == 0
    file = first.state_dir / "fittengate.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = await serve()
    assert json.loads((await ask(second, "GET", f"/v1/responses/{made['id']}")).body) == made
    more = await create(second, input="repeat: two", previous_response_id=made["id"])
    assert json.loads(more.body)["previous_response_id"] == made["id"]


async def test_nothing_is_on_the_disk_without_store(serve):
    """``store: false`` keeps nothing of a response, and ``store.url = none`` makes no file at all."""
    process = await serve()
    assert (await create(process, store=False)).status == 200
    other = await serve(state="other", store_url="none")
    made = json.loads((await create(other)).body)
    assert (await ask(other, "GET", f"/v1/responses/{made['id']}")).status == 200
    for one in (process, other):
        one.signal(15)
        assert await one.ended() == 0
    with contextlib.closing(sqlite3.connect(process.state_dir / "fittengate.db")) as database:
        assert database.execute("SELECT count(*) FROM responses").fetchone() == (0,)
    assert not list(other.state_dir.glob("fittengate.db*"))
    assert not (other.state_dir / "journal").exists()


async def test_tokens_of_a_response_are_counted_and_ask_nobody(gateway, simulator):
    """By OpenAI's own client: with instructions, tools, a response to go on with, and without any input."""
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)
    async with client:
        made = await client.responses.create(model="gpt-5", input="repeat: one " * 50)
        simulator.reset()
        count = client.responses.input_tokens.count
        short = await count(model="gpt-5", input="one")
        assert short.object == "response.input_tokens"
        more = [
            await count(model="gpt-5", input="one", instructions="Be brief. " * 20),
            await count(model="gpt-5", input="one", previous_response_id=made.id),
            await count(model="gpt-5", input=[{"role": "user", "content": "one two three four five " * 5}]),
        ]
        assert all(one.input_tokens > short.input_tokens > 0 for one in more)
        assert (await count(instructions="Be brief.")).input_tokens > 0
        with pytest.raises(openai.BadRequestError, match="resp_none"):
            await count(input="one", previous_response_id="resp_none")
        with pytest.raises(openai.NotFoundError):
            await count(model="no-such-model", input="one")
        with pytest.raises(openai.BadRequestError):
            await count(extra_body={"input": 5})
    assert not simulator.requests("chat")
    reply = await ask(gateway, "GET", "/v1/responses/input_tokens")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


async def test_what_cannot_be_done_with_a_response_says_what_to_do(gateway):
    """Cancelling and compacting: 400 in OpenAI's form; 404 for a response that is not there, 401 without a key."""
    made = json.loads((await create(gateway)).body)
    for path, word in ((f"/v1/responses/{made['id']}/cancel", "connection"), ("/responses/compact", "summary")):
        reply = await ask(gateway, "POST", path, b"{}")
        assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
        assert word in reply.error["message"]
        assert (await ask(gateway, "POST", path, key="wrong")).status == 401
        assert (await ask(gateway, "GET", path)).status == 405
    assert (await ask(gateway, "POST", "/v1/responses/resp_none/cancel")).status == 404


async def test_another_key_sees_nothing(start):
    """404 for fetching, listing and deleting; going on with it is the same error as with one that never was."""
    async with start(server={"api_key": (KEY, OTHER)}) as gateway:
        made = json.loads((await create(gateway)).body)
        path = f"/v1/responses/{made['id']}"
        for method, where in (("GET", path), ("GET", f"{path}/input_items"), ("DELETE", path)):
            answer = await ask(gateway, method, where, key=OTHER)
            assert (answer.status, json.loads(answer.body)["error"]["code"]) == (404, "not_found")
        denied = await create(gateway, key=OTHER, previous_response_id=made["id"])
        assert (denied.status, json.loads(denied.body)["error"]["code"]) == (400, "previous_response_not_found")
        assert (await ask(gateway, "GET", path)).status == 200


async def test_every_alias_and_method(gateway):
    """Base URLs that are a little off work for kept responses too; other methods and paths say what is wrong."""
    for base in ("/v1/responses", "/responses", "/v1/v1/responses"):
        made = json.loads((await create(gateway, base)).body)
        path = f"{base}/{made['id']}"
        assert json.loads((await ask(gateway, "GET", path)).body) == made
        assert (await ask(gateway, "HEAD", path)).status == 200
        assert (await ask(gateway, "POST", path, b"{}")).status == 405
        assert (await ask(gateway, "DELETE", f"{path}/input_items")).status == 405
        assert (await ask(gateway, "GET", f"{path}/nothing")).status == 404
        assert (await ask(gateway, "GET", f"{path}?stream=true")).status == 400
        assert (await ask(gateway, "GET", f"{path}/input_items?limit=0")).status == 400
        assert (await ask(gateway, "GET", f"{path}/input_items?order=up")).status == 400
        # An empty page would say that there is no more.
        unknown = await ask(gateway, "GET", f"{path}/input_items?after=msg_unknown")
        assert (unknown.status, unknown.error["param"]) == (400, "after")
        assert (await ask(gateway, "GET", path, key="wrong")).status == 401
        deleted = await ask(gateway, "DELETE", path)
        assert json.loads(deleted.body) == {"id": made["id"], "object": "response", "deleted": True}
        assert (await ask(gateway, "DELETE", path)).status == 404


async def test_a_broken_disk_costs_no_reply(serve):
    """P12: with a store that cannot be opened replies go on, are kept in memory, and the log says what is wrong."""
    process = await serve(store_url="sqlite:////proc/nowhere/fittengate.db")
    made = json.loads((await create(process)).body)
    assert made["output"][0]["content"][0]["text"] == "one"
    await process.says("the store of responses cannot be used")
    assert (await create(process, input="repeat: x", previous_response_id=made["id"])).status == 200
    unknown = await create(process, previous_response_id="resp_nobody")
    assert unknown.status == 503
    assert unknown.headers["retry-after"]


async def test_a_sync_client_parses_and_goes_on(serve):
    """The synchronous SDK against a real process: whole, streamed, and on from there."""
    import anyio

    process = await serve()

    def talk():
        with openai.OpenAI(base_url=f"http://127.0.0.1:{process.port}/v1", api_key=KEY, max_retries=0) as client:
            first = client.responses.create(model="fitten-code", input="repeat: one")
            with client.responses.stream(
                model="fitten-code", input="repeat: two", previous_response_id=first.id
            ) as stream:
                second = stream.get_final_response()
            return first.output_text, second.output_text, second.previous_response_id == first.id

    assert await anyio.to_thread.run_sync(talk) == ("one", "two", True)


@pytest.mark.parametrize("stream", [False, True])
async def test_structured_text_is_parsed(gateway, simulator, stream):
    """``responses.parse`` gives the SDK's own object out of the text; the form is echoed."""
    import pydantic

    from fittengate.simulator import Plan

    class City(pydantic.BaseModel):
        name: str

    simulator.plan("chat", Plan(text='{"name": "Bern"}'))
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        if stream:
            async with client.responses.stream(model="fitten-code", input="x", text_format=City) as events:
                answer = await events.get_final_response()
        else:
            answer = await client.responses.parse(model="fitten-code", input="x", text_format=City)
    assert answer.output_parsed == City(name="Bern")
    assert answer.text.format.type == "json_schema"
