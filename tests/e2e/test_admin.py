"""The JSON API for administration, over real sockets."""

import json
import re
import secrets
from urllib.parse import quote

import pytest

from fakes.ledger import until_rows
from fakes.line import CHAT, KEY, until
from fittengate.server.admin import admin_path
from fittengate.services.clock import SystemClock
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.store import Database
from fittengate.simulator import Plan

KEYS = "/admin/api/keys"


@pytest.fixture
async def admin(start, tmp_path):
    """Run a gateway with an administrator's key; give what asks it: method, path, body."""
    url = f"sqlite:///{tmp_path}/fittengate.db"
    store = KeyStore(Database(tmp_path / "fittengate.db"), SystemClock(), secrets.token_bytes, 90)
    key, _ = store.create(KeyWish(name="chief", scopes=("admin",)))
    store.close()
    async with start(store={"url": url}, limits={"tpm": 9000, "account_rpm": 1000}) as gateway:

        async def ask(method, path, body=None):
            data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            return await gateway.request(method, path, data, key=key)

        ask.gateway = gateway
        yield ask


async def chat(gateway, key):
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}).encode()
    return (await gateway.request("POST", CHAT, body, key=key)).status


async def test_a_key_is_made_seen_replaced_and_revoked(admin, simulator):
    """It works at once; it is in the answer that made it and in no other; what it used is shown."""
    simulator.plan("chat", Plan(text="fine", input_tokens=30, output_tokens=5))
    reply = await admin("POST", KEYS, {"name": "ci", "rpm": 5, "models": ["fitten-*"], "expires_in": 3600})
    assert reply.status == 201
    key = reply.json["key"]
    assert await chat(admin.gateway, key) == 200
    seen = (await admin("GET", f"{KEYS}/ci")).json
    assert (seen["prefix"], seen["rpm"], seen["tpm"], seen["state"]) == (key[:10], 5, None, "active")
    assert (seen["used"]["rpm"], seen["used"]["tpm"], seen["used"]["concurrency"]) == (1, 35, 0)
    assert not {"key", "sha256", "owner"} & seen.keys()
    replaced = (await admin("POST", f"{KEYS}/ci/rotate", {"grace": 0})).json
    assert await chat(admin.gateway, replaced["key"]) == 200
    gone = (await admin("DELETE", f"{KEYS}/{replaced['prefix']}")).json
    assert {row["prefix"] for row in gone["revoked"]} == {key[:10], replaced["prefix"]}
    states = {row["prefix"]: row["state"] for row in (await admin("GET", KEYS)).json["data"]}
    assert states[key[:10]] == states[replaced["prefix"]] == "revoked"


async def test_a_key_is_reached_by_any_name_that_it_may_have(admin):
    """A name may hold a slash, a space or letters of any script; in the path it is percent-encoded."""
    for name in ("team/ci", "a b?c#d%41", "组/持续集成", "end/rotate"):
        key = (await admin("POST", KEYS, {"name": name})).json["key"]
        path = f"{KEYS}/{quote(name, safe='')}"
        assert (await admin("GET", path)).json["prefix"] == key[:10]
        new = (await admin("POST", f"{path}/rotate", {"grace": 0})).json
        assert new["name"] == name
        assert len((await admin("DELETE", path)).json["revoked"]) == 2


async def test_who_changed_which_key_is_in_the_log(admin):
    """Created, rotated, revoked: a line each with name, prefix and whose key did it; no whole key. Refusals leave none."""
    made = (await admin("POST", KEYS, {"name": "ci"})).json
    new = (await admin("POST", f"{KEYS}/ci/rotate", {"grace": 0})).json
    await admin("DELETE", f"{KEYS}/ci")
    assert (await admin("DELETE", f"{KEYS}/nobody")).status == 404
    await until(lambda: admin.gateway.terminal.getvalue().count("a key was revoked") == 2)
    lines = [line for line in admin.gateway.terminal.getvalue().splitlines() if "a key was" in line]
    assert [re.search("created|rotated|revoked", line)[0] for line in lines] == [
        "created",
        "rotated",
        "revoked",
        "revoked",
    ]
    for line, prefix in zip(lines[:2], (made["prefix"], new["prefix"]), strict=True):
        assert {"key=ci", f"prefix={prefix}", "by=chief"} <= set(line.split())
    assert made["key"] not in "".join(lines)


