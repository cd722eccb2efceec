"""Long bodies whose tools are known give what reading them as a whole gives."""

import json

import pytest

from fittengate.core.faults import Fault
from fittengate.dialects._openai_reading import read
from fittengate.dialects._openai_tools import KNOWN_TOOLS
from fittengate.lib.memo import WORTH_REMEMBERING

LONG = "x" * WORTH_REMEMBERING
MESSAGES = [{"role": "user", "content": LONG}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d\u00e9", "parameters": {"a": [1.5, None, {}]}}}


def both_ways(body, monkeypatch):
    """Return what reading gives the first time and the second, and with nothing known: an Ask, or the fault's words and place."""

    def once():
        try:
            return read(body)
        except Fault as fault:
            return fault.message, fault.param

    known = [once(), once()]
    monkeypatch.setattr(KNOWN_TOOLS, "_known", [])
    return [*known, once()]


@pytest.mark.parametrize(
    "tools",
    [
        [TOOL],
        [TOOL, {"type": "web_search"}],
        [{"type": "web_search"}],
        [],
        None,
        {},
        "no list",
        [TOOL, 7],
        [{"type": "function"}],
        [{"type": "function", "function": {"name": 1}}],
        [TOOL] * 60,
    ],
)
@pytest.mark.parametrize("more", [{}, {"tool_choice": "required"}, {"functions": [{"name": "old"}]}, {"unknown": 1}])
def test_the_ask_or_the_fault_is_the_same(tools, more, monkeypatch):
    """Declarations, what is ignored, and the place of what is wrong."""
    body = json.dumps({"messages": MESSAGES, "tools": tools, **more}).encode()
    apart, again, whole = both_ways(body, monkeypatch)
    assert apart == again == whole


@pytest.mark.parametrize(
    "tools",
    [
        b'[{"type":"function","function":{"name":"f","description":"\\ud83d"}}]',
        b'[{"type":"function","function":{"name":"f","description":"\xff"}}]',
        b'[{"type":"function","function":{"name":"f"]',
        b"[" * 5000 + b"]" * 5000,
        b"[tru]",
    ],
)
def test_unreadable_tools_are_told_as_in_a_body_read_as_a_whole(tools, monkeypatch):
    """Half a character, bytes that are not UTF-8, JSON that is none, a depth bomb: the same words and place."""
    body = b'{"messages":%b,"tools":%b}' % (json.dumps(MESSAGES).encode(), tools)
    apart, again, whole = both_ways(body, monkeypatch)
    assert apart == again == whole
    assert type(whole) is tuple
