"""What chat clients send and read: roles and content of every form, tools and their choice, limits, pictures."""

import json

import pytest

from fakes.agent import calls
from fakes.line import CHAT, chunks
from fakes.posting import CHAT_TOOL, HELLO, PICTURE, post
from fittengate.simulator import Plan

OTHER = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}


def parts(*texts):
    return [{"type": "text", "text": text} for text in texts]


def made(call_id, name, **arguments):
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": function, "provider_specific_fields": None}


async def test_roles_and_content_of_every_form_reach_the_model(gateway, simulator):
    """Requirement 21: developer is system; strings, null, nothing, parts; one role twice; calls and results in any number."""
    messages = [
        {"role": "system", "content": parts("system parts")},
        {"role": "developer", "content": "developer words"},
        {"role": "user", "content": "user string"},
        {"role": "user", "content": parts("user part 1", "user part 2"), "name": "somebody"},
        {"role": "assistant", "content": None, "tool_calls": [made("1", "read_file", path="a"), made("2", "other")]},
        {"role": "tool", "tool_call_id": "2", "name": "other", "content": parts("result two")},
        {"role": "tool", "tool_call_id": "1", "content": "result one"},
        {"role": "assistant", "content": "", "tool_calls": [made("3", "read_file", path="b")], "refusal": None},
        {"role": "tool", "tool_call_id": "3", "content": ""},
        {"role": "assistant", "content": parts("assistant part"), "reasoning_content": "thought", "audio": None},
        {"role": "user", "content": "last words"},
    ]
    reply = await post(gateway, CHAT, messages=messages, tools=[CHAT_TOOL, OTHER])
    assert reply.status == 200, reply.body
    turns = simulator.requests("chat")[-1].turns
    assert [role for role, _ in turns] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    texts = [text for _, text in turns]
    wanted = [
        ("system parts", "developer words"),
        ("user string", "user part 1", "user part 2"),
        ('name="read_file"', ">a<", 'name="other"'),
        ("result one", "result two"),
        (">b<",),
        (),
        ("assistant part",),
        ("last words",),
    ]
    for text, pieces in zip(texts, wanted, strict=True):
        assert all(piece in text for piece in pieces), (text, pieces)
    assert texts[3].index("result one") < texts[3].index("result two")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("choice", "finish"),
    [
        ("auto", "tool_calls"),
        ("none", "stop"),
        ("required", "tool_calls"),
        ({"type": "function", "function": {"name": "read_file"}}, "stop"),
        (None, "tool_calls"),
    ],
    ids=str,
)
async def test_every_choice_of_tools_is_understood(gateway, simulator, choice, finish, stream):
    """Requirement 22: auto, none, required, a named one; with none nothing is called, whatever the model writes."""
    simulator.plan("chat", Plan(text=calls(("read_file", {"path": "a"}), said="Look.")))
    fields = {"tool_choice": choice, "tools": [CHAT_TOOL, OTHER], "stream": stream}
    reply = await post(gateway, CHAT, **fields)
    if stream:
        deltas = [chunk["choices"][0] for chunk in chunks(reply.body)]
        called = [call for delta in deltas for call in delta["delta"].get("tool_calls", ()) if "id" in call]
        found = deltas[-1]["finish_reason"]
    else:
        called = reply.json["choices"][0]["message"].get("tool_calls", [])
        found = reply.json["choices"][0]["finish_reason"]
    assert [call["function"]["name"] for call in called] == ([] if choice == "none" else ["read_file"])
    assert found == finish
    prompt = "\n".join(text for _, text in simulator.requests("chat")[-1].turns)
    assert ("Call the tool read_file now." in prompt) == isinstance(choice, dict)
    assert ("Call at least one tool now." in prompt) == (choice == "required")


