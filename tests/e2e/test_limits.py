"""Limits on a running gateway: every route, every way out, a thousand at once."""

import asyncio
import json
import secrets

import anthropic
import openai
import pytest

from fakes.line import CHAT, KEY, until
from fakes.posting import MESSAGES, post
from fittengate.core.caller import SCOPES
from fittengate.dialects import DIALECTS
from fittengate.server.admin import ADMIN_METHODS
from fittengate.server.app import MODEL_PREFIXES
from fittengate.server.kept import KEPT_METHODS
from fittengate.services.clock import SystemClock
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.store import Database
from fittengate.simulator import Plan

OPEN = {"/livez", "/health", "/readyz", "/docs", "/docs.js", "/openapi.json", "/", "/api/hello"}
"""What design and documents name as open to everybody."""

UNCOUNTED = "/v1/health"
"""What programs ask every few seconds of their own accord, and costs nothing."""

ANY = {"model": "fitten-code", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}
"""A body that every POST route takes, with what stands in :data:`MORE`."""

MORE = {
    "responses": {"input": "Hi"},
    "completions": {"prompt": "Hi"},
    "infill": {"input_prefix": "Hi"},
    "generate": {"prompt": "Hi"},
}
"""By the last word of a path, what it needs beside."""

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOL = {"type": "function", "function": {"name": "read_file", "description": "Read a file.", "parameters": SCHEMA}}


@pytest.fixture
def store(tmp_path):
    """Open the store of the gateways here."""
    made = KeyStore(Database(tmp_path / "fittengate.db"), SystemClock(), secrets.token_bytes, 90)
    yield made
    made.close()


@pytest.fixture
def kept(tmp_path):
    """Give the section that leads a gateway to that store."""
    return {"url": f"sqlite:///{tmp_path}/fittengate.db"}


def routes(gateway):
    """Return every route of the application that wants a key: method, path, what scope it needs."""
    app = gateway.gateway.app
    # Where the scope depends on what is asked for, the question in these bodies is chat.
    found = [("POST", path, dialect.scope or "chat") for path, dialect in app._posts.items()]
    found += [("POST", path, dialect.scope) for path, dialect in app._counts.items()]
    found += [("GET", path, None) for path in app._gets.keys() - OPEN]
    found += [("POST", path, "chat" if path.endswith("/compact") else None) for path in app._tells]
    found += [("GET", f"{prefix}fitten-code", None) for prefix in MODEL_PREFIXES]
    responses = [path for path in app._posts if path.endswith("/responses")]
    for path in responses:
        for what, methods in KEPT_METHODS.items():
            found += [(method, f"{path}/resp_x/{what}".rstrip("/"), "chat") for method in methods]
    for path, methods in ADMIN_METHODS.items():
        found += [(method, path.replace("{name}", "nobody"), "admin") for method in methods]
    return found


async def call(gateway, route, key):
    method, path, _ = route
    wanted = {} if path.startswith("/admin") else ANY
    body = json.dumps(wanted | MORE.get(path.rpartition("/")[2], {})).encode() if method == "POST" else b""
    return await gateway.request(method, path, body, key=key)


def used(gateway, name="key-1"):
    """Return what counts for today, and what runs, of a key of the settings."""
    limits = gateway.gateway.exchanges._services.limits
    found = [meter for meter in limits._meters.values() if meter.days.of or meter.running or meter.requests.total]
    (meter,) = found
    return sum(meter.days.of.values()), meter.running


async def test_no_route_but_the_open_ones_can_be_used_without_a_key(gateway):
    """P9: all the application answers is walked; a new route is in the walk by itself."""
    walked = routes(gateway)
    assert len(walked) > 30
    for route in walked:
        for key in (None, "fg_wrong"):
            assert (await call(gateway, route, key)).status == 401, route


@pytest.mark.parametrize("whose", ["rpm", "account_rpm"])
async def test_no_route_can_be_used_past_a_limit(start, simulator, store, kept, whose):
    """P9: with the minute's one request used up, each route refuses, says when to come back, and asks nobody."""
    key, _ = store.create(KeyWish(name="all", scopes=SCOPES))
    async with start(limits={whose: 1}, store=kept) as gateway:
        assert (await gateway.request("GET", "/v1/models", key=key)).status == 200
        for route in routes(gateway):
            reply = await call(gateway, route, key)
            if route[1] == UNCOUNTED:
                assert reply.status == 200, route
                continue
            assert reply.status == 429, route
            assert 1 <= int(reply.headers["retry-after"]) <= 60
            names = [name for name in reply.headers if name.endswith(("limit-requests", "requests-limit"))]
            assert len(names) == 1
            assert names[0].startswith("anthropic-" if "/messages" in route[1] else "x-")
    assert simulator.counters.requests["chat"] == 0


