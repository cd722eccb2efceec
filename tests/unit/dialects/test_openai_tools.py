"""Chat completions: tools, tool_choice, calls and results as they are read, calls and finishes as they are written."""

import json

import pytest

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import Image, Message, Text, Thought, ToolCall, ToolResult, ToolSpec
from fittengate.core.events import Began, Ended, TextDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened, fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.dialects.base import Head
from fittengate.dialects.openai_chat import OpenAIChat

CHAT = OpenAIChat()
HEAD = Head("id24", 1767225600, "m")
BAD, UNSUPPORTED = FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED
F = {"type": "function", "function": {"name": "f"}}
G = {"type": "function", "function": {"name": "g", "description": "Does g.", "parameters": {"type": "object"}}}
NAMED = {"type": "function", "function": {"name": "f"}}
CALLED = [Began(), ToolOpened(0, "aa", "f"), ToolDelta("{}"), ToolClosed()]


def read(**fields):
    return CHAT.read(json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode())


def refused(**fields):
    with pytest.raises(Fault) as caught:
        read(**fields)
    return caught.value.kind, caught.value.param


def assistant(**fields):
    return read(messages=[{"role": "assistant", **fields}]).conversation.messages[0].parts


def finishes(reason, events=CALLED, **fields):
    """Return the finish of a reply, as it is streamed and as it is whole."""
    ask = read(**fields)
    events = [*events, Ended(reason, Usage(1, 1))]
    writer = CHAT.writer(ask, HEAD)
    stream = writer.feed(events) + writer.close()
    streamed = json.loads(stream.decode().split("\n\n")[-3][6:])["choices"][0]["finish_reason"]
    return streamed, json.loads(CHAT.whole(fold(events), ask, HEAD))["choices"][0]["finish_reason"]


def test_tools_are_read_in_their_order():
    """A tool without parameters takes an empty object; a description may be missing."""
    assert read(tools=[G, F]).conversation.tools == (
        ToolSpec("g", "Does g.", b'{"type":"object"}'),
        ToolSpec("f", "", b"{}"),
    )


@pytest.mark.parametrize("extra", [{"strict": True}, {"strict": None}, {"strict": False}, {"x_vendor": [1]}])
def test_unknown_fields_of_a_tool_are_no_matter(extra):
    """Strictness is taken without a promise, and clients add fields of their own."""
    ask = read(tools=[{"type": "function", "function": {"name": "f", **extra}, **extra}])
    assert (ask.conversation.tools, ask.ignored) == (read(tools=[F]).conversation.tools, ())


@pytest.mark.parametrize("name", ["a-b_C9", "mcp__server.tool:v2", "x" * 256, "查找"])
def test_names_are_taken_more_freely_than_by_openai(name):
    """Other servers allow more than letters, digits, dash and underscore, and their clients use it."""
    assert read(tools=[{"type": "function", "function": {"name": name}}]).conversation.tools[0].name == name


def test_tools_of_other_types_are_left_out_and_reported_once():
    """What the vendor itself would run cannot be run here; the rest of the request can."""
    ask = read(tools=[{"type": "web_search"}, F, {"type": "web_search", "x": 1}, {"type": "odd kind"}])
    assert [tool.name for tool in ask.conversation.tools] == ["f"]
    assert ask.ignored == ("tools.web_search", "tools.odd_kind")


def test_without_any_function_tools_of_other_types_are_refused():
    """Such a request wants what cannot be done."""
    assert refused(tools=[{"type": "web_search"}]) == (UNSUPPORTED, "tools[0].type")


@pytest.mark.parametrize(
    ("fields", "use"),
    [
        ({}, ToolUse()),
        ({"tool_choice": "auto"}, ToolUse()),
        ({"tool_choice": "none"}, ToolUse("none")),
        ({"tool_choice": "required"}, ToolUse("required")),
        ({"tool_choice": "any"}, ToolUse("required")),
        ({"tool_choice": NAMED}, ToolUse("named", "f")),
        ({"tool_choice": NAMED, "parallel_tool_calls": False}, ToolUse("named", "f", parallel=False)),
        ({"parallel_tool_calls": True}, ToolUse()),
        ({"parallel_tool_calls": False}, ToolUse(parallel=False)),
        ({"tool_choice": None, "parallel_tool_calls": None}, ToolUse()),
    ],
    ids=str,
)
def test_the_use_of_tools_is_read(fields, use):
    """Clients' requirement 22: auto, none, required, one by name, and one call at most."""
    assert read(tools=[F, G], **fields).tool_use == use


