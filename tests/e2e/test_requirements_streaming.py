"""What clients need of a stream: its type, its anatomy, signs of life, an honest end, and the same without streaming."""

import asyncio
import json

import pytest

from fakes.agent import calls
from fakes.line import CHAT, chunks, events
from fakes.posting import CHAT_TOOL, HELLO, MESSAGES, MESSAGES_TOOL, PATHS, call_of, named_events, post, words
from fittengate.simulator import Plan

TOOL = {CHAT: CHAT_TOOL, MESSAGES: MESSAGES_TOOL}


@pytest.mark.parametrize("path", PATHS)
async def test_a_stream_is_an_event_stream_and_an_early_fault_a_status(gateway, simulator, path):
    """Requirement 11: `stream: true` is never answered with JSON, but for what fails before the first word."""
    reply = await post(gateway, path, stream=True)
    assert (reply.status, reply.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    simulator.plan("chat", Plan(status=429))
    early = await post(gateway, path, stream=True)
    assert (early.status, early.headers["content-type"].split(";")[0]) == (429, "application/json")
    wrong = await post(gateway, path, stream=True, messages=[])
    assert (wrong.status, wrong.headers["content-type"].split(";")[0]) == (400, "application/json")


@pytest.mark.parametrize("path", PATHS)
async def test_a_slow_stream_is_never_silent(start, simulator, path):
    """Requirement 12: comments or pings before the first word and between words."""
    simulator.plan("chat", Plan(deltas=("one", " two"), first_ms=350, interval_ms=350))
    async with start(server={"hold_seconds": 0.1, "heartbeat_seconds": 0.1}) as gateway:
        reply = await post(gateway, path, stream=True)
    assert words(path, reply) == "one two"
    before, between, _ = reply.body.partition(b"one")[0], *reply.body.partition(b"one")[2].split(b"two")
    for part in (before, between):
        assert sum(part.count(sign) for sign in (b"\n:", b"event: ping")) + part.startswith(b":") >= 1


@pytest.mark.parametrize("path", PATHS)
async def test_a_failure_in_mid_stream_is_an_error_and_no_end(gateway, simulator, path):
    """Requirement 13: the protocol's own error frame, then nothing: no terminator, no finish reason."""
    simulator.plan("chat", Plan(text="one two three", cut="reset", cut_after=2))
    reply = await post(gateway, path, stream=True)
    assert words(path, reply) == "one two"
    if path == CHAT:
        last = chunks(reply.body)[-1]
        assert last["error"]["code"] == "upstream_error"
        assert events(reply.body)[-1] != "[DONE]"
        assert not any(choice["finish_reason"] for chunk in chunks(reply.body)[:-1] for choice in chunk["choices"])
    else:
        last = named_events(reply)[-1]
        assert (last.name, last.data["type"], last.data["error"]["type"]) == ("error", "error", "api_error")
        assert not {event.name for event in named_events(reply)} & {"message_delta", "message_stop"}


@pytest.mark.parametrize("usage", [False, True])
async def test_the_anatomy_of_chat_chunks(gateway, simulator, usage):
    """Requirement 14: one id, the role first, one finish reason, then usage if it was asked for, then the end."""
    simulator.plan("chat", Plan(text="one two three"))
    reply = await post(gateway, CHAT, stream=True, stream_options={"include_usage": usage})
    found = chunks(reply.body)
    assert events(reply.body)[-1] == "[DONE]"
    assert len({chunk["id"] for chunk in found}) == 1
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert sum("role" in chunk["choices"][0]["delta"] for chunk in found if chunk["choices"]) == 1
    *_, last = [chunk for chunk in found if chunk["choices"]]
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in found if chunk["choices"]]
    assert [reason for reason in finishes if reason] == [last["choices"][0]["finish_reason"]] == ["stop"]
    assert [chunk["choices"] for chunk in found].count([]) == usage
    if usage:
        assert found[-1]["choices"] == []
        counts = found[-1]["usage"]
        assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"] > 0


