"""What is read from a Responses request: every form of item and tool, and what is refused."""

import json

import pytest

from fittengate.core.ask import ReplyFormat, ToolUse
from fittengate.core.conversation import Image, Message, Text, Thought, ToolCall, ToolResult
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Record
from fittengate.dialects import RESPONSES

F = {"type": "function", "name": "f", "parameters": {"type": "object"}}
G = {"type": "function", "name": "g"}
PATCH = {"type": "custom", "name": "patch", "description": "Edits."}
SPACE = {"type": "namespace", "name": "mcp", "description": "M.", "tools": [F, {"type": "custom", "name": "exec"}]}
SEARCH = {"type": "tool_search", "execution": "client"}
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def read(recalled=None, **fields):
    body = json.dumps({"input": "x"} | fields).encode()
    return RESPONSES.read(body) if recalled is None else RESPONSES.read_on(body, recalled)


def messages(*items, **fields):
    return read(input=list(items), **fields).conversation.messages


def names(ask):
    return [tool.name for tool in ask.conversation.tools]


def refused(**fields):
    with pytest.raises(Fault) as caught:
        read(**fields)
    return caught.value.kind, caught.value.param


BAD, UNSUPPORTED = FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"role": "user", "content": "a"}, Message("user", (Text("a"),))),
        ({"type": "message", "role": "system", "content": "a"}, Message("system", (Text("a"),))),
        ({"role": "developer", "content": [{"type": "input_text", "text": "a"}]}, Message("system", (Text("a"),))),
        ({"role": "assistant", "content": "a", "phase": "commentary"}, Message("assistant", (Text("a"),))),
        (
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": []},
            Message("assistant", ()),
        ),
        (
            {"role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]},
            Message("assistant", (Text("a"),)),
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            Message("assistant", (Text("no"),)),
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE, "detail": "auto"}]},
            Message("user", (Image(PICTURE, "input[0].content[0].image_url"),)),
        ),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": None},
            Message("assistant", (ToolCall("c", "f", "{}"),)),
        ),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "namespace": "mcp", "arguments": "{}"},
            Message("assistant", (ToolCall("c", "mcp.f", "{}"),)),
        ),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": 'a"\n'},
            Message("assistant", (ToolCall("c", "patch", '{"input":"a\\"\\n"}'),)),
        ),
        (
            {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"query": "q"}},
            Message("assistant", (ToolCall("c", "tool_search", '{"query":"q"}'),)),
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": "r"},
            Message("user", (ToolResult("c", (Text("r"),)),)),
        ),
        (
            {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "r"}]},
            Message("user", (ToolResult("c", (Text("r"),)),)),
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": PICTURE}]},
            Message("user", (ToolResult("c", (Image(PICTURE, "input[0].output[0].image_url"),)),)),
        ),
    ],
)
def test_an_item_becomes_a_message(item, expected):
    """Requirement 28: each form of item that clients send is understood."""
    assert messages(item) == (expected,)


def test_a_text_is_the_words_of_the_user():
    """Requirement 28: input may be a string; instructions stand before it."""
    ask = read(instructions="Be good.", input="Hi.")
    assert ask.conversation.messages == (Message("system", (Text("Be good."),)), Message("user", (Text("Hi."),)))


def test_reasoning_belongs_to_what_it_led_to():
    """Reasoning, ours or another's, goes before the words or calls behind it; alone it is no turn."""
    ours = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    sealed = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}], "encrypted_content": "gAAA"}
    user, said = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
    assert messages(user, ours, sealed, said)[1] == Message("assistant", (Thought("hm"), Thought("so"), Text("y")))
    assert messages(user, ours, user) == (Message("user", (Text("x"),)),) * 2


