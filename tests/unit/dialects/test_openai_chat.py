"""Chat completions: what is read, what is refused and where, and the chunks."""

import json
import re

import pytest

from fittengate.core.ask import ReplyFormat, Sampling, Wishes
from fittengate.core.conversation import Image, Message, Text, Thought
from fittengate.core.events import Began, Ended, TextDelta, ThoughtDelta, ToolClosed, ToolOpened, fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.dialects._openai_format import reply_format
from fittengate.dialects.base import Head
from fittengate.dialects.openai_chat import OpenAIChat

CHAT = OpenAIChat()
HEAD = Head("id24", 1767225600, "gpt-4o")
BAD, UNSUPPORTED = FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED
USER = {"role": "user", "content": "hi"}


def read(**fields):
    return CHAT.read(json.dumps({"messages": [USER], **fields}).encode())


def parts(message):
    return read(messages=[message]).conversation.messages[0].parts


def chunks(*events, **fields):
    writer = CHAT.writer(read(**fields), HEAD)
    stream = writer.feed([Began(), *events, Ended(StopReason.DONE, Usage(3, 4, 1))]) + writer.close()
    return [json.loads(line[6:]) for line in stream.decode().split("\n\n") if line and line != "data: [DONE]"]


def test_a_bare_request_is_an_ask_without_wishes():
    """Messages alone are enough: everything else is optional, the model too."""
    ask = read()
    assert ask.conversation.messages == (Message("user", (Text("hi"),)),)
    assert (ask.model, ask.sampling, ask.wishes, ask.ignored) == (None, Sampling(), Wishes(), ())


def test_wishes_are_read():
    """Streaming, usage, stop and model reach the Ask."""
    ask = read(stream=True, stream_options={"include_usage": True}, stop="END", model="deepseek-r1")
    assert ask.wishes == Wishes(stream=True, include_usage=True)
    assert (ask.sampling.stop, ask.model) == (("END",), "deepseek-r1")


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"max_tokens": 7, "max_completion_tokens": 8}, 7),
        ({"max_tokens": 9, "max_completion_tokens": 8}, 8),
        ({"max_tokens": None, "max_completion_tokens": 4096.0}, 4096),
        ({"max_tokens": 10**30}, 10**30),
    ],
)
def test_the_smaller_token_limit_counts(fields, limit):
    """Both names of the limit are read, and with both given both are kept."""
    assert read(**fields).sampling.max_tokens == limit


@pytest.mark.parametrize(
    ("role", "ours"), [("system", "system"), ("developer", "system"), ("user", "user"), ("assistant", "assistant")]
)
@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("x", (Text("x"),)),
        ("", ()),
        (None, ()),
        ([], ()),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "text", "text": "b"}], ("a", "b")),
        ([{"type": "refusal", "refusal": "no"}], ("no",)),
    ],
)
def test_every_role_takes_every_form_of_content(role, ours, content, found):
    """A string, null, nothing and a list of parts are content for whoever speaks."""
    (message,) = read(messages=[{"role": role, "content": content}]).conversation.messages
    assert message.role == ours
    assert message.parts == tuple(Text(part) if isinstance(part, str) else part for part in found)


def test_a_message_may_have_no_content_at_all():
    """A missing content equals null."""
    assert parts({"role": "assistant"}) == ()


def test_images_know_their_place():
    """An image keeps its address and its place in the request, for faults that are found later."""
    content = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
    ]
    assert parts({"role": "user", "content": content}) == (
        Text("look"),
        Image("data:image/png;base64,AA==", "messages[0].content[1].image_url.url"),
    )