async def test_no_route_can_be_used_beyond_the_scope_of_a_key(start, simulator, store, kept):
    """A key for completion alone, one for administration alone, one for another model."""
    completion, _ = store.create(KeyWish(name="completion", scopes=("completion",)))
    admin, _ = store.create(KeyWish(name="admin", scopes=("admin",)))
    chat, _ = store.create(KeyWish(name="chat", scopes=("chat",)))
    elsewhere, _ = store.create(KeyWish(name="elsewhere", models=("deepseek-*",)))
    async with start(store=kept) as gateway:
        for route in routes(gateway):
            for key, scope in ((completion, "completion"), (admin, "admin"), (chat, "chat")):
                status = (await call(gateway, route, key)).status
                assert (status == 403) == (route[2] not in {None, scope}), route
            posted = route[0] == "POST" and route[2] != "admin" and route[1] not in {"/v1/health", "/v1/events"}
            posted = posted and not route[1].endswith(("/compact", "/cancel"))
            names_model = posted or route[1].endswith("/fitten-code")
            if names_model:
                reply = await call(gateway, route, elsewhere)
                assert reply.status == 403, route
                assert "deepseek-*" in json.dumps(reply.json)
    sent = simulator.counters.requests["chat"]
    async with start(store=kept) as gateway:
        reply = await gateway.request("GET", "/v1/models", key=elsewhere)
        assert all(card["id"].startswith("deepseek-") for card in reply.json["data"])
        reply = await post_as(gateway, CHAT, elsewhere, model="gpt-4o")
        assert reply.error["code"] == "permission_denied"
        reply = await post_as(gateway, MESSAGES, elsewhere)
        assert (reply.status, reply.json["error"]["type"]) == (403, "permission_error")
    assert simulator.counters.requests["chat"] == sent


async def post_as(gateway, path, key, **fields):
    body = json.dumps({**ANY, **fields}).encode()
    return await gateway.request("POST", path, body, key=key)


@pytest.mark.parametrize("stream", [False, True])
async def test_p9_a_thousand_requests_at_once_do_not_overspend(start, simulator, stream):
    """P9: what the service counted for all that were let in is within the budget; the others got 429."""
    budget = 20_000
    simulator.plan("chat", Plan(text="word " * 20, input_tokens=100, output_tokens=25), times=1000)
    async with start(limits={"tokens_per_day": budget}) as gateway:
        gate = asyncio.Semaphore(200)

        async def ask():
            async with gate:
                reply = await gateway.chat("Hi", max_tokens=60, stream=stream)
                if reply.status == 429:
                    assert int(reply.headers["retry-after"]) > 60
                    assert reply.headers["x-should-retry"] == "false"
                    assert reply.error["code"] == "insufficient_quota"
                return reply.status

        statuses = await asyncio.gather(*(ask() for _ in range(1000)))
        assert set(statuses) == {200, 429}
        spent = statuses.count(200) * 125
        assert budget - 500 <= spent <= budget
        await until(lambda: not gateway.running)
        assert used(gateway) == (spent, 0)


async def test_requests_at_a_time_are_given_back_on_every_way_out(start, simulator):
    """A whole end, a fault before and in the reply, a client that leaves, one that is refused."""
    async with start(limits={"concurrency": 1}, upstream={"retries": 0}) as gateway:
        simulator.plan("chat", Plan(text="fine"))
        assert (await gateway.chat("x")).status == 200
        simulator.plan("chat", Plan(status=500))
        assert (await gateway.chat("x")).status == 502
        simulator.plan("chat", Plan(text="a b c d e f", cut="reset", cut_after=4))
        await gateway.chat("x", stream=True)
        simulator.plan("chat", Plan(text="slow", first_ms=60_000))
        async with gateway.line() as line:
            await line.ask("x")
            await until(lambda: used(gateway)[1] == 1)
            refused = await gateway.chat("x")
            assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
            line.leave()
        await until(lambda: not gateway.running)
        assert used(gateway)[1] == 0
        simulator.plan("chat", Plan(text="fine"))
        assert (await gateway.chat("x")).status == 200


