"""Every way in which a reply can go wrong, over real sockets."""

import asyncio
import json
import time

import aiohttp
import pytest

from fittengate.simulator import Fast, Plan, Scenario


def five(**more):
    return Plan(deltas=("a", "b", "c", "d", "e"), **more)


async def test_a_reset_comes_before_the_head(client, exchange):
    """Not a byte, then a reset."""
    client.sim.plan("chat", Plan(no_reply="reset"))
    assert await exchange(client.sim.port, client.raw_request()) == [None]
    assert client.sim.requests("chat")[0].outcome == "cut"
    assert client.sim.requests("chat")[0].status == 0


async def test_a_close_comes_before_the_head(client, exchange):
    """Not a byte, then the end, at once or later."""
    client.sim.plan("chat", Plan(no_reply="close", delay_ms=40))
    started = time.monotonic()
    assert await exchange(client.sim.port, client.raw_request()) == []
    assert time.monotonic() - started >= 0.04
    assert client.sim.counters.closed_by_client == 0


async def test_a_stall_before_the_head_can_be_released(client):
    """Then the natural reply follows."""
    client.sim.plan("chat", Plan(no_reply="stall"))
    asked = asyncio.create_task(client.text("repeat: a"))
    await client.sim.wait_held()
    assert client.sim.requests("chat")[0].status == 0
    assert client.sim.release() == 1
    assert await asked == "a"
    assert client.sim.release() == 0


async def test_a_reset_in_mid_stream_comes_after_the_bytes(client, exchange):
    """What was to be sent has arrived, nothing more, and no terminating chunk."""
    client.sim.plan("chat", five(cut="reset", cut_after=2))
    *data, end = await exchange(client.sim.port, client.raw_request())
    assert end is None
    assert b"".join(data).endswith(b'{"delta":"b"}\n\r\n')
    record = client.sim.requests("chat")[0]
    assert (record.outcome, record.status, record.bytes_sent) == ("cut", 200, 28)
    assert client.sim.counters.open_streams == 0


async def test_a_close_in_mid_stream_leaves_out_the_terminating_chunk(client, exchange):
    """At any byte, or after the last one."""
    client.sim.plan("chat", five(cut_at=17))
    assert b"".join(await exchange(client.sim.port, client.raw_request())).endswith(b'\n{"d\r\n')
    client.sim.plan("chat", five(cut="close", usage="none"))
    assert b"".join(await exchange(client.sim.port, client.raw_request())).endswith(b'{"delta":""}\n\r\n')
    client.sim.plan("chat", five(cut="close", cut_at=0))
    assert b"".join(await exchange(client.sim.port, client.raw_request())).endswith(b"\r\n\r\n")
    client.sim.plan("chat", five(cut_after=0))
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.body()


async def test_a_stream_can_end_cleanly_too_early(client):
    """HTTP is whole, the reply is not."""
    client.sim.plan("chat", five(cut="end", cut_at=20))
    assert await client.body() == b'{"delta":"a"}\n{"delt'
    client.sim.plan("chat", five(cut="end", cut_at=0))
    assert await client.body() == b""
    client.sim.plan("chat", five(cut="end", cut_after=1, padding=2, reasoning="r"))
    assert (await client.body()).splitlines()[3:] == [b'{"reasoning_delta":"r"}', b'{"delta":"a"}']


async def test_a_stall_in_mid_stream_lasts_until_released(client):
    """The connection stays open and nothing comes; then the rest does."""
    client.sim.plan("chat", five(cut="stall", cut_after=2))
    async with client.chat() as reply:
        assert [await reply.content.readline() for _ in range(2)] == [b'{"delta":"a"}\n', b'{"delta":"b"}\n']
        await client.sim.wait_held()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reply.content.readline(), 0.05)
        assert client.sim.counters.open_streams == 1
        client.sim.release()
        assert await reply.content.readline() == b'{"delta":"c"}\n'
        assert b"usage" in await reply.read()
    assert client.sim.requests("chat")[0].outcome == "complete"


async def test_who_asks_for_a_failure_in_words_gets_one(client):
    """``fail`` resets the connection after five pieces, ``stall`` goes silent there: the words break what is sent too."""
    with pytest.raises(aiohttp.ClientError):
        await client.body("please fail")
    async with client.chat("now stall") as reply:
        assert len([await reply.content.readline() for _ in range(5)]) == 5
        await client.sim.wait_held()


