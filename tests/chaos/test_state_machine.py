"""Any order of what clients and an administrator may do, against a model of a page: keys, chat, kept responses, limits, usage."""

import asyncio
import http.client
import itertools
import json
import secrets
import time

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule, run_state_machine_as_test

from fakes.chaos import LONG
from fakes.line import CHAT
from fittengate.services.clock import SystemClock
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.store import Database

KEYS = "/admin/api/keys"
SCOPES = st.sampled_from([["chat"], ["completion"], ["chat", "completion"]])
WORDS = st.sampled_from(["one", "two three", "你好 😀", 'a "quoted" \\ word'])
NAMES = (f"key{number}-{secrets.token_hex(3)}" for number in itertools.count())
ENDED_SECONDS = 1.5
"""A key that was ended works no longer than a second."""


class Owner:
    """What the model knows of everybody who has one key after another."""

    def __init__(self, name, scopes, rpm):
        self.name = name
        self.scopes = scopes
        self.rpm = rpm
        self.entered = 0
        """Requests that count against the limit. A run is far shorter than a minute."""
        self.receipts = 0
        self.kept = {}


class Key:
    """A key, and whether it works."""

    def __init__(self, value, owner):
        self.value = value
        self.owner = owner
        self.works = True

    def status(self, scope=None):
        """Return what a request is answered with before anybody looks at what is asked, and count it."""
        if not self.works:
            return 401
        self.owner.receipts += scope is not None
        if scope is not None and scope not in self.owner.scopes:
            return 403
        if self.owner.rpm is not None and self.owner.entered >= self.owner.rpm:
            return 429
        self.owner.entered += 1
        return 200


