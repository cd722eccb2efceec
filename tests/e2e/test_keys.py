"""Keys as a user makes and uses them: commands as processes beside a gateway that runs."""

import asyncio
import json
import re
import time
from pathlib import Path

import pytest

from fakes.ledger import rows, until_rows
from fakes.running import environment, run_command


@pytest.fixture
def keys(simulator, tmp_path):
    """Give what runs ``fittengate keys …`` on the state directory of the gateways here."""

    async def run(*arguments, **settings):
        environ = environment(simulator, tmp_path / "state", server_api_key=None, **settings)
        return await run_command(environ, tmp_path, "keys", *arguments)

    return run


async def made(keys, *arguments):
    code, out, err = await keys("create", *arguments)
    assert code == 0, err
    assert re.fullmatch(r"fg_[\w-]{43}\n", out)
    assert out.strip() not in err
    return out.strip()


async def status(gateway, key):
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode()
    return (await gateway.request("POST", "/v1/chat/completions", body, key=key)).status


async def test_a_key_is_made_used_limited_replaced_and_ended_beside_a_running_gateway(serve, keys):
    """At once where it is made, within a second where it ends; and only the key is on standard output."""
    gateway = await serve()
    await gateway.ready()
    key = await made(keys, "--name", "ci", "--rpm", "2")
    assert [await status(gateway, key) for _ in range(3)] == [200, 200, 429]
    code, out, err = await keys("rotate", "ci", "--grace", "10m")
    assert code == 0
    assert "10m more" in err
    new = out.strip()
    # What was used counts on: the new key is no way past the limit of the old one.
    assert [await status(gateway, one) for one in (new, key)] == [429, 429]
    code, out, err = await keys("revoke", "ci")
    assert (code, out) == (0, "")
    ended = time.monotonic()
    while {await status(gateway, one) for one in (new, key)} != {401}:
        assert time.monotonic() - ended < 1
        await asyncio.sleep(0.02)
    code, out, _ = await keys("list", "--all", "--json")
    assert [row["state"] for row in json.loads(out)] == ["revoked", "revoked"]
    log = (gateway.state_dir / "fitten_api.log").read_text()
    assert "caller=ci" in log
    await until_rows(gateway.state_dir / "fittengate.db", lambda found: len(found) > 2)
    # Refused for a limit or answered: the receipt names the key as it was named, and never by a part of it.
    assert {name for (name,) in rows(gateway.state_dir / "fittengate.db", "key")} == {"ci"}
    for path in filter(Path.is_file, gateway.state_dir.rglob("*")):
        assert key[10:].encode() not in path.read_bytes()
        assert new[10:].encode() not in path.read_bytes()


async def test_keys_outlive_the_gateway(serve, keys):
    """Made before the first start, they are enough: no first key is made; and a restart knows them."""
    key = await made(keys, "--name", "ci", "--scope", "chat", "--model", "fitten-*")
    for _ in range(2):
        gateway = await serve(server_api_key=None)
        await gateway.ready()
        assert "a key was made" not in gateway.stderr
        assert await status(gateway, key) == 200
        await gateway.kill()


async def test_the_first_key_of_serve_can_be_listed_and_revoked(serve, keys):
    """The commands take it over; the gateway that runs refuses it, and so does the next one."""
    gateway = await serve(server_api_key=None)
    await gateway.ready()
    key = (gateway.state_dir / "first-key").read_text().strip()
    assert await status(gateway, key) == 200
    code, out, _ = await keys("list")
    assert code == 0
    assert f"{key[:10]}…" in out
    assert (await keys("revoke", key[:10]))[0] == 0
    ended = time.monotonic()
    while await status(gateway, key) != 401:
        assert time.monotonic() - ended < 1
        await asyncio.sleep(0.02)
    await gateway.kill()
    gateway = await serve(server_api_key=None)
    await gateway.ready()
    assert "a key was made" not in gateway.stderr
    assert await status(gateway, key) == 401


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create",), 2, "--name"),
        (("create", "--name", "fg_x"), 2, "a name begins"),
        (("create", "--name", "x", "--model", ""), 2, "models"),
        (("create", "--name", "x", "--expires", "0s"), 2, "expires"),
        (("rotate", "x", "--grace", "99999w"), 2, "a hundred years"),
        (("create", "--name", "x", "--scope", "root"), 2, "--scope"),
        (("create", "--name", "x", "--expires", "soon"), 2, "30d"),
        (("create", "--name", "x", "--rpm", "-1"), 2, "--rpm"),
        (("create", "--name", "x", "--lane", "fast"), 2, "--lane"),
        (("revoke", "nobody"), 1, "there is no key nobody"),
        (("rotate", "nobody"), 1, "there is no key nobody"),
        (("list",), 0, "no keys yet"),
    ],
)
async def test_what_is_wrong_is_one_line_that_helps(keys, arguments, code, said):
    """Nothing on standard output, no traceback, and the exit code of its sort."""
    found, out, err = await keys(*arguments)
    assert (found, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


async def test_a_store_that_is_none_or_broken_is_said(keys, tmp_path):
    """With what to do about it."""
    code, _, err = await keys("create", "--name", "x", store_url="none")
    assert (code, "store.url is none" in err) == (1, True)
    (tmp_path / "folder").mkdir()
    code, _, err = await keys("create", "--name", "x", store_url=f"sqlite:///{tmp_path}/folder")
    assert code == 1
    assert "the store cannot be used" in err


async def test_the_list_shows_what_a_key_may(keys):
    """A line each, and of the key no more than ten characters."""
    key = await made(keys, "--name", "ci", "--tpm", "500", "--lane", "background", "--expires", "30d")
    _, out, _ = await keys("list")
    heading, line = out.splitlines()
    assert heading.split() == ["NAME", "KEY", "STATE", "SCOPES", "MODELS", "LANE", "LIMITS", "CREATED", "EXPIRES"]
    assert line.split()[:7] == ["ci", f"{key[:10]}…", "active", "chat,completion", "all", "background", "tpm=500"]
    assert key[:11] not in out