@pytest.mark.parametrize(
    ("mode", "use"),
    [({"mode": "auto"}, ToolUse()), ({}, ToolUse()), ({"mode": "required"}, ToolUse("required"))],
    ids=str,
)
def test_of_the_tools_only_those_that_are_allowed_are_offered(mode, use):
    """OpenAI's ``allowed_tools``: clients send it to keep the list of tools, and with it the cache, as it was."""
    ask = read(tools=[F, G], tool_choice={"type": "allowed_tools", "allowed_tools": {"tools": [NAMED], **mode}})
    assert ([tool.name for tool in ask.conversation.tools], ask.tool_use) == (["f"], use)
    none = read(tools=[F], tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}})
    assert none.conversation.tools == ()


@pytest.mark.parametrize(
    ("allowed", "place"),
    [
        (None, "tool_choice.allowed_tools"),
        ({"mode": "auto"}, "tool_choice.allowed_tools.tools"),
        ({"mode": "any", "tools": [NAMED]}, "tool_choice.allowed_tools.mode"),
        ({"mode": "auto", "tools": ["f"]}, "tool_choice.allowed_tools.tools[0]"),
        ({"mode": "auto", "tools": [{"type": "function"}]}, "tool_choice.allowed_tools.tools[0].function"),
        (
            {"mode": "auto", "tools": [NAMED, {"type": "function", "function": {"name": "x"}}]},
            "tool_choice.allowed_tools.tools[1].function.name",
        ),
        ({"mode": "required", "tools": []}, "tool_choice.allowed_tools.tools"),
    ],
    ids=str,
)
def test_what_is_malformed_about_allowed_tools_is_refused_at_its_place(allowed, place):
    """Left out it would offer what the client forbids."""
    assert refused(tools=[F], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}) == (BAD, place)


def test_functions_of_the_older_form_are_tools_that_are_called_one_at_a_time():
    """The older form knows one call in a reply; tools beside it win."""
    old = read(functions=[F["function"], G["function"]], function_call={"name": "g"})
    assert old.conversation.tools == read(tools=[F, G]).conversation.tools
    assert old.tool_use == ToolUse("named", "g", parallel=False)
    both = read(functions=[G["function"]], tools=[F])
    assert [tool.name for tool in both.conversation.tools] == ["f"]
    assert (both.ignored, both.tool_use) == (("functions",), ToolUse())


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": ["f"]}, "tools[0]"),
        ({"tools": [F, {"type": 1}]}, "tools[1].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a\nb"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "x" * 257}}]}, "tools[0].function.name"),
        ({"tools": [{"function": {"name": "f", "description": 1}}]}, "tools[0].function.description"),
        ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
        ({"functions": {}}, "functions"),
        ({"functions": [{"name": 1}]}, "functions[0].name"),
        ({"tools": [F], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [F], "tool_choice": 1}, "tool_choice"),
        ({"tools": [F], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": [F], "tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        ({"tools": [F], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice.function.name"),
        ({"tools": [F], "tool_choice": {"function": {"name": ["f"]}}}, "tool_choice.function.name"),
        ({"functions": [F["function"]], "function_call": "required"}, "function_call"),
        ({"functions": [F["function"]], "function_call": {"name": "x"}}, "function_call.name"),
        ({"tools": [F], "parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": NAMED}, "tool_choice"),
        ({"messages": [{"role": "assistant", "tool_calls": {"a": 1}}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [1]}]}, "messages[0].tool_calls[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]}, "messages[0].tool_calls[0].id"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 1}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"messages": [{"role": "assistant", "function_call": {"arguments": ""}}]}, "messages[0].function_call.name"),
        ({"messages": [{"role": "tool", "tool_call_id": 1, "content": ""}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "function", "name": [], "content": ""}]}, "messages[0].name"),
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": 1}]}, "messages[0].content"),
    ],
    ids=str,
)
def test_what_is_malformed_about_tools_is_refused_at_its_place(fields, place):
    """A bad request names what is wrong, an unknown tool in tool_choice included."""
    assert refused(**fields) == (BAD, place)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"tools": [F], "tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice.type"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"type": "mcp"}]}]},
            "messages[0].tool_calls[0].type",
        ),
    ],
    ids=str,
)
def test_calls_of_other_types_are_refused_by_name(fields, place):
    """Nobody knows what they hold, and a custom tool cannot be called."""
    assert refused(**fields) == (UNSUPPORTED, place)


