"""Long bodies of the Responses API whose tools are known give what reading them as a whole gives."""

import json

import pytest

from fittengate.core.faults import Fault
from fittengate.dialects import RESPONSES, _responses_reading
from fittengate.lib.memo import WORTH_REMEMBERING

LONG = "x" * WORTH_REMEMBERING
TOOL = {"type": "function", "name": "f", "description": "d\u00e9" + LONG, "parameters": {"a": [1.5, None, {}]}}
PATCH = {"type": "custom", "name": "patch"}
SPACE = {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "g", "defer_loading": True}]}
SEARCH = {"type": "tool_search", "execution": "client"}
HOSTED = {"type": "web_search"}
MORE = {"type": "additional_tools", "tools": [{"type": "function", "name": "more"}]}


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(_responses_reading._KNOWN_TOOLS, "_known", [])


def body_of(tools, *items, **fields):
    return json.dumps({"input": [{"role": "user", "content": LONG}, *items], "tools": tools, **fields}).encode()


def read(body):
    try:
        return RESPONSES.read(body)
    except Fault as fault:
        return fault.message, fault.param


@pytest.mark.parametrize(
    "tools",
    [[TOOL], [TOOL, PATCH, SPACE, SEARCH], [TOOL, SPACE], [TOOL, HOSTED], [HOSTED], [], None, "no list", [TOOL, 7]],
)
@pytest.mark.parametrize(
    "fields",
    [{}, {"tool_choice": "required"}, {"tool_choice": {"type": "custom", "name": "patch"}}, {"unknown": 1}],
)
def test_the_ask_or_the_fault_is_the_same(tools, fields):
    """Tools of every form, what the response repeats of them, what is ignored, and the place of what is wrong."""
    body = body_of(tools, **fields)
    first = read(body)
    again = [read(body), read(body)]
    assert again == [first, first]


def test_tools_that_one_request_adds_are_not_shown_to_another():
    """Two conversations declare the same tools; what an item of the one brings is the one's own."""

    def offered(*items):
        return [tool.name for tool in read(body_of([TOOL, PATCH], *items)).conversation.tools]

    assert offered(MORE) == ["f", "patch", "more"]
    assert len(_responses_reading._KNOWN_TOOLS._known) == 1
    assert offered() == ["f", "patch"]
    assert offered(MORE) == ["f", "patch", "more"]
