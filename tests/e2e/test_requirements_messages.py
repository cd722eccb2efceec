"""What clients of the Messages API send and read: system texts, results, deferred tools, thinking, threads, ends."""

import pytest

from fakes.agent import calls
from fakes.posting import HELLO, MESSAGES, MESSAGES_TOOL, PICTURE, SCHEMA, call_of, named_events, post
from fittengate.simulator import Plan

CACHED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
DEFERRED = {"name": "web_fetch", "description": "Fetch.", "input_schema": SCHEMA, "defer_loading": True}


def text(words):
    return {"type": "text", "text": words}


def used(call_id, name="read_file"):
    return {"type": "tool_use", "id": call_id, "name": name, "input": {"path": "a"}}


def result(call_id, **fields):
    return {"type": "tool_result", "tool_use_id": call_id, **fields}


@pytest.mark.parametrize("system", ["Be brief.", [text("Be brief.") | CACHED]], ids=["string", "blocks"])
async def test_a_system_prompt_in_either_form_and_cache_marks_anywhere(gateway, simulator, system):
    """Requirement 36: a string or blocks; marks on system, tools, blocks and results mean nothing."""
    messages = [
        {"role": "user", "content": [text("Hello") | CACHED]},
        {"role": "assistant", "content": [used("toolu_1") | CACHED]},
        {"role": "user", "content": [result("toolu_1", content="done", **CACHED)]},
    ]
    tools = [{**MESSAGES_TOOL, **CACHED}]
    reply = await post(gateway, MESSAGES, system=system, messages=messages, tools=tools, cache_control={"type": "x"})
    assert reply.status == 200, reply.body
    role, words = simulator.requests("chat")[-1].turns[0]
    assert (role, "Be brief." in words, "ephemeral" in words) == ("system", True, False)


async def test_a_billing_block_that_changes_breaks_nothing(gateway, simulator):
    """Requirement 36: two sessions that differ in that block alone have prompts that differ there alone."""
    prompts = []
    for session in ("aaaa", "bbbb"):
        system = [text(f"x-anthropic-billing-header: cc_version=2.1; cch={session};"), text("Be brief.") | CACHED]
        assert (await post(gateway, MESSAGES, system=system, tools=[MESSAGES_TOOL])).status == 200
        prompts.append(simulator.requests("chat")[-1].json["inputs"])
    assert prompts[0].replace("aaaa", "bbbb") == prompts[1]


@pytest.mark.parametrize("content", ["Mind the rules.", [text("Mind the rules.")]], ids=["string", "blocks"])
async def test_a_system_message_in_the_middle_reaches_the_model(gateway, simulator, content):
    """Requirement 37: its words are in the prompt as the system's."""
    messages = [*HELLO, {"role": "system", "content": content}, {"role": "user", "content": "Go on."}]
    assert (await post(gateway, MESSAGES, messages=messages, system="Be brief.")).status == 200
    turns = simulator.requests("chat")[-1].turns
    assert any("Mind the rules." in words for role, words in turns if role == "system")


async def test_a_tool_is_no_role_here(gateway):
    """Requirement 37: `role: tool` is an error that says how results are sent."""
    reply = await post(gateway, MESSAGES, messages=[*HELLO, {"role": "tool", "content": "x"}])
    assert reply.status == 400
    assert "tool_result" in reply.json["error"]["message"]


async def test_results_of_every_form_reach_the_model(gateway, simulator):
    """Requirement 38: a string, text, a picture, a reference, nothing; failures are marked; several in one turn."""
    messages = [
        *HELLO,
        {"role": "assistant", "content": [used(f"toolu_{number}") for number in range(6)]},
        {
            "role": "user",
            "content": [
                result("toolu_0", content="as a string"),
                result("toolu_1", content=[text("as a block")]),
                result("toolu_2", content=[text("with a picture"), IMAGE]),
                result("toolu_3", content=[{"type": "tool_reference", "tool_name": "web_fetch"}]),
                result("toolu_4"),
                result("toolu_5", content="it broke", is_error=True),
                text("and a reminder"),
            ],
        },
    ]
    reply = await post(gateway, MESSAGES, messages=messages, tools=[MESSAGES_TOOL, DEFERRED])
    assert reply.status == 200, reply.body
    words = simulator.requests("chat")[-1].turns[-1][1]
    for piece in ("as a string", "as a block", "with a picture", PICTURE, "web_fetch", "it broke", "and a reminder"):
        assert piece in words
    assert words.count("<result ") == 6
    (failed,) = [line for line in words.split("<result ") if "it broke" in line]
    assert failed.startswith('name="read_file" call="6" error="true"')
    assert words.count('error="true"') == 1


async def test_deferred_tools_are_shown_once_they_were_found(gateway, simulator):
    """Requirement 39: not before a reference to them, the stand-in never; from then on they can be called."""
    placeholder = {"name": "DeferredToolPlaceholder", "description": "", "input_schema": {"type": "object"}}
    tools = [MESSAGES_TOOL, DEFERRED, placeholder]
    assert (await post(gateway, MESSAGES, tools=tools)).status == 200
    before = simulator.requests("chat")[-1].turns[0][1]
    assert ('"web_fetch"' in before, "DeferredToolPlaceholder" in before) == (False, False)
    messages = [
        *HELLO,
        {"role": "assistant", "content": [used("toolu_1", "ToolSearch")]},
        {
            "role": "user",
            "content": [result("toolu_1", content=[{"type": "tool_reference", "tool_name": "web_fetch"}])],
        },
    ]
    simulator.plan("chat", Plan(text=calls(("web_fetch", {"path": "a"}))))
    reply = await post(gateway, MESSAGES, tools=tools, messages=messages)
    after = simulator.requests("chat")[-1].turns[0][1]
    assert ('"web_fetch"' in after, "DeferredToolPlaceholder" in after) == (True, False)
    assert reply.json["content"][-1]["name"] == "web_fetch"


