"""A second call to the service where the first reply is not what was asked for: real sockets, unmodified SDKs."""

import asyncio
import json

import openai
import pytest

from fakes.line import KEY, until
from fittengate.simulator import Plan

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOL = {"type": "function", "function": {"name": "read_file", "description": "Read a file.", "parameters": SCHEMA}}
NAMED = {"type": "function", "function": {"name": "read_file"}}
ASKED = [{"role": "user", "content": "Look at the file."}]
CALL = '<tool_calls>\n<invoke name="read_file">\n<parameter name="path">a.py</parameter>\n</invoke>\n</tool_calls>'
BROKEN = '<tool_calls>\n<invoke name="read_file">\n<parameter name="path">a.p'
UNREADABLE = '<tool_calls>\n<invoke name="read_file">\n{"path": a.py\n</invoke>\n</tool_calls>'


@pytest.fixture
async def client(gateway):
    """Make OpenAI's client."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


async def answered(client, *, stream, **fields):
    """Return the first choice of an answer, whole or streamed, and its usage."""
    asked = {"model": "fitten-code", "messages": ASKED, "tools": [TOOL], **fields}
    if not stream:
        whole = await client.chat.completions.create(**asked)
        return whole.choices[0], whole.usage
    async with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
        final = await events.get_final_completion()
    return final.choices[0], final.usage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("choice", "finish"), [("required", "tool_calls"), (NAMED, "stop")])
async def test_a_demanded_call_comes_with_the_second_reply(client, simulator, gateway, stream, choice, finish):
    """Requirement 22: words without a call are followed by the call, or give way to that of a named tool; usage is the second's."""
    simulator.plan("chat", Plan(text="I will look.", input_tokens=11, output_tokens=4))
    simulator.plan("chat", Plan(text=CALL, input_tokens=30, output_tokens=9))
    answer, usage = await answered(client, stream=stream, tool_choice=choice)
    assert answer.finish_reason == finish
    assert (answer.message.content or "") == ("I will look." if choice == "required" else "")
    assert json.loads(answer.message.tool_calls[0].function.arguments) == {"path": "a.py"}
    assert (usage.prompt_tokens, usage.completion_tokens) == (30, 9)
    turns = simulator.requests("chat")[-1].turns
    assert [role for role, _ in turns] == ["system", "user", "assistant", "user"]
    assert turns[2][1].strip() == "I will look."
    exchanges = gateway.gateway.exchanges
    assert exchanges.asked.again == {"missing": 1}
    assert exchanges.asked.outcomes == {"mended": 1}
    await until(lambda: "41+13" in gateway.terminal.getvalue())


@pytest.mark.parametrize("stream", [False, True])
async def test_words_twice_are_the_answer(client, simulator, gateway, stream):
    """Requirement 22: nothing forces a model; after one more call its first words stand."""
    simulator.plan("chat", Plan(text="No."), times=2)
    answer, _ = await answered(client, stream=stream, tool_choice="required")
    assert answer.finish_reason == "stop"
    assert answer.message.content == "No."
    assert len(simulator.requests("chat")) == 2
    assert gateway.gateway.exchanges.asked.outcomes == {"kept": 1}


@pytest.mark.parametrize("text", [BROKEN, UNREADABLE, "Go.\n" + BROKEN])
async def test_a_broken_call_is_whole_the_second_time(client, simulator, text):
    """Nothing of it has reached the client of a whole answer, so it is asked for again."""
    simulator.plan("chat", Plan(text=text))
    simulator.plan("chat", Plan(text=CALL))
    answer, _ = await answered(client, stream=False)
    assert answer.finish_reason == "tool_calls"
    assert answer.message.content == ("Go." if text.startswith("Go.") else None)
    assert json.loads(answer.message.tool_calls[0].function.arguments) == {"path": "a.py"}


async def test_a_streamed_call_that_could_not_be_read_is_whole_the_second_time(client, simulator):
    """No piece of its arguments was sent, so the client sees one call, the whole one."""
    simulator.plan("chat", Plan(text="Go.\n" + UNREADABLE))
    simulator.plan("chat", Plan(text=CALL))
    answer, _ = await answered(client, stream=True)
    assert answer.finish_reason == "tool_calls"
    assert [call.function.name for call in answer.message.tool_calls] == ["read_file"]
    assert json.loads(answer.message.tool_calls[0].function.arguments) == {"path": "a.py"}


async def test_a_service_that_fails_the_second_time_leaves_the_first_answer(client, simulator, gateway):
    """The words came through well; the fault of a further call is none of the client's."""
    simulator.plan("chat", Plan(text="No."))
    simulator.plan("chat", Plan(status=422))
    answer, _ = await answered(client, stream=False, tool_choice="required")
    assert answer.message.content == "No."
    assert gateway.gateway.exchanges.asked.outcomes == {"kept": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_during_the_second_call_closes_it(gateway, simulator, stream):
    """P3 holds there as anywhere: the connection to the service is closed, the turn given back."""
    simulator.plan("chat", Plan(text="No."))
    simulator.plan("chat", Plan(text="Still no.", cut="stall", cut_after=1))
    async with gateway.line() as line:
        await line.ask("Look.", tools=[TOOL], tool_choice="required", stream=stream)
        await until(lambda: len(simulator.requests("chat")) == 2)
        await until(lambda: simulator.counters.open_streams == 1)
        line.leave()
        async with asyncio.timeout(1):
            await simulator.wait_closed_by_client()
    await until(lambda: gateway.running == 0)
    assert gateway.turns.running == 0


async def test_a_second_reply_that_is_cut_ends_no_stream_cleanly(gateway, simulator):
    """P1 holds there too: where words of the second reply were sent, its fault is the end."""
    simulator.plan("chat", Plan(reasoning="Hm.", text=""))
    simulator.plan("chat", Plan(text="Yes, it is so.", interval_ms=20, cut="reset", cut_after=3))
    reply = await gateway.chat("Look.", tools=[TOOL], stream=True)
    assert b"[DONE]" not in reply.body
    assert b'"error"' in reply.body
