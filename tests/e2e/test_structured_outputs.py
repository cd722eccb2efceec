"""Structured outputs with the vendors' own SDKs: parsed whole and streamed, mended, refused, cut off, failed."""

import asyncio
import json

import anthropic
import openai
import pydantic
import pytest

from fakes.line import KEY, until
from fittengate.simulator import Plan


class City(pydantic.BaseModel):
    """A city."""

    name: str
    people: int


GOOD, UNFIT = '{"name": "Zürich", "people": 400}', '{"name": "Zürich", "people": "many"}'
CITY = City(name="Zürich", people=400)
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "City",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"$ref": "#/$defs/count"}},
    "required": ["name", "people"],
    "$defs": {"count": {"type": "integer"}},
}
LOOSE = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
ASKED = [{"role": "user", "content": "Name a city."}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def client(gateway):
    """Make OpenAI's client."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=2) as made:
        yield made


@pytest.fixture
async def messages(gateway):
    """Make Anthropic's client."""
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=2) as made:
        yield made


def plans(simulator, *texts):
    for text in texts:
        simulator.plan("chat", Plan(text=text))


async def parsed(client, *, stream, **fields):
    """Return what the SDK's helper for parsing makes of an answer: it asks with ``strict``."""
    asked = {"model": "fitten-code", "messages": ASKED, "response_format": City, **fields}
    if not stream:
        return await client.chat.completions.parse(**asked)
    async with client.chat.completions.stream(**asked) as events:
        return await events.get_final_completion()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_sdk_parses_an_answer_without_its_fence(client, simulator, stream):
    """Requirement 23: words and fence are dropped; the service was told of the schema and the word JSON."""
    plans(simulator, f"Sure!\n```json\n{GOOD}\n```\nAnything else?")
    answer = await parsed(client, stream=stream)
    assert answer.choices[0].message.parsed == CITY
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.refusal is None
    (record,) = simulator.requests("chat")
    assert record.turns[0][0] == "system"
    assert "JSON" in record.turns[0][1]
    assert '"people"' in record.turns[0][1]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_does_not_fit_is_asked_for_again(client, simulator, gateway, stream):
    """Requirement 23: the second try has the first and the validator's words; the client sees the good one alone."""
    plans(simulator, UNFIT, GOOD)
    answer = await parsed(client, stream=stream)
    assert answer.choices[0].message.parsed == CITY
    turns = simulator.requests("chat")[-1].turns
    assert [role for role, _ in turns] == ["system", "user", "assistant", "user"]
    assert '"many" is not of type "integer"' in turns[3][1]
    exchanges = gateway.gateway.exchanges
    assert (exchanges.asked.again, exchanges.asked.outcomes) == ({"invalid": 1}, {"mended": 1})


@pytest.mark.parametrize("stream", [False, True])
async def test_what_must_fit_and_never_does_is_an_error(client, simulator, gateway, stream):
    """Requirement 7 and 23: after three tries a 502 that no SDK repeats, with the validator's words."""
    plans(simulator, *[UNFIT] * 3)
    with pytest.raises(openai.InternalServerError) as caught:
        await parsed(client, stream=stream)
    assert caught.value.status_code == 502
    assert caught.value.code == "structured_output_failed"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert '"many" is not of type "integer"' in caught.value.message
    assert len(simulator.requests("chat")) == 3
    assert gateway.gateway.exchanges.asked.outcomes == {"failed": 1}
    await until(lambda: "output_invalid" in gateway.terminal.getvalue())
    assert "many" not in gateway.terminal.getvalue()


async def test_what_need_not_fit_comes_with_a_warning(client, simulator):
    """Requirement 23: the JSON is there and can be parsed; the header says that it is not of the form."""
    plans(simulator, *[UNFIT] * 3)
    raw = await client.chat.completions.with_raw_response.create(
        model="fitten-code", messages=ASKED, response_format=LOOSE
    )
    assert raw.headers["x-fittengate-warning"] == "structured_output_invalid"
    assert json.loads(raw.parse().choices[0].message.content) == {"name": "Zürich", "people": "many"}
    plans(simulator, GOOD)
    raw = await client.chat.completions.with_raw_response.create(
        model="fitten-code", messages=ASKED, response_format=LOOSE
    )
    assert "x-fittengate-warning" not in raw.headers


