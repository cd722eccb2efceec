"""JSON in, JSON or events out: what tests of the wire say to a gateway and how they read its answers."""

import json
from typing import Any, NamedTuple

from fakes.line import CHAT, Reply, chunks

MESSAGES = "/v1/messages"
PATHS = (CHAT, MESSAGES)
HELLO = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
CHAT_TOOL = {"type": "function", "function": {"name": "read_file", "description": "Read.", "parameters": SCHEMA}}
MESSAGES_TOOL = {"name": "read_file", "description": "Read.", "input_schema": SCHEMA}
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Event(NamedTuple):
    """A server-sent event with a name."""

    name: str
    data: Any


def body(path: str, **fields: Any) -> dict[str, Any]:
    """Return the least that a request to a path must have, and ``fields``."""
    least = {"model": "fitten-code", "messages": HELLO}
    return {**least, **({"max_tokens": 1000} if path == MESSAGES else {}), **fields}


async def post(gateway: Any, path: str, *, headers: str = "", **fields: Any) -> Reply:
    """Send the least that a path takes, with ``fields``."""
    return await gateway.request("POST", path, json.dumps(body(path, **fields)).encode(), headers=headers)


def named_events(reply: Reply) -> list[Event]:
    """Return the events of a stream that have a name, in order; comments are left out."""
    found = []
    for block in reply.body.decode().split("\n\n")[:-1]:
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "event" in lines:
            found.append(Event(lines["event"], json.loads(lines["data"])))
    return found


def words(path: str, reply: Reply) -> str:
    """Return the text of an answer, streamed or whole."""
    if path == CHAT:
        return reply.text or ""
    if "event-stream" in reply.headers["content-type"]:
        deltas = [event.data["delta"] for event in named_events(reply) if event.name == "content_block_delta"]
        return "".join(delta.get("text", "") for delta in deltas)
    return "".join(block.get("text", "") for block in reply.json["content"])


def call_of(path: str, reply: Reply) -> tuple[str, dict[str, Any]]:
    """Return name and arguments of the one call of an answer, streamed or whole."""
    streamed = "event-stream" in reply.headers["content-type"]
    if path == CHAT and streamed:
        deltas = [call for chunk in chunks(reply.body) for call in _delta(chunk).get("tool_calls", ())]
        pieces = "".join(delta["function"].get("arguments", "") for delta in deltas)
        return deltas[0]["function"]["name"], json.loads(pieces)
    if path == CHAT:
        (call,) = reply.json["choices"][0]["message"]["tool_calls"]
        return call["function"]["name"], json.loads(call["function"]["arguments"])
    if streamed:
        events = named_events(reply)
        (start,) = [
            e.data["content_block"] for e in events if e.data.get("content_block", {}).get("type") == "tool_use"
        ]
        pieces = [e.data["delta"].get("partial_json", "") for e in events if e.name == "content_block_delta"]
        return start["name"], json.loads("".join(pieces) or "{}")
    (block,) = [block for block in reply.json["content"] if block["type"] == "tool_use"]
    return block["name"], block["input"]


def _delta(chunk: dict[str, Any]) -> dict[str, Any]:
    return chunk["choices"][0]["delta"] if chunk["choices"] else {}
