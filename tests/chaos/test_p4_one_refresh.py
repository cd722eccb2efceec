"""P4: however many requests find the token stale, one renewal is sent."""

import asyncio
import time

import msgspec
import pytest
from msgspec import structs

from fakes.line import until
from fakes.running import environment, running, scenario, start_process
from fakes.valkey import valkey
from fittengate.simulator import Plan


async def test_p4_fifty_cold_requests_log_in_once(gateway, simulator):
    """Nobody is signed in, fifty ask at once, the login takes its time: one login, fifty answers."""
    simulator.plan("login", Plan(delay_ms=100))
    replies = await asyncio.gather(*(gateway.chat(f"number {n}") for n in range(50)))
    assert {reply.status for reply in replies} == {200}
    assert simulator.counters.requests["login"] == 1


async def test_p4_a_401_is_answered_by_one_renewal_and_then_success(gateway, simulator):
    """The service forgot the token: fifty requests are refused, one refresh is sent, nobody notices."""
    assert (await gateway.chat("warm")).status == 200
    simulator.expire("access")
    simulator.plan("refresh", Plan(delay_ms=100))
    replies = await asyncio.gather(*(gateway.chat(f"number {n}", stream=True) for n in range(50)))
    assert all(reply.body.endswith(b"data: [DONE]\n\n") for reply in replies)
    assert simulator.counters.requests["refresh"] == 1
    assert simulator.counters.requests["login"] == 1


async def test_p4_401_for_ever_is_an_account_fault_and_no_loop(gateway, simulator):
    """A service that refuses even fresh tokens: 503 that says so, and few calls however often clients ask."""
    simulator.plan("chat", Plan(status=401), times=None)
    for stream in (True, False) * 5:
        reply = await gateway.chat("again", stream=stream)
        assert reply.status == 503
        assert reply.error["code"] == "account_login_failed"
        assert reply.headers["x-should-retry"] == "false"
        assert int(reply.headers["retry-after"]) >= 1
    assert simulator.counters.requests["login"] <= 2
    assert simulator.counters.requests["refresh"] <= 4
    assert simulator.counters.requests["chat"] <= 30


async def test_p4_a_wrong_password_is_told_and_not_tried_again(start, simulator):
    """One refused login, however many clients ask; every error names the command that helps."""
    async with start(account={"password": "wrong"}) as gateway:
        replies = await asyncio.gather(*(gateway.chat("hello", stream=n % 2 == 0) for n in range(20)))
        for reply in replies:
            assert reply.status == 503
            assert reply.error["code"] == "account_login_failed"
            assert "fittengate login" in reply.error["message"]
            assert int(reply.headers["retry-after"]) >= 60
            assert reply.headers["x-should-retry"] == "false"
        assert (await gateway.request("GET", "/readyz")).status == 503
        assert simulator.counters.requests["login"] == 1


async def test_p4_no_account_is_told_in_every_error(start, simulator):
    """A gateway without an account starts, is not ready, and says what to do."""
    async with start(account={"username": "", "password": ""}) as gateway:
        reply = await gateway.chat("hello", stream=True)
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) >= 60
        assert "fittengate login" in reply.error["message"]
        assert (await gateway.request("GET", "/livez")).status == 200
        assert (await gateway.request("GET", "/readyz")).status == 503
        assert not simulator.requests()


async def test_p4_an_expired_token_is_refreshed_once(simulator):
    """A gateway finds tokens of yesterday in its vault: fifty requests, one refresh, no login."""
    async with running(simulator) as first:
        assert (await first.chat("hello")).status == 200
        old = structs.replace(await first.vault.load(), access_expires=time.time() - 3600)
    simulator.reset()
    simulator.expire("access")
    simulator.plan("refresh", Plan(delay_ms=100))
    async with running(simulator, old) as second:
        replies = await asyncio.gather(*(second.chat(f"number {n}") for n in range(50)))
        assert {reply.status for reply in replies} == {200}
        assert simulator.counters.requests["refresh"] == 1
        assert simulator.counters.requests["login"] == 0