@pytest.mark.parametrize(
    ("item", "kind", "place"),
    [
        ("x", BAD, "input[0]"),
        ({"role": "tool", "content": "x"}, BAD, "input[0].role"),
        ({"role": "user", "content": 5}, BAD, "input[0].content"),
        ({"role": "user", "content": [{"type": "image"}]}, BAD, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, BAD, "input[0].content[0].text"),
        ({"role": "user", "content": [{"type": "input_file"}]}, UNSUPPORTED, "input[0].content[0].type"),
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
            UNSUPPORTED,
            "input[0].content[0].file_id",
        ),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, BAD, "input[0].name"),
        ({"type": "function_call_output", "call_id": 5, "output": "x"}, BAD, "input[0].call_id"),
        ({"type": "custom_tool_call", "name": "p", "call_id": "c"}, BAD, "input[0].input"),
        ({"type": "item_reference", "id": "msg_unknown"}, BAD, "input[0].id"),
        ({"type": "item_reference"}, BAD, "input[0].id"),
        ({"id": 5}, BAD, "input[0].id"),
        ({"type": 5, "role": "user"}, BAD, "input[0].type"),
        ({"type": "reasoning", "summary": "hm"}, BAD, "input[0].summary"),
        ({"type": "function_call", "name": "f", "arguments": 5}, BAD, "input[0].arguments"),
        ({"type": "function_call", "name": "f", "namespace": 5}, BAD, "input[0].namespace"),
        ({"type": "shell_call_output", "id": 5}, BAD, "input[0].id"),
        ({"role": "user", "content": ["x"]}, BAD, "input[0].content[0]"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": ""}]}, BAD, "input[0].content[0].image_url"),
        ({"type": "compaction", "encrypted_content": "x"}, UNSUPPORTED, "input[0].type"),
    ],
)
def test_a_bad_item_is_named_by_its_place(item, kind, place):
    """Requirement 9: what is wrong with an item is told before anything is asked of the service."""
    assert refused(input=[item]) == (kind, place)


@pytest.mark.parametrize("given", [None, [], 5, {}])
def test_input_is_needed(given):
    """Requirement 9: no input, or one that says nothing, is refused."""
    assert refused(input=given) == (BAD, "input")


def test_items_of_hosted_tools_are_left_out_and_reported():
    """What another service's own tools did is no reason to refuse a history."""
    ask = read(input=[{"role": "user", "content": "x"}, {"type": "web_search_call", "id": "ws", "status": "completed"}])
    assert (len(ask.conversation.messages), ask.ignored) == (1, ("input.web_search_call",))


