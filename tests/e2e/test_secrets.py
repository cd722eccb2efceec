"""P10: no password, token, key or (by default) content in logs, errors, ``repr`` or the process list."""

import json
from pathlib import Path

import pytest

from fakes.line import CHAT, KEY, ask, until
from fakes.running import PASSWORD, USERNAME, settings_for
from fittengate.simulator import Plan

PROMPT = "CANARY-PROMPT-7f3a"
ANSWER = "CANARY-ANSWER-91bc"


async def provoke(process, simulator):
    """Make everything happen that could make somebody talk; return all that clients were told of faults."""
    told = []
    echo = {"detail": [{"type": "string_type", "msg": "bad", "input": f"<|user|> {PROMPT}"}]}
    faults = [
        Plan(status=422, json=echo),
        Plan(json={"error": f"cannot say {PROMPT}"}),
        Plan(body=f"<html>{PROMPT}</html>"),
        Plan(body=f"plain {PROMPT}"),
        Plan(status=503, body=f"{PROMPT}", headers={"retry-after": "1"}),
        Plan(lines=('{"delta":"a"}', json.dumps({"detail": f"{ANSWER} {PROMPT}"}))),
        Plan(raw=b'{"delta":"' + ANSWER.encode(), headers={}),
        Plan(text=ANSWER, cut="reset", cut_after=1),
    ]
    for fault in faults:
        for stream in (True, False):
            simulator.plan("chat", fault)
            told.append(await process.chat(PROMPT, stream=stream))
    simulator.plan("chat", Plan(text=ANSWER), times=2)
    for stream in (True, False):
        assert ANSWER in (await process.chat(PROMPT, stream=stream)).text
    told.append(await process.chat(PROMPT, temperature=PROMPT))
    told.append(await process.chat(PROMPT, model=f"no/{KEY}"))
    told.append(await process.request("POST", CHAT, b'{"messages": "' + PROMPT.encode()))
    told.append(await process.request("POST", CHAT, json.dumps(ask(PROMPT)).encode(), key="wrong-" + PASSWORD))
    told.append(await process.request("GET", f"/v1/models/x?api_key={KEY}"))
    told.append(await process.request("GET", f"/nothing?access_token={KEY}"))
    simulator.expire("access")
    told.append(await process.chat("after the token died"))
    simulator.plan("chat", Plan(status=401), times=5)
    told.append(await process.chat(PROMPT))
    told.extend([await process.request("GET", path) for path in ("/readyz", "/v1/models", "/openapi.json", "/docs")])
    return told


@pytest.mark.parametrize("form", ["text", "json"])
async def test_p10_nothing_secret_is_written_or_told(serve, simulator, form):
    """Every sort of fault is provoked at level debug; then log, terminal and replies are searched."""
    process = await serve(log_level="debug", log_format=form, upstream_retries=0)
    await process.ready()
    told = await provoke(process, simulator)
    tokens = json.loads((process.state_dir / "account.json").read_text())
    process.process.terminate()
    assert await process.ended() == 0
    log = (process.state_dir / "fitten_api.log").read_text()
    assert log.count(CHAT) > 15
    secrets = {PASSWORD, KEY, tokens["access"], tokens["refresh"], *(t[:20] for t in (tokens["refresh"],))}
    for where, text in (("log", log), ("terminal", process.stderr)):
        for secret in secrets:
            assert secret not in text, where
    for reply in told:
        text = reply.body.decode() + str(reply.headers)
        for secret in (PASSWORD, tokens["access"], tokens["refresh"]):
            assert secret not in text
        assert PROMPT not in text.replace(ANSWER, "")


async def test_p10_no_content_is_written_by_default(serve, simulator):
    """Neither prompt nor answer is in the log or on the terminal, whatever the service echoes."""
    process = await serve(log_level="debug", upstream_retries=0)
    await process.ready()
    await provoke(process, simulator)
    process.process.terminate()
    await process.ended()
    log = (process.state_dir / "fitten_api.log").read_text()
    for canary in (PROMPT, ANSWER):
        assert canary not in log + process.stderr


async def test_p10_the_process_list_shows_no_secret(serve):
    """The command line of a running gateway names neither password nor key."""
    process = await serve()
    shown = Path(f"/proc/{process.process.pid}/cmdline").read_bytes().decode()  # noqa: ASYNC240 - no disk
    assert PASSWORD not in shown
    assert KEY not in shown


async def test_p10_files_are_for_their_owner_alone(serve):
    """State directory 0700, every file in it 0600; the key of clients is stored as a hash or not at all."""
    process = await serve(server_api_key=None)
    key = (process.state_dir / "first-key").read_text().strip()
    await process.request("POST", CHAT, json.dumps(ask()).encode(), key=key)
    await process.ready()
    assert process.state_dir.stat().st_mode & 0o777 == 0o700
    await until((process.state_dir / "fitten_api.log").exists)
    files = [path for path in process.state_dir.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"account.json", "keys.json", "first-key", "fitten_api.log"}
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600, path.name
        if path.name != "first-key":
            assert key.encode() not in path.read_bytes()
            assert PASSWORD.encode() not in path.read_bytes()


async def test_p10_repr_shows_no_secret(gateway, simulator):
    """Whoever prints what the gateway is made of sees no password, key or token."""
    await gateway.chat("hello")
    tokens = await gateway.vault.load()
    exchanges = gateway.gateway.exchanges
    keeper = gateway.gateway.service.keeper
    shown = [repr(value) for value in (gateway.gateway, exchanges, exchanges._services, keeper, keeper.account, tokens)]
    shown.append(repr(settings_for(simulator)))
    for text in shown:
        for secret in (PASSWORD, KEY, tokens.access, tokens.refresh):
            assert secret not in text
    assert USERNAME in repr(keeper.account)