async def test_p4_a_failing_refresh_keeps_the_token_that_is_still_good(simulator):
    """Renewal is due but the service cannot renew: the token in hand serves until it truly expires."""
    async with running(simulator) as first:
        assert (await first.chat("hello")).status == 200
        due = structs.replace(await first.vault.load(), access_expires=time.time() + 60)
    simulator.reset()
    simulator.plan("refresh", Plan(status=503), times=None)
    async with running(simulator, due) as second:
        assert [(await second.chat("hello")).status for _ in range(5)] == [200] * 5
        assert simulator.counters.requests["refresh"] <= 2
        assert simulator.counters.requests["login"] == 0
        assert (await second.vault.load()).refresh == due.refresh


async def test_p4_not_expired_is_no_token(simulator):
    """``Not expired`` in place of a token keeps the one in hand and is never sent."""
    async with running(simulator) as first:
        assert (await first.chat("hello")).status == 200
        due = structs.replace(await first.vault.load(), access_expires=time.time() + 60)
    simulator.reset()
    simulator.plan("refresh", Plan(json={"access_token": "Not expired", "access_token_expires": "P1D"}), times=None)
    async with running(simulator, due) as second:
        assert (await second.chat("hello")).status == 200
        assert (await second.vault.load()).access == due.access
        assert simulator.counters.refused == 0


async def test_p4_a_client_that_leaves_does_not_stop_the_login(gateway, simulator):
    """The one who caused the login goes; the others get what it gave, from the same login."""
    simulator.plan("login", Plan(delay_ms=200))
    async with gateway.line() as one:
        await one.ask("leaves")
        await simulator.wait_requests("login")
        other = asyncio.create_task(gateway.chat("stays"))
        await until(lambda: gateway.running == 2)
        one.leave()
        assert (await other).status == 200
    assert simulator.counters.requests["login"] == 1


@pytest.mark.parametrize("rotate", [False, True])
async def test_p4_kill_between_refresh_and_save_leaves_a_way_in(serve, simulator, rotate):
    """Kill -9 after the service renewed and before anything was saved: started again, the gateway works."""
    simulator.set_scenario(scenario(tokens={"rotate_refresh": rotate, "invalidate_previous": True}))
    first = await serve()
    assert (await first.chat("hello")).status == 200
    saved = msgspec.json.decode((first.state_dir / "account.json").read_bytes())
    simulator.expire("access")
    simulator.plan("refresh", Plan(no_reply="stall"))
    waiting = asyncio.create_task(first.chat("dies"))
    await simulator.wait_held()
    await first.kill()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await waiting
    assert msgspec.json.decode((first.state_dir / "account.json").read_bytes()) == saved
    second = await serve()
    assert (await second.chat("hello again")).status == 200
    assert simulator.counters.requests["login"] == (2 if rotate else 1)


async def test_p4_two_processes_of_one_state_directory_log_in_once(simulator, tmp_path):
    """Started together, asked together: the second finds what the first one saved."""
    simulator.plan("login", Plan(delay_ms=300), times=None)
    state = tmp_path / "state"
    environ = environment(simulator, state)
    pair = await asyncio.gather(*(start_process(environ, state) for _ in range(2)))
    try:
        for one in pair:
            one.port = int(await one.says(r"listening on http://[^\s]+:(\d+)"))
        replies = await asyncio.gather(*(one.chat("hello") for one in pair for _ in range(5)))
        assert {reply.status for reply in replies} == {200}
        assert simulator.counters.requests["login"] == 1
    finally:
        for one in pair:
            await one.kill()


async def test_p4_three_processes_of_a_fleet_log_in_once_and_refresh_once(serve, simulator):
    """Replicas with a state directory each, as on three machines, ask together: one login, then one refresh."""
    simulator.plan("login", Plan(delay_ms=300), times=None)
    with valkey() as server:
        three = await asyncio.gather(*(serve(state=f"state-{n}", fleet_url=server.url) for n in range(3)))
        replies = await asyncio.gather(*(one.chat("hello") for one in three for _ in range(5)))
        assert {reply.status for reply in replies} == {200}
        assert simulator.counters.requests["login"] == 1
        simulator.expire("access")
        simulator.plan("refresh", Plan(delay_ms=300), times=None)
        replies = await asyncio.gather(*(one.chat("stale") for one in three for _ in range(5)))
        assert {reply.status for reply in replies} == {200}
        assert simulator.counters.requests["refresh"] == 1
        assert simulator.counters.requests["login"] == 1
        server.stop()
        # Without the server everybody goes on with the tokens that it has.
        replies = await asyncio.gather(*(one.chat("alone") for one in three))
        assert {reply.status for reply in replies} == {200}
        assert simulator.counters.requests["refresh"] == 1