def test_calls_of_built_in_tools_and_what_they_gave_stay_in_the_conversation():
    """The client ran them: left out, the model would not know what it has done. A result may have its call's id as its own."""
    outcome = {"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
    local = {"type": "exec", "command": ["ls"], "env": {}, "timeout_ms": None}
    assert messages(
        {"type": "local_shell_call", "id": "lsh_1", "call_id": "c1", "status": "completed", "action": local},
        {"type": "local_shell_call_output", "id": "c1", "output": "a.txt"},
        {"type": "shell_call", "call_id": "c2", "action": {"commands": ["ls"], "timeout_ms": None}},
        {"type": "shell_call_output", "call_id": "c2", "output": [outcome]},
        {"type": "apply_patch_call", "call_id": "c3", "operation": {"type": "delete_file", "path": "a"}},
        {"type": "apply_patch_call_output", "call_id": "c3", "status": "failed"},
    ) == (
        Message("assistant", (ToolCall("c1", "local_shell", '{"command":["ls"]}'),)),
        Message("user", (ToolResult("c1", (Text("a.txt"),)),)),
        Message("assistant", (ToolCall("c2", "shell", '{"commands":["ls"]}'),)),
        Message("user", (ToolResult("c2", (Text(json.dumps([outcome], separators=(",", ":"))),)),)),
        Message("assistant", (ToolCall("c3", "apply_patch", '{"type":"delete_file","path":"a"}'),)),
        Message("user", (ToolResult("c3", (Text("failed"),), is_error=True),)),
    )


@pytest.mark.parametrize("item", [{"action": 5}, {"action": {"command": 7}}, {}])
def test_a_call_of_a_built_in_tool_may_be_odd(item):
    """It is history, which nobody can mend."""
    (message,) = messages({"type": "local_shell_call", "call_id": "c", **item})
    assert message.parts[0].name == "local_shell"


def test_tools_that_the_vendor_built_in_and_the_client_runs_become_functions():
    """By type alone; a shell in the vendor's container is a hosted tool."""
    container = {"type": "shell", "environment": {"type": "container_auto"}}
    ask = read(tools=[{"type": "local_shell"}, {"type": "apply_patch"}, container])
    assert names(ask) == ["local_shell", "apply_patch"]
    assert ask.ignored == ("tools.shell",)
    assert names(read(tools=[{"type": "shell", "environment": {"type": "local"}}])) == ["shell"]
    assert read(tools=[{"type": "shell"}], tool_choice={"type": "shell"}).tool_use == ToolUse("named", "shell")
    assert refused(tools=[F], tool_choice={"type": "shell"}) == (BAD, "tool_choice.name")


def test_tools_of_every_sort_become_functions():
    """Requirement 29: functions, custom tools, those of a namespace and the client's search; hosted ones are dropped."""
    ask = read(tools=[F, PATCH, SPACE, SEARCH, {"type": "web_search"}, {"type": "code_interpreter"}])
    assert names(ask) == ["f", "patch", "mcp.f", "mcp.exec", "tool_search"]
    assert [form.kind for form in ask.forms] == ["function", "custom", "function", "custom", "search"]
    assert ask.ignored == ("tools.web_search", "tools.code_interpreter")
    custom = json.loads(ask.conversation.tools[1].parameters)
    assert (list(custom["properties"]), custom["required"]) == (["input"], ["input"])
    echoed = json.loads(b"{%s}" % ask.echo)["tools"]
    assert [tool["type"] for tool in echoed] == ["function", "custom", "namespace", "tool_search"]
    assert echoed[0]["strict"] is False


def test_a_grammar_is_told():
    """Requirement 29: a grammar cannot be enforced, so it stands in the description."""
    form = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    (tool,) = read(tools=[PATCH | {"format": form}]).conversation.tools
    assert tool.description.startswith("Edits.")
    assert "lark" in tool.description
    assert "start: /x/" in tool.description


def test_hosted_tools_alone_are_refused():
    """With nothing that could be called the request asks for what cannot be done."""
    assert refused(tools=[{"type": "web_search"}]) == (UNSUPPORTED, "tools[0].type")
    assert names(read(tools=[{"type": "web_search"}], tool_choice="none")) == []


def test_tools_that_items_bring_can_be_called():
    """Requirement 31: those of additional_tools, and those that a search found, a deferred one included."""
    found = {"type": "tool_search_output", "call_id": "c", "execution": "client", "tools": [F, SPACE]}
    more = {"type": "additional_tools", "role": "developer", "tools": [PATCH]}
    user = {"role": "user", "content": "x"}
    later = G | {"defer_loading": True}
    ask = read(input=[more, user, found], tools=[SEARCH, later, F | {"defer_loading": True}])
    assert names(ask) == ["tool_search", "f", "patch", "mcp.f", "mcp.exec"]
    assert "f, mcp.f, mcp.exec" in ask.conversation.messages[-1].parts[0].parts[0].text
    assert names(read(tools=[later])) == ["g"], "without a search nothing would ever find it"


@pytest.mark.parametrize(
    ("choice", "expected", "offered"),
    [
        (None, ToolUse(), ["f", "patch", "mcp.f", "mcp.exec"]),
        ("auto", ToolUse(), ["f", "patch", "mcp.f", "mcp.exec"]),
        ("none", ToolUse("none"), ["f", "patch", "mcp.f", "mcp.exec"]),
        ("required", ToolUse("required"), ["f", "patch", "mcp.f", "mcp.exec"]),
        ({"type": "function", "name": "f"}, ToolUse("named", "f"), ["f", "patch", "mcp.f", "mcp.exec"]),
        ({"type": "custom", "name": "patch"}, ToolUse("named", "patch"), ["f", "patch", "mcp.f", "mcp.exec"]),
        (
            {"type": "function", "name": "f", "namespace": "mcp"},
            ToolUse("named", "mcp.f"),
            ["f", "patch", "mcp.f", "mcp.exec"],
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}, ToolUse(), ["f"]),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "patch"}]},
            ToolUse("required"),
            ["patch"],
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "namespace", "name": "mcp"}]},
            ToolUse(),
            ["mcp.f", "mcp.exec"],
        ),
        (
            {"type": "allowed_tools", "mode": None, "tools": [{"type": "namespace", "name": "mcp"}] * 2},
            ToolUse(),
            ["mcp.f", "mcp.exec"],
        ),
        (
            {"type": "allowed_tools", "tools": [{"type": "custom", "name": "exec"}, {"type": "web_search"}]},
            ToolUse(),
            ["mcp.exec"],
        ),
    ],
)
def test_tool_choice_in_all_its_forms(choice, expected, offered):
    """How tools are to be called, and which of them the model is shown."""
    ask = read(tools=[F, PATCH, SPACE], tool_choice=choice)
    assert (ask.tool_use, names(ask)) == (expected, offered)


@pytest.mark.parametrize(
    ("choice", "kind", "place"),
    [
        ("always", BAD, "tool_choice"),
        ({"type": "function", "name": "nobody"}, BAD, "tool_choice.name"),
        ({"type": "web_search_preview"}, UNSUPPORTED, "tool_choice.type"),
        ({"type": "allowed_tools", "mode": "never", "tools": []}, BAD, "tool_choice.mode"),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, BAD, "tool_choice.tools"),
        ({"type": "allowed_tools", "tools": [{"type": "function", "name": "x"}]}, BAD, "tool_choice.tools[0].name"),
        ({"type": "allowed_tools", "tools": [{"type": "namespace", "name": "x"}]}, BAD, "tool_choice.tools[0].name"),
        ({"type": "allowed_tools", "tools": [{"type": "namespace", "name": {}}]}, BAD, "tool_choice.tools[0].name"),
        ({"type": "allowed_tools", "tools": [{"name": "f"}]}, BAD, "tool_choice.tools[0]"),
        ({"type": "allowed_tools", "tools": "f"}, BAD, "tool_choice.tools"),
        ({"type": "function", "name": "f", "namespace": "mcp"}, BAD, "tool_choice.name"),
    ],
)
def test_a_tool_choice_that_cannot_be_is_refused(choice, kind, place):
    """A choice of nothing, or of what is not there, names its place."""
    assert refused(tools=[F], tool_choice=choice) == (kind, place)


