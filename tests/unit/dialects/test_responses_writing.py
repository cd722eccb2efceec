"""What is written of a reply as a response: the events of each sort of item, endings, and the object itself."""

import json

import pydantic
import pytest
from msgspec.structs import replace
from openai.types.responses import Response, ResponseStreamEvent

from contract.readers import RESPONSE_KEYS
from fittengate.core.events import Began, Ended, TextDelta, ThoughtDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.dialects import RESPONSES
from fittengate.dialects.base import Head

HEAD = Head("0123456789abcdefghijABCD", 1767225600, "m")
DONE = Ended(StopReason.DONE, Usage(5, 7, 2))
EVENT = pydantic.TypeAdapter(ResponseStreamEvent)
TOOLS = [
    {"type": "function", "name": "f"},
    {"type": "custom", "name": "patch"},
    {"type": "tool_search", "execution": "client"},
    {"type": "namespace", "name": "mcp", "description": "M.", "tools": [{"type": "function", "name": "g"}]},
]


def ask(**fields):
    return RESPONSES.read(json.dumps({"input": "x", "tools": TOOLS} | fields).encode())


def events(*said, fault=None, **fields):
    writer = RESPONSES.writer(ask(**fields), HEAD)
    written = writer.feed([Began(), *said]) + (writer.close() if fault is None else writer.fault(fault))
    found = [json.loads(block.partition("data: ")[2]) for block in written.decode().split("\n\n") if block]
    for number, event in enumerate(found):
        EVENT.validate_python(event)
        assert event["sequence_number"] == number
    return found


def kinds(found):
    return [event["type"].removeprefix("response.") for event in found]


def call(name, *fragments):
    return [ToolOpened(0, "abc", name), *map(ToolDelta, fragments), ToolClosed()]


def test_the_events_of_text():
    """Requirement 16: the whole order, one id for the response and one for the item."""
    found = events(TextDelta("a"), TextDelta("b"), DONE)
    assert kinds(found) == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert len({event["item_id"] for event in found if "item_id" in event} | {found[2]["item"]["id"]}) == 1
    assert len({event["response"]["id"] for event in found if "response" in event}) == 1


def test_the_whole_response_is_in_the_last_event():
    """Requirement 17: full output, and usage with its details."""
    last = events(ThoughtDelta("hm"), TextDelta("a"), DONE)[-1]["response"]
    assert [item["type"] for item in last["output"]] == ["reasoning", "message"]
    assert last["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 12,
    }


def test_every_key_is_there():
    """Requirement 35: null where nothing is known, in every response object of a stream."""
    for event in events(TextDelta("a"), DONE):
        if "response" in event:
            assert set(RESPONSE_KEYS) <= set(event["response"])
            Response.model_validate(event["response"])
    given = events(DONE, temperature=0.5, metadata={"a": "b"}, store=False, instructions="i")[0]["response"]
    assert (given["temperature"], given["metadata"], given["store"]) == (0.5, {"a": "b"}, False)
    assert given["instructions"] == "i"


def test_the_events_of_a_function_call():
    """Requirement 18: the done event has item, index, arguments and name; the call's id begins as OpenAI's do."""
    found = events(*call("f", '{"a":', "1}"), DONE)
    assert kinds(found)[2:-1] == [
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
    ]
    done, item = found[-3], found[-2]["item"]
    assert {key: done[key] for key in ("item_id", "output_index", "arguments", "name")} == {
        "item_id": item["id"],
        "output_index": 0,
        "arguments": '{"a":1}',
        "name": "f",
    }
    assert (item["call_id"], item["status"]) == ("call_abc", "completed")
    assert "namespace" not in item


def test_a_call_without_arguments_has_an_empty_object():
    """Requirement 15: arguments are JSON in any case, in the deltas too."""
    found = events(*call("f"), DONE)
    assert [event["delta"] for event in found if event["type"].endswith(".delta")] == ["{}"]


def test_the_events_of_a_custom_call():
    """Requirements 18, 30: raw text in deltas, done event and item."""
    found = events(*call("patch", '{"input": "a\\n\\ud8', '3d\\ude00"}'), DONE)
    assert kinds(found)[2:-1] == [
        *("output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.delta"),
        *("custom_tool_call_input.done", "output_item.done"),
    ]
    assert found[-3]["input"] == found[-2]["item"]["input"] == "a\n😀"


def test_a_call_in_a_namespace_names_it():
    """Requirement 30: name and namespace stand apart; a model that leaves the namespace out is understood."""
    for spoken in ("mcp.g", "g"):
        item = events(*call(spoken), DONE)[-2]["item"]
        assert (item["name"], item["namespace"]) == ("g", "mcp")