async def test_what_counts_is_what_was_used(start, simulator):
    """Known: as the service counted. Broken off: as reserved. Never begun: nothing."""
    async with start(limits={"tokens_per_day": 100_000}, upstream={"retries": 0}) as gateway:
        simulator.plan("chat", Plan(text="fine", input_tokens=70, output_tokens=7))
        await gateway.chat("x", max_tokens=500)
        assert used(gateway) == (77, 0)
        simulator.plan("chat", Plan(status=500))
        await gateway.chat("x", max_tokens=500)
        assert used(gateway) == (77, 0)
        simulator.plan("chat", Plan(text="slow", first_ms=60_000))
        async with gateway.line() as line:
            await line.ask("x", max_tokens=500)
            await until(lambda: simulator.counters.requests["chat"] == 3)
            line.leave()
        await until(lambda: not gateway.running)
        tokens, running = used(gateway)
        assert running == 0
        assert 77 + 500 + 128 < tokens < 77 + 500 + 128 + 50


async def test_an_answer_ends_where_the_budget_ends(start, simulator):
    """Without a limit of its own an answer is cut at what was left, and says so."""
    simulator.plan("chat", Plan(text="word " * 2000))
    async with start(limits={"tokens_per_day": 400}) as gateway:
        reply = await gateway.chat("Hi")
        assert reply.json["choices"][0]["finish_reason"] == "length"
        assert used(gateway)[0] <= 400
        assert (await gateway.chat("Hi")).status == 429


@pytest.mark.parametrize("stream", [False, True])
async def test_p9_long_answers_at_a_time_do_not_overspend(start, simulator, stream):
    """P9: without limits of their own they reserve more as they grow, and end where all that is left is reserved."""
    budget = 6000
    simulator.plan("chat", Plan(text="word " * 4000, interval_ms=0.2), times=3)
    async with start(limits={"tokens_per_day": budget}) as gateway:
        replies = await asyncio.gather(*(gateway.chat("Hi", stream=stream) for _ in range(3)))
        assert {reply.status for reply in replies} == {200}
        assert all(b'"finish_reason":"length"' in reply.body for reply in replies)
        await until(lambda: not gateway.running)
        assert budget - 3 * 1024 < used(gateway)[0] <= budget


async def test_a_long_answer_has_all_that_is_left(start, simulator):
    """It grows past what was reserved at first, up to what was left, and what it came to takes the place of all of that."""
    simulator.plan("chat", Plan(text="word " * 3000, input_tokens=100, output_tokens=3000))
    async with start(limits={"tokens_per_day": 10_000}) as gateway:
        reply = await gateway.chat("Hi")
        assert reply.json["choices"][0]["message"]["content"] == "word " * 3000
        assert used(gateway) == (3100, 0)


async def test_asking_again_reserves_for_itself(start, simulator):
    """Both calls count; without room for the second the first reply stands."""
    asked = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 100}
    plan = Plan(text="I will not.", input_tokens=50, output_tokens=5)
    async with start(limits={"tokens_per_day": 10_000}) as gateway:
        simulator.plan("chat", plan, times=2)
        both = await gateway.chat("x", **asked)
        assert both.text == "I will not."
        assert simulator.counters.requests["chat"] == 2
        assert used(gateway) == (110, 0)
        (meter,) = gateway.gateway.exchanges._services.limits._meters.values()
        assert meter.requests.total == 1
        needed = 10_000 - int(both.headers["x-ratelimit-remaining-tokens"])
    simulator.plan("chat", plan, times=2)
    async with start(limits={"tokens_per_day": needed + 10}) as gateway:
        first = await gateway.chat("x", **asked)
        assert simulator.counters.requests["chat"] == 3
        assert (first.status, first.text) == (200, "I will not.")
        assert used(gateway) == (55, 0)


async def test_asking_again_without_a_limit_of_ones_own(start, simulator):
    """The second answer may be as long as what is left by then; the first one's limit was ours, and reserves nothing."""
    simulator.plan("chat", Plan(text="I will not.", input_tokens=50, output_tokens=5), times=2)
    async with start(limits={"tokens_per_day": 10_000}) as gateway:
        reply = await gateway.chat("x", tools=[TOOL], tool_choice="required")
        assert (reply.status, simulator.counters.requests["chat"]) == (200, 2)
        assert used(gateway) == (110, 0)


