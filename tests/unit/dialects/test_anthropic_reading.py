"""Messages requests: what is read, what is refused and where, what is left out and reported."""

import json

import pytest

from fittengate.core.ask import ReplyFormat, Sampling, ToolUse, Wishes
from fittengate.core.conversation import Image, Message, Text, Thought, ToolCall, ToolResult
from fittengate.core.faults import Fault, FaultKind
from fittengate.dialects.anthropic_messages import AnthropicMessages

MESSAGES = AnthropicMessages()
BAD, UNSUPPORTED = FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED
USER = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
PNG = {"type": "base64", "media_type": "image/png", "data": "AA=="}


def read(**fields):
    return MESSAGES.read(json.dumps({"max_tokens": 9, "messages": [USER], **fields}).encode())


def parts(*blocks, role="user", **fields):
    return read(messages=[{"role": role, "content": list(blocks)}], **fields).conversation.messages[0].parts


def result(*content):
    return {"type": "tool_result", "tool_use_id": "t", "content": list(content)}


def fault_of(**fields):
    with pytest.raises(Fault) as caught:
        read(**fields)
    return caught.value


def test_a_bare_request_is_an_ask():
    """Messages and a limit are enough; reasoning is hidden unless it is asked for."""
    ask = read()
    assert ask.conversation.messages == (Message("user", (Text("hi"),)),)
    assert (ask.model, ask.sampling, ask.tool_use, ask.ignored) == (None, Sampling(9), ToolUse(), ())
    assert ask.wishes == Wishes(stream=False, include_usage=True, show_thoughts=False)


def test_words_that_the_answer_is_to_begin_with_are_reported():
    """The service begins an answer of its own, and who waits for the rest of a sentence is told so."""
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "{"}]
    assert read(messages=said).ignored == ("messages.prefill",)
    assert read(messages=[*said, said[0]]).ignored == ()


def test_wishes_are_read():
    """Streaming, stop sequences, model and reasoning reach the Ask."""
    ask = read(stream=True, stop_sequences=["END"], model="claude-x", thinking={"type": "adaptive"})
    assert ask.wishes == Wishes(stream=True, include_usage=True, show_thoughts=True)
    assert (ask.sampling, ask.model) == (Sampling(9, ("END",)), "claude-x")


@pytest.mark.parametrize(
    ("system", "found"),
    [
        ("Be brief.", ("Be brief.",)),
        ([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "text", "text": ""}], None),
        ("", None),
        ([], None),
        (None, None),
    ],
)
def test_the_system_prompt_comes_first(system, found):
    """Requirement 36: a string or blocks, cache marks ignored; no words, no message."""
    first = read(system=system).conversation.messages[0]
    assert first == (Message("system", tuple(map(Text, found))) if found else Message("user", (Text("hi"),)))


def test_a_system_message_keeps_its_place():
    """Requirement 37: a system message among the others stays where it is."""
    messages = [USER, {"role": "system", "content": "s"}, USER, {"role": "system", "content": [text("t")]}]
    assert [message.role for message in read(messages=messages).conversation.messages] == [
        "user",
        "system",
        "user",
        "system",
    ]


def text(words):
    return {"type": "text", "text": words}


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
@pytest.mark.parametrize(("content", "found"), [("", ()), ("x", (Text("x"),)), ([], ()), ([text("")], ())])
def test_content_is_a_string_or_blocks(role, content, found):
    """Every role takes both forms, and nothing at all is no words."""
    assert read(messages=[{"role": role, "content": content}]).conversation.messages[0].parts == found