def test_a_search_for_tools_has_an_object_as_arguments():
    """Requirement 30: the client's own search comes back as a tool_search_call with a call_id."""
    found = events(*call("tool_search", '{"query":', '"q"}'), DONE)
    assert kinds(found)[2:-1] == ["output_item.added", "output_item.done"]
    item = found[-2]["item"]
    assert (item["type"], item["execution"]) == ("tool_search_call", "client")
    assert (item["arguments"], item["call_id"]) == ({"query": "q"}, "call_abc")


def test_what_a_request_says_loosely_is_repeated_strictly():
    """A client of a typed language reads back what it sent: whole numbers as such, and no key missing."""
    choice = {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]}
    form = {"format": {"type": "json_schema"}}
    sent = {"max_output_tokens": 5.0, "max_tool_calls": 2.0, "top_logprobs": 0.0, "service_tier": "flex"}
    for event in events(DONE, tool_choice=choice, text=form, **sent):
        if "response" in event:
            told = Response.model_validate_json(json.dumps(event["response"]), strict=True)
            assert (told.max_output_tokens, told.max_tool_calls, told.top_logprobs) == (5, 2, 0)
            assert (told.tool_choice.mode, told.service_tier) == ("auto", "default")
            assert (told.text.format.name, told.text.format.schema_) == ("", {})


@pytest.mark.parametrize(("reason", "at"), [(StopReason.DONE, HEAD.created + 61), (StopReason.LENGTH, None)])
def test_a_response_says_when_it_was_completed(reason, at):
    """The time stands in the last event of one that came to its end, and nowhere else."""
    writer = RESPONSES.writer(ask(), replace(HEAD, times=lambda: (2.5, 61.25)))
    written = writer.feed([Began(), TextDelta("a"), Ended(reason, Usage(1, 1))]) + writer.close()
    found = [json.loads(block.partition("data: ")[2]) for block in written.decode().split("\n\n") if block]
    assert [event["response"]["completed_at"] for event in found if "response" in event] == [None, None, at]


@pytest.mark.parametrize(
    ("name", "arguments", "holder", "expected"),
    [
        (
            "local_shell",
            '{"command": ["ls", "-l"], "working_directory": "/w"}',
            "action",
            {
                "type": "exec",
                "command": ["ls", "-l"],
                "env": {},
                "timeout_ms": None,
                "user": None,
                "working_directory": "/w",
            },
        ),
        (
            "shell",
            '{"commands": ["ls", "pwd"], "timeout_ms": 100}',
            "action",
            {"commands": ["ls", "pwd"], "timeout_ms": 100, "max_output_length": None},
        ),
        (
            "apply_patch",
            '{"type": "create_file", "path": "a", "diff": "+x"}',
            "operation",
            {"type": "create_file", "path": "a", "diff": "+x"},
        ),
        ("apply_patch", '{"type": "delete_file", "path": "a"}', "operation", {"type": "delete_file", "path": "a"}),
    ],
)
def test_a_call_of_a_tool_that_the_vendor_built_in_is_an_item_of_its_own_type(name, arguments, holder, expected):
    """The client runs it, so it must find the call where OpenAI's own models put it."""
    found = events(*call(name, arguments[:9], arguments[9:]), DONE, tools=[{"type": name}])
    assert kinds(found)[2:-1] == ["output_item.added", "output_item.done"]
    item = found[-2]["item"]
    assert (item["type"], item["call_id"], item[holder]) == (f"{name}_call", "call_abc", expected)
    assert found[-1]["response"]["output"] == [item]
    Response.model_validate(found[-1]["response"])


def test_arguments_that_are_no_list_become_one():
    """A model that writes a command as one line means what a shell would do with it."""
    item = events(*call("local_shell", '{"command": "ls -l"}'), DONE, tools=[{"type": "local_shell"}])[-2]["item"]
    assert item["action"]["command"] == ["sh", "-c", "ls -l"]
    item = events(*call("shell", '{"commands": "ls"}'), DONE, tools=[{"type": "shell"}])[-2]["item"]
    assert item["action"]["commands"] == ["ls"]
    assert events(*call("shell", '{"comma'), DONE, tools=[{"type": "shell"}])[-2]["item"]["action"]["commands"] == []


@pytest.mark.parametrize("as_text", [False, True])
def test_an_object_that_is_named_as_in_the_vendors_items_is_the_object(as_text):
    """A model that knows OpenAI's items writes ``operation`` with everything in it, as JSON or as a text of it."""
    operation = {"type": "create_file", "path": "a.txt", "diff": "+hello"}
    arguments = json.dumps({"operation": json.dumps(operation) if as_text else operation})
    item = events(*call("apply_patch", arguments), DONE, tools=[{"type": "apply_patch"}])[-2]["item"]
    assert item["operation"] == operation


def test_a_call_that_nobody_declared_is_a_function_call():
    """An agent answers that there is no such tool, and the model corrects itself."""
    assert events(*call("other"), DONE)[-2]["item"]["type"] == "function_call"