def test_a_call_with_raw_text_stays_in_the_conversation():
    """A conversation that another service began goes on here; the text is told as the one argument."""
    call = {"type": "custom", "id": "c1", "custom": {"name": "patch", "input": 'a "b"'}}
    body = json.dumps({"messages": [{"role": "assistant", "tool_calls": [call]}]}).encode()
    assert CHAT.read(body).conversation.messages[0].parts == (ToolCall("c1", "patch", '{"input":"a \\"b\\""}'),)


@pytest.mark.parametrize(
    ("custom", "place"),
    [(None, "custom"), ("x", "custom"), ({"name": 5}, "custom.name"), ({"name": "p", "input": {}}, "custom.input")],
)
def test_a_call_with_raw_text_that_is_malformed_is_refused_at_its_place(custom, place):
    """The name must be a word, the text a string."""
    calls = [{"type": "custom", "custom": custom}]
    assert refused(messages=[{"role": "assistant", "tool_calls": calls}]) == (BAD, f"messages[0].tool_calls[0].{place}")


def test_a_schema_that_is_nested_too_deeply_is_refused_or_read():
    """P11: whatever the depth, the answer is a tool or a fault of the caller."""
    for depth in (50, 400, *range(900, 1000), 2_000):
        schema = '{"a":' * depth + "{}" + "}" * depth
        body = f'{{"messages":[{{"role":"user"}}],"tools":[{{"function":{{"name":"f","parameters":{schema}}}}}]}}'
        try:
            assert CHAT.read(body.encode()).conversation.tools[0].name == "f"
        except Fault as fault:
            assert fault.kind is BAD  # noqa: PT017 - either is right


def test_calls_of_an_earlier_answer_follow_its_words():
    """Arguments stay the text that the client keeps, JSON or not; an id may be missing."""
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"function": {"name": "g", "arguments": '{"half'}},
        {"id": None, "function": {"name": "g", "arguments": None}},
        {"id": "d", "function": {"name": "g", "arguments": {"x": 1}}},
    ]
    assert assistant(content="so", reasoning="hm", refusal="no", tool_calls=calls) == (
        Thought("hm"),
        Text("so"),
        Text("no"),
        ToolCall("a", "f", '{"x": 1}'),
        ToolCall("", "g", '{"half'),
        ToolCall("", "g", ""),
        ToolCall("d", "g", '{"x":1}'),
    )


@pytest.mark.parametrize("empty", [None, [], {}])
def test_empty_calls_are_none(empty):
    """SDKs dump their objects with empty values for what is not there."""
    assert assistant(content="x", tool_calls=empty, function_call=empty) == (Text("x"),)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("out", (Text("out"),)),
        ("", ()),
        (None, ()),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], (Text("a"), Text("b"))),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
            (Image("data:image/png;base64,AA==", "messages[0].content[0].image_url.url"),),
        ),
    ],
)
def test_results_take_every_form_of_content(content, parts):
    """Clients' requirement 32: strings and lists of parts, pictures among them, and the id as it came."""
    message = {"role": "tool", "tool_call_id": "call_1", "name": "f", "content": content}
    assert read(messages=[message]).conversation.messages == (Message("user", (ToolResult("call_1", parts),)),)


def test_a_call_of_the_older_form_and_its_result_belong_together():
    """The result has only the function's name, so that is the id of both."""
    ask = read(
        messages=[
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "x"},
        ]
    )
    (call,), (result,) = (message.parts for message in ask.conversation.messages)
    assert (call.name, call.arguments, result.parts) == ("f", "{}", (Text("x"),))
    assert call.id == result.call_id


