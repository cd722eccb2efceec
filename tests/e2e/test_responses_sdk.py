"""An unmodified OpenAI SDK uses Responses: whole, streamed, tools, and conversations that the gateway keeps."""

import json

import openai
import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from fakes.line import KEY
from fittengate.simulator import Plan

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files."}
CALL = '<tool_calls>\n<invoke name="{}">\n<parameter name="{}">{}</parameter>\n</invoke>\n</tool_calls>'
EVENT = pydantic.TypeAdapter(ResponseStreamEvent)


@pytest.fixture
async def client(gateway):
    """Make the asynchronous client as the README makes it; tries are its own business and switched off."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def prompt(simulator):
    """Return the text of the last prompt that the service was sent."""
    return simulator.requests("chat")[-1].json["inputs"]


async def test_a_whole_response(client):
    """Requirement 35: text and usage arrive, and the object is what the SDK's own model wants, strictly."""
    answer = await client.responses.create(model="gpt-4o", input="repeat: 你好 from the SDK")
    assert answer.output_text == "你好 from the SDK"
    assert (answer.status, answer.model) == ("completed", "gpt-4o")
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    Response.model_validate(answer.to_dict())


async def test_a_streamed_response(client):
    """Requirement 16: the events come in order under one id, and each is what the SDK's own model wants."""
    stream = await client.responses.create(model="fitten-code", input="repeat: one two", stream=True)
    got = [event async for event in stream]
    assert [event.sequence_number for event in got] == list(range(len(got)))
    kinds = [event.type.removeprefix("response.") for event in got if not event.type.endswith(".delta")]
    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert "".join(event.delta for event in got if event.type.endswith(".delta")) == "one two"
    for event in got:
        EVENT.validate_python(event.to_dict())


async def test_the_stream_helper(client):
    """The SDK's own stricter reader of streams is content, and gives the whole response."""
    async with client.responses.stream(model="fitten-code", input="repeat: one two") as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_response()
    assert {"response.created", "response.output_text.delta", "response.completed"} <= kinds
    assert final.output_text == "one two"


async def test_a_conversation_goes_on(client, simulator):
    """Requirement 33: what was said before is in the prompt; instructions and tools of before are not."""
    simulator.plan("chat", Plan(text="Noted, Ann."))
    first = await client.responses.create(
        model="fitten-code", input="I am Ann.", instructions="Speak like a pirate.", tools=[WEATHER]
    )
    second = await client.responses.create(
        model="fitten-code", input="repeat: two", previous_response_id=first.id, stream=False
    )
    assert second.previous_response_id == first.id
    said = prompt(simulator)
    assert said.index("I am Ann.") < said.index("Noted, Ann.") < said.index("repeat: two")
    assert "pirate" not in said
    assert "get_weather" not in said
    stream = await client.responses.create(
        model="fitten-code", input="repeat: three", previous_response_id=second.id, stream=True
    )
    third = [event async for event in stream][-1].response
    assert third.previous_response_id == second.id
    said = prompt(simulator)
    places = [said.index(words) for words in ("I am Ann.", "Noted, Ann.", "repeat: two", "repeat: three")]
    assert places == sorted(places)
    kept = await client.responses.retrieve(third.id)
    assert kept.to_dict() == third.to_dict()


