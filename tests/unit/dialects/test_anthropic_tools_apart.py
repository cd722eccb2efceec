"""Long bodies of the Messages API whose tools are known give what reading them as a whole gives."""

import json

import pytest

from fittengate.core.faults import Fault
from fittengate.dialects import anthropic_messages
from fittengate.dialects.anthropic_messages import AnthropicMessages
from fittengate.lib.memo import WORTH_REMEMBERING

LONG = "x" * WORTH_REMEMBERING
TOOL = {"name": "f", "description": "d\u00e9", "input_schema": {"a": [1.5, None, {}]}}
HIDDEN = {"name": "hidden", "input_schema": {}, "defer_loading": True}
SEARCH = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}


def read(body):
    try:
        return AnthropicMessages().read(body)
    except Fault as fault:
        return fault.message, fault.param


@pytest.mark.parametrize(
    "tools",
    [
        [TOOL],
        [{**TOOL, "description": LONG}],
        [{**TOOL, "description": LONG}, HIDDEN],
        [{**TOOL, "description": LONG}, HIDDEN, SEARCH],
        [{**TOOL, "description": LONG}] * 2,
        [SEARCH],
        [],
        None,
        "no list",
        [TOOL, 7],
    ],
)
@pytest.mark.parametrize(
    "more",
    [{}, {"tool_choice": {"type": "tool", "name": "hidden"}}, {"tool_choice": {"type": "any"}}, {"unknown": 1}],
)
def test_the_ask_or_the_fault_is_the_same(tools, more, monkeypatch):
    """Declarations, deferred ones, what is ignored, and the place of what is wrong."""
    messages = [{"role": "user", "content": LONG}]
    body = json.dumps({"max_tokens": 9, "messages": messages, "tools": tools, **more}).encode()
    known = [read(body), read(body)]
    monkeypatch.setattr(anthropic_messages._KNOWN_TOOLS, "_known", [])
    assert [read(body)] * 2 == known


def test_what_one_conversation_has_found_is_not_shown_to_another(monkeypatch):
    """A deferred tool that was found stays hidden elsewhere, though both declare the same tools."""
    monkeypatch.setattr(anthropic_messages._KNOWN_TOOLS, "_known", [])
    tools = [{**TOOL, "description": LONG}, HIDDEN]

    def offered(choice):
        fields = {
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "x"}],
            "tools": tools,
            "tool_choice": choice,
        }
        return [tool.name for tool in read(json.dumps(fields).encode()).conversation.tools]

    assert offered({"type": "tool", "name": "hidden"}) == ["f", "hidden"]
    assert len(anthropic_messages._KNOWN_TOOLS._known) == 1
    assert offered({"type": "auto"}) == ["f"]
