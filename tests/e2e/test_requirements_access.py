"""What clients need before an answer begins: keys, paths, names, fields that nobody knows, errors, sizes."""

import asyncio
import json
import time

import pytest

from fakes.line import CHAT, KEY
from fakes.posting import CHAT_TOOL, HELLO, MESSAGES, MESSAGES_TOOL, PATHS, body, post
from fittengate.dialects._openai_reading import FIELDS as CHAT_FIELDS
from fittengate.dialects.anthropic_messages import _FIELDS as MESSAGES_FIELDS
from fittengate.simulator import Plan

COUNT = f"{MESSAGES}/count_tokens"
KNOWN = {CHAT: CHAT_FIELDS, MESSAGES: MESSAGES_FIELDS}


def shaped(path, reply):
    """Return an error's message, having looked at its shape."""
    assert reply.headers["content-type"].startswith("application/json")
    value = reply.json
    if path.startswith(MESSAGES):
        assert value["type"] == "error"
        assert set(value["error"]) >= {"type", "message"}
    else:
        assert set(value) == {"error"}
        assert set(value["error"]) == {"message", "type", "param", "code"}
    return value["error"]["message"]


@pytest.mark.parametrize("header", [f"Authorization: Bearer {KEY}", f"x-api-key: {KEY}"], ids=["bearer", "x-api-key"])
@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21", "2099-01-01"])
async def test_a_key_in_either_header_on_every_route(gateway, header, version):
    """Requirement 1: either header, any version, any list of betas."""
    betas = "claude-code-20250219,interleaved-thinking-2025-05-14,never-heard-of-2099-09-09"
    headers = f"{header}\r\nanthropic-version: {version}\r\nanthropic-beta: {betas}\r\n"
    for path in (*PATHS, COUNT, "/v1/models", "/v1/models/fitten-code"):
        method, sent = ("GET", b"") if "models" in path else ("POST", json.dumps(body(path)).encode())
        reply = await gateway.request(method, path, sent, key=None, headers=headers)
        assert reply.status == 200, path


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{MESSAGES}?beta=true", 200),
        ("POST", f"{CHAT}?api-version=2024-10-21", 200),
        ("POST", f"{COUNT}?beta=true", 200),
        ("GET", "/v1/models?limit=1000&after_id=x", 200),
    ],
)
async def test_query_strings_and_headers_nobody_knows_change_nothing(gateway, method, path, status):
    """Requirement 2: the path counts, and what agents tell about themselves is nobody's affair."""
    sent = json.dumps(body(path.partition("?")[0])).encode() if method == "POST" else b""
    headers = f"x-codex-turn-metadata: {'{}' * 400}\r\noriginator: codex\r\nx-stainless-lang: js\r\nX-App: cli\r\n"
    assert (await gateway.request(method, path, sent, headers=headers)).status == status


@pytest.mark.parametrize("path", ["/", "/api/hello"])
async def test_agents_that_look_whether_anybody_is_here_are_answered_at_once(gateway, simulator, path):
    """Requirement 2: HEAD without a key, fast, and without a call to the service."""
    began = time.monotonic()
    reply = await gateway.request("HEAD", path, key=None)
    assert reply.status == 200
    assert time.monotonic() - began < 0.5
    assert simulator.counters.requests["chat"] == 0


@pytest.mark.parametrize("path", PATHS)
async def test_what_nobody_knows_is_ignored(gateway, path):
    """Requirement 3: fields of tomorrow at the top, in tools, messages and metadata are no error."""
    extra = {"x_unknown": {"a": [1]}, "provider_specific_fields": {}, "cache_control": {"type": "ephemeral"}}
    tool = (
        {**CHAT_TOOL, "function": {**CHAT_TOOL["function"], "strict": None, **extra}, **extra}
        if path == CHAT
        else {**MESSAGES_TOOL, "type": "custom", "eager_input_streaming": True, "strict": True, **extra}
    )
    text = [{"type": "text", "text": "Hello", **extra}]
    fields = {"messages": [{"role": "user", "content": text, **extra}], "tools": [tool], "metadata": {"user_id": "u"}}
    reply = await post(gateway, path, **fields, fields_of_tomorrow=[1, {"b": None}], context={"deep": {"er": 1}})
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("path", PATHS)
async def test_null_is_as_good_as_nothing(gateway, path):
    """Requirement 3: a field that is null is a field that is not there."""
    needed = {"messages", "max_tokens"} if path == MESSAGES else {"messages"}
    for name in KNOWN[path]:
        without = {key: value for key, value in body(path).items() if key != name}
        bare, null = [
            await gateway.request("POST", path, json.dumps(fields).encode())
            for fields in (without, {**without, name: None})
        ]
        assert (bare.status, null.status) == ((400, 400) if name in needed else (200, 200)), name
        assert bare.headers.get("x-fittengate-ignored") == null.headers.get("x-fittengate-ignored"), name