async def test_what_need_not_fit_is_streamed_as_it_comes(client, simulator):
    """Requirement 23: pieces before the end; the trailing words are dropped and the service is not read to its end."""
    simulator.plan("chat", Plan(text=f"```json\n{GOOD}\n```\n" + "More words. " * 50, cut="stall", cut_after=60))
    stream = await client.chat.completions.create(
        model="fitten-code",
        messages=ASKED,
        response_format=LOOSE,
        stream=True,
        stream_options={"include_usage": True},
    )
    async with asyncio.timeout(5):
        chunks = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == GOOD
    assert chunks[-1].usage.completion_tokens > 0
    await until(lambda: simulator.counters.open_streams == 0)


@pytest.mark.parametrize("text", ['{"name": "the "big" one", "people": 1}', '{"name": "a\nb", "people": 1,}'])
async def test_a_stream_that_goes_wrong_is_mended(client, simulator, text):
    """Requirement 23: what is sent is parseable JSON all the same."""
    plans(simulator, text)
    async with client.chat.completions.stream(model="fitten-code", messages=ASKED, response_format=LOOSE) as events:
        final = await events.get_final_completion()
    assert json.loads(final.choices[0].message.content)["people"] == 1
    assert len(simulator.requests("chat")) == 1


async def test_a_stream_that_cannot_be_mended_ends_in_an_error(gateway, simulator):
    """No clean end, no [DONE]: the error says what failed."""
    simulator.plan("chat", Plan(text='{"name": "Zürich", "people": one', interval_ms=5))
    reply = await gateway.chat("Name a city.", response_format=LOOSE, stream=True)
    assert reply.status == 200
    assert b'"structured_output_failed"' in reply.body
    assert b"[DONE]" not in reply.body


async def test_any_object_is_good_without_a_schema(client, simulator):
    """Requirement 23: json_object, whole and streamed."""
    plans(simulator, 'Here: {"a": [1]}.', '```\n{"a": [1]}\n```')
    asked = {"model": "fitten-code", "messages": ASKED, "response_format": {"type": "json_object"}}
    whole = await client.chat.completions.create(**asked)
    assert whole.choices[0].message.content == '{"a": [1]}'
    pieces = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces) == '{"a": [1]}'


async def test_without_a_form_a_fence_stays(client, simulator):
    """Requirement 23: where the schema is only in the prompt, nothing is taken out of the answer."""
    plans(simulator, f"```json\n{GOOD}\n```")
    answer = await client.chat.completions.create(model="fitten-code", messages=ASKED)
    assert answer.choices[0].message.content == f"```json\n{GOOD}\n```"


@pytest.mark.parametrize("stream", [False, True])
async def test_words_in_every_try_are_a_refusal(client, simulator, stream):
    """Requirement 24: the SDK finds them in message.refusal, content is null, nothing is parsed."""
    plans(simulator, *["I will not."] * 3)
    answer = await parsed(client, stream=stream)
    message = answer.choices[0].message
    assert (message.refusal, message.content, message.parsed) == ("I will not.", None, None)
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_limit_makes_the_sdk_raise_what_it_raises_for_that(client, simulator, gateway, stream):
    """Requirement 25: finish length with what there is, one call, and the helper's own exception."""
    plans(simulator, GOOD)
    with pytest.raises(openai.LengthFinishReasonError):
        await parsed(client, stream=stream, max_tokens=3)
    assert len(simulator.requests("chat")) == 1
    plans(simulator, GOOD)
    reply = await gateway.chat("Name a city.", response_format=LOOSE, max_tokens=3)
    assert reply.json["choices"][0]["finish_reason"] == "length"
    assert GOOD.startswith(reply.text)


