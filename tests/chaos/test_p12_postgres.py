"""P12 on a PostgreSQL server: whatever it does, replies go on, no receipt is lost, and all heals by itself."""

import asyncio
import json
import secrets
import threading
from contextlib import asynccontextmanager

import psycopg
import pytest

from fakes.line import until
from fakes.postgres import query
from fakes.running import running
from fittengate.services.clock import SystemClock
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.postgres import PostgresServer
from fittengate.services.store import Database

BODY = json.dumps({"messages": [{"role": "user", "content": "Hello"}]}).encode()

HEALED = 3
"""Two seconds are promised; the third is for a machine that runs other tests beside this."""


def names(url):
    return [row[0] for row in query(url, "SELECT request_id FROM receipts")]


async def until_receipts(url, count, seconds):
    """Wait until so many receipts are in the ledger; none is there twice."""
    async with asyncio.timeout(seconds):
        while len(found := await asyncio.to_thread(names, url)) < count:
            await asyncio.sleep(0.05)
    assert len(set(found)) == len(found) == count


async def until_said(gateway, wanted, seconds):
    """Wait until ``/readyz`` tells of the store, or tells of it no more."""
    async with asyncio.timeout(seconds):
        while ("store" in (said := await gateway.request("GET", "/readyz")).json) is not wanted:
            await asyncio.sleep(0.05)
    assert said.status == 200


def made_key(url):
    """Return a new key of the store with a limit of a day."""
    database = Database(PostgresServer(url))
    try:
        return KeyStore(database, SystemClock(), secrets.token_bytes, 90).create(
            KeyWish(name="ci", tokens_per_day=10**9)
        )[0]
    finally:
        database.close()


async def replies(gateway, key, count):
    """Ask so often, one after the other; each is answered, and none waits for the store but perhaps the first."""
    async with asyncio.timeout(5):
        for _ in range(count):
            reply = await gateway.request("POST", "/v1/chat/completions", BODY, key=key)
            assert reply.complete
            assert reply.status == 200, reply.body


@asynccontextmanager
async def stopped(server, url):
    """Have the server gone, as if its machine had stopped."""
    await asyncio.to_thread(server.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


@asynccontextmanager
async def frozen(server, url):
    """Have its connections open, and nothing answer."""
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@asynccontextmanager
async def locked(server, url):
    """Have another session hold every table."""
    holder = await asyncio.to_thread(psycopg.connect, url)
    try:
        await asyncio.to_thread(holder.execute, "LOCK TABLE receipts, journals, keys, spent IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        await asyncio.to_thread(holder.close)


@pytest.mark.parametrize("outage", [stopped, frozen, locked])
async def test_p12_an_outage_of_the_server_costs_no_reply_and_heals(
    simulator, tmp_path, postgres, postgres_server, outage
):
    """A known key goes on at once, ``/readyz`` tells, and two seconds after its end every receipt is there, once."""
    key = await asyncio.to_thread(made_key, postgres)
    async with running(simulator, journals=tmp_path / "journal", store={"url": postgres}) as gateway:
        await replies(gateway, key, 3)
        await until_receipts(postgres, 3, 3)
        async with outage(postgres_server, postgres):
            await replies(gateway, key, 10)
            if outage is not locked:
                await until_said(gateway, True, 9)
            await replies(gateway, key, 10)
        await until_receipts(postgres, 23, HEALED)
        await until_said(gateway, False, HEALED)
    said = gateway.terminal.getvalue()
    assert "a-pass-word" not in said
    assert said.count("the ledger's store cannot be used") <= 1
    assert query(postgres, "SELECT tokens > 0 FROM spent WHERE kind = 'day' AND owner <> '*'") == [(True,)]


async def test_p12_a_server_that_is_down_at_the_start(simulator, tmp_path, postgres, postgres_server):
    """The gateway serves keys of the settings at once, says 503 to those of the store, and has all of it afterwards."""
    key = await asyncio.to_thread(made_key, postgres)
    await asyncio.to_thread(postgres_server.stop)
    try:
        async with running(simulator, journals=tmp_path / "journal", store={"url": postgres}) as gateway:
            async with asyncio.timeout(5):
                for _ in range(5):
                    assert (await gateway.chat()).complete
            refused = await gateway.request("POST", "/v1/chat/completions", BODY, key=key)
            assert refused.status == 503
            assert "retry-after" in refused.headers
            await until_said(gateway, True, 9)
            assert threading.active_count() < 40
            await asyncio.to_thread(postgres_server.start)
            await until_receipts(postgres, 5, HEALED)
            await until_said(gateway, False, HEALED)
            await replies(gateway, key, 1)
            await until_receipts(postgres, 6, HEALED)
    finally:
        if postgres_server._process is None:
            await asyncio.to_thread(postgres_server.start)


async def test_replicas_share_one_ledger(simulator, tmp_path, postgres):
    """Each has a journal of its own; the sums are those of all of them, and none counts twice."""
    async with (
        running(simulator, journals=tmp_path / "one", store={"url": postgres}) as one,
        running(simulator, journals=tmp_path / "two", store={"url": postgres}) as two,
        running(simulator, journals=tmp_path / "three", store={"url": postgres}) as three,
    ):
        await asyncio.gather(*[gateway.chat() for gateway in (one, two, three) for _ in range(20)])
        await until_receipts(postgres, 60, 3)
    assert query(postgres, "SELECT count(*) FROM journals") == [(3,)]


async def test_what_one_replica_kept_another_answers(simulator, tmp_path, postgres):
    """A response is found, gone on with and deleted by whichever replica is asked."""
    async with (
        running(simulator, store={"url": postgres}) as one,
        running(simulator, store={"url": postgres}) as two,
    ):
        first = (await one.request("POST", "/v1/responses", b'{"input":"Hello"}')).json
        await until(lambda: query(postgres, "SELECT id FROM responses") == [(first["id"],)])
        assert (await two.request("GET", f"/v1/responses/{first['id']}")).json["id"] == first["id"]
        body = json.dumps({"input": "And?", "previous_response_id": first["id"]}).encode()
        assert (await two.request("POST", "/v1/responses", body)).status == 200
        assert (await two.request("DELETE", f"/v1/responses/{first['id']}")).status == 200
        assert (await one.request("GET", f"/v1/responses/{first['id']}")).status == 404
        assert (await one.request("GET", "/v1/responses/resp_%00")).status == 404