@pytest.mark.parametrize("path", PATHS)
async def test_names_of_the_catalogue_and_of_other_vendors_work(gateway, path):
    """Requirement 4: the name comes back as it was asked for, and a model answers to it alone too."""
    for name in ("fitten-code", "deepseek-v3", "S2", "gpt-5", "claude-haiku-5-5", "o3", "codex-mini"):
        reply = await post(gateway, path, model=name)
        assert (reply.status, reply.json["model"]) == (200, name)
        single = await gateway.request("GET", f"/v1/models/{name}")
        assert (single.status, single.json["id"]) == (200, name)


@pytest.mark.parametrize("path", PATHS)
async def test_a_name_that_nobody_has_is_not_found(gateway, path):
    """Requirement 4: 404 with the names there are, for a request and for the model itself."""
    reply = await post(gateway, path, model="no-such-model")
    assert reply.status == 404
    assert "fitten-code" in shaped(path, reply)
    assert path == MESSAGES or reply.error["code"] == "model_not_found"
    assert (await gateway.request("GET", "/v1/models/no-such-model")).status == 404


async def test_one_list_of_models_serves_both_vendors_sdks(gateway):
    """Requirement 5: the list and each entry have the fields of both."""
    listed = (await gateway.request("GET", "/v1/models")).json
    assert listed["object"] == "list"
    assert listed["has_more"] is False
    assert (listed["first_id"], listed["last_id"]) == (listed["data"][0]["id"], listed["data"][-1]["id"])
    for entry in listed["data"]:
        assert entry["object"] == "model"
        assert entry["type"] == "model"
        assert isinstance(entry["created"], int)
        assert entry["owned_by"]
        assert entry["display_name"]
        assert entry["created_at"].endswith("Z")
        # Anthropic's SDKs give a model that lacks the first one to the program without it.
        assert entry["lifecycle"] == "active"
        assert entry["max_input_tokens"] == entry["context_window"]


@pytest.mark.parametrize("path", ["/v1/models/no-such-model", "/v1/files", "/v1/messages/batches", "/v1/models"])
async def test_an_error_where_both_vendors_have_paths_is_told_as_the_client_speaks(gateway, path):
    """Requirement 6: the header that Anthropic's clients always send says in which form; the base URL is named for both."""
    method = "POST" if path == "/v1/models" else "GET"
    theirs = await gateway.request(method, path, headers="anthropic-version: 2023-06-01\r\n")
    message = shaped(MESSAGES, theirs)
    assert theirs.headers["request-id"] == theirs.json["request_id"] == theirs.headers["x-request-id"]
    if not path.startswith("/v1/models"):
        assert "http://HOST:PORT for Anthropic" in message
        assert "http://HOST:PORT/v1 for OpenAI" in message
    if not path.startswith(MESSAGES):
        shaped(CHAT, await gateway.request(method, path))


@pytest.mark.parametrize("path", PATHS)
async def test_every_error_has_the_shape_of_its_route(gateway, path):
    """Requirement 6: a wrong key, method, path, model, body or value, always JSON."""
    stranger = await gateway.request("POST", path, b"{}", key="wrong")
    method = await gateway.request("DELETE", path)
    missing = await gateway.request("POST", f"{path}/nothing", b"{}")
    broken = await gateway.request("POST", path, b'{"model": ')
    model = await post(gateway, path, model="no-such-model")
    value = await post(gateway, path, temperature="hot")
    replies = (stranger, method, missing, broken, model, value)
    assert [reply.status for reply in replies] == [401, 405, 404, 400, 404, 400]
    assert all(shaped(path, reply) for reply in replies)