async def test_a_bad_schema_is_found_before_the_service_is_asked(client, simulator):
    """Requirement 7 and 23: a 400 that names the place, and nothing is sent anywhere."""
    for schema in ({"type": "objekt"}, {"$ref": f"{simulator.base_url}/schema"}):
        form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(
                    model="fitten-code", messages=ASKED, response_format=form, stream=stream
                )
            assert caught.value.param == "response_format.json_schema.schema"
    assert simulator.requests("chat") == simulator.requests("unknown") == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_is_an_answer_where_there_are_tools(client, simulator, stream):
    """Requirement 22 and 23: the words before it stay, nothing is asked again."""
    plans(simulator, 'Let me look.\n<tool_calls>\n<invoke name="look">\n</invoke>\n</tool_calls>')
    fields = {"model": "fitten-code", "messages": ASKED, "tools": [TOOL], "response_format": LOOSE}
    if stream:
        async with client.chat.completions.stream(**fields) as events:
            answer = await events.get_final_completion()
    else:
        answer = await client.chat.completions.create(**fields)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content == "Let me look."
    assert answer.choices[0].message.tool_calls[0].function.name == "look"
    assert len(simulator.requests("chat")) == 1


async def test_json_of_the_shape_of_a_call_is_no_call_where_json_is_wanted(client, simulator):
    """Requirement 23: it is the answer."""
    text = '{"name": "look", "arguments": {}}'
    plans(simulator, text)
    answer = await client.chat.completions.create(
        model="fitten-code", messages=ASKED, tools=[TOOL], response_format={"type": "json_object"}
    )
    assert answer.choices[0].message.content == text
    assert answer.choices[0].message.tool_calls is None


async def test_messages_parse_gives_the_value(messages, simulator):
    """Requirement 41: Anthropic's helper, whole and streamed; what does not fit is asked for again."""
    plans(simulator, f"```json\n{GOOD}\n```", UNFIT, GOOD, UNFIT, GOOD)
    for _ in range(2):
        answer = await messages.messages.parse(model="claude-any", max_tokens=500, messages=ASKED, output_format=City)
        assert answer.parsed_output == CITY
        assert answer.stop_reason == "end_turn"
    async with messages.messages.stream(
        model="claude-any", max_tokens=500, messages=ASKED, output_format=City
    ) as events:
        final = await events.get_final_message()
    assert final.parsed_output == CITY
    assert len(simulator.requests("chat")) == 5


async def test_messages_take_a_schema_as_it_is(messages, simulator):
    """Requirement 41: output_config.format with a schema of the client's own; a bad one is a 400 without a call."""
    plans(simulator, f"Here: {GOOD}")
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}
    answer = await messages.messages.create(model="claude-any", max_tokens=500, messages=ASKED, output_config=config)
    assert answer.content[0].text == GOOD
    config = {"format": {"type": "json_schema", "schema": {"type": "objekt"}}}
    with pytest.raises(anthropic.BadRequestError) as caught:
        await messages.messages.create(model="claude-any", max_tokens=500, messages=ASKED, output_config=config)
    assert "output_config.format.schema" in caught.value.message
    assert len(simulator.requests("chat")) == 1


async def test_messages_that_never_fit_or_refuse(messages, simulator):
    """Requirement 41: an error that is not repeated, or the words with the stop reason for a refusal."""
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}
    plans(simulator, *[UNFIT] * 3)
    with pytest.raises(anthropic.InternalServerError) as caught:
        await messages.messages.create(model="claude-any", max_tokens=500, messages=ASKED, output_config=config)
    assert caught.value.status_code == 502
    assert len(simulator.requests("chat")) == 3
    plans(simulator, *["I will not."] * 3)
    answer = await messages.messages.create(model="claude-any", max_tokens=500, messages=ASKED, output_config=config)
    assert (answer.stop_reason, answer.content[0].text) == ("refusal", "I will not.")


