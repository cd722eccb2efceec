"""Offers to change to another protocol: the request is answered as if they had not been made."""

import asyncio
import json

import pytest

from fakes.line import CHAT, ask, written

OFFERS = [
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
]
BODY = json.dumps(ask("Hello")).encode()


@pytest.mark.parametrize("offer", OFFERS)
async def test_a_request_that_offers_another_protocol_keeps_its_body(gateway, offer):
    """Java's HTTP client offers h2c with each first request: body, streams and the next requests work as ever."""
    async with gateway.line() as one:
        for stream in (False, True):
            body = json.dumps(ask("Hello", stream=stream)).encode()
            await one.send(written("POST", CHAT, body, headers=offer))
            reply = await one.reply()
            assert reply.status == 200
            assert reply.text
        await one.send(written("GET", "/livez", headers=offer))
        assert (await one.reply()).status == 200


@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_in_any_pieces_changes_nothing(gateway, offer):
    """Head, body and the next request in single bytes, all at once, or as chunks."""
    head, _, body = written("POST", CHAT, BODY, headers=offer).partition(b"\r\n\r\n")
    length = b"Content-Length: %d\r\n" % len(BODY)
    chunked = head.replace(length, b"Transfer-Encoding: chunked\r\n")
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for raw in (head + b"\r\n\r\n" + body, chunked + b"\r\n\r\n" + chunks):
        everything = raw + written("GET", "/livez") + raw
        for size in (len(everything), 1):
            async with gateway.line() as one:
                for at in range(0, len(everything), size):
                    await one.send(everything[at : at + size])
                    await asyncio.sleep(0)
                assert [(await one.reply()).status for _ in range(3)] == [200, 200, 200]


async def test_an_offer_with_an_expectation_is_told_to_go_on(gateway):
    """The body is asked for, and read."""
    async with gateway.line() as one:
        head, _, body = written("POST", CHAT, BODY, headers=OFFERS[0] + "Expect: 100-continue\r\n").partition(
            b"\r\n\r\n"
        )
        await one.send(head + b"\r\n\r\n")
        assert (await one.head())[0] == 100
        await one.send(body)
        assert (await one.reply()).status == 200


async def test_a_tunnel_is_refused_and_what_follows_is_nobodys(gateway):
    """CONNECT is answered once, with an error, and the connection ends: what follows it is no request to us."""
    async with gateway.line() as one:
        await one.send(b"CONNECT /v1/models HTTP/1.1\r\nHost: a\r\n\r\n" + written("GET", "/livez"))
        assert (await one.reply()).status in {400, 404, 405}
        assert await one.ended()
    assert (await gateway.chat("the next one")).status == 200


async def test_rubbish_behind_an_offer_is_rubbish(gateway):
    """What is no HTTP is a 400 there too."""
    async with gateway.line() as one:
        await one.send(written("GET", "/livez", headers=OFFERS[0]) + b"\x00\x01\x02\r\n\r\n")
        replies = [await one.reply()]
        if replies[0].status == 200:
            replies.append(await one.reply())
        assert replies[-1].status == 400
        assert await one.ended()