async def test_a_client_that_leaves_is_noticed(client):
    """With the time of it, and in the record."""
    client.sim.plan("chat", five(cut="stall", cut_after=1))
    async with client.chat() as reply:
        await reply.content.readline()
        before = asyncio.get_running_loop().time()
        reply.close()
        when = await client.sim.wait_closed_by_client()
    assert 0 <= when - before < 0.1
    record = client.sim.requests("chat")[0]
    assert (record.outcome, record.ended) == ("left", when)
    assert client.sim.counters.open_streams == 0
    assert not client.sim.held


async def test_a_client_that_leaves_during_a_pause_is_noticed(client):
    """Also before the head."""
    plans = Plan(delay_ms=5000), five(first_ms=5000), five(interval_ms=5000), Plan(no_reply="stall")
    for number, plan in enumerate(plans, 1):
        client.sim.plan("chat", plan)
        asked = asyncio.create_task(client.body())
        await client.sim.wait_requests("chat", number)
        asked.cancel()
        await client.sim.wait_closed_by_client(number)
    assert {record.outcome for record in client.sim.requests("chat")} == {"left"}


async def test_stopping_is_not_the_clients_leaving(client):
    """Open replies are cut."""
    client.sim.plan("chat", five(cut="stall", cut_after=1))
    async with client.chat() as reply:
        await reply.content.readline()
        await client.sim.stop()
    await client.sim.wait_no_streams()
    assert client.sim.counters.closed_by_client == 0
    assert client.sim.requests("chat")[0].outcome == "cut"