def test_parallel_calls_can_be_ruled_out():
    """parallel_tool_calls: false allows one call at most."""
    assert read(tools=[F], parallel_tool_calls=False).tool_use == ToolUse(parallel=False)


def test_what_cannot_be_honoured_is_reported_and_the_rest_taken():
    """Requirement 34: reasoning, include, truncation, keys and metadata are accepted; what has no effect is named."""
    ask = read(
        temperature=0.1,
        truncation="auto",
        text={"verbosity": "low"},
        reasoning={"effort": "high", "summary": "auto", "context": "auto"},
        include=["reasoning.encrypted_content", "file_search_call.results"],
        prompt_cache_key="k",
        client_metadata={"a": 1},
        metadata={"a": "b"},
        service_tier="auto",
        safety_identifier="s",
        user=None,
        news=1,
        stream_options={"include_obfuscation": True, "other": False},
        max_tool_calls=2.0,
        background=False,
        moderation={"model": "m"},
    )
    assert set(ask.ignored) == {
        *("temperature", "truncation", "text.verbosity", "reasoning.effort", "reasoning.context"),
        *("include.file_search_call.results", "news", "stream_options.include_obfuscation", "max_tool_calls"),
        "moderation",
    }
    assert (ask.summarised, ask.sealed) == (True, True)


def test_what_reasoning_may_be_told_of_later_is_left_alone():
    """Requirement 3: options that are not known may be of any type; null is as good as nothing."""
    ask = read(reasoning={"news": {"a": 1}, "effort": None}, text={"news": [1], "verbosity": None}, include=None)
    assert set(ask.ignored) == {"text.news", "reasoning.news"}


@pytest.mark.parametrize(
    ("fields", "kind", "place"),
    [
        ({"temperature": 2.1}, BAD, "temperature"),
        ({"text": []}, BAD, "text"),
        ({"reasoning": "high"}, BAD, "reasoning"),
        ({"reasoning": {"mode": 5}}, BAD, "reasoning.mode"),
        ({"include": "all"}, BAD, "include"),
        ({"include": [5]}, BAD, "include[0]"),
        ({"stream_options": True}, BAD, "stream_options"),
        ({"max_tool_calls": 0}, BAD, "max_tool_calls"),
        ({"tools": [{"name": "f"}]}, BAD, "tools[0].type"),
        ({"tools": ["f"]}, BAD, "tools[0]"),
        ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, BAD, "tools[0].parameters"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": {}}]}, BAD, "tools[0].tools"),
        ({"top_p": -1}, BAD, "top_p"),
        ({"max_output_tokens": 0}, BAD, "max_output_tokens"),
        ({"truncation": "some"}, BAD, "truncation"),
        ({"text": {"verbosity": "mute"}}, BAD, "text.verbosity"),
        ({"text": {"format": {"type": "yaml"}}}, BAD, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": 7}}}, BAD, "text.format.schema"),
        ({"reasoning": {"effort": 5}}, BAD, "reasoning.effort"),
        ({"include": ["message.output_text.logprobs"]}, UNSUPPORTED, "include[0]"),
        ({"top_logprobs": 2}, UNSUPPORTED, "top_logprobs"),
        ({"background": True}, UNSUPPORTED, "background"),
        ({"conversation": "conv_1"}, UNSUPPORTED, "conversation"),
        ({"prompt": {"id": "p"}}, UNSUPPORTED, "prompt"),
        ({"store": "yes"}, BAD, "store"),
        ({"previous_response_id": 5}, BAD, "previous_response_id"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, BAD, "tools[0].name"),
        ({"tools": [{"type": "custom", "name": "c", "format": {"type": "x"}}]}, BAD, "tools[0].format"),
    ],
)
def test_what_can_never_work_is_refused(fields, kind, place):
    """Values out of range, and wishes that would be lies if they were ignored."""
    assert refused(**fields) == (kind, place)


def test_the_form_of_the_answer_is_read():
    """Requirement 34: text.format in its three forms."""
    assert read(text={"format": {"type": "text"}}).reply_format is None
    assert read(text={"format": {"type": "json_object"}}).reply_format == ReplyFormat(where="text.format")
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True, "description": "d"}
    assert read(text={"format": form}).reply_format == ReplyFormat(
        "n", "d", b'{"type":"object"}', strict=True, where="text.format.schema"
    )


