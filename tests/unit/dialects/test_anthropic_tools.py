"""The tools of a Messages request: which are shown, which are left out, how they are to be called."""

import json

import pytest

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import Text, ToolSpec
from fittengate.core.faults import Fault
from fittengate.dialects.anthropic_messages import AnthropicMessages

MESSAGES = AnthropicMessages()
SCHEMA = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"p": {"enum": ["ä"]}}}
WEB = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


def tool(name, **fields):
    return {"name": name, "input_schema": {"type": "object"}, **fields}


def read(tools, *results, choice=None):
    """Read a request in which one tool has found others."""
    found = {"type": "tool_result", "tool_use_id": "t", "content": [reference(name) for name in results]}
    messages = [{"role": "user", "content": [found, {"type": "text", "text": "x"}]}]
    fields = {"max_tokens": 9, "messages": messages, "tools": tools, "tool_choice": choice}
    return MESSAGES.read(json.dumps(fields).encode())


def reference(name):
    return {"type": "tool_reference", "tool_name": name}


def names(ask):
    return [spec.name for spec in ask.conversation.tools]


def test_a_tool_is_read_whole_and_in_order():
    """Name, description and schema reach the Ask; fields that say nothing to a model do not."""
    more = {"type": "custom", "cache_control": {"type": "ephemeral"}, "eager_input_streaming": True, "strict": True}
    ask = read([tool("b", description="Does b.", input_schema=SCHEMA, **more), tool("mcp__a-1", description=None)])
    first, second = ask.conversation.tools
    assert (first.name, first.description, json.loads(first.parameters)) == ("b", "Does b.", SCHEMA)
    assert second == ToolSpec("mcp__a-1", "", b'{"type":"object"}')
    assert ask.ignored == ()


def test_a_deferred_tool_is_shown_once_it_was_found():
    """Requirement 39: a tool_reference in a result makes its tool callable; until then it is not shown."""
    tools = [tool("Search"), tool("Read", defer_loading=True), tool("Edit", defer_loading=True)]
    assert names(read(tools)) == ["Search"]
    assert names(read(tools, "Edit")) == ["Search", "Edit"]
    assert names(read(tools, "Edit", "Read")) == ["Search", "Read", "Edit"]


def test_a_reference_is_words_to_the_model():
    """Requirement 38: a search that found something never looks empty, nor does one that named an unknown tool."""
    ask = read([tool("Read", defer_loading=True)], "Read", "Gone")
    assert ask.conversation.messages[0].parts[0].parts == (
        Text("The tool Read can be called from now on."),
        Text("There is no tool Gone."),
    )


def test_the_placeholder_is_never_shown():
    """Requirement 39: the stand-in for deferred tools is no tool, whatever names it."""
    tools = [tool("DeferredToolPlaceholder", defer_loading=True), tool("Read")]
    for choice in (None, {"type": "any"}, {"type": "tool", "name": "DeferredToolPlaceholder"}):
        assert names(read(tools, "DeferredToolPlaceholder", choice=choice)) == ["Read"]
    assert names(read([tool("DeferredToolPlaceholder")])) == []


def test_what_the_vendors_search_found_counts():
    """References in the history of the vendor's own search make tools callable too, in whatever shape they stand."""
    search = {
        "type": "tool_search_tool_result",
        "tool_use_id": "s",
        "content": {"type": "tool_search_tool_search_result", "tool_references": [reference("Read"), 5, {}]},
    }
    messages = [
        {"role": "assistant", "content": [search, {**search, "content": None}, {**search, "content": {}}]},
        {"role": "user", "content": "x"},
    ]
    tools = [tool("Read", defer_loading=True), tool("Edit", defer_loading=True)]
    ask = MESSAGES.read(json.dumps({"max_tokens": 9, "messages": messages, "tools": tools}).encode())
    assert names(ask) == ["Read"]
    assert ask.conversation.messages[0].parts == ()


def test_with_the_vendors_search_every_tool_is_shown():
    """Nothing here runs the vendor's search: left out, it would leave deferred tools beyond reach."""
    search = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    ask = read([search, tool("Read", defer_loading=True)])
    assert (names(ask), ask.ignored) == (["Read"], ("tools.tool_search_tool_bm25_20251119",))