@pytest.mark.parametrize("choice", [None, {"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "web_search"}])
async def test_a_tool_of_the_vendors_servers_gets_words(gateway, simulator, choice):
    """Requirement 39: a request with nothing but web search is answered in text."""
    simulator.plan("chat", Plan(text="words"))
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]
    reply = await post(gateway, MESSAGES, tools=tools, tool_choice=choice)
    assert [block["type"] for block in reply.json["content"]] == ["text"]
    assert "tools.web_search_20250305" in reply.headers["x-fittengate-ignored"]


async def test_words_behind_a_call_stand_behind_it_whole_and_streamed(gateway, simulator):
    """Requirement 20: the same blocks in the same order, whichever way was asked for."""
    said = f"One.\n{calls(('read_file', {'path': 'a'}))}\nTwo.\n{calls(('read_file', {'path': 'b'}))}\nThree."
    found = []
    for stream in (False, True):
        simulator.plan("chat", Plan(text=said))
        reply = await post(gateway, MESSAGES, tools=[MESSAGES_TOOL], stream=stream)
        if stream:
            events = [event.data for event in named_events(reply) if event.name.startswith("content_block_")]
            blocks = [event["content_block"] for event in events if "content_block" in event]
            for event in events:
                if text := event.get("delta", {}).get("text"):
                    blocks[event["index"]]["text"] += text
        else:
            blocks = reply.json["content"]
        found.append([block.get("text", block["type"]) for block in blocks])
    assert found == [["One.", "tool_use", "\nTwo.", "tool_use", "\nThree."]] * 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_of_the_vendors_that_the_client_runs_is_called(gateway, simulator, stream):
    """The shell that an agent declares by its type alone: shown to the model, and its calls read by the right types."""
    simulator.plan("chat", Plan(text=calls(("bash", {"command": "ls", "restart": "true"}))))
    reply = await post(gateway, MESSAGES, tools=[{"type": "bash_20250124", "name": "bash"}], stream=stream)
    assert call_of(MESSAGES, reply) == ("bash", {"command": "ls", "restart": True})
    assert '"restart"' in simulator.requests("chat")[-1].turns[0][1]
    assert "x-fittengate-ignored" not in reply.headers


@pytest.mark.parametrize(
    "thinking",
    [
        None,
        {"type": "disabled"},
        {"type": "enabled", "budget_tokens": 31999},
        {"type": "adaptive"},
        {"type": "adaptive", "display": "summarized"},
        {"type": "adaptive", "display": "omitted"},
    ],
    ids=str,
)
async def test_thinking_and_the_other_switches_are_accepted(gateway, simulator, thinking):
    """Requirement 40: every form of thinking, context management, effort, metadata and sampling; thoughts may come back."""
    messages = [
        *HELLO,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "of another server", "signature": "x=="},
                {"type": "redacted_thinking", "data": "x"},
                text("Well."),
            ],
        },
        *HELLO,
    ]
    fields = {
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "metadata": {"user_id": "u"},
        "temperature": 1,
        "top_p": 0.9,
        "top_k": 5,
    }
    simulator.plan("chat", Plan(text="words"))
    reply = await post(gateway, MESSAGES, messages=messages, thinking=thinking, **fields)
    assert reply.status == 200, reply.body
    assert [block["type"] for block in reply.json["content"]] == ["text"]


async def test_a_thread_is_refused_and_never_ignored(gateway, simulator):
    """Requirement 42: with the details on which the SDK sends everything itself, for both ways to begin."""
    for thread in ({"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}):
        reply = await post(gateway, MESSAGES, thread=thread)
        assert reply.status == 400
        wanted = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
        assert reply.json["error"]["details"] == wanted
    assert simulator.counters.requests["chat"] == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("said", "fields", "reason", "sequence"),
    [
        ("words", {}, "end_turn", None),
        (calls(("read_file", {"path": "a"})), {"tools": [MESSAGES_TOOL]}, "tool_use", None),
        ("one two three four five", {"max_tokens": 2}, "max_tokens", None),
        ("one two three", {"stop_sequences": ["x", " two"]}, "stop_sequence", " two"),
    ],
    ids=["end_turn", "tool_use", "max_tokens", "stop_sequence"],
)
async def test_every_end_has_its_reason_and_ids_have_their_prefix(
    gateway, simulator, said, fields, reason, sequence, stream
):
    """Requirement 44: four reasons, the sequence that was met, msg_ and toolu_, whole and streamed."""
    simulator.plan("chat", Plan(text=said))
    reply = await post(gateway, MESSAGES, stream=stream, **fields)
    if stream:
        found = named_events(reply)
        message, end = found[0].data["message"], found[-2].data["delta"]
        blocks = [event.data["content_block"] for event in found if event.name == "content_block_start"]
    else:
        message = end = reply.json
        blocks = message["content"]
    assert (end["stop_reason"], end["stop_sequence"]) == (reason, sequence)
    assert message["id"].startswith("msg_")
    ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert len(ids) == (reason == "tool_use")
    assert all(call_id.startswith("toolu_") for call_id in ids)