@pytest.mark.parametrize(
    ("source", "url", "place"),
    [
        (PNG, "data:image/png;base64,AA==", "data"),
        ({"type": "url", "url": "https://example.com/a.png"}, "https://example.com/a.png", "url"),
    ],
)
def test_images_know_their_place(source, url, place):
    """Pictures are read in a message, in a result and in a document, each with its own place."""
    image = {"type": "image", "source": source, "cache_control": {"type": "ephemeral"}}
    document = {"type": "document", "source": {"type": "content", "content": [image]}}
    there = "messages[0].content"
    assert parts(image, result(text("x"), image), document) == (
        Image(url, f"{there}[0].source.{place}"),
        ToolResult("t", (Text("x"), Image(url, f"{there}[1].content[1].source.{place}"))),
        Image(url, f"{there}[2].source.content[0].source.{place}"),
    )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ({"type": "text", "media_type": "text/plain", "data": "words"}, (Text("words"),)),
        ({"type": "text", "media_type": "text/plain", "data": ""}, ()),
        ({"type": "content", "content": "words"}, (Text("words"),)),
        ({"type": "content", "content": [text("a"), text("b")]}, (Text("a"), Text("b"))),
    ],
)
def test_documents_are_their_text(source, found):
    """A document of words is read with its title and context before it, in a message and in a result."""
    document = {"type": "document", "source": source, "citations": {"enabled": True}}
    assert parts(document) == found
    assert parts({**document, "title": "T", "context": "C"}) == (Text("T"), Text("C"), *found)
    assert parts(result(document)) == (ToolResult("t", found),)


def test_calls_are_read_with_their_arguments():
    """Arguments become JSON text in which nothing is lost; none are an empty object."""
    given = {"path": 'ä\u2028"\\', "n": [1, 2.5, None, True, 10**30], "": {}}
    calls = parts(
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": given, "cache_control": {"type": "ephemeral"}},
        {"type": "tool_use", "id": "toolu_2", "name": "g"},
        role="assistant",
    )
    assert json.loads(calls[0].arguments) == given
    assert list(json.loads(calls[0].arguments)) == list(given)
    assert (calls[0].id, calls[0].name) == ("toolu_1", "f")
    assert calls[1] == ToolCall("toolu_2", "g", "{}")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, ToolResult("t", ())),
        ({"content": None}, ToolResult("t", ())),
        ({"content": ""}, ToolResult("t", ())),
        ({"content": "out", "is_error": True}, ToolResult("t", (Text("out"),), is_error=True)),
        ({"content": [text("a"), text("b")], "is_error": False}, ToolResult("t", (Text("a"), Text("b")))),
        ({"content": [text("a"), {"type": "of_tomorrow"}]}, ToolResult("t", (Text("a"),))),
    ],
)
def test_results_come_in_every_form(fields, found):
    """Requirement 38: a string, blocks or nothing; several in a turn, words after them; is_error is kept."""
    block = {"type": "tool_result", "tool_use_id": "t", **fields}
    assert parts(block, block, text("go on")) == (found, found, Text("go on"))


PDF = {
    "type": "document",
    "title": "T",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
}


@pytest.mark.parametrize(
    "source", [PDF["source"], {"type": "url", "url": "https://x/y"}, {"type": "file", "file_id": "f"}]
)
def test_a_document_that_cannot_be_read_never_ends_an_agents_session(source):
    """What a tool gave comes back in every turn: the model is told that the document is missing, and the reply says so."""
    document, note = PDF | {"source": source}, Text("[document left out: only plain text can be read here]")
    ask = read(messages=[{"role": "user", "content": [result(text("a"), document), document, text("b")]}])
    assert ask.conversation.messages[0].parts == (
        ToolResult("t", (Text("a"), Text("T"), note)),
        Text("T"),
        note,
        Text("b"),
    )
    assert ask.ignored == ("content.document",)
    assert fault_of(
        messages=[{"role": "user", "content": [result(text("a"))]}, {"role": "user", "content": [document]}]
    )


def test_reasoning_that_comes_back_is_accepted():
    """Requirement 40: thinking with any signature is a Thought; what cannot be read is left out, and no error."""
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "of another server"},
        {"type": "thinking", "thinking": ""},
        {"type": "thinking", "thinking": 5},
        {"type": "thinking"},
        {"type": "redacted_thinking", "data": "x"},
        text("so"),
    ]
    assert parts(*blocks, role="assistant") == (Thought("hm"), Text("so"))


