"""Three gateways on one real Valkey or Redis: limits, the login and revocations are the fleet's."""

import asyncio
import secrets
import time
from contextlib import AsyncExitStack

import msgspec
import pytest

from fakes.line import KEY, until
from fakes.running import environment, run_command, running
from fakes.valkey import PASSWORD, valkey
from fittengate.core.account import Tokens
from fittengate.services import keyring
from fittengate.services import valkey as valkey_module
from fittengate.services.clock import SystemClock
from fittengate.services.fleet import announce
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.store import Database
from fittengate.settings import Fleet
from fittengate.simulator import Plan

PATIENCE = 2.0


@pytest.fixture
def server():
    """Run a server for this test alone."""
    with valkey() as one:
        yield one


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let calls to the server take long: here whole fleets share one loop on a busy machine."""
    monkeypatch.setattr(valkey_module, "CALL_SECONDS", PATIENCE)


@pytest.fixture
async def replicas(simulator, server):
    """Give what starts so many gateways of one fleet."""
    async with AsyncExitStack() as stack:

        async def start(count=3, **sections):
            fleet = {"url": server.url, **sections.pop("fleet", {})}
            return [await stack.enter_async_context(running(simulator, fleet=fleet, **sections)) for _ in range(count)]

        yield start


async def settled(gateways):
    """Wait until nothing runs, and everything was told."""
    for gateway in gateways:
        await until(lambda gateway=gateway: not gateway.running)
        limits = gateway.gateway.exchanges._services.limits
        await until(lambda limits=limits: not limits._pending() and not limits._sending)


def used(gateway, name="key-1"):
    """Return what counts in the fleet, as one gateway heard last, of a key of the settings."""
    exchanges = gateway.gateway.exchanges
    return exchanges._services.limits.used(
        next(known.caller.owner for known in exchanges._services.keys._known.values())
    )


async def test_replicas_share_the_requests_of_a_minute_and_tell_what_is_left(replicas):
    """Whichever gateway is asked: the fifth request of a minute is the last one, and the headers count down."""
    gateways = await replicas(limits={"rpm": 5})
    left = []
    for number in range(5):
        reply = await gateways[number % 3].chat("Hi")
        assert reply.status == 200
        left.append(int(reply.headers["x-ratelimit-remaining-requests"]))
    assert left == [4, 3, 2, 1, 0]
    for gateway in gateways:
        refused = await gateway.chat("Hi")
        assert refused.status == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-ratelimit-limit-requests"] == "5"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"


async def test_a_request_at_a_time_is_one_in_the_whole_fleet(replicas, simulator):
    """While one gateway is at work the others refuse; a client that leaves gives the place back."""
    gateways = await replicas(limits={"concurrency": 1})
    simulator.plan("chat", Plan(text="slow", first_ms=60_000))
    async with gateways[0].line() as line:
        await line.ask("x")
        await simulator.wait_requests("chat")
        assert (await gateways[1].chat("Hi")).status == 429
        line.leave()
    await settled(gateways)
    assert (await gateways[2].chat("Hi")).status == 200


async def test_p9_a_thousand_requests_on_three_replicas_do_not_overspend(replicas, simulator, server):
    """P9: of what the service counted at most one in a hundred is over the budget; in truth it is none."""
    budget = 20_000
    simulator.plan("chat", Plan(text="word " * 20, input_tokens=100, output_tokens=25), times=1000)
    gateways = await replicas(limits={"tokens_per_day": budget})
    gate = asyncio.Semaphore(200)

    async def ask(number):
        async with gate:
            return (await gateways[number % 3].chat("Hi", max_tokens=60)).status

    statuses = await asyncio.gather(*(ask(number) for number in range(1000)))
    assert set(statuses) == {200, 429}
    spent = statuses.count(200) * 125
    assert budget * 0.9 <= spent <= budget
    await settled(gateways)
    (key,) = server.ask("KEYS", "*:meter:*")
    meter = msgspec.msgpack.decode(server.ask("GET", key), strict=False)
    assert list(meter["days"].values()) == [spent]
    assert not meter["running"]
    # A machine that is very busy may let a call to the server be late; the rest is the fleet's.
    assert sum(gateway.gateway.exchanges._services.limits.alone for gateway in gateways) < 300


async def test_who_is_not_limited_asks_nobody(replicas, server):
    """No limit, no round trip."""
    (gateway,) = await replicas(1)
    assert (await gateway.chat("Hi")).status == 200
    before = server.calls("evalsha")
    for _ in range(10):
        assert (await gateway.chat("Hi")).status == 200
    # What is sent is the heartbeat's, every two seconds, and nothing of a request's.
    assert server.calls("evalsha") - before < 5


async def test_p4_three_replicas_log_in_once_and_refresh_once(replicas, simulator):
    """P4: however many of a fleet find no token, or a stale one, one login and one refresh are sent."""
    simulator.plan("login", Plan(delay_ms=150))
    gateways = await replicas()
    replies = await asyncio.gather(*(gateway.chat("cold") for gateway in gateways for _ in range(10)))
    assert {reply.status for reply in replies} == {200}
    assert simulator.counters.requests["login"] == 1
    simulator.expire("access")
    simulator.plan("refresh", Plan(delay_ms=150))
    replies = await asyncio.gather(*(gateway.chat("stale") for gateway in gateways for _ in range(10)))
    assert {reply.status for reply in replies} == {200}
    assert simulator.counters.requests["refresh"] == 1
    assert simulator.counters.requests["login"] == 1


@pytest.mark.parametrize("how", ["stop", "hold"])
async def test_p12_without_the_server_each_replica_keeps_its_share_and_comes_back(replicas, server, how):
    """P12: nobody waits for long, a share of the limit holds, /readyz tells, and within two seconds all is well again."""
    gateways = await replicas(2, limits={"rpm": 20}, fleet={"local_share": 25})
    for gateway in gateways:
        assert (await gateway.chat("Hi")).headers["x-ratelimit-limit-requests"] == "20"
    getattr(server, how)()
    for gateway in gateways:
        began = time.monotonic()
        statuses = [(await gateway.chat("Hi")).status for _ in range(3)]
        metrics = await gateway.request("GET", "/metrics")
        # One was used before: a quarter of 20 is 5.
        assert [*statuses, metrics.status, (await gateway.chat("Hi")).status] == [200] * 4 + [429]
        assert time.monotonic() - began < PATIENCE + 1.5
        ready = await gateway.request("GET", "/readyz")
        assert ready.status == 200
        assert "cannot be used" in ready.json["fleet"]
        assert PASSWORD not in ready.body.decode()
        assert gateway.gateway.exchanges._services.limits.alone == 5
        for line in ("alone 1.0", "outages_total 1.0", "judged_alone_total 4.0"):
            assert f"fittengate_fleet_{line}" in metrics.body.decode().splitlines()
    if how == "stop":
        server.start()
    else:
        server.go_on()
    began = time.monotonic()
    for gateway in gateways:
        await until(lambda gateway=gateway: gateway.gateway.fleet.problem is None)
    # A second until the next try, and what a busy machine takes.
    assert time.monotonic() - began < (2 if how == "stop" else PATIENCE + 2)
    await settled(gateways)
    reply = await gateways[0].chat("Hi")
    assert reply.status == 200
    assert reply.headers["x-ratelimit-limit-requests"] == "20"
    # What was used meanwhile counts: 2 before, 8 alone, this one; where it is not certain, rather more than less.
    assert int(reply.headers["x-ratelimit-remaining-requests"]) <= 20 - 11
    for gateway in gateways:
        shown = gateway.terminal.getvalue()
        await until(lambda gateway=gateway: "works again" in gateway.terminal.getvalue())
        assert shown.count("this replica goes on by itself") == 1
        assert PASSWORD not in gateway.terminal.getvalue()


async def test_days_are_known_again_when_the_server_has_lost_everything(replicas, server):
    """A server that was started anew learns what the day has cost from whoever asks first."""
    gateways = await replicas(2, limits={"tokens_per_day": 5000})
    assert (await gateways[0].chat("Hi", max_tokens=100)).status == 200
    assert (await gateways[1].chat("Hi", max_tokens=100)).status == 200
    await settled(gateways)
    server.ask("FLUSHALL")
    before = used(gateways[1])["tokens_per_day"]
    assert before > 0
    assert (await gateways[1].chat("Hi", max_tokens=100)).status == 200
    assert used(gateways[1])["tokens_per_day"] > before


@pytest.mark.parametrize("heard", [True, False])
async def test_a_key_revoked_anywhere_ends_everywhere_within_a_second(replicas, server, tmp_path, monkeypatch, heard):
    """The replicas are told, and where the news is lost they find out by asking the store."""
    if heard:
        # Nobody would find out by asking.
        monkeypatch.setattr(keyring, "POLL_SECONDS", 60.0)
    url = f"sqlite:///{tmp_path}/fittengate.db"
    tell = (lambda: announce(Fleet(url=server.url))) if heard else (lambda: None)
    store = KeyStore(Database(tmp_path / "fittengate.db"), SystemClock(), secrets.token_bytes, 90, tell)
    key, _ = store.create(KeyWish(name="ci"))
    gateways = await replicas(store={"url": url})
    for gateway in gateways:
        await until(lambda gateway=gateway: gateway.gateway.exchanges._services.keys._known)
        assert (await gateway.request("GET", "/v1/models", key=key)).status == 200
    await asyncio.to_thread(store.revoke, "ci")
    await asyncio.sleep(0.9)
    for gateway in gateways:
        assert (await gateway.request("GET", "/v1/models", key=key)).status == 401
    store.close()


async def test_tokens_of_a_gateway_that_was_alone_reach_the_fleet(simulator, server):
    """Signed in while the server was away, a gateway hands its tokens on when it is back: nobody logs in again."""
    server.stop()
    fleet = {"url": server.url}
    async with running(simulator, fleet=fleet) as first:
        assert (await first.chat("Hi")).status == 200
        own: Tokens = await first.vault.load()
        server.start()
        await until(lambda: first.gateway.fleet.problem is None)
        assert await first.gateway.vault.load() == own
        async with running(simulator, fleet=fleet) as second:
            assert (await second.chat("Hi", headers=f"x-api-key: {KEY}\r\n")).status == 200
            assert await second.vault.load() is None
    assert simulator.counters.requests["login"] == 1


async def commanded(simulator, server, state, *words, **settings):
    """Run a command on a machine of the fleet; return its exit code, and what it wrote to both streams."""
    environ = environment(simulator, state, fleet_url=server.url, **settings)
    return await run_command(environ, state.parent, *words)


async def test_commands_use_the_fleets_login(replicas, simulator, server, tmp_path):
    """On a machine that has no login, and no password, whoami finds that of the fleet; logout ends it for all."""
    (gateway,) = await replicas(1)
    assert (await gateway.chat("Hi")).status == 200
    alone = {"account_username": "", "account_password": ""}
    code, out, err = await commanded(simulator, server, tmp_path / "state", "whoami", **alone)
    assert (code, err) == (0, "")
    assert "user id" in out
    assert simulator.counters.requests["login"] == 1
    assert (await commanded(simulator, server, tmp_path / "state", "logout", **alone))[0] == 0
    code, _, err = await commanded(simulator, server, tmp_path / "state", "whoami", **alone)
    assert code == 1
    assert "fittengate login" in err
    assert server.ask("EXISTS", "{fittengate}:account") == 0


async def test_commands_for_keys_tell_the_fleet(simulator, server, tmp_path):
    """Each change is news; where nobody can be told, the command says so, without the password, and goes on."""
    heard = []
    connections = valkey_module.Valkey(server.url, lambda *_, **__: None)
    listening = asyncio.create_task(connections.listen("{fittengate}:keys", lambda: heard.append(1)))
    await until(lambda: len(heard) == 1)
    state = tmp_path / "state"
    for number, words in enumerate((["create", "--name", "ci"], ["rotate", "ci"], ["revoke", "ci"]), 2):
        code, _, err = await commanded(simulator, server, state, "keys", *words)
        assert code == 0
        assert "not told" not in err
        await until(lambda number=number: len(heard) == number)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await connections.close()
    server.stop()
    code, out, err = await commanded(simulator, server, state, "keys", "create", "--name", "late")
    assert code == 0
    assert out.startswith("fg_")
    assert "the fleet was not told" in err
    assert PASSWORD not in err