ADD = {"prompt": "def add(a, b):", "suffix": "\n\nprint(add(1, 2))\n"}
FILLS = [
    ("/v1/completions", ADD),
    ("/v1/fim/completions", ADD),
    ("/infill", {"input_prefix": ADD["prompt"], "input_suffix": ADD["suffix"]}),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "fields"), FILLS)
async def test_code_completion_is_reserved_settled_and_refused(start, simulator, path, fields, stream):
    """What counts is its usage; with the day used up the service is not asked; the headers say where the key stands."""
    body = json.dumps({**fields, "stream": stream}).encode()
    async with start(limits={"tokens_per_day": 60}) as gateway:
        reply = await gateway.request("POST", path, body)
        assert (reply.status, reply.headers["x-ratelimit-limit-tokens"]) == (200, "60")
        assert int(reply.headers["x-ratelimit-remaining-tokens"]) < 60
        await until(lambda: not gateway.running)
        spent, running = used(gateway)
        assert 10 < spent < 30
        assert running == 0
        asked = simulator.counters.requests["completion"]
        long = json.dumps({name: value * 10 for name, value in fields.items()}).encode()
        refused = await gateway.request("POST", path, long)
        assert (refused.status, used(gateway)) == (429, (spent, 0))
        assert refused.headers["x-ratelimit-limit-tokens"] == "60"
        assert simulator.counters.requests["completion"] == asked


async def fill(gateway, prompt, **fields):
    body = json.dumps({"prompt": prompt, "suffix": ADD["suffix"], **fields}).encode()
    return await gateway.request("POST", "/v1/completions", body)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_remembered_costs_its_own_words_alone(start, simulator, stream):
    """Also where no limit of its own stands in the request, and less is left to the key each time."""
    async with start(limits={"tokens_per_day": 1000}) as gateway:
        await fill(gateway, ADD["prompt"], stream=stream)
        await until(lambda: not gateway.running)
        first, _ = used(gateway)
        reply = await fill(gateway, ADD["prompt"] + "\n    ret", stream=stream)
        assert (reply.status, reply.headers["x-fittengate-memory"]) == (200, "hit")
        await until(lambda: not gateway.running)
        both, running = used(gateway)
        assert 0 < both - first < 6
        assert running == 0
        assert simulator.counters.requests["completion"] == 1


async def test_an_answer_that_the_budget_cut_is_not_remembered(start, simulator):
    """Code is cut too where what is left ends; another request may have more."""
    text = "word " * 300
    simulator.plan("completion", Plan(json={"generated_text": text}), times=None)
    async with start(limits={"tokens_per_day": 100}) as gateway:
        reply = await fill(gateway, ADD["prompt"])
        assert (reply.status, reply.json["choices"][0]["finish_reason"]) == (200, "length")
        assert used(gateway)[0] <= 100
        assert len(gateway.gateway.exchanges._services.typing._memory) == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_completion_that_is_superseded_costs_what_was_reserved(start, simulator, stream):
    """Of two readers of one call, one pays: the service was at work, and nobody knows how far it came."""
    simulator.plan("completion", Plan(json={"generated_text": "x"}, delay_ms=60_000), times=1)
    async with start(limits={"tokens_per_day": 10_000}) as gateway:
        older = [
            asyncio.create_task(fill(gateway, ADD["prompt"] + "\n    one = 1234567890", max_tokens=50, stream=stream))
            for _ in range(2)
        ]
        await until(lambda: simulator.counters.requests["completion"] == 1)
        await until(lambda: gateway.running == 2)
        assert (await fill(gateway, ADD["prompt"] + "\n    one = 1234567890\n", max_tokens=50)).status == 200
        await asyncio.gather(*older)
        await until(lambda: not gateway.running)
        tokens, running = used(gateway)
        assert running == 0
        # The prompt and 50 tokens of one reader, and what the newer request came to.
        assert 50 + 15 < tokens < 50 + 15 + 50


async def test_loading_a_model_needs_a_key_and_nothing_more(start, store, kept):
    """Ollama's command line does so before it talks: no text is asked for."""
    keys = [store.create(KeyWish(name="chat", scopes=("chat",)))[0]]
    keys.append(store.create(KeyWish(name="elsewhere", models=("deepseek-*",)))[0])
    async with start(store=kept) as gateway:
        for key in keys:
            reply = await gateway.request("POST", "/api/generate", b'{"model":"deepseek-v3"}', key=key)
            assert (reply.status, b"load" in reply.body) == (200, True)
        assert (await gateway.request("POST", "/api/generate", b'{"model":"fitten-code"}', key="no")).status == 401


