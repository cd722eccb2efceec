"""An agent's whole loop against what the demo runs, with nothing scripted: declare tools, be called, answer, be told."""

import json

import anthropic
import openai
import pytest

from fakes.line import KEY

pytestmark = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

FILES = {"a.txt": "alpha\n", "b.txt": 'beta <b> & "b"\n'}


def read_file(path):
    return FILES[path]


def write_file(path, content):
    FILES[path] = content
    return f"{len(content)} characters written"


def get_weather(city, unit="celsius"):
    return json.dumps({"city": city, "temperature": 22, "unit": unit})


RUN = {"read_file": read_file, "write_file": write_file, "get_weather": get_weather}
TEXT = {"type": "string"}
SCHEMAS = {
    "read_file": ("Read a file.", {"path": TEXT}, ["path"]),
    "write_file": ("Write a file.", {"path": TEXT, "content": TEXT}, ["path", "content"]),
    "get_weather": ("Get the weather.", {"city": TEXT, "unit": {"enum": ["celsius", "fahrenheit"]}}, ["city"]),
}


def schema(name):
    _, properties, required = SCHEMAS[name]
    return {"type": "object", "properties": properties, "required": required}


async def openai_loop(gateway, task, *, stream, most=6):
    """Return the calls that were made and the last words."""
    tools = [
        {"type": "function", "function": {"name": name, "description": about, "parameters": schema(name)}}
        for name, (about, _, _) in SCHEMAS.items()
    ]
    messages = [{"role": "user", "content": task}]
    made = []
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        for _ in range(most):
            asked = {"model": "fitten-code", "messages": messages, "tools": tools}
            if stream:
                async with client.chat.completions.stream(**asked) as streamed:
                    answer = await streamed.get_final_completion()
            else:
                answer = await client.chat.completions.create(**asked)
            message = answer.choices[0].message
            if not message.tool_calls:
                assert answer.choices[0].finish_reason == "stop"
                return made, message.content
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls:
                given = json.loads(call.function.arguments)
                made.append((call.function.name, given))
                result = RUN[call.function.name](**given)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise AssertionError(f"still calling: {made}")


async def anthropic_loop(gateway, task, *, stream, most=6):
    """Return the calls that were made and the last words."""
    tools = [
        {"name": name, "description": about, "input_schema": schema(name)} for name, (about, _, _) in SCHEMAS.items()
    ]
    messages = [{"role": "user", "content": task}]
    made = []
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client:
        for _ in range(most):
            asked = {"model": "claude-any", "max_tokens": 4000, "messages": messages, "tools": tools}
            if stream:
                async with client.messages.stream(**asked) as streamed:
                    answer = await streamed.get_final_message()
            else:
                answer = await client.messages.create(**asked)
            calls = [block for block in answer.content if block.type == "tool_use"]
            if not calls:
                assert answer.stop_reason == "end_turn"
                return made, "".join(block.text for block in answer.content if block.type == "text")
            messages.append({"role": "assistant", "content": answer.content})
            results = []
            for call in calls:
                made.append((call.name, call.input))
                result = RUN[call.name](**call.input)
                results.append({"type": "tool_result", "tool_use_id": call.id, "content": result})
            messages.append({"role": "user", "content": results})
    raise AssertionError(f"still calling: {made}")


LOOPS = pytest.mark.parametrize("loop", [openai_loop, anthropic_loop], ids=["openai", "anthropic"])


@LOOPS
async def test_a_question_is_answered_with_what_the_tool_gave(gateway, loop, stream):
    """One call with what the words hold, then an answer that has its result."""
    made, words = await loop(gateway, "What's the weather in Paris, in fahrenheit?", stream=stream)
    assert made == [("get_weather", {"city": "Paris", "unit": "fahrenheit"})]
    assert '"temperature": 22' in words


@LOOPS
async def test_a_task_of_several_steps_takes_as_many_rounds(gateway, loop, stream):
    """Two files at once, then one is written; all three results are in the answer."""
    task = 'Read a.txt and b.txt, then write c.txt with the text "line 1 <tag> & more"'
    made, words = await loop(gateway, task, stream=stream)
    assert made == [
        ("read_file", {"path": "a.txt"}),
        ("read_file", {"path": "b.txt"}),
        ("write_file", {"path": "c.txt", "content": "line 1 <tag> & more"}),
    ]
    for text in ("alpha", FILES["b.txt"].strip(), "19 characters written"):
        assert text in words


@LOOPS
async def test_where_no_tool_fits_it_talks(gateway, loop, stream):
    """The same tools, another question: plain words at once."""
    made, words = await loop(gateway, "Tell me a joke.", stream=stream)
    assert made == []
    assert "simulator, not a language model" in words
