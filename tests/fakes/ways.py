"""A request in the tongue of every dialect, and what its client makes of the answer."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from contract.readers import READERS
from fakes.line import Reply

TOOL_PARAMETERS = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
    "required": ["path", "content"],
}


class Way(NamedTuple):
    """One way to ask: a dialect, with tools or without, and which of the service's calls it comes to."""

    name: str
    dialect: str
    path: str
    body: Callable[[str], dict[str, Any]]
    """Makes the body of a request that holds a word of its own, so that no two are alike."""
    route: str
    tools: bool = False

    def asked(self, word: str, *, stream: bool) -> bytes:
        """Return the request's body."""
        return json.dumps(self.body(word) | {"stream": stream}).encode()


def _messages(word: str) -> dict[str, Any]:
    return {"model": "fitten-code", "messages": [{"role": "user", "content": f"Say hello to {word}."}]}


def _anthropic(word: str) -> dict[str, Any]:
    return _messages(word) | {"max_tokens": 4096}


def _responses(word: str) -> dict[str, Any]:
    return {"model": "fitten-code", "input": f"Say hello to {word}."}


def _function(name: str) -> dict[str, Any]:
    return {"name": name, "description": "Writes.", "parameters": TOOL_PARAMETERS}


_CHAT_TOOLS = {"tools": [{"type": "function", "function": _function("write")}]}
_RESPONSES_TOOLS = {"tools": [{"type": "function", **_function("write")}]}
_ANTHROPIC_TOOLS = {"tools": [{"name": "write", "description": "Writes.", "input_schema": TOOL_PARAMETERS}]}

WAYS: tuple[Way, ...] = (
    Way("chat", "openai_chat", "/v1/chat/completions", _messages, "chat"),
    Way("chat-tools", "openai_chat", "/v1/chat/completions", lambda word: _messages(word) | _CHAT_TOOLS, "chat", True),
    Way("responses", "openai_responses", "/v1/responses", _responses, "chat"),
    Way(
        "responses-tools", "openai_responses", "/v1/responses", lambda w: _responses(w) | _RESPONSES_TOOLS, "chat", True
    ),
    Way("messages", "anthropic_messages", "/v1/messages", _anthropic, "chat"),
    Way(
        "messages-tools", "anthropic_messages", "/v1/messages", lambda w: _anthropic(w) | _ANTHROPIC_TOOLS, "chat", True
    ),
    Way("ollama", "ollama_chat", "/api/chat", _messages, "chat"),
    Way("ollama-tools", "ollama_chat", "/api/chat", lambda word: _messages(word) | _CHAT_TOOLS, "chat", True),
    Way(
        "ollama-generate",
        "ollama_generate",
        "/api/generate",
        lambda word: {"model": "fitten-code", "prompt": f"Say hello to {word}."},
        "chat",
    ),
    Way(
        "completions",
        "openai_completions",
        "/v1/completions",
        lambda word: {"model": "fitten-code", "prompt": f"Say hello to {word}."},
        "chat",
    ),
    Way(
        "completions-suffix",
        "openai_completions",
        "/v1/completions",
        lambda word: {"prompt": f"# {word}\ndef add(a, b):", "suffix": "\n", "max_tokens": 64},
        "completion",
    ),
    Way(
        "fim",
        "mistral_fim",
        "/v1/fim/completions",
        lambda word: {"prompt": f"# {word}\ndef add(a, b):", "suffix": "\n"},
        "completion",
    ),
    Way(
        "infill",
        "llama_infill",
        "/infill",
        lambda w: {"input_prefix": f"# {w}\n", "prompt": "def add(a, b):", "input_suffix": "\n"},
        "completion",
    ),
    Way(
        "ollama-suffix",
        "ollama_generate",
        "/api/generate",
        lambda word: {"model": "fitten-code", "prompt": f"# {word}\ndef add(a, b):", "suffix": "\n"},
        "completion",
    ),
)
"""Every dialect, each of its two kinds of call, with tools where it has them."""


SAID = (
    '{"reasoning_delta":"Hm. 想"}\n{"delta":"Hi, "}\n{"delta":"你好 😀"}\n{"delta":""}\n'
    '{"usage":{"input_tokens":9,"output_tokens":3,"status":"success"}}\n'
).encode()
CALLED = (
    '{"delta":"I write. "}\n{"delta":"<tool_calls>\\n<invoke name=\\"write\\">"}\n'
    '{"delta":"<parameter name=\\"path\\">a.py</parameter><parameter name=\\"content\\">x = \\"é\\"</parameter>"}\n'
    '{"delta":"</invoke>\\n</tool_calls>"}\n{"delta":""}\n{"usage":{"input_tokens":9,"output_tokens":3}}\n'
).encode()
FILLED = '{"generated_text":"\\n    return a + b  # é","ex_msg":"","delta_char":0,"delta_line":0}'.encode()
"""Whole replies of the service, as they were recorded: words, a call, a completion."""


def recorded(way: Way) -> bytes:
    """Return the body that the service sends."""
    if way.route == "completion":
        return FILLED
    return CALLED if way.tools else SAID


def ended_well(way: Way, reply: Reply) -> bool:
    """Tell whether a client of the dialect believes that it has the whole reply.

    What is no good end must be an error in the dialect's own form, with a true status or as the last word of a stream.
    """
    reader = READERS[way.dialect]
    assert reply.complete, "HTTP itself ends well"
    if reply.status != 200:
        assert reply.status in {502, 503, 504}, reply
        assert reader.error(reply.status, reply.body)
        return False
    kind = reply.headers["content-type"]
    if "event-stream" not in kind and "ndjson" not in kind:
        reader.whole(reply.body)
        return True
    try:
        reader.stream(reply.body)
    except ConnectionError:
        assert reader.terminator not in reply.body
        return False
    return True