@pytest.mark.parametrize("stream", [False, True])
async def test_several_answers_are_reserved_together_and_settled_one_by_one(start, simulator, stream):
    """One request; the tokens of all count. With room for two of three, none is asked for."""
    asked = {"n": 3, "max_tokens": 100, "stream": stream}
    plan = Plan(text="fine", input_tokens=50, output_tokens=5)
    simulator.plan("chat", plan, times=3)
    async with start(limits={"tokens_per_day": 10_000}) as gateway:
        reply = await gateway.chat("x", **asked)
        assert reply.status == 200
        await until(lambda: not gateway.running)
        assert used(gateway) == (165, 0)
        (meter,) = gateway.gateway.exchanges._services.limits._meters.values()
        assert meter.requests.total == 1
        needed = 10_000 - int(reply.headers["x-ratelimit-remaining-tokens"])
        assert needed > 3 * (100 + 128)
    for most, status in ((needed, 200), (needed - 1, 429)):
        simulator.plan("chat", plan, times=3)
        before = simulator.counters.requests["chat"]
        async with start(limits={"tokens_per_day": most}) as gateway:
            assert (await gateway.chat("x", **asked)).status == status
            assert simulator.counters.requests["chat"] - before == (3 if status == 200 else 0)


async def test_several_answers_share_what_is_left(start, simulator):
    """Without limits of their own they end together where the budget ends."""
    simulator.plan("chat", Plan(text="word " * 2000), times=3)
    async with start(limits={"tokens_per_day": 1200}) as gateway:
        reply = await gateway.chat("Hi", n=3)
        assert [choice["finish_reason"] for choice in reply.json["choices"]] == ["length"] * 3
        assert used(gateway)[0] <= 1200


async def test_several_answers_that_break_off_cost_what_is_known_of_each(start, simulator):
    """One that never got to the service costs nothing beside one that ended; what is left costs what was reserved."""
    async with start(limits={"tokens_per_day": 10_000}, upstream={"retries": 0}) as gateway:
        # The order in which the two calls come is not ours: the one that fails does so when the other has ended.
        simulator.plan("chat", Plan(text="fine", input_tokens=50, output_tokens=5))
        simulator.plan("chat", Plan(status=500, delay_ms=300))
        reply = await gateway.chat("x", n=2, max_tokens=100)
        assert reply.status == 502
        await until(lambda: not gateway.running)
        assert used(gateway) == (55, 0)
        spent = used(gateway)[0]
        simulator.plan("chat", Plan(text="slow", first_ms=60_000), times=2)
        async with gateway.line() as line:
            await line.ask("x", n=2, max_tokens=100)
            await until(lambda: simulator.counters.requests["chat"] == 4)
            line.leave()
        await until(lambda: not gateway.running)
        tokens, running = used(gateway)
        assert running == 0
        assert 2 * (100 + 128) < tokens - spent < 2 * (100 + 128 + 50)


async def test_text_completions_are_chat_or_completion_by_what_is_asked(start, store, kept):
    """A suffix is for keys with the scope completion, a question for those with chat."""
    chat, _ = store.create(KeyWish(name="chat", scopes=("chat",)))
    completion, _ = store.create(KeyWish(name="completion", scopes=("completion",)))
    async with start(store=kept) as gateway:
        for fields, statuses in ((ADD, (403, 200)), ({"prompt": "Hi"}, (200, 403))):
            for key, status in zip((chat, completion), statuses, strict=True):
                reply = await gateway.request("POST", "/v1/completions", json.dumps(fields).encode(), key=key)
                assert reply.status == status, fields