def test_a_kept_conversation_is_gone_on_with():
    """Requirement 33: items and answers of before come first, in order; what items brought can be called again."""
    tail = "0" * 24
    first = Record(
        f"resp_{tail}",
        None,
        json.dumps([{"type": "additional_tools", "tools": [F]}, {"role": "user", "content": "one"}]).encode(),
        json.dumps(
            {"output": [{"type": "message", "role": "assistant", "id": f"msg_{tail}0000", "content": "two"}]}
        ).encode(),
    )
    fields = {"previous_response_id": first.id, "input": "three", "instructions": "Now."}
    body = json.dumps({"input": "x"} | fields).encode()
    assert RESPONSES.wanted(body) == (first.id, ())
    ask = RESPONSES.read_on(body, {first.id: (first,)})
    said = [message.parts[0].text for message in ask.conversation.messages]
    assert said == ["Now.", "one", "two", "three"]
    assert names(ask) == ["f"]
    assert ask.previous == first.id
    reference = json.dumps({"input": [{"type": "item_reference", "id": f"msg_{tail}0000"}]}).encode()
    assert RESPONSES.wanted(reference) == (None, (first.id,))
    (message,) = RESPONSES.read_on(reference, {first.id: (first,)}).conversation.messages
    assert message.parts == (Text("two"),)


def test_what_an_item_refers_to_is_kept_with_it():
    """A conversation is gone on with though an item of it referred to a response that is no part of it."""
    tail, words = "0" * 24, {"type": "message", "role": "assistant", "content": "two"}
    first = Record(f"resp_{tail}", None, b"[]", json.dumps({"output": [words | {"id": f"msg_{tail}0000"}]}).encode())
    items = [
        {"id": f"msg_{tail}0000"},
        {"type": "item_reference", "id": "rs_gone"},
        {"role": "user", "content": "three"},
    ]
    ask = RESPONSES.read_on(json.dumps({"input": items}).encode(), {first.id: (first,)})
    assert json.loads(ask.given) == [words | {"id": f"msg_{tail}0000"}, items[2]]
    second = Record("resp_" + "1" * 24, None, ask.given, b'{"output":[]}')
    again = read({second.id: (second,)}, previous_response_id=second.id)
    assert [message.parts[0].text for message in again.conversation.messages] == ["two", "three", "x"]
    listed = json.loads(RESPONSES.listed((second,), None, 10, newest_first=False))["data"]
    assert [item["type"] for item in listed] == ["message", "message"]


def test_an_item_is_referred_to_once():
    """A short request cannot make a prompt of any length of what was kept."""
    tail = "0" * 24
    words = {"type": "message", "role": "assistant", "content": "two", "id": f"msg_{tail}0000"}
    first = Record(f"resp_{tail}", None, b"[]", json.dumps({"output": [words]}).encode())
    reference = {"type": "item_reference", "id": words["id"]}
    with pytest.raises(Fault) as caught:
        read({first.id: (first,)}, input=[reference, {"role": "user", "content": "x"}, reference])
    assert (caught.value.kind, caught.value.param) == (BAD, "input[2].id")


def test_an_unknown_previous_response_has_its_own_code():
    """Requirement 33: it is never ignored; the code is the one that clients know."""
    with pytest.raises(Fault) as caught:
        read({"resp_x": ()}, previous_response_id="resp_x")
    assert (caught.value.code, caught.value.status) == ("previous_response_not_found", 400)


def test_nothing_is_looked_up_without_need():
    """A request that refers to nothing is not read twice, and what is no request refers to nothing."""
    assert RESPONSES.wanted(b'{"input":[{"id":"msg_000000000000000000000000","role":"user"}]}') == (None, ())
    assert RESPONSES.wanted(b'{"previous_response_id": [') == (None, ())


def test_what_is_not_to_be_kept_is_not():
    """``store: false`` leaves nothing to keep."""
    from fittengate.dialects.base import Head

    head = Head("0" * 24, 1, "m")
    assert RESPONSES.record(read(store=False), head, b"{}") is None
    assert read(store=False).given == b""
    kept = RESPONSES.record(read(), head, b"{}")
    assert kept == Record("resp_" + "0" * 24, None, b'[{"type":"message","role":"user","content":"x"}]', b"{}")
