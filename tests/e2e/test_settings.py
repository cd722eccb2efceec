"""Settings as they are given to a real process: from a file, the environment and flags, each shown by what it does."""

import asyncio
import json
import socket
import ssl
import time

import pytest

from fakes.certificates import self_signed
from fakes.line import KEY, ask, request
from fakes.running import PASSWORD, USERNAME, command, environment
from fakes.valkey import valkey
from fittengate.simulator import Plan

CHAT = "/v1/chat/completions"
BODY = json.dumps(ask("Hi", max_tokens=10)).encode()


async def test_a_file_says_it_all(serve, simulator, tmp_path):
    """Names of models, the name of the gateway, the log's place, form and content, and what is left out of metrics."""
    log = tmp_path / "elsewhere.log"
    (tmp_path / "own.toml").write_text(
        f"""
        [models.aliases]
        "mine-*" = "deepseek-v3"
        [upstream]
        user_agent = "a-name-of-its-own/1"
        [log]
        file = "{log}"
        format = "json"
        content = true
        [telemetry]
        metrics = false
        """
    )
    one = await serve("--config", "own.toml")
    await one.ready()
    reply = await one.request("POST", CHAT, json.dumps({**ask("heron"), "model": "mine-7"}).encode())
    assert (reply.status, reply.headers["x-fittengate-model"]) == (200, "deepseek-v3")
    sent = simulator.requests("chat")[-1]
    assert sent.headers["user-agent"] == "a-name-of-its-own/1"
    assert json.loads(sent.body)["meta_datas"]["model"] == "S2"
    assert (await one.request("POST", CHAT, json.dumps({**ask(), "model": "gpt-5"}).encode())).status == 404
    assert (await one.request("GET", "/metrics")).status == 404
    async with asyncio.timeout(5):
        while not log.exists() or "heron" not in log.read_text():
            await asyncio.sleep(0.05)
    assert all(json.loads(line) for line in log.read_text().splitlines())
    assert not (one.state_dir / "fitten_api.log").exists()


async def test_the_file_of_an_older_bridge_is_enough(serve, simulator, tmp_path):
    """``config.ini`` in the working directory: user, password, and several keys."""
    (tmp_path / "config.ini").write_text(
        f"[Main]\nusername = {USERNAME}\npassword = {PASSWORD}\napi_key = old-key-1, old-key-2\n"
    )
    one = await serve(account_username=None, account_password=None, server_api_key=None)
    await one.ready()
    assert "settings from ./config.ini" in one.stderr
    assert "a key was made" not in one.stderr
    for key in ("old-key-1", "old-key-2"):
        assert (await one.request("POST", CHAT, BODY, key=key)).status == 200
    assert (await one.request("POST", CHAT, BODY)).status == 401
    assert json.loads(simulator.requests("login")[-1].body)["username"] == USERNAME


@pytest.mark.parametrize("source", ["flag", "environment", "file"])
async def test_a_flag_goes_before_the_environment_and_that_before_a_file(serve, tmp_path, source):
    """Wherever the level of the log is said, it holds; the lower sources say otherwise."""
    (tmp_path / "own.toml").write_text(f"[log]\nlevel = '{'warning' if source == 'file' else 'info'}'\n")
    arguments = ["--config", "own.toml", *(["--log-level", "warning"] if source == "flag" else [])]
    level = {"flag": "info", "environment": "warning"}.get(source)
    one = await serve(*arguments, log_level=level, log_file="none")
    await one.ready()
    assert (await one.request("POST", CHAT, BODY)).status == 200
    assert (await one.request("POST", CHAT, b"{")).status == 400
    one.process.terminate()
    assert await one.ended() == 0
    assert " 200 complete" not in one.stderr


@pytest.mark.parametrize(
    "limit",
    ["account_rpm", "account_tpm", "account_tokens_per_day", "account_tokens_per_month", "tokens_per_month", "rpm"],
)
async def test_what_all_keys_together_may_use_is_refused_by_the_limits_name(serve, limit):
    """One request passes; the second, of another key where all are meant, is a 429 that names the setting."""
    most = 1 if limit.endswith("rpm") else 200
    other = KEY if not limit.startswith("account") else "another-key-9876543210"
    one = await serve(server_api_key=f"{KEY},another-key-9876543210", **{f"limits_{limit}": most})
    await one.ready()
    assert (await one.request("POST", CHAT, BODY)).status == 200
    refused = await one.request("POST", CHAT, BODY, key=other)
    assert refused.status == 429
    assert limit in refused.error["message"]
    assert int(refused.headers["retry-after"]) > 0