async def test_openais_sdk_reads_where_it_stands(start, simulator):
    """Headers of an answer, whole and streamed, and of a refusal."""
    async with start(limits={"rpm": 2, "tpm": 50_000}) as gateway:
        client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)
        async with client:
            asked = {"model": "fitten-code", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
            first = await client.chat.completions.with_raw_response.create(**asked)
            assert first.headers["x-ratelimit-limit-requests"] == "2"
            assert first.headers["x-ratelimit-remaining-requests"] == "1"
            assert first.headers["x-ratelimit-reset-requests"] == "1m0s"
            assert first.headers["x-ratelimit-limit-tokens"] == "50000"
            assert 49_000 < int(first.headers["x-ratelimit-remaining-tokens"]) < 49_900
            second = await client.chat.completions.with_raw_response.create(**asked, stream=True)
            assert second.headers["x-ratelimit-remaining-requests"] == "0"
            async for _ in second.parse():
                pass
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(**asked)
            assert caught.value.code == "rate_limit_exceeded"
            assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
            assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60


async def test_anthropics_sdk_reads_where_it_stands(start, simulator):
    """Its own names, and times instead of spans."""
    async with start(limits={"rpm": 1}) as gateway:
        client = anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0)
        async with client:
            asked = {"model": "fitten-code", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
            first = await client.messages.with_raw_response.create(**asked)
            assert first.headers["anthropic-ratelimit-requests-limit"] == "1"
            assert first.headers["anthropic-ratelimit-requests-remaining"] == "0"
            assert first.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
            assert "anthropic-ratelimit-tokens-limit" not in first.headers
            with pytest.raises(anthropic.RateLimitError) as caught:
                await client.messages.create(**asked)
            assert caught.value.response.json()["error"]["type"] == "rate_limit_error"
            assert "retry-after" in caught.value.response.headers


async def test_without_limits_no_answer_speaks_of_them(gateway):
    """No header, no lease, no estimate."""
    reply = await post(gateway, CHAT)
    assert not [name for name in reply.headers if "ratelimit" in name]
    assert gateway.gateway.exchanges._services.limits._meters == {}


async def test_a_key_in_the_background_lane_waits_behind_others(start, simulator, store, kept):
    """The turn that becomes free is for the one who came later, in the better lane."""
    later, _ = store.create(KeyWish(name="robot", lane="background"))
    simulator.plan("chat", Plan(text="fine", first_ms=200), times=3)
    done = []

    async def ask(gateway, key):
        await post_as(gateway, CHAT, key)
        done.append(key)

    async with start(store=kept, upstream={"max_concurrency": 1}) as gateway:
        tasks = [asyncio.create_task(ask(gateway, KEY))]
        await until(lambda: gateway.turns.running == 1)
        tasks.append(asyncio.create_task(ask(gateway, later)))
        await until(lambda: gateway.turns.waiting == 1)
        tasks.append(asyncio.create_task(ask(gateway, KEY)))
        await until(lambda: gateway.turns.waiting == 2)
        await asyncio.gather(*tasks)
    assert done == [KEY, KEY, later]


async def test_each_prompt_that_was_counted_is_sent_for_its_own_request(start, simulator):
    """A prompt is made once for counting and sending; many at a time, counted between each other, are not confused."""

    def question(number):
        return {"tools": [TOOL_OF_TWO[number % 2]], "tool_choice": ("auto", "none")[number % 3 == 0]}

    async with start(limits={"tpm": 10**9}) as gateway:
        replies = await asyncio.gather(*(gateway.chat(f"number {n}.", **question(n)) for n in range(24)))
    assert {reply.status for reply in replies} == {200}
    prompts = [json.loads(record.body)["inputs"] for record in await simulator.wait_requests("chat", 24)]
    for number in range(24):
        (prompt,) = [prompt for prompt in prompts if f"number {number}.\n" in prompt]
        name, other = [TOOL_OF_TWO[at]["function"]["name"] for at in (number % 2, 1 - number % 2)]
        assert (name in prompt, other in prompt) == (number % 3 != 0, False)


TOOL_OF_TWO = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("first_one", "second_one")
]


async def test_a_prompt_counted_for_one_request_is_never_sent_for_another(gateway, simulator):
    """One is counted and another sent: the newest prompt at hand is not its own. Nothing is held afterwards."""
    service = gateway.gateway.service
    card = service.models()[0]
    bodies = [json.dumps({"messages": [{"role": "user", "content": text}]}).encode() for text in ("one", "two")]
    first, second = map(DIALECTS[0].read, bodies)
    for counted, sent in ((first, second), (second, first)):
        service.estimate(counted, card)
        async for _ in service.chat(sent, card):
            pass
    prompts = [json.loads(record.body)["inputs"] for record in await simulator.wait_requests("chat", 2)]
    assert [("one\n" in prompt, "two\n" in prompt) for prompt in prompts] == [(False, True), (True, False)]
    assert service._newest is None