async def test_a_forced_tool_has_arguments_that_fit(messages, simulator):
    """Requirement 41: a schema given as the one tool to call; whole answers are asked for again."""
    call = '<tool_calls>\n<invoke name="city">\n<parameter name="name">Zürich</parameter>\n{}</invoke>\n</tool_calls>'
    plans(simulator, call.format('<parameter name="people">many</parameter>\n'))
    plans(simulator, call.format('<parameter name="people">400</parameter>\n'))
    tool = {"name": "city", "input_schema": SCHEMA}
    answer = await messages.messages.create(
        model="claude-any",
        max_tokens=500,
        messages=ASKED,
        tools=[tool],
        tool_choice={"type": "tool", "name": "city"},
    )
    assert answer.stop_reason == "tool_use"
    assert [block.input for block in answer.content] == [{"name": "Zürich", "people": 400}]
    assert "people" in simulator.requests("chat")[-1].turns[-1][1]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_in_a_later_try_closes_it(gateway, simulator, stream):
    """P3: the connection to the service is closed, the turn given back."""
    plans(simulator, UNFIT)
    simulator.plan("chat", Plan(text=GOOD, cut="stall", cut_after=1))
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    async with gateway.line() as line:
        await line.ask("Name a city.", response_format=form, stream=stream)
        await until(lambda: len(simulator.requests("chat")) == 2)
        await until(lambda: simulator.counters.open_streams == 1)
        line.leave()
        async with asyncio.timeout(1):
            await simulator.wait_closed_by_client()
    await until(lambda: gateway.running == 0)
    assert gateway.turns.running == 0


async def test_a_held_stream_is_kept_alive(simulator, start):
    """Requirement 12: a strict answer comes in one piece at its end; until then there are comments."""
    simulator.plan("chat", Plan(text=GOOD, interval_ms=30))
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    async with start(server={"hold_seconds": 0.05, "heartbeat_seconds": 0.05}) as gateway:
        reply = await gateway.chat("Name a city.", response_format=form, stream=True)
    assert reply.status == 200
    assert reply.body.startswith(b":")
    assert reply.text == GOOD
    assert reply.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_responses_parse_gives_the_value(client, simulator, stream):
    """Requirement 34: text.format in Responses; the second try is delivered alone, and the SDK parses it."""
    plans(simulator, UNFIT, f"```json\n{GOOD}\n```")
    asked = {"model": "fitten-code", "input": "Name a city.", "text_format": City}
    if stream:
        async with client.responses.stream(**asked) as events:
            answer = await events.get_final_response()
    else:
        answer = await client.responses.parse(**asked)
    assert answer.output_parsed == CITY
    assert len(simulator.requests("chat")) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_words_in_every_try_are_a_refusal_in_responses_too(client, simulator, stream):
    """Requirement 34: a part of type refusal, whole and in the events of its own."""
    plans(simulator, *["I would rather not."] * 3)
    asked = {"model": "fitten-code", "input": "Name a city.", "text_format": City}
    said = ""
    if stream:
        async with client.responses.stream(**asked) as events:
            async for event in events:
                said += event.delta if event.type == "response.refusal.delta" else ""
            answer = await events.get_final_response()
        assert said == "I would rather not."
    else:
        answer = await client.responses.parse(**asked)
    (message,) = answer.output
    (part,) = message.content
    assert (part.type, part.refusal) == ("refusal", "I would rather not.")
    assert answer.output_parsed is None


async def test_a_bad_schema_in_responses_is_found_before_the_service_is_asked(client, simulator):
    """Requirement 34: a 400 that names the place."""
    form = {"type": "json_schema", "name": "n", "schema": {"type": "nonsense"}, "strict": True}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="fitten-code", input="x", text={"format": form})
    assert caught.value.param.startswith("text.format.schema")
    assert simulator.requests("chat") == []