@pytest.mark.parametrize("arguments", [{"path": 'a"b\\</parameter>\n🚀'}, {}], ids=["hard", "none"])
async def test_the_anatomy_of_tool_deltas(gateway, simulator, arguments):
    """Requirement 15: index, id, type and name first with empty arguments; then JSON, an object at least; no markup in the text."""
    simulator.plan("chat", Plan(text=calls(("read_file", arguments), ("read_file", {"path": "b"}), said="Look.")))
    reply = await post(gateway, CHAT, stream=True, tools=[CHAT_TOOL])
    deltas = [call for chunk in chunks(reply.body) for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    for index, wanted in enumerate((arguments, {"path": "b"})):
        own = [delta for delta in deltas if delta["index"] == index]
        assert own[0]["id"].startswith("call_")
        assert own[0]["type"] == "function"
        assert own[0]["function"] == {"name": "read_file", "arguments": ""}
        joined = "".join(delta["function"]["arguments"] for delta in own)
        assert json.loads(joined) == wanted
    assert len({delta["id"] for delta in deltas if "id" in delta}) == 2
    assert reply.text.strip() == "Look."


async def test_the_anatomy_of_message_events(gateway, simulator):
    """Requirement 19: start with usage, blocks under rising indexes, input from an empty object on, delta with usage, stop."""
    simulator.plan("chat", Plan(text=calls(("read_file", {"path": "a"}), ("read_file", {"path": "b"}), said="Look.")))
    reply = await post(gateway, MESSAGES, stream=True, tools=[MESSAGES_TOOL])
    found = [event for event in named_events(reply) if event.name != "ping"]
    assert all(event.name == event.data["type"] for event in found)
    assert found[0].name == "message_start"
    assert found[0].data["message"]["usage"]["input_tokens"] > 0
    assert [event.name for event in found[-2:]] == ["message_delta", "message_stop"]
    assert found[-2].data["delta"]["stop_reason"] == "tool_use"
    assert found[-2].data["usage"]["output_tokens"] > 0
    blocks = found[1:-2]
    assert [event.data["index"] for event in blocks if event.name == "content_block_start"] == [0, 1, 2]
    assert [event.data["index"] for event in blocks] == sorted(event.data["index"] for event in blocks)
    kinds = [event.data["content_block"] for event in blocks if event.name == "content_block_start"]
    assert [kind["type"] for kind in kinds] == ["text", "tool_use", "tool_use"]
    assert [kind["input"] for kind in kinds[1:]] == [{}, {}]
    for index, path in ((1, "a"), (2, "b")):
        own = [event for event in blocks if event.data["index"] == index]
        assert [own[0].name, own[-1].name] == ["content_block_start", "content_block_stop"]
        assert {event.data["delta"]["type"] for event in own[1:-1]} == {"input_json_delta"}
        joined = "".join(event.data["delta"]["partial_json"] for event in own[1:-1])
        assert json.loads(joined) == {"path": path}


@pytest.mark.parametrize("path", PATHS)
async def test_the_same_request_works_without_streaming(gateway, simulator, path):
    """Requirement 20: a body as large as an agent's, with tools, gives the same words and call in both modes."""
    tools = [
        {**TOOL[path], **({"description": "Long. " * 1500} if path == MESSAGES else {})},
        *([{**CHAT_TOOL, "function": {"name": "other", "description": "Long. " * 1500}}] if path == CHAT else []),
    ]
    messages = [*HELLO, {"role": "assistant", "content": "x" * 120_000}, *HELLO]
    simulator.plan("chat", Plan(text=calls(("read_file", {"path": "a\n\\b"}), said="Look.")), times=2)
    whole, streamed = await asyncio.gather(
        *[post(gateway, path, stream=stream, tools=tools, messages=messages) for stream in (False, True)]
    )
    assert words(path, whole).strip() == words(path, streamed).strip() == "Look."
    assert call_of(path, whole) == call_of(path, streamed) == ("read_file", {"path": "a\n\\b"})