@pytest.mark.parametrize(
    ("choice", "finish"), [("auto", "tool_calls"), ("required", "tool_calls"), (NAMED, "stop"), ("none", "tool_calls")]
)
def test_calls_have_their_finish(choice, finish):
    """OpenAI says stop where the call was named in the request, because it is then the whole answer."""
    assert finishes(StopReason.TOOL_CALLS, tools=[F], tool_choice=choice) == (finish, finish)


@pytest.mark.parametrize(("named", "finish"), [(None, "function_call"), ({"name": "f"}, "stop")])
def test_a_call_of_a_function_of_the_older_form_is_answered_in_that_form(named, finish):
    """A client that sends functions looks for function_call, streamed and whole, and knows nothing of tool_calls."""
    fields = {"functions": [F["function"]], "function_call": named}
    called = [Began(), ToolOpened(0, "aa", "f"), ToolDelta('{"x":'), ToolDelta(" 1}"), ToolClosed()]
    assert finishes(StopReason.TOOL_CALLS, called, **fields) == (finish, finish)
    ask = read(**fields)
    stream = CHAT.writer(ask, HEAD).feed(called).decode()
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in stream.split("\n\n")[1:-1]]
    assert deltas == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": '{"x":'}},
        {"function_call": {"arguments": " 1}"}},
    ]
    whole = json.loads(CHAT.whole(fold([*called, Ended(StopReason.TOOL_CALLS, Usage(1, 1))]), ask, HEAD))
    message = whole["choices"][0]["message"]
    assert (message["content"], message["function_call"]) == (None, {"name": "f", "arguments": '{"x": 1}'})
    assert "tool_calls" not in message


def test_arguments_of_the_older_form_are_json_also_where_there_are_none():
    """A function without parameters is called with an empty object."""
    ask = read(functions=[F["function"]])
    called = [Began(), TextDelta("so"), ToolOpened(0, "aa", "f"), ToolClosed()]
    last = CHAT.writer(ask, HEAD).feed(called).decode().split("\n\n")[-2]
    assert json.loads(last[6:])["choices"][0]["delta"] == {"function_call": {"arguments": "{}"}}
    message = json.loads(CHAT.whole(fold([*called, Ended(StopReason.TOOL_CALLS, Usage(1, 1))]), ask, HEAD))["choices"][
        0
    ]
    assert message["message"]["function_call"]["arguments"] == "{}"
    assert message["finish_reason"] == "function_call"


def test_truncation_beats_every_other_finish():
    """A call that was cut off leaves its arguments unterminated and is no call in a whole answer."""
    cut = [Began(), TextDelta("so"), ToolOpened(0, "aa", "f"), ToolDelta('{"a":"half'), ToolAborted()]
    assert finishes(StopReason.LENGTH, cut, tools=[F], tool_choice=NAMED) == ("length", "length")
    ask = read(tools=[F])
    stream = CHAT.writer(ask, HEAD).feed(cut).decode()
    assert stream.rstrip().endswith('"arguments":"{\\"a\\":\\"half"}}]},"logprobs":null,"finish_reason":null}]}')
    message = json.loads(CHAT.whole(fold([*cut, Ended(StopReason.LENGTH, Usage(1, 1))]), ask, HEAD))["choices"][0]
    assert message["message"]["content"] == "so"
    assert "tool_calls" not in message["message"]


def test_ids_of_calls_have_the_vendors_prefix():
    """Streamed and whole alike; with calls and no words the content is null (clients' requirements 15 and 24)."""
    ask = read(tools=[F])
    first = json.loads(CHAT.writer(ask, HEAD).feed(CALLED).decode().split("\n\n")[1][6:])
    opened = {"index": 0, "id": "call_aa", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert first["choices"][0]["delta"]["tool_calls"] == [opened]
    whole = json.loads(CHAT.whole(fold([*CALLED, Ended(StopReason.TOOL_CALLS, Usage(1, 1))]), ask, HEAD))
    message = whole["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, None)
    assert message["tool_calls"] == [
        {"id": "call_aa", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]