async def test_usage_is_told_as_the_command_tells_it(start, simulator, tmp_path):
    """By day, key or model; one key's alone; from a moment on; and what is wrong with a question is said."""
    path = tmp_path / "fittengate.db"
    store = KeyStore(Database(path), SystemClock(), secrets.token_bytes, 90)
    chief, _ = store.create(KeyWish(name="chief", scopes=("admin",)))
    key, _ = store.create(KeyWish(name="ci"))
    store.close()
    simulator.plan("chat", Plan(text="fine", input_tokens=30, output_tokens=5), times=2)
    async with start(journals=tmp_path / "journal", store={"url": f"sqlite:///{path}"}) as gateway:

        async def ask(query):
            return await gateway.request("GET", f"/admin/api/usage{query}", key=chief)

        assert (await ask("")).json == {"object": "list", "data": []}
        assert await chat(gateway, key) == await chat(gateway, KEY) == 200
        await until_rows(path, lambda found: len(found) == 2)
        (day,) = (await ask("")).json["data"]
        assert (day["requests"], day["input_tokens"], day["output_tokens"]) == (2, 60, 10)
        assert {row["name"] for row in (await ask("?by=key")).json["data"]} == {"ci", "key-1"}
        (model,) = (await ask("?by=model&key=ci&since=2026-01-01")).json["data"]
        assert (model["name"], model["requests"]) == ("fitten-code", 1)
        assert (await ask("?since=2100-01-01T00:00:00Z")).json["data"] == []
        for query, param in (("?by=hour", "by"), ("?since=soon", "since")):
            reply = await ask(query)
            assert (reply.status, reply.error["param"]) == (400, param)


async def test_the_list_comes_in_pages(admin):
    """Each key once, in the order in which they were made."""
    for number in range(5):
        await admin("POST", KEYS, {"name": f"k{number}"})
    names, after = [], ""
    while True:
        page = (await admin("GET", f"{KEYS}?limit=2{after}")).json
        names += [row["name"] for row in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert names == ["chief", "k0", "k1", "k2", "k3", "k4"]


async def test_limits_and_account_are_shown(admin):
    """What holds, what counts, and how the account is."""
    found = (await admin("GET", "/admin/api/limits")).json
    assert found["defaults"]["tpm"] == 9000
    assert found["account"]["limits"]["rpm"] == 1000
    assert found["account"]["used"]["rpm"] == 1
    account = (await admin("GET", "/admin/api/account")).json
    assert account.keys() == {"ready", "problem", "calls", "drift"}
    assert account["calls"] == {"running": 0, "waiting": 0}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", KEYS, {}, 400),
        ("POST", KEYS, {"name": "fg_x"}, 400),
        ("POST", KEYS, {"name": "x", "lane": "fast"}, 400),
        ("POST", KEYS, {"name": "x", "scopes": []}, 400),
        ("POST", KEYS, {"name": "x", "rmp": 5}, 400),
        ("POST", KEYS, {"name": "x", "rpm": -5}, 400),
        ("POST", KEYS, b"{", 400),
        ("POST", KEYS, b"[" * 100_000, 413),
        ("POST", KEYS, b"[" * 60_000, 400),
        ("GET", f"{KEYS}?limit=0", None, 400),
        ("GET", f"{KEYS}?after=fg_nobody1", None, 400),
        ("GET", f"{KEYS}/nobody", None, 404),
        ("DELETE", f"{KEYS}/nobody", None, 404),
        ("POST", f"{KEYS}/nobody/rotate", {}, 404),
        ("POST", f"{KEYS}/chief/rotate", {"grace": -1}, 400),
        ("PUT", KEYS, None, 405),
        ("GET", "/admin/api/nothing", None, 404),
        ("GET", f"{KEYS}/a/b", None, 404),
    ],
)
async def test_what_is_wrong_is_said(admin, method, path, body, status):
    """With a status of its sort, in the shape of the gateway's errors."""
    reply = await admin(method, path, body)
    assert reply.status == status
    assert reply.error["message"]


async def test_without_a_store_there_are_no_keys_to_administrate(gateway):
    """A key of the settings has no such scope, and none with it can be."""
    assert (await gateway.request("GET", KEYS)).status == 403


def test_a_path_is_one_of_the_table():
    """And nothing else is."""
    assert admin_path("/admin/api/keys/x/rotate") == ("/admin/api/keys/{name}/rotate", "x")
    assert admin_path("/admin/api/keys/x%2Frotate") == ("/admin/api/keys/{name}", "x/rotate")
    for path in ("/admin/api", "/admin/api/keysx", "/admin/api/keys//rotate", "/admin/api/keys/x/y", "/admin"):
        assert admin_path(path) is None