def test_blocks_of_other_kinds_are_left_out_and_reported():
    """What servers of another kind once produced comes back in the history and harms nothing."""
    blocks = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": {"type": "error"}},
        {"type": "odd kind\r\n"},
        text("a"),
    ]
    ask = read(messages=[USER, {"role": "assistant", "content": blocks}, USER])
    assert ask.conversation.messages[1].parts == (Text("a"),)
    assert ask.ignored == ("content.server_tool_use", "content.web_search_tool_result", "content.odd_kind__")


def test_a_summary_of_what_was_said_is_kept():
    """A compaction block stands for all that came before it."""
    assert parts({"type": "compaction", "content": "They said hello."}, role="assistant") == (Text("They said hello."),)


def test_the_report_is_bounded():
    """At most 32 names, whatever a request holds."""
    blocks = [{"type": f"kind{number}"} for number in range(100)]
    tools = [{"type": f"server_{number}", "name": "x"} for number in range(100)]
    ask = read(messages=[{"role": "user", "content": blocks}], tools=tools, **{f"a{n}": n for n in range(20)})
    assert len(ask.ignored) == 32


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": 0},
        {"temperature": 1.0},
        {"top_p": 0.5},
        {"top_k": 5},
        {"context_management": {"edits": []}},
        {"inference_geo": "us"},
        {"of_tomorrow": []},
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_reported(field):
    """Requirements 3 and 40: a parameter without which the answer is still an answer is ignored and listed."""
    assert read(**field).ignored == tuple(field)


@pytest.mark.parametrize(
    "field",
    [
        {"metadata": {"user_id": "u"}},
        {"service_tier": "auto"},
        {"cache_control": {"type": "ephemeral"}},
        {"mcp_servers": []},
        {"container": None},
        {"thread": None},
        {"output_config": {"format": None}},
        {"thinking": {"type": "disabled"}},
        {"tools": []},
        {"tool_choice": {"type": "auto"}},
        {"stop_sequences": []},
        {"stop_sequences": None},
        {"model": ""},
        {"of_tomorrow": None},
    ],
    ids=str,
)
def test_what_promises_nothing_is_taken_in_silence(field):
    """Fields that say nothing about the answer, or ask for what is done anyway, are neither refused nor listed."""
    assert read(**field) == read()


@pytest.mark.parametrize(
    ("thinking", "shown", "ignored"),
    [
        ({"type": "enabled", "budget_tokens": 31999}, True, ("thinking.budget_tokens",)),
        ({"type": "enabled"}, True, ()),
        ({"type": "adaptive", "display": "summarized"}, True, ()),
        ({"type": "adaptive", "display": "omitted"}, False, ()),
        ({"type": "disabled"}, False, ()),
        ({"type": "of_tomorrow"}, False, ("thinking.type",)),
        (None, False, ()),
    ],
)
def test_thinking_decides_whether_reasoning_is_shown(thinking, shown, ignored):
    """Requirement 40: every form is accepted, and a budget is more than can be promised."""
    ask = read(thinking=thinking)
    assert (ask.wishes.show_thoughts, ask.ignored) == (shown, ignored)


def test_effort_is_reported():
    """What an output is to cost cannot be chosen."""
    assert read(output_config={"effort": "high", "x y": 1}).ignored == ("output_config.effort", "output_config.x_y")