async def test_an_unknown_previous_response_is_an_error(client, gateway):
    """Requirement 33: a conversation that is not there, or not the caller's, is never begun anew in silence."""
    with pytest.raises(openai.BadRequestError) as unknown:
        await client.responses.create(model="fitten-code", input="x", previous_response_id="resp_nobody")
    assert (unknown.value.code, unknown.value.param) == ("previous_response_not_found", "previous_response_id")
    kept_by_nobody = await client.responses.create(model="fitten-code", input="x", store=False)
    assert kept_by_nobody.store is False
    with pytest.raises(openai.BadRequestError):
        await client.responses.create(model="fitten-code", input="x", previous_response_id=kept_by_nobody.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(kept_by_nobody.id)


async def test_kept_responses_are_fetched_listed_and_deleted(client):
    """Retrieve, input_items and delete work as at OpenAI; after that the response is not found."""
    first = await client.responses.create(model="fitten-code", input="repeat: one")
    items = [{"role": "user", "content": "repeat: two"}, {"role": "developer", "content": "Be quick."}]
    second = await client.responses.create(model="fitten-code", input=items, previous_response_id=first.id)
    page = await client.responses.input_items.list(second.id, order="asc")
    texts = [item.content[0].text for item in page.data]
    assert texts == ["repeat: one", "one", "repeat: two", "Be quick."]
    assert len({item.id for item in page.data}) == 4
    newest = await client.responses.input_items.list(second.id, limit=1)
    assert [item.content[0].text for item in newest.data] == ["Be quick."]
    assert [item.content[0].text async for item in newest] == texts[::-1]
    await client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)
    assert (await client.responses.retrieve(second.id)).output_text == second.output_text
    with pytest.raises(openai.BadRequestError):
        await client.responses.create(model="fitten-code", input="x", previous_response_id=second.id)


async def test_items_are_referred_to(client, simulator):
    """Requirement 28: an item that was kept can be sent by its id alone."""
    first = await client.responses.create(model="fitten-code", input="repeat: remember me")
    reference = {"type": "item_reference", "id": first.output[0].id}
    await client.responses.create(model="fitten-code", input=[reference, {"role": "user", "content": "repeat: x"}])
    assert "remember me" in prompt(simulator)
    with pytest.raises(openai.BadRequestError) as unknown:
        await client.responses.create(model="fitten-code", input=[{"type": "item_reference", "id": "msg_1"}])
    assert unknown.value.param == "input[0].id"


async def test_the_loop_of_a_tool(client, simulator):
    """Requirement 32: a call comes out, its result goes in by call_id, kept or sent in full."""
    simulator.plan("chat", Plan(text="I look.\n" + CALL.format("get_weather", "city", "Bern")))
    first = await client.responses.create(model="fitten-code", input="Weather in Bern?", tools=[WEATHER])
    message, call = first.output
    assert message.content[0].text == "I look."
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Bern"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    await client.responses.create(model="fitten-code", input=[result], previous_response_id=first.id, tools=[WEATHER])
    chained = prompt(simulator)
    history = [{"role": "user", "content": "Weather in Bern?"}, *(item.to_dict() for item in first.output), result]
    await client.responses.create(model="fitten-code", input=history, tools=[WEATHER], store=False)
    assert prompt(simulator) == chained
    assert '<result name="get_weather" call="1">\nsunny' in chained


@pytest.mark.parametrize("stream", [False, True])
async def test_a_custom_tool_gets_raw_text(client, simulator, stream):
    """Requirement 30: the input of a custom call is the text itself, streamed too, and it goes back in."""
    patch = '*** Begin Patch\n+ print("😀 \\n")\n*** End Patch'
    text = CALL.format("apply_patch", "input", f"\n{patch}\n")
    pieces = tuple(text[at : at + 9] for at in range(0, len(text), 9))
    simulator.plan("chat", Plan(deltas=pieces, interval_ms=5))
    answer = await client.responses.create(model="fitten-code", input="Go.", tools=[PATCH], stream=stream)
    if stream:
        events = [event async for event in answer]
        deltas = [event.delta for event in events if event.type == "response.custom_tool_call_input.delta"]
        assert len(deltas) > 1
        assert "".join(deltas) == patch
        answer = events[-1].response
    (call,) = answer.output
    assert (call.type, call.name, call.input) == ("custom_tool_call", "apply_patch", patch)
    result = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "Done."}
    await client.responses.create(model="fitten-code", input=[result], previous_response_id=answer.id, tools=[PATCH])
    assert patch in prompt(simulator)