@pytest.mark.parametrize("path", PATHS)
async def test_the_status_says_whose_fault_it_is(start, simulator, path):
    """Requirement 7: 400 for what can never work, 401, 429 with its time, 503 or 529 when busy; never a 5xx for a bad request."""
    async with start(upstream={"max_concurrency": 1, "queue": 0, "retries": 0}) as gateway:
        assert (await post(gateway, path, messages="text")).status == 400
        stranger = await gateway.request("POST", path, b"{}", key="wrong")
        assert stranger.status == 401
        # Without this header an agent tries a wrong key again and again for more than a minute.
        assert stranger.headers["x-should-retry"] == "false"
        simulator.plan("chat", Plan(status=429, headers={"retry-after": "9"}))
        limited = await post(gateway, path)
        assert (limited.status, limited.headers["retry-after"]) == (429, "9")
        simulator.plan("chat", Plan(text="late", first_ms=300))
        first = asyncio.create_task(post(gateway, path))
        await simulator.wait_requests("chat", 2)
        busy = await post(gateway, path)
        assert busy.status == (529 if path == MESSAGES else 503)
        assert int(busy.headers["retry-after"]) > 0
        assert (await first).status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
async def test_no_fault_of_the_service_looks_like_one_of_the_request(start, simulator, path, status):
    """Requirement 7: a 400 makes agents give up features of their own, so it is only ever the client's fault."""
    simulator.plan("chat", Plan(status=status))
    async with start(upstream={"retries": 0}) as gateway:
        reply = await post(gateway, path)
    assert reply.status >= 500
    assert (reply.headers.get("x-should-retry") == "false") == (status < 500)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_know(start, simulator, stream):
    """Requirement 8: the sentence with both numbers in Messages, the code at OpenAI's routes; the service is not asked."""
    async with start(models={"context_window": 1000}) as gateway:
        long = [{"role": "user", "content": "word " * 20_000}]
        reply = await post(gateway, MESSAGES, messages=long, stream=stream)
        assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
        said = reply.json["error"]["message"]
        assert said.startswith("prompt is too long: ")
        number, most = [int(word) for word in said.split() if word.isdigit()]
        assert (number > most, most) == (True, 1000)
        reply = await post(gateway, CHAT, messages=long, stream=stream)
        assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
    assert simulator.counters.requests["chat"] == 0


@pytest.mark.parametrize("path", PATHS)
async def test_what_can_never_work_is_refused(gateway, simulator, path):
    """Requirement 9: bodies that are no objects, messages that are none, a limit that is missing."""
    wrong = [[], "text", None, 5]
    wrong += [{**body(path), "messages": messages} for messages in ([], "text", {}, None, [5], [{}])]
    if path == MESSAGES:
        wrong += [{"model": "fitten-code", "messages": HELLO}, {**body(path), "max_tokens": 0}]
    for sent in wrong:
        reply = await gateway.request("POST", path, json.dumps(sent).encode())
        assert reply.status == 400, sent
        assert shaped(path, reply)
    assert simulator.counters.requests["chat"] == 0


@pytest.mark.parametrize("path", PATHS)
async def test_large_bodies_and_many_at_once(start, simulator, path):
    """Requirement 10: three megabytes, several requests of one user together, a burst of counts."""
    async with start(models={"context_window": 10_000_000}) as gateway:
        large = "word " * 600_000
        reply = await post(gateway, path, messages=[{"role": "user", "content": large}])
        assert reply.status == 200
        assert large in simulator.requests("chat")[-1].turns[0][1]
        together = await asyncio.gather(*[post(gateway, path, stream=stream) for stream in (True, False, True)])
        assert [reply.status for reply in together] == [200] * 3
        asked = simulator.counters.requests["chat"]
        counts = await asyncio.gather(*[post(gateway, COUNT, max_tokens=None, tools=[]) for _ in range(24)])
        assert [reply.status for reply in counts] == [200] * 24
        assert simulator.counters.requests["chat"] == asked


async def test_tokens_are_counted_without_a_limit_and_grow_with_the_input(gateway, simulator):
    """Requirement 43: no max_tokens, no tools or an empty list of them; more input is more tokens; nobody is asked."""
    counts = []
    for number in (1, 10, 100):
        for tools in ([], [MESSAGES_TOOL]):
            asked = {"model": "claude-any", "messages": [{"role": "user", "content": "foo " * number}], "tools": tools}
            reply = await gateway.request("POST", COUNT, json.dumps(asked).encode())
            counts.append(reply.json["input_tokens"])
    assert counts[0] < counts[2] < counts[4]
    assert all(bare < tooled for bare, tooled in zip(counts[::2], counts[1::2], strict=True))
    assert simulator.counters.requests["chat"] == 0