def test_reasoning_as_it_is_or_as_a_summary():
    """Both have their own events; the seal is there only where it was asked for."""
    plain = events(ThoughtDelta("hm"), TextDelta("a"), DONE)
    assert kinds(plain)[2:7] == [
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done"),
        "content_part.done",
    ]
    assert plain[7]["item"]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert plain[7]["item"]["encrypted_content"] is None
    include = ["reasoning.encrypted_content"]
    summary = events(ThoughtDelta("hm"), TextDelta("a"), DONE, reasoning={"summary": "auto"}, include=include)
    assert kinds(summary)[2:7] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done"),
    ]
    assert summary[7]["item"]["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert summary[7]["item"]["encrypted_content"]


def test_a_call_that_was_cut_off_is_never_ended():
    """Requirement 17: no done event, not in the output, and the response is incomplete: nobody carries it out."""
    cut = [TextDelta("so"), ToolOpened(0, "abc", "f"), ToolDelta('{"a": "ha'), ToolAborted()]
    found = events(*cut, Ended(StopReason.LENGTH, Usage(1, 1)))
    assert kinds(found)[-3:] == ["output_item.added", "function_call_arguments.delta", "incomplete"]
    last = found[-1]["response"]
    assert [item["type"] for item in last["output"]] == ["message"]
    assert (last["status"], last["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_words_after_a_call_are_a_message_of_their_own():
    """Items come one after the other; text is never added to an item that has ended."""
    found = events(TextDelta("a"), *call("f", "{}"), TextDelta("b"), ThoughtDelta("hm"), TextDelta("c"), DONE)
    items = found[-1]["response"]["output"]
    assert [item["type"] for item in items] == ["message", "function_call", "message", "reasoning", "message"]
    assert [event["output_index"] for event in found if event["type"].endswith("item.done")] == [0, 1, 2, 3, 4]
    assert len({item["id"] for item in items}) == 5


def test_an_answer_of_no_words_is_an_empty_message():
    """Clients look for a message; one of no words is one."""
    (item,) = events(DONE)[-1]["response"]["output"]
    assert (item["type"], item["content"][0]["text"]) == ("message", "")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.UPSTREAM_BROKEN, "server_error"),
        (FaultKind.UPSTREAM_RATE, "rate_limit_exceeded"),
        (FaultKind.CALLER_BAD_REQUEST, "invalid_prompt"),
    ],
)
def test_a_failed_response_keeps_its_id(kind, code):
    """Requirements 13, 17: response.failed, and the error that says so again, come last, wherever the reply broke."""
    for said in ([], [TextDelta("half")]):
        found = events(*said, fault=Fault(kind, "Why.", detail="secret"))
        assert kinds(found)[0] == "created"
        assert kinds(found)[-2:] == ["failed", "error"]
        failed = found[-2]["response"]
        assert (failed["id"], failed["status"]) == (found[0]["response"]["id"], "failed")
        assert failed["error"] == {"code": code, "message": "Why."}
        error = found[-1]
        assert (error["code"], error["message"], error["param"]) == (code, "Why.", None)
        assert error["error"]["message"] == "Why."


def test_a_prompt_that_is_too_long_says_so_in_mid_stream():
    """Requirement 8: clients that know the code stop at once."""
    writer = RESPONSES.writer(ask(), HEAD)
    failed = writer.fault(Fault(FaultKind.CALLER_TOO_LONG, "Too long."))
    assert b'"code":"context_length_exceeded"' in failed


@pytest.mark.parametrize("said", ["[]", '"a b"', "words"])
def test_a_search_with_other_arguments_is_a_query(said):
    """The item has an object in any case."""
    item = events(*call("tool_search", said), DONE)[-1]["response"]["output"][0]
    assert item["arguments"] == {"query": said}


def test_what_is_kept_of_a_stream_is_its_last_response():
    """The record has what the client was told, and what it had sent."""
    wanted = ask(previous_response_id=None)
    writer = RESPONSES.writer(wanted, HEAD)
    last = writer.feed([Began(), TextDelta("a"), DONE]) + writer.close()
    kept = RESPONSES.record(wanted, HEAD, writer)
    assert kept.id == "resp_" + HEAD.id
    assert kept.response in last
    assert json.loads(kept.given) == [{"type": "message", "role": "user", "content": "x"}]


def test_the_bodies_about_responses():
    """A count and a deletion, as OpenAI's reference has them."""
    assert json.loads(RESPONSES.count_body(5)) == {"object": "response.input_tokens", "input_tokens": 5}
    assert json.loads(RESPONSES.deleted("resp_a")) == {"id": "resp_a", "object": "response", "deleted": True}


def test_what_is_counted_needs_no_input():
    """Tools and instructions have tokens too; nothing is kept of such a request."""
    counted = RESPONSES.read_count(b'{"instructions":"i"}', {})
    assert [message.role for message in counted.conversation.messages] == ["system"]
    assert counted.given == b""
    assert RESPONSES.read_count(b"{}", {}).conversation.messages == ()