async def test_a_picture_reaches_the_model(client, simulator):
    """Requirement 28: input_image is a picture of the prompt, among what a call gave too, and stays so when gone on with."""
    dot = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
        "rkJggg=="
    )
    shown = {"type": "input_image", "image_url": dot, "detail": "auto"}
    words = {"type": "input_text", "text": "repeat: seen"}
    first = await client.responses.create(model="fitten-code", input=[{"role": "user", "content": [words, shown]}])
    assert dot in prompt(simulator)
    await client.responses.create(model="fitten-code", input="repeat: again", previous_response_id=first.id)
    assert dot in prompt(simulator)
    call = {"type": "function_call", "call_id": "c", "name": "view", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": [shown]}
    await client.responses.create(model="fitten-code", input=[{"role": "user", "content": "x"}, call, result])
    assert dot in prompt(simulator)


async def test_reasoning_comes_first_and_apart(client, simulator):
    """A reasoning item with its text, or with a summary where one was asked for, and a seal where it was asked for."""
    simulator.plan("chat", Plan(reasoning="let me think", text="done"), times=2)
    first = await client.responses.create(model="deepseek-r1", input="x", include=["reasoning.encrypted_content"])
    thought, message = first.output
    assert (thought.type, thought.content[0].text, message.content[0].text) == ("reasoning", "let me think", "done")
    assert thought.encrypted_content
    second = await client.responses.create(model="deepseek-r1", input="x", reasoning={"summary": "auto"})
    assert second.output[0].summary[0].text == "let me think"
    history = [{"role": "user", "content": "x"}, *(item.to_dict() for item in first.output)]
    history.append({"role": "user", "content": "repeat: more"})
    await client.responses.create(model="deepseek-r1", input=history)
    assert "let me think" not in prompt(simulator)


async def test_a_cut_answer_is_incomplete(client):
    """Requirement 17: where max_output_tokens cut it, status and details say so."""
    short = await client.responses.create(model="fitten-code", input="repeat: one two three", max_output_tokens=2)
    assert (short.status, short.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert "one two three".startswith(short.output_text)


async def test_a_break_in_mid_stream_fails_the_response(client, simulator):
    """Requirements 13, 17: response.failed with the same id, then an error that the SDK raises, and nothing of a clean end."""
    simulator.plan("chat", Plan(text="one two three", cut="reset", cut_after=2))
    stream = await client.responses.create(model="fitten-code", input="x", stream=True)
    got = []

    async def read():
        async for event in stream:
            got.append(event)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(openai.APIError, match="connection to the Fitten service broke"):
        await read()
    assert got[-1].type == "response.failed"
    assert got[-1].response.id == got[0].response.id
    assert got[-1].response.error.code == "server_error"
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(got[0].response.id)


async def test_errors_before_the_first_byte_have_a_status(client, gateway):
    """Requirements 6, 7: wrong key, unknown model, bad value: the exceptions that programs catch."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.responses.create(model="fitten-code", input="x")
        with pytest.raises(openai.AuthenticationError):
            await stranger.responses.retrieve("resp_x")
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="no-such-model", input="x", stream=True)
    with pytest.raises(openai.BadRequestError) as bad:
        await client.responses.create(model="fitten-code", input="x", temperature=9)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as background:
        await client.responses.create(model="fitten-code", input="x", background=True)
    assert background.value.code == "unsupported_parameter"


async def test_hosted_tools_are_left_out_and_reported(client):
    """Requirement 29: web_search beside other tools has no effect, and the header says so."""
    raw = await client.responses.with_raw_response.create(
        model="fitten-code", input="repeat: x", tools=[WEATHER, {"type": "web_search"}]
    )
    assert raw.headers["x-fittengate-ignored"] == "tools.web_search"
    assert [tool.name for tool in raw.parse().tools] == ["get_weather"]
    assert raw.parse().tools[0].strict is True