def test_the_address_of_an_image_may_stand_alone():
    """Mistral's clients, which post to the same path, send it without an object around it."""
    part = {"type": "image_url", "image_url": "data:image/png;base64,AA=="}
    (message,) = read(messages=[{"role": "user", "content": [part]}]).conversation.messages
    assert message.parts == (Image("data:image/png;base64,AA==", "messages[0].content[0].image_url"),)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_of_an_earlier_answer_is_a_thought(name):
    """Reasoning that comes back under either name stands before the text, apart from it."""
    assert parts({"role": "assistant", "content": "4", name: "2+2"}) == (Thought("2+2"), Text("4"))


@pytest.mark.parametrize("value", [None, "", {"a": 1}, [1], 5])
def test_reasoning_in_another_form_is_left_out(value):
    """Reasoning is accepted in any form: what is no text is of no use, and no reason to refuse."""
    assert parts({"role": "assistant", "content": "4", "reasoning": value}) == (Text("4"),)


def test_reasoning_belongs_to_answers_alone():
    """A user's message has no reasoning."""
    assert parts({"role": "user", "content": "4", "reasoning": "x"}) == (Text("4"),)


def test_a_refusal_is_text():
    """What the model once said in place of an answer is what it said."""
    assert parts({"role": "assistant", "content": None, "refusal": "I cannot."}) == (Text("I cannot."),)


def test_unknown_keys_are_ignored_anywhere():
    """Clients add keys of their own to messages and parts."""
    content = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    message = {"role": "user", "content": content, "name": "ann", "provider_specific_fields": {"x": [1]}}
    assert parts(message) == (Text("a"),)


def test_messages_of_one_role_may_follow_each_other():
    """Nothing is merged or reordered here."""
    roles = ["user", "user", "assistant", "assistant", "system", "user"]
    messages = [{"role": role, "content": role} for role in roles]
    assert [message.role for message in read(messages=messages).conversation.messages] == roles


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": 0},
        {"temperature": 2.0},
        {"top_p": 1},
        {"presence_penalty": -2},
        {"frequency_penalty": 1.5},
        {"seed": -(2**63)},
        {"reasoning_effort": "high"},
        {"verbosity": "low"},
        {"moderation": {"model": "m"}},
        {"top_k": 5},
        {"min_p": []},
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_reported(field):
    """A parameter without which the answer is still an answer is ignored and listed."""
    assert read(**field).ignored == tuple(field)


@pytest.mark.parametrize(
    "field",
    [
        {"user": "u"},
        {"safety_identifier": "s"},
        {"metadata": {"a": "b"}},
        {"metadata": "of another kind"},
        {"store": True},
        {"service_tier": "flex"},
        {"prediction": {"type": "content", "content": "x"}},
        {"prompt_cache_key": "k"},
        {"prompt_cache_options": {"mode": "explicit"}},
        {"prompt_cache_retention": "24h"},
        {"parallel_tool_calls": True},
        {"n": 1},
        {"logprobs": False},
        {"top_logprobs": 0},
        {"logit_bias": {}},
        {"modalities": ["text"]},
        {"modalities": []},
        {"tools": []},
        {"functions": []},
        {"tool_choice": "auto"},
        {"function_call": "auto"},
        {"response_format": {"type": "text"}},
        {"stop": []},
        {"stream_options": {"include_usage": False, "include_obfuscation": False}},
        {"stream_options": {}},
        {"model": ""},
        {"unheard_of": None},
    ],
    ids=str,
)
def test_what_promises_nothing_is_taken_in_silence(field):
    """Fields that say nothing about the answer, or ask for what is done anyway, are neither refused nor listed."""
    assert read(**field) == read()


def test_unknown_stream_options_are_reported():
    """Options of streaming are named with their object."""
    assert read(stream_options={"include_obfuscation": True, "x y": 1}).ignored == (
        "stream_options.include_obfuscation",
        "stream_options.x_y",
    )