@pytest.mark.parametrize("choice", [None, {"type": "any"}, {"type": "tool", "name": "web_search"}])
def test_a_request_with_the_vendors_tools_alone_gets_words(choice):
    """Requirement 39: tools that run on the vendor's servers are left out and reported, forced or not."""
    ask = read([WEB], choice=choice)
    assert (names(ask), ask.ignored, ask.tool_use) == ([], ("tools.web_search_20250305",), ToolUse())


@pytest.mark.parametrize(
    ("kind", "name", "parameters", "required"),
    [
        ("bash_20250124", "bash", {"command", "restart"}, []),
        ("bash_20241022", "bash", {"command", "restart"}, []),
        (
            "text_editor_20250728",
            "str_replace_based_edit_tool",
            {"command", "path", "view_range", "file_text", "old_str", "new_str", "insert_line", "insert_text"},
            ["command", "path"],
        ),
        (
            "text_editor_20250124",
            "str_replace_editor",
            {"command", "path", "view_range", "file_text", "old_str", "new_str", "insert_line"},
            ["command", "path"],
        ),
        (
            "memory_20250818",
            "memory",
            {"command", "path", "view_range", "file_text", "old_str", "new_str", "insert_line", "insert_text"}
            | {"old_path", "new_path"},
            ["command"],
        ),
    ],
)
def test_a_tool_of_the_vendors_that_the_client_runs_is_shown_with_its_parameters(kind, name, parameters, required):
    """The vendor's models know these by heart, and the client carries the calls out: declared by their type alone."""
    ask = read([{"type": kind, "name": name, "cache_control": {"type": "ephemeral"}}], choice={"type": "any"})
    (spec,) = ask.conversation.tools
    schema = json.loads(spec.parameters)
    assert (spec.name, bool(spec.description), ask.ignored) == (name, True, ())
    assert (set(schema["properties"]), schema["required"], schema["type"]) == (parameters, required, "object")
    assert ask.tool_use == ToolUse("required")
    assert names(read([{"type": kind, "name": name, "defer_loading": True}], name)) == [name]


def test_an_editor_can_undo_only_where_its_version_can():
    """The commands are those of the version that was declared."""
    commands = [
        json.loads(read([{"type": f"text_editor_{version}", "name": "e"}]).conversation.tools[0].parameters)[
            "properties"
        ]["command"]["enum"]
        for version in ("20241022", "20250124", "20250429", "20250728")
    ]
    assert ["undo_edit" in each for each in commands] == [True, True, False, False]
    assert all({"view", "create", "str_replace", "insert"} <= set(each) for each in commands)


@pytest.mark.parametrize("kind", ["computer_20250124", "code_execution_20250825", "bash_code_execution_1", "memory_x"])
def test_other_tools_of_the_vendors_are_left_out(kind):
    """What nobody here can carry out, or whose parameters are not known, is reported and never offered."""
    ask = read([{"type": kind, "name": "t"}, tool("Read")])
    assert (names(ask), ask.ignored) == (["Read"], (f"tools.{kind}",))


def test_a_tool_of_the_vendors_that_the_client_runs_needs_its_name():
    """Calls come back under it."""
    with pytest.raises(Fault) as caught:
        read([{"type": "bash_20250124"}])
    assert caught.value.param == "tools[0].name"


def test_a_required_call_needs_a_tool_that_is_shown():
    """Where every tool still waits to be found, none can be demanded."""
    assert read([tool("Read", defer_loading=True)], choice={"type": "any"}).tool_use == ToolUse()


@pytest.mark.parametrize(
    ("choice", "use"),
    [
        (None, ToolUse()),
        ({"type": "auto"}, ToolUse()),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolUse(parallel=False)),
        ({"type": "any"}, ToolUse("required")),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolUse("required", parallel=False)),
        ({"type": "tool", "name": "Read"}, ToolUse("named", "Read")),
        ({"type": "tool", "name": "Late", "disable_parallel_tool_use": True}, ToolUse("named", "Late", parallel=False)),
        ({"type": "none"}, ToolUse("none")),
    ],
)
def test_every_choice_is_read(choice, use):
    """Requirement 41: auto, any, tool and none, with one call or several; a tool that is forced is shown."""
    ask = read([tool("Read"), tool("Late", defer_loading=True), WEB], choice=choice)
    assert ask.tool_use == use
    assert names(ask) == (["Read", "Late"] if use.name == "Late" else ["Read"])
