"""Pictures: inline ones reach the prompt, remote ones only from public addresses."""

import asyncio
import base64

import pytest

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


def picture(url):
    return {"type": "image_url", "image_url": {"url": url, "detail": "auto"}}


async def test_an_inline_picture_reaches_the_prompt(gateway, simulator):
    """It stands in the first line of the user's turn, as the service reads pictures."""
    reply = await gateway.chat([{"type": "text", "text": "What is this?"}, picture(DATA_URL)])
    assert reply.status == 200
    assert f"There is a picture: image/png, {len(PNG)} bytes." in reply.text
    (_, text), *_ = simulator.requests("chat")[-1].turns
    assert text == f"![Base64 Image]({DATA_URL})\nWhat is this?"


async def test_of_two_pictures_the_newest_is_sent_and_the_other_named(gateway, simulator):
    """The service reads one a message: the older one leaves a note, not an error."""
    reply = await gateway.chat([picture(DATA_URL), picture(DATA_URL), {"type": "text", "text": "And?"}])
    assert reply.status == 200
    (_, text), *_ = simulator.requests("chat")[-1].turns
    assert text.count("![Base64 Image]") == 1
    assert "[image left out: the service reads one per message]" in text


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]", "2130706433"],
)
async def test_p11_a_remote_picture_on_an_inner_address_is_refused(gateway, simulator, host):
    """A listener on this machine is never called, and the answer names the place."""
    called = asyncio.Event()

    async def caught(_reader, writer):
        called.set()
        writer.close()

    trap = await asyncio.start_server(caught, "127.0.0.1", 0)
    async with trap:
        port = trap.sockets[0].getsockname()[1]
        for url in (f"http://{host}:{port}/a.png", f"http://{host}/a.png"):
            reply = await gateway.chat([picture(url)])
            assert reply.status == 400
            assert reply.error["param"] == "messages[0].content[0].image_url.url"
        assert not called.is_set()
    assert simulator.counters.requests["chat"] == 0


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "data:text/html;base64,PGI+",
        "data:image/png;base64,???",
        "",
        "javascript:1",
    ],
)
async def test_p11_what_is_no_picture_is_a_400(gateway, simulator, url):
    """Other schemes, other types, broken data: a 400 that names the place, the service untouched."""
    reply = await gateway.chat([picture(url)])
    assert reply.status == 400
    assert reply.error["param"].startswith("messages[0].content[0].image_url")
    assert simulator.counters.requests["chat"] == 0