class PublicApi(RuleBasedStateMachine):
    """The rules. ``port`` and ``chief`` are set by the test, ``sent`` counts requests."""

    port = 0
    chief = ""
    sent = 0

    keys = Bundle("keys")
    responses = Bundle("responses")

    def __init__(self):
        super().__init__()
        self.began = time.monotonic()
        self.owners = []
        self.family = {}

    def ask(self, method, path, key, body=None):
        type(self).sent += 1
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Authorization": f"Bearer {key}"})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    @rule(target=keys, scopes=SCOPES, rpm=st.sampled_from([None, None, 1, 3]))
    def make(self, scopes, rpm):
        owner = Owner(next(NAMES), scopes, rpm)
        wish = {"name": owner.name, "scopes": scopes, **({} if rpm is None else {"rpm": rpm})}
        status, body = self.ask("POST", KEYS, self.chief, wish)
        assert status == 201, body
        again, _ = self.ask("POST", KEYS, self.chief, wish)
        assert again == 400, "a name is had once"
        self.owners.append(owner)
        made = Key(json.loads(body)["key"], owner)
        self.family[owner] = [made]
        return made

    @rule(target=keys, old=keys, grace=st.sampled_from([0, 600]))
    def rotate(self, old, grace):
        newest = self.family[old.owner][-1]
        status, body = self.ask("POST", f"{KEYS}/{old.owner.name}/rotate", self.chief, {"grace": grace})
        if not newest.works:
            assert status in {400, 404}, body
            return multiple()
        assert status == 201, body
        newest.works = bool(grace)
        made = Key(json.loads(body)["key"], old.owner)
        self.family[old.owner].append(made)
        if not grace:
            self.gone(newest)
        return made

    @rule(key=keys)
    def revoke(self, key):
        newest = self.family[key.owner][-1]
        status, body = self.ask("DELETE", f"{KEYS}/{key.owner.name}", self.chief)
        if not newest.works:
            assert status in {200, 400, 404}, body
        else:
            assert status == 200, body
        for one in self.family[key.owner]:
            if one.works:
                one.works = False
                self.gone(one)

    def gone(self, key):
        """Wait until a key is known no more, which has its time."""
        until = time.monotonic() + ENDED_SECONDS
        while self.ask("GET", "/v1/models", key.value)[0] != 401:
            assert time.monotonic() < until, "a key that was ended still works"
            key.owner.entered += 1
            time.sleep(0.05)

    @rule(key=keys, word=WORDS, stream=st.booleans())
    def chat(self, key, word, stream):
        body = {"messages": [{"role": "user", "content": f"repeat: {word}"}], "stream": stream}
        status, answer = self.ask("POST", CHAT, key.value, body)
        assert status == key.status("chat"), answer
        if status == 200 and stream:
            assert answer.endswith(b"data: [DONE]\n\n")
        elif status == 200:
            assert json.loads(answer)["choices"][0]["message"]["content"] == word
        else:
            assert json.loads(answer)["error"]["code"]

    @rule(key=keys)
    def fill(self, key):
        status, answer = self.ask("POST", "/v1/fim/completions", key.value, {"prompt": "def f(a, b):", "suffix": "\n"})
        assert status == key.status("completion"), answer

    @rule(key=keys)
    def list_models(self, key):
        assert self.ask("GET", "/v1/models", key.value)[0] == key.status()

    @rule(key=keys)
    def ask_what_is_nothing(self, key):
        status, answer = self.ask("POST", CHAT, key.value, {"messages": []})
        if not key.works:
            assert status == 401
            return
        key.owner.receipts += 1
        assert status == (400 if "chat" in key.owner.scopes else 403), answer

    @rule(key=keys)
    def ask_for_what_is_not_its_own(self, key):
        assert self.ask("GET", KEYS, key.value)[0] == (403 if key.works else 401)

    @rule(target=responses, key=keys, word=WORDS, keep=st.booleans())
    def respond(self, key, word, keep):
        body = {"input": f"repeat: {word}", "store": keep}
        status, answer = self.ask("POST", "/v1/responses", key.value, body)
        assert status == key.status("chat"), answer
        if status != 200:
            return multiple()
        made = json.loads(answer)
        if keep:
            key.owner.kept[made["id"]] = made
        return made["id"], key.owner

    @rule(key=keys, response=responses)
    def fetch(self, key, response):
        name, owner = response
        if "chat" not in key.owner.scopes:
            return
        status, answer = self.ask("GET", f"/v1/responses/{name}", key.value)
        expected = key.status()
        if expected == 200 and (key.owner is not owner or name not in owner.kept):
            expected = 404
        assert status == expected, answer
        if status == 200:
            assert json.loads(answer) == owner.kept[name]

    @rule(key=keys, response=responses)
    def go_on(self, key, response):
        name, owner = response
        body = {"input": "repeat: more", "previous_response_id": name, "store": False}
        own = key.owner is owner and name in owner.kept
        status, answer = self.ask("POST", "/v1/responses", key.value, body)
        if own or not key.works or "chat" not in key.owner.scopes:
            assert status == key.status("chat"), answer
        else:
            # Nobody is told whether it is another's; nothing was used for it.
            key.owner.receipts += 1
            assert status in {400, 404}, answer

    @rule(key=keys, response=consumes(responses))
    def forget(self, key, response):
        name, owner = response
        if "chat" not in key.owner.scopes:
            return
        status, answer = self.ask("DELETE", f"/v1/responses/{name}", key.value)
        expected = key.status()
        if expected == 200 and (key.owner is not owner or name not in owner.kept):
            expected = 404
        assert status == expected, answer
        if status == 200:
            del owner.kept[name]

    def teardown(self):
        """Hold the ledger to the model: every request that somebody known made is there, once."""
        assert time.monotonic() - self.began < 55, "longer than the minute that limits are about"
        expected = {owner.name: owner.receipts for owner in self.owners if owner.receipts}
        until = time.monotonic() + 5
        while True:
            _, answer = self.ask("GET", "/admin/api/usage?by=key", self.chief)
            rows = {row["name"]: row["requests"] for row in json.loads(answer)["data"]}
            found = {name: rows.get(name) for name in expected}
            if found == expected:
                return
            assert time.monotonic() < until, (found, expected)
            time.sleep(0.05)


async def test_any_order_of_public_calls_agrees_with_the_model(serve, tmp_path, cases):
    """Keys work from when they are made until they end, limits hold, responses are their owner's, each request has its receipt."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    store = KeyStore(Database(state / "fittengate.db"), SystemClock(), secrets.token_bytes, 90)
    PublicApi.chief, _ = store.create(KeyWish(name="chief", scopes=("admin",)))
    store.close()
    process = await serve(upstream_max_concurrency=0)
    await process.ready()
    PublicApi.port = process.port
    wanted = settings(
        max_examples=60 if LONG else 2,
        stateful_step_count=50 if LONG else 25,
        deadline=None,
        database=None,
        derandomize=not LONG,
        phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(run_state_machine_as_test, PublicApi, settings=wanted)
    assert "Traceback" not in process.stderr
    assert (await process.chat("the next one")).status == 200
    cases(PublicApi.sent)
