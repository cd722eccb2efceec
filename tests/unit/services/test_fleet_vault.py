"""The fleet's vault: one lock, tokens that live longest, and a machine's own vault for bad times."""

import asyncio
import time

import pytest

from fakes.line import until
from fakes.valkey import valkey
from fittengate.core.account import Tokens
from fittengate.services import fleet_vault
from fittengate.services.fleet_vault import FleetVault
from fittengate.services.valkey import Valkey
from fittengate.services.vault import MemoryVault


def tokens(expires=1000.0, user="u1", access="a"):
    return Tokens("http://service", "name", user, access, "r", expires, None)


@pytest.fixture
def server():
    """Run a server for this test alone."""
    with valkey() as one:
        yield one


@pytest.fixture
async def vaults(server):
    """Give two replicas' vaults, each with a machine of its own."""
    valkeys = [Valkey(server.url, lambda *_, **__: None) for _ in range(2)]
    yield [FleetVault(MemoryVault(), one, "{f}", f"r{at}") for at, one in enumerate(valkeys)]
    for one in valkeys:
        await one.close()


async def test_what_one_saves_the_other_finds(vaults):
    """Tokens and refused logins; what is cleared is gone for both."""
    one, other = vaults
    assert await other.load() is None
    await one.save(tokens())
    assert await other.load() == tokens()
    await one.note_refusal("print", 99.0, "no")
    assert await other.refusal() == ("print", 99.0, "no")
    await other.clear_refusal()
    assert await one.refusal() is None
    await one.forget()
    assert await other.load() is None


async def test_one_holds_the_lock_at_a_time(vaults):
    """The second waits until the first gives it back, and one that leaves while waiting takes nothing with it."""
    one, other = vaults
    await one.acquire()
    waiting = asyncio.create_task(other.acquire())
    await asyncio.sleep(0.15)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    again = asyncio.create_task(other.acquire())
    await one.release()
    await asyncio.wait_for(again, 1)
    await other.release()
    await one.acquire()
    await one.release()


async def test_the_lock_of_a_dead_holder_ends_and_that_of_a_living_one_does_not(vaults, monkeypatch):
    """It lives on as long as its holder lets itself be heard of."""
    monkeypatch.setattr(fleet_vault, "LOCK_LIFE_SECONDS", 0.4)
    monkeypatch.setattr(fleet_vault, "LOCK_BEAT_SECONDS", 0.1)
    one, other = vaults
    await one.acquire()
    waiting = asyncio.create_task(other.acquire())
    await asyncio.sleep(0.8)
    assert not waiting.done()
    # As if it were killed.
    one._keeping.cancel()
    await asyncio.wait_for(waiting, 2)
    # What it gives back now is no longer its own.
    await one.release()
    assert await other._valkey.command("GET", "{f}:account:lock") == b"r1"
    await other.release()


async def test_the_tokens_that_live_longer_count_and_only_of_the_same_account(vaults):
    """Somebody signed in on one machine: the fleet has it from the next look on. Another account's tokens change nothing."""
    one, other = vaults
    await one.save(tokens(1000.0))
    await other._own.save(tokens(2000.0, access="newer"))
    assert (await other.load()).access == "newer"
    assert (await one.load()).access == "newer"
    await other._own.save(tokens(9000.0, user="u2"))
    assert (await other.load()).access == "newer"
    await other._own.save(tokens(500.0, access="older"))
    assert (await other.load()).access == "newer"


async def test_without_the_server_the_machines_own_vault_serves(vaults, server):
    """Nothing hangs, nothing is lost, and the server is told when it is back."""
    one, other = vaults
    await one.save(tokens(1000.0))
    server.stop()
    began = time.monotonic()
    await one.acquire()
    assert await one.load() == tokens(1000.0)
    await one.save(tokens(2000.0, access="renewed"))
    await one.note_refusal("print", 99.0, "no")
    assert await one.refusal() == ("print", 99.0, "no")
    await one.clear_refusal()
    await one.release()
    assert time.monotonic() - began < 1
    assert await other.load() is None
    server.start()
    await until(lambda: one._valkey.up and other._valkey.up)
    assert (await one.load()).access == "renewed"
    assert (await other.load()).access == "renewed"


async def test_what_is_no_tokens_is_none(vaults):
    """A value that somebody else has put there is replaced by the next login."""
    one, _ = vaults
    await one._valkey.command("SET", "{f}:account", b"\xff no JSON")
    assert await one.load() is None
    await one._valkey.command("SET", "{f}:account:refusal", b"[]")
    assert await one.refusal() is None