@pytest.mark.parametrize("parallel", [True, False])
async def test_at_most_one_call_where_only_one_is_wanted(gateway, simulator, parallel):
    """Requirement 22: with `parallel_tool_calls: false` a second call is not passed on."""
    simulator.plan("chat", Plan(text=calls(("read_file", {"path": "a"}), ("read_file", {"path": "b"}))))
    reply = await post(gateway, CHAT, tools=[CHAT_TOOL], parallel_tool_calls=parallel)
    called = reply.json["choices"][0]["message"]["tool_calls"]
    assert [json.loads(call["function"]["arguments"])["path"] for call in called] == (["a", "b"] if parallel else ["a"])


@pytest.mark.parametrize("tools", [False, True])
async def test_a_whole_answer_has_every_key_that_programs_read(gateway, simulator, tools):
    """Requirement 24: refusal and logprobs are null, usage adds up, with calls as without."""
    simulator.plan("chat", Plan(text=calls(("read_file", {"path": "a"})) if tools else "words"))
    reply = await post(gateway, CHAT, tools=[CHAT_TOOL] if tools else None)
    (choice,) = reply.json["choices"]
    assert choice["message"]["refusal"] is None
    assert choice["logprobs"] is None
    assert ("tool_calls" in choice["message"]) == tools
    usage = reply.json["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert min(usage["prompt_tokens"], usage["completion_tokens"]) > 0


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_limits_and_stop_sequences_are_kept(gateway, simulator, name):
    """Requirement 25: either name of the limit; stop as a word or a list, and the text ends before it."""
    simulator.plan("chat", Plan(text="one two three four five six"), times=3)
    short = (await post(gateway, CHAT, **{name: 2})).json["choices"][0]
    assert short["finish_reason"] == "length"
    assert "one two three four five six".startswith(short["message"]["content"])
    for stop in (" three", ["nothing", " three"]):
        cut = (await post(gateway, CHAT, stop=stop)).json["choices"][0]
        assert (cut["finish_reason"], cut["message"]["content"]) == ("stop", "one two")


async def test_fields_that_promise_nothing_are_accepted(gateway):
    """Requirement 25: one choice, a seed, a user, storage, metadata and a service tier are no error."""
    reply = await post(
        gateway, CHAT, n=1, seed=7, user="u", store=True, metadata={"a": "b"}, service_tier="auto", logprobs=False
    )
    assert reply.status == 200
    assert reply.headers["x-fittengate-ignored"] == "seed"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        (f"data:image/png;base64,{PICTURE}", 200),
        ("data:image/png;base64,!!!", 400),
        ("data:application/pdf;base64,AAAA", 400),
        ("http://127.0.0.1:9/a.png", 400),
        ("", 400),
    ],
)
async def test_a_picture_is_used_or_refused(gateway, simulator, url, status):
    """Requirement 26: it reaches the service, or the answer is a 400 that names its place."""
    image = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    reply = await post(gateway, CHAT, messages=[{"role": "user", "content": [*parts("Look."), image]}])
    assert reply.status == status
    if status == 200:
        assert PICTURE in "".join(text for _, text in simulator.requests("chat")[-1].turns)
    else:
        assert reply.error["type"] == "invalid_request_error"
        assert reply.error["param"].startswith("messages[0].content[1]")
        assert simulator.counters.requests["chat"] == 0


async def test_an_older_picture_leaves_a_trace(gateway, simulator):
    """Requirement 26: where only one picture can be shown, the prompt says that another one was there."""
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    messages = [{"role": "user", "content": [image, *parts("first"), image, *parts("second")]}]
    assert (await post(gateway, CHAT, messages=messages)).status == 200
    text = simulator.requests("chat")[-1].turns[-1][1]
    assert text.count(PICTURE) == 1
    assert "left out" in text


async def test_a_call_is_found_by_its_name_alone(gateway):
    """Requirement 21: results without a call, and calls without a result, are no error."""
    messages = [*HELLO, {"role": "tool", "tool_call_id": "gone", "content": "stray"}, *HELLO]
    assert (await post(gateway, CHAT, messages=messages)).status == 200
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [made("1", "read_file", path="a")]},
        *HELLO,
    ]
    assert (await post(gateway, CHAT, messages=messages)).status == 200