def test_the_list_of_ignored_names_is_bounded_and_fit_for_a_header():
    """At most 32 names of at most 64 characters each, with nothing in them that a header cannot carry."""
    odd = {"line\r\nbreak, comma": 1, "ключ": 2, "x" * 1000: 3}
    assert read(**odd).ignored == ("line__break__comma", "____", "x" * 64)
    many = read(**{f"unknown{number}": number for number in range(1000)}, stream_options={"a": 1, "b": 1})
    assert len(many.ignored) == 32


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [USER, None]}, "messages[1]"),
        ({"messages": [{}]}, "messages[0].role"),
        ({"messages": [{"role": None}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"]}]}, "messages[0].role"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": []}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "input_text"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text"}]}]},
            "messages[0].content[1].text",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "refusal"}]}]}, "messages[0].content[0].refusal"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "detail": 1}}]}
                ]
            },
            "messages[0].content[0].image_url.detail",
        ),
        ({"messages": [{"role": "assistant", "content": "a", "refusal": 1}]}, "messages[0].refusal"),
        ({"model": 5}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"stream": 1}, "stream"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stop": ""}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": [None]}, "stop[0]"),
        ({"stop": list("abcde")}, "stop"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"seed": "x"}, "seed"),
        ({"n": 0}, "n"),
        ({"n": "1"}, "n"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": -1}, "top_logprobs"),
        ({"modalities": "text"}, "modalities"),
        ({"modalities": [1]}, "modalities[0]"),
        ({"user": 5}, "user"),
        ({"store": "yes"}, "store"),
        ({"prediction": "x"}, "prediction"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tool_choice": ["auto"]}, "tool_choice"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format"),
        ({"response_format": {"type": ["text"]}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": 1}}}, "response_format.json_schema.name"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"description": 1}}},
            "response_format.json_schema.description",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": "{}"}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"strict": "yes"}}},
            "response_format.json_schema.strict",
        ),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_is_malformed_is_refused_with_its_place(fields, param):
    """A request that can never work is a bad request that names the place."""
    with pytest.raises(Fault) as caught:
        read(**fields)
    assert (caught.value.kind, caught.value.param) == (BAD, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 5}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities[1]"),
        ({"audio": {"voice": "alloy", "format": "mp3"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"messages": [{"role": "assistant", "content": None, "audio": {"id": "a"}}]}, "messages[0].audio"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].type"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_must_not_be_ignored_is_refused_by_name(fields, param):
    """What would change the meaning when it is left out is a 400 unsupported_parameter that names it."""
    with pytest.raises(Fault) as caught:
        read(**fields)
    assert (caught.value.kind, caught.value.param) == (UNSUPPORTED, param)


@pytest.mark.parametrize("value", ["1e999", "-1e999", "9" * 400])
def test_numbers_beyond_all_range_are_refused_at_their_place(value):
    """A number too large for a float is out of range like any other."""
    with pytest.raises(Fault) as caught:
        CHAT.read(b'{"messages":[{"role":"user","content":"x"}],"temperature":' + value.encode() + b"}")
    assert caught.value.param == "temperature"


def test_the_last_of_two_equal_keys_counts():
    """A doubled key is read as nearly every JSON reader reads it, and the value left over is the one that is checked."""
    body = b'{"messages":[],"temperature":9,"temperature":1,"messages":[{"role":"user","content":"b"}]}'
    assert CHAT.read(body).conversation.messages[0].parts == (Text("b"),)


def test_faults_quote_nothing_of_the_request():
    """Messages of faults reach the log: what the client wrote does not stand in them."""
    for fields in ({"messages": [{"role": "secret"}]}, {"tool_choice": "secret"}, {"stop": {"secret": 1}}):
        with pytest.raises(Fault) as caught:
            read(**fields)
        assert "secret" not in caught.value.message


def test_the_first_chunk_says_who_speaks():
    """The opening comes before the first delta of any sort, once, as OpenAI's does."""
    for event in (TextDelta("a"), ThoughtDelta("a"), ToolOpened(0, "c", "f")):
        first, second, *_ = chunks(event)
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
        assert "role" not in second["choices"][0]["delta"]


def test_an_empty_answer_still_says_who_speaks():
    """A reply without a word is an opening and a finish."""
    opening, finish = chunks()
    assert opening["choices"][0]["delta"]["role"] == "assistant"
    assert finish["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]


def test_usage_comes_last_and_only_when_asked():
    """With include_usage every other chunk has a null; without it the word does not occur."""
    *others, last = chunks(TextDelta("a"), stream=True, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 7
    assert last["usage"]["completion_tokens_details"]["reasoning_tokens"] == 1
    assert [chunk["usage"] for chunk in others] == [None] * 3
    assert all("usage" not in chunk for chunk in chunks(TextDelta("a")))


def test_a_call_without_arguments_has_an_empty_object():
    """Clients parse the arguments of every call, so a call always has some."""
    events = [ToolOpened(0, "c", "f"), ToolClosed()]
    calls = [chunk["choices"][0]["delta"].get("tool_calls") for chunk in chunks(*events)]
    assert calls[1] == [{"index": 0, "id": "call_c", "type": "function", "function": {"name": "f", "arguments": ""}}]
    assert calls[2] == [{"index": 0, "function": {"arguments": "{}"}}]
    reply = fold([Began(), *events, Ended(StopReason.TOOL_CALLS, Usage(1, 1))])
    message = json.loads(CHAT.whole(reply, read(), HEAD))["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        (StopReason.DONE, "stop"),
        (StopReason.STOP_SEQUENCE, "stop"),
        (StopReason.LENGTH, "length"),
        (StopReason.TOOL_CALLS, "tool_calls"),
    ],
)
def test_every_reason_has_its_finish(reason, finish):
    """OpenAI has no word of its own for a stop sequence."""
    events = [Began(), Ended(reason, Usage(1, 1))]
    writer = CHAT.writer(read(), HEAD)
    writer.feed(events)
    assert f'"finish_reason":"{finish}"'.encode() in writer.close()
    assert f'"finish_reason":"{finish}"'.encode() in CHAT.whole(fold(events), read(), HEAD)


def test_events_of_a_stream_are_single_lines_to_every_client():
    """Characters at which some clients cut lines never stand bare in a stream."""
    text = "a\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029b"
    writer = CHAT.writer(read(), HEAD)
    stream = writer.feed([Began(), TextDelta(text), ThoughtDelta(text)]).decode()
    assert all(re.match(r"data: \{.*\}\Z|\Z", line) for line in stream.splitlines())


def test_head_and_model_are_in_every_chunk():
    """Id, time and the requested name are constant, quotes in the name included."""
    writer = CHAT.writer(read(), Head("x", 5, 'a"b\\'))
    first, second = writer.feed([TextDelta("hi")]).decode().strip().split("\n\n")
    for line in (first, second):
        chunk = json.loads(line[6:])
        assert (chunk["id"], chunk["created"], chunk["model"]) == ("chatcmpl-x", 5, 'a"b\\')


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, ReplyFormat(where="response_format")),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}, "strict": None}},
            ReplyFormat("n", "", b'{"type":"array"}', where="response_format.json_schema.schema"),
        ),
        (
            {"type": "json_schema", "json_schema": {"description": "A thing.", "strict": True}},
            ReplyFormat(
                None, "A thing.", b'{"type":"object"}', strict=True, where="response_format.json_schema.schema"
            ),
        ),
    ],
)
def test_the_form_of_the_answer_is_read(value, wanted):
    """Requirement 23: free text, any JSON object, or JSON by a schema, strict or not; null is as good as nothing."""
    assert read(response_format=value).reply_format == wanted


def test_the_form_stands_one_level_higher_where_it_is_flat():
    """Responses has the schema beside the type."""
    flat = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    made = reply_format(flat, "text.format", flat=True)
    assert made == ReplyFormat("n", "", b'{"type":"object"}', strict=True, where="text.format.schema")