async def test_a_slow_reader_stops_the_sender(client):
    """What is not read waits with the sender, and leaving in the middle is noticed."""
    client.sim.plan("chat", Plan(deltas=("x" * 1000,) * 30_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.sim.port, limit=1000)
    writer.write(client.raw_request())
    await reader.readline()
    record = client.sim.requests("chat")[0]
    sent = 0
    async with asyncio.timeout(5):
        while sent != record.bytes_sent:
            sent = record.bytes_sent
            await asyncio.sleep(0.05)
    assert record.outcome == "open"
    assert sent < 20_000_000
    writer.transport.abort()
    await client.sim.wait_closed_by_client()


async def test_a_slow_reader_gets_everything_in_the_end(client):
    """Once it reads."""
    client.sim.plan("chat", Plan(deltas=("x" * 1000,) * 10_000, usage="none", final_delta=False))
    async with client.chat() as reply:
        await asyncio.sleep(0.05)
        assert len(await reply.read()) == 10_000 * 1013
    assert client.sim.requests("chat")[0].outcome == "complete"


async def test_a_wrong_length_is_noticed_by_the_client(client, exchange):
    """Too long: the client waits for more; too short: something is left over."""
    client.sim.plan("chat", five(framing="length", length_off=9, keep_alive=False))
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.body()
    client.sim.plan("chat", five(framing="length", length_off=-9, keep_alive=False))
    data = b"".join(await exchange(client.sim.port, client.raw_request()))
    head, _, body = data.partition(b"\r\n\r\n")
    assert f"content-length: {len(body) - 9}".encode() in head


async def test_one_byte_comes_at_a_time(client, exchange):
    """Each in a segment of its own, so that a reader sees them singly."""
    client.sim.plan("chat", Plan(lines=("{}",), split=1, split_ms=2))
    segments = await exchange(client.sim.port, client.raw_request().replace(b"Host", b"Connection: close\r\nHost", 1))
    assert len(segments) > 1
    assert b"".join(segments).endswith(b"\r\n\r\n1\r\n{\r\n1\r\n}\r\n1\r\n\n\r\n0\r\n\r\n")


async def test_replies_close_the_connection_when_asked(client, exchange):
    """By the plan, by the client, or by the framing."""
    client.sim.plan("chat", five(keep_alive=False))
    assert b"connection: close" in (await exchange(client.sim.port, client.raw_request()))[0]
    client.sim.plan("chat", five(framing="close", usage="none", final_delta=False))
    data = b"".join(await exchange(client.sim.port, client.raw_request()))
    assert data.endswith(b'\r\n\r\n{"delta":"a"}\n{"delta":"b"}\n{"delta":"c"}\n{"delta":"d"}\n{"delta":"e"}\n')
    old = client.raw_request().replace(b"HTTP/1.1", b"HTTP/1.0")
    assert b"connection: close" in (await exchange(client.sim.port, old))[0]


@pytest.mark.parametrize(
    ("plan", "status", "part"),
    [
        (Plan(status=401), 401, '{"detail":"Token time expired'),
        (Plan(status=401, json={"detail": "Credentials are not provided"}), 401, "Credentials"),
        (Plan(status=422), 422, '[{"type":"string_type"'),
        (Plan(status=400, json={"detail": "text"}), 400, '{"detail":"text"}'),
        (Plan(json={"error": "diff"}), 200, '{"error":"diff"}'),
        (Plan(json={"data": "", "status_code": 5, "msg": "m"}), 200, '"status_code":5'),
        (Plan(status=404), 404, '{"detail":"Not Found"}'),
        (Plan(page="502"), 502, "<title>502 Bad Gateway</title>"),
        (Plan(status=503), 503, "503 Service Temporarily Unavailable"),
        (Plan(status=504), 504, "504 Gateway Time-out"),
        (Plan(status=500), 500, "500 Internal Server Error"),
        (Plan(status=502, body=""), 502, ""),
        (Plan(status=503, body="overloaded", headers={"content-type": "text/plain"}), 503, "overloaded"),
        (Plan(body=""), 200, ""),
        (Plan(page="portal"), 200, "Sign in to use this network"),
        (Plan(status=429), 429, "Too Many Requests"),
        (Plan(status=429, headers={"Retry-After": "3"}), 429, "detail"),
        (Plan(status=302, headers={"Location": "/elsewhere"}, body=""), 302, ""),
    ],
)
async def test_errors_in_place_of_a_stream(client, plan, status, part):
    """Each status, each form of body."""
    client.sim.plan("chat", plan)
    async with (
        client.chat(headers={"X": "y"})
        if status != 302
        else client.session.post("/codeapi/chat_auth", allow_redirects=False) as reply
    ):
        text = await reply.text()
        assert reply.status == status
        assert part in text
        assert bool(text) is bool(part)
        assert reply.headers["Content-Type"] == (
            "text/html" if "<" in text else plan.headers.get("content-type", "application/json")
        )
        assert reply.headers.get("Retry-After") == plan.headers.get("Retry-After")
    assert client.sim.counters.chats == 0


async def test_a_401_can_come_once_or_for_ever(client):
    """By the number of times."""
    client.sim.plan("chat", Plan(status=401), times=1)
    statuses = []
    for _ in range(2):
        async with client.chat() as reply:
            statuses.append(reply.status)
    client.sim.plan("chat", Plan(status=401), times=None)
    for _ in range(3):
        async with client.chat() as reply:
            statuses.append(reply.status)
    assert statuses == [401, 200, 401, 401, 401]


async def test_connections_can_be_refused_for_a_while(client):
    """And the port is the same afterwards."""
    port = client.sim.port
    client.sim.refuse(0.1)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
    await client.sim.log.wait(lambda: client.sim.listening, 5)
    assert await client.text("repeat: a") == "a"
    assert client.sim.port == port


async def test_a_restart_keeps_accounts_and_log(client):
    """Stopped, refused, started on the same port, and the token is still good."""
    port = client.sim.port
    await client.sim.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.body()
    assert await client.sim.start(port=port) == port
    assert await client.text("repeat: a") == "a"
    assert len(client.sim.requests()) == 2


async def test_idle_connections_can_be_closed(client):
    """As a proxy does when one was silent for long."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.sim.port)
    writer.write(client.raw_request())
    await reader.readuntil(b"}\n\r\n0\r\n\r\n")
    client.sim.plan("chat", five(cut="stall", cut_after=1))
    async with client.chat() as reply:
        await reply.content.readline()
        assert client.sim.close_idle() == 1
        assert await reader.read() == b""
        client.sim.release()
        assert b'"e"' in await reply.read()
    writer.close()


async def test_requests_in_one_segment_are_answered_in_order(client, exchange):
    """Pipelined, also behind a slow one."""
    client.sim.plan("chat", five(interval_ms=5))
    last = client.raw_request("repeat: last").replace(b"Host", b"Connection: close\r\nHost", 1)
    data = b"".join(await exchange(client.sim.port, client.raw_request() + client.raw_request("repeat: mid") + last))
    assert data.count(b"HTTP/1.1 200 OK") == 3
    assert data.index(b'"e"') < data.index(b'"mid"') < data.index(b'"last"')


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (
            b"POST /codeuser/auth/login HTTP/1.1\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
            b"400",
        ),
        (b"GET /codeuser/user_info HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /codeuser/user_info HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /codeuser/user_info HTTP/1.0\r\n\r\n", b"401"),
        (b"GET /x HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", b"100"),
    ],
)
async def test_requests_that_cannot_be_read_are_refused(client, exchange, data, status):
    """And the simulator stays up."""
    reply = b"".join(part for part in await exchange(client.sim.port, data) if part)
    assert reply.startswith(b"HTTP/1.1 " + status)
    assert await client.text("repeat: a") == "a"


@pytest.mark.parametrize("allowed", [True, False])
async def test_preflights_are_answered_with_or_without_permission(serve, allowed):
    """And so are the replies themselves."""
    async with serve(Scenario(cors=allowed)) as client:
        headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
        async with client.session.options("/codeuser/phone_code", headers=headers) as reply:
            assert reply.status == (200 if allowed else 405)
            assert ("Access-Control-Allow-Origin" in reply.headers) is allowed
        async with client.chat(headers=headers) as reply:
            assert ("Access-Control-Allow-Origin" in reply.headers) is allowed
            await reply.read()
        async with client.session.options("/codeuser/phone_code") as reply:
            assert reply.status == 405


@pytest.mark.parametrize("interval", [0, 5])
async def test_the_fast_reply_is_what_the_long_way_would_say(serve, interval):
    """The first request takes the long way, the others do not; only the first is in the log."""
    async with serve(Scenario(fast=Fast(deltas=4, text=" tok", interval_ms=interval))) as client:
        bodies = [(await client.body()).splitlines()[:-1] for _ in range(3)]
        assert bodies[0] == bodies[1] == bodies[2] == [b'{"delta":" tok"}'] * 4 + [b'{"delta":""}']
        assert len(client.sim.requests("chat")) == 1
        assert (client.sim.counters.chats, client.sim.counters.requests["chat"]) == (3, 3)
        async with client.chat() as reply:
            await reply.read()
            assert reply.headers["Content-Type"] == "application/x-ndjson"
            assert "req-arrive-time" in reply.headers


async def test_the_fast_reply_is_for_known_tokens_that_still_count(serve, clock):
    """The shortcut is no hole."""
    async with serve(Scenario(fast=Fast())) as client:
        await client.body()
        clock.seconds += 86_411
        async with client.chat() as reply:
            assert reply.status == 401
        await client.login()
        await client.body()
        client.sim.expire()
        async with client.chat() as reply:
            assert reply.status == 401
        client.access = "x"
        async with client.chat() as reply:
            assert reply.status == 401


async def test_plans_go_before_the_fast_reply(serve):
    """Queued ones and lasting ones."""
    async with serve(Scenario(fast=Fast(deltas=1))) as client:
        await client.body()
        client.sim.plan("chat", Plan(text="planned"))
        assert [await client.text() for _ in range(2)] == ["planned", " token"]
        client.sim.set_scenario(Scenario(fast=Fast(), defaults={"chat": Plan(text="lasting")}))
        assert [await client.text() for _ in range(2)] == ["lasting"] * 2


async def test_leaving_a_paced_fast_reply_is_noticed(serve):
    """By the counters."""
    async with serve(Scenario(fast=Fast(interval_ms=50))) as client:
        client.sim.plan("chat", Plan(text="known"))
        await client.body()
        async with client.chat() as reply:
            await reply.content.readline()
            assert client.sim.counters.open_streams == 1
            reply.close()
        await client.sim.wait_closed_by_client()
        assert client.sim.counters.open_streams == 0


def test_it_works_on_uvloop_too():
    """Cuts and resets rely on the event loop's ways."""
    uvloop = pytest.importorskip("uvloop")

    async def scene():
        from fittengate.simulator import Simulator

        sim = Simulator(Scenario(defaults={"chat": five(cut="reset", cut_after=2)}))
        await sim.start()
        async with aiohttp.ClientSession(sim.base_url) as session:
            async with session.post("/codeapi/chat", json={"inputs": ""}) as reply:
                assert await reply.content.readline() == b'{"delta":"a"}\n'
                assert await reply.content.readline() == b'{"delta":"b"}\n'
                with pytest.raises(aiohttp.ClientPayloadError, match="reset"):
                    await reply.content.readline()
            sim.plan("chat", Plan(deltas=("x" * 1000,) * 5000))
            async with session.post("/codeapi/chat", json={"inputs": ""}) as reply:
                assert len(await reply.read()) > 5_000_000
            sim.plan("chat", five(cut="stall", cut_after=1))
            async with session.post("/codeapi/chat", json={"inputs": ""}) as reply:
                await reply.content.readline()
            await sim.wait_closed_by_client()
        await sim.stop()
        return json.dumps([record.outcome for record in sim.requests()])

    assert uvloop.run(scene()) == '["cut", "complete", "left"]'