MALFORMED = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [USER, {}]}, "messages[1].role"),
    ({"messages": [{"role": ["user"], "content": ""}]}, "messages[0].role"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"system": 5}, "system"),
    ({"system": [5]}, "system[0]"),
    ({"system": [{"type": "text"}]}, "system[0].text"),
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"model": 5}, "model"),
    ({"stream": 1}, "stream"),
    ({"stop_sequences": "x"}, "stop_sequences"),
    ({"stop_sequences": ["a", ""]}, "stop_sequences[1]"),
    ({"stop_sequences": ["a"] * 65}, "stop_sequences"),
    ({"temperature": 1.1}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"top_p": 2}, "top_p"),
    ({"top_k": -1}, "top_k"),
    ({"metadata": "u"}, "metadata"),
    ({"service_tier": 1}, "service_tier"),
    ({"context_management": []}, "context_management"),
    ({"output_config": []}, "output_config"),
    ({"output_config": {"format": "json"}}, "output_config.format"),
    ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
    ({"output_format": {"type": "text"}}, "output_format"),
    ({"mcp_servers": {}}, "mcp_servers"),
    ({"thinking": True}, "thinking"),
    ({"thinking": {}}, "thinking.type"),
    ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
    ({"thinking": {"type": "adaptive", "display": 1}}, "thinking.display"),
    ({"tools": {}}, "tools"),
    ({"tools": [5]}, "tools[0]"),
    ({"tools": [{**TOOL, "type": 5}]}, "tools[0].type"),
    ({"tools": [{**TOOL, "name": None}]}, "tools[0].name"),
    ({"tools": [{**TOOL, "name": 'a"b'}]}, "tools[0].name"),
    ({"tools": [{**TOOL, "name": "n" * 129}]}, "tools[0].name"),
    ({"tools": [{**TOOL, "description": 5}]}, "tools[0].description"),
    ({"tools": [{**TOOL, "defer_loading": "yes"}]}, "tools[0].defer_loading"),
    ({"tools": [TOOL, {"name": "g"}]}, "tools[1].input_schema"),
    ({"tools": [{"type": "function", "name": "g", "function": {}}]}, "tools[0].input_schema"),
    ({"tools": [TOOL, TOOL]}, "tools"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"tool_choice": {"type": "must"}}, "tool_choice.type"),
    ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}}, "tool_choice.disable_parallel_tool_use"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name"),
]


@pytest.mark.parametrize(("fields", "param"), MALFORMED, ids=lambda value: json.dumps(value)[:60])
def test_what_is_malformed_is_refused_with_its_place(fields, param):
    """Requirement 9: a request that can never work is a bad request that names the place."""
    fault = fault_of(**fields)
    assert (fault.kind, fault.param) == (BAD, param)