async def test_requests_of_all_keys_at_a_time(serve, simulator):
    """``limits.account_concurrency`` refuses where ``upstream.max_concurrency`` would let wait."""
    simulator.plan("chat", Plan(text="slow", no_reply="stall"))
    one = await serve(limits_account_concurrency=1)
    await one.ready()
    first = asyncio.create_task(one.request("POST", CHAT, BODY))
    await simulator.wait_held()
    refused = await one.request("POST", CHAT, BODY)
    assert refused.status == 429
    assert "may use 1 request at a time (limits.account_concurrency)" in refused.error["message"]
    simulator.release()
    assert (await first).status == 200


async def test_a_connection_that_does_not_come_about_is_given_up(serve):
    """After ``upstream.connect_timeout``: whoever takes connections is asleep, and its line is full."""
    with socket.socket() as asleep, socket.socket() as one, socket.socket() as other:
        asleep.bind(("127.0.0.1", 0))
        asleep.listen(0)
        for waiting in (one, other):
            waiting.setblocking(False)
            waiting.connect_ex(asleep.getsockname())
        url = f"http://127.0.0.1:{asleep.getsockname()[1]}"
        given = {"upstream_base_url": url, "upstream_models_url": url, "upstream_retries": 0}
        gateway = await serve(upstream_connect_timeout=0.3, **given)
        began = time.monotonic()
        reply = await gateway.request("POST", CHAT, BODY)
        took = time.monotonic() - began
    assert reply.status in {502, 504}
    # The login is tried anew; with the default of 10 s one try alone would take longer.
    assert took < 8


async def test_a_certificate_and_its_key_make_it_https(simulator, tmp_path):
    """``server.tls_cert`` and ``server.tls_key``: what speaks plain HTTP gets no answer."""
    made = self_signed(tmp_path)
    state = tmp_path / "state"
    given = environment(simulator, state, server_tls_cert=made.cert, server_tls_key=made.key)
    process = await asyncio.create_subprocess_exec(
        *command(), "serve", env=given, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    try:
        said = (await process.stderr.readuntil(b"\n")).decode()
        assert "listening on https://" in said
        port = int(said.rsplit(":", 1)[1])
        trusting = ssl.create_default_context(cafile=str(made.cert))
        reader, writer = await asyncio.open_connection("localhost", port, ssl=trusting)
        writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError, IndexError)):
            await request(port, "GET", "/livez")
    finally:
        process.kill()
        await process.wait()
        process._transport.close()


async def test_fleets_of_different_names_share_a_server_and_nothing_else(serve):
    """``fleet.name``: a request of one fleet counts for its own gateways alone."""
    with valkey() as server:
        given = {"fleet_url": server.url, "limits_rpm": 1}
        first = await serve(state="first", **given)
        second = await serve(state="second", **given)
        third = await serve(state="third", fleet_name="other", **given)
        for one in (first, second, third):
            await one.ready()
        assert (await first.request("POST", CHAT, BODY)).status == 200
        assert (await second.request("POST", CHAT, BODY)).status == 429
        assert (await third.request("POST", CHAT, BODY)).status == 200


async def test_no_window_means_any_prompt_and_a_list_that_makes_sense(serve):
    """``models.context_window = 0`` sends what comes, and clients are told the usual window, not none at all."""
    one = await serve(models_context_window=0)
    await one.ready()
    long = json.dumps(ask("heron " * 400_000)).encode()
    assert (await one.request("POST", CHAT, long)).status == 200
    listed = (await one.request("GET", "/v1/models")).json["data"]
    assert {card["context_window"] for card in listed} == {131_072}


async def test_nobody_waits_for_a_turn_where_the_queue_is_0(serve, simulator):
    """``upstream.queue``: what finds no turn is refused at once."""
    simulator.plan("chat", Plan(text="slow", no_reply="stall"))
    one = await serve(upstream_queue=0, upstream_max_concurrency=1)
    await one.ready()
    first = asyncio.create_task(one.request("POST", CHAT, BODY))
    await simulator.wait_held()
    assert (await one.request("POST", CHAT, BODY)).status == 503
    simulator.release()
    assert (await first).status == 200