@pytest.mark.parametrize(
    ("role", "block", "place"),
    [
        ("user", "hi", ""),
        ("user", {}, ".type"),
        ("user", {"type": ["text"]}, ".type"),
        ("user", {"type": "text"}, ".text"),
        ("user", {"type": "image"}, ".source"),
        ("user", {"type": "image", "source": {**PNG, "media_type": "text/html"}}, ".source.media_type"),
        ("user", {"type": "image", "source": {**PNG, "data": None}}, ".source.data"),
        ("user", {"type": "image", "source": {"type": "url", "url": ""}}, ".source.url"),
        ("user", {"type": "document", "source": {"type": "text"}}, ".source.data"),
        ("user", {"type": "document", "source": {"type": "content"}}, ".source.content"),
        ("user", {"type": "document", "title": 5, "source": {"type": "text", "data": ""}}, ".title"),
        ("user", {"type": "search_result"}, ".content"),
        ("user", {"type": "tool_result", "content": "x"}, ".tool_use_id"),
        ("user", {"type": "tool_result", "tool_use_id": ""}, ".tool_use_id"),
        ("user", {"type": "tool_result", "tool_use_id": "t", "content": 5}, ".content"),
        ("user", {"type": "tool_result", "tool_use_id": "t", "content": [{}]}, ".content[0].type"),
        ("user", {"type": "tool_result", "tool_use_id": "t", "is_error": "no"}, ".is_error"),
        ("user", result({"type": "tool_reference"}), ".content[0].tool_name"),
        ("user", {"type": "tool_use", "id": "t", "name": "f", "input": {}}, ".type"),
        ("assistant", result(), ".type"),
        ("assistant", {"type": "tool_use", "name": "f", "input": {}}, ".id"),
        ("assistant", {"type": "tool_use", "id": "t", "input": {}}, ".name"),
        ("assistant", {"type": "tool_use", "id": "t", "name": "f", "input": "{}"}, ".input"),
    ],
)
def test_a_malformed_block_is_refused_with_its_place(role, block, place):
    """A known kind of block must have its form, and stand with the role it belongs to."""
    fault = fault_of(messages=[USER, {"role": role, "content": [text("a"), block]}])
    assert (fault.kind, fault.param) == (BAD, f"messages[1].content[1]{place}")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"mcp_servers": [{"type": "url", "url": "https://example.com"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"thread": {"type": "create"}}, "thread"),
    ],
)
def test_what_must_not_be_ignored_is_refused_by_name(fields, param):
    """What would change the meaning when it is left out is a 400 that names it."""
    fault = fault_of(**fields)
    assert (fault.kind, fault.param) == (UNSUPPORTED, param)


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("document", {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}),
        ("document", {"type": "url", "url": "https://example.com/a.pdf"}),
        ("document", {"type": "file", "file_id": "f"}),
        ("document", {"type": ["text"]}),
        ("image", {"type": "file", "file_id": "f"}),
        ("image", {}),
    ],
)
def test_sources_that_cannot_be_read_are_refused(kind, source):
    """Requirement 26: what cannot be read is a clean 400, never silently gone."""
    fault = fault_of(messages=[{"role": "user", "content": [{"type": kind, "source": source}]}])
    assert (fault.kind, fault.param) == (UNSUPPORTED, "messages[0].content[0].source.type")


def test_a_thread_is_refused_before_anything_else():
    """Requirement 42: the SDK falls back on this refusal alone, so no other may come first."""
    fault = fault_of(messages=5, temperature=9, thread={"type": "continue", "previous_message_id": "msg_1"})
    assert fault.code == "thread_unsupported_request"


def test_faults_quote_nothing_of_the_request():
    """Messages of faults reach the log: what the client wrote does not stand in them."""
    secret = {"type": "secret", "source": {"type": "secret"}}
    for fields in (
        {"messages": [{"role": "secret"}]},
        {"tool_choice": {"type": "secret"}},
        {"messages": [{"role": "user", "content": [{**secret, "type": "image"}]}]},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "secret"}},
    ):
        assert "secret" not in fault_of(**fields).message


def test_a_count_needs_no_limit():
    """Requirement 43: the tokens of a request without max_tokens and with no tools are counted."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "foo"}], "tools": []}).encode()
    ask = MESSAGES.read_count(body, {})
    assert (ask.conversation, ask.sampling) == (read(messages=[{**USER, "content": "foo"}]).conversation, Sampling())
    assert json.loads(MESSAGES.count_body(42)) == {"input_tokens": 42}
    with pytest.raises(Fault, match="messages is missing"):
        MESSAGES.read_count(b"{}", {})


def test_counts_have_a_path_beside_each_path():
    """Every alias of the messages has its alias for counting."""
    assert MESSAGES.count_paths[0] == "/v1/messages/count_tokens"
    assert [path.removesuffix("/count_tokens") for path in MESSAGES.count_paths] == list(MESSAGES.paths)


@pytest.mark.parametrize(("field", "place"), [("output_config", "output_config.format"), ("output_format",) * 2])
def test_the_form_of_the_answer_is_read(field, place):
    """Requirement 41: a schema in the field of today or in the one before it; the vendor promises that answers fit."""
    form = {"type": "json_schema", "schema": {"type": "object"}}
    ask = read(**{field: {"format": form} if field == "output_config" else form})
    assert ask.reply_format == ReplyFormat(None, "", b'{"type":"object"}', strict=True, where=f"{place}.schema")
    assert ask.ignored == ()
