"""Remote pictures: how they are fetched, and what ends a fetch."""

import asyncio
from base64 import b64encode
from contextlib import asynccontextmanager, suppress

import pytest

from fittengate.core.ask import Ask
from fittengate.core.conversation import Conversation, Image, Message, Text
from fittengate.core.faults import Fault, FaultKind
from fittengate.prompting.render import render
from fittengate.upstream.picture_data import MAX_PICTURE_BYTES
from fittengate.upstream.pictures import AT_A_TIME, Pictures

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PNG_URL = "data:image/png;base64," + b64encode(PNG).decode()
ANY_PORT = range(1, 65536)
GONE = (ConnectionError, RuntimeError)  # the latter is uvloop's


class Site:
    """A server on loopback that answers each request with what ``answer`` writes, and remembers the heads."""

    def __init__(self, answer):
        self.answer, self.heads, self.connections, self.left = answer, [], 0, asyncio.Event()
        self.port, self.written = 0, 0

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            await self.answer(self, head, writer)
            await writer.drain()
        except (*GONE, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()

    async def until_left(self, writer):
        """Write a little for as long as somebody is there."""
        with suppress(*GONE):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        self.left.set()


class Names:
    """A resolver: takes the answers of a host in turn, the last one for good; other hosts are this machine."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    async def __call__(self, host, port):
        self.asked.append(host)
        answers = self.answers.get(host.partition(".")[0], [["127.0.0.1"]])
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, Exception):
            raise found
        return found


def this_machine(address):
    return str(address) == "127.0.0.1"


@asynccontextmanager
async def site(answer, **options):
    """Serve, with a client that may call this machine under the names of ``.test``."""
    here = Site(answer)
    server = await asyncio.start_server(here.serve, "127.0.0.1", 0, ssl=options.pop("tls", None))
    here.port = server.sockets[0].getsockname()[1]
    here.names = options.setdefault("resolver", Names())
    options.setdefault("allow", this_machine)
    here.pictures = Pictures(user_agent="fittengate/test", ports=ANY_PORT, **options)
    try:
        yield here
    finally:
        await here.pictures.close()
        server.close()


def ask(*urls):
    """One turn for each URL."""
    messages = []
    for number, url in enumerate(urls):
        messages += [Message("user", (Image(url, f"messages[{number}]"),)), Message("assistant", (Text("ok"),))]
    return Ask(Conversation(tuple(messages)))


def reply(body=PNG, status="200 OK", *headers, framed=True):
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if framed else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body


def always(data):
    async def answer(here, head, writer):
        writer.write(data)

    return answer


def by_path(**replies):
    async def answer(here, head, writer):
        writer.write(replies[head.split(" ")[1].strip("/").partition(".")[0]])

    return answer


def redirect(location, *headers):
    return reply(b"", "302 Found", f"Location: {location}", *headers)


async def refused(pictures, *urls):
    with pytest.raises(Fault) as caught:
        await pictures.inline(ask(*urls))
    assert caught.value.kind is FaultKind.CALLER_BAD_REQUEST
    assert caught.value.param == "messages[0]"
    return caught.value.message


async def test_an_ask_without_remote_pictures_comes_back_itself():
    """No pictures, or good data URLs: the same object, and no session is made."""
    pictures = Pictures(user_agent="fittengate/test")
    for conversation in (
        Conversation((Message("user", (Text("hi"),)),)),
        Conversation((Message("user", (Image(PNG_URL, "messages[0]"),)),)),
    ):
        given = Ask(conversation)
        assert await pictures.inline(given) is given
    assert pictures._http is None
    await pictures.close()


async def test_a_picture_is_fetched_by_name_and_nothing_of_ours_goes_out():
    """The host, the path and the query are the client's; the only header about us is the user agent."""
    async with site(always(reply(PNG, "200 OK", "Content-Type: text/plain"))) as here:
        given = ask(f"http://pictures.test:{here.port}/a%20b.png?sig=1%2F2#top")
        done = await here.pictures.inline(given)
    assert done.conversation.messages[0].parts == (Image(PNG_URL, "messages[0]"),)
    assert done.conversation.messages[1] is given.conversation.messages[1]
    assert render(done.conversation).prompt.startswith(f"<|user|>\n![Base64 Image]({PNG_URL})\n")
    first, *headers = here.heads[0].split("\r\n")
    assert first == "GET /a%20b.png?sig=1%2F2 HTTP/1.1"
    assert sorted(line.partition(":")[0].lower() for line in headers if line) == [
        "accept",
        "accept-encoding",
        "connection",
        "host",
        "user-agent",
    ]
    assert f"Host: pictures.test:{here.port}" in headers
    assert "User-Agent: fittengate/test" in headers
    assert "Accept-Encoding: identity" in headers


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    """A proxy would resolve the name by itself, so none is asked even where one is set."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with site(always(reply())) as here:
        await here.pictures.inline(ask(f"http://pictures.test:{here.port}/"))
        assert here.connections == 1


async def test_cookies_are_neither_kept_nor_sent():
    """What one hop sets, the next does not get."""
    async with site(by_path(a=redirect("/b", "Set-Cookie: id=1; Path=/"), b=reply())) as here:
        await here.pictures.inline(ask(f"http://pictures.test:{here.port}/a"))
        assert len(here.heads) == 2
        assert "cookie" not in "".join(here.heads).lower()


async def test_a_url_in_several_turns_is_fetched_once():
    """Each place gets the picture, the server one request."""
    async with site(always(reply())) as here:
        done = await here.pictures.inline(ask(*[f"http://pictures.test:{here.port}/a"] * 3))
        assert here.connections == 1
    assert [message.parts[0].url for message in done.conversation.messages[::2]] == [PNG_URL] * 3


async def test_fetches_of_one_request_run_together_four_at_a_time():
    """The fifth is not even looked up before one of the first four is done."""
    four, go = asyncio.Event(), asyncio.Event()

    async def answer(here, head, writer):
        if len(here.heads) == AT_A_TIME:
            four.set()
        await go.wait()
        writer.write(reply())

    async with site(answer) as here:
        running = asyncio.create_task(
            here.pictures.inline(ask(*[f"http://p{number}.test:{here.port}/" for number in range(8)]))
        )
        await asyncio.wait_for(four.wait(), 5)
        assert len(here.names.asked) == AT_A_TIME
        go.set()
        done = await running
    assert len(here.names.asked) == 8
    assert all(message.parts[0].url == PNG_URL for message in done.conversation.messages[::2])


async def test_p3_a_caller_that_leaves_stops_the_fetches():
    """P3: cancelling closes the connections at once."""
    begun = asyncio.Event()

    async def answer(here, head, writer):
        writer.write(reply(b"", framed=False))
        begun.set()
        await here.until_left(writer)

    async with site(answer) as here:
        running = asyncio.create_task(here.pictures.inline(ask(f"http://pictures.test:{here.port}/")))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(here.left.wait(), 5)


async def test_the_first_failure_stops_the_other_fetches():
    """One picture that cannot be had ends the request, without waiting for slow ones."""

    async def answer(here, head, writer):
        if "/bad" in head:
            writer.write(reply(b"", "404 Not Found"))
            return
        writer.write(reply(b"", framed=False))
        await here.until_left(writer)

    async with site(answer) as here:
        base = f"http://pictures.test:{here.port}"
        assert "status 404" in await refused(here.pictures, f"{base}/bad", f"{base}/slow")
        await asyncio.wait_for(here.left.wait(), 5)


async def test_up_to_three_redirects_are_followed():
    """Relative and absolute ones; the fourth is refused."""
    async with site(always(b"")) as here:
        base = f"http://pictures.test:{here.port}"
        here.answer = by_path(
            z=redirect("/a"),
            a=redirect("b"),
            b=redirect(f"http://other.test:{here.port}/c"),
            c=redirect("/d"),
            d=reply(),
        )
        done = await here.pictures.inline(ask(f"{base}/a"))
        assert done.conversation.messages[0].parts[0].url == PNG_URL
        assert here.names.asked == ["pictures.test", "pictures.test", "other.test", "other.test"]
        assert "more than 3 times" in await refused(here.pictures, f"{base}/z")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_kind_of_redirect_is_followed(status):
    """RFC 9110, 15.4: what else is in the three hundreds names no other place by ``Location`` alone."""
    async with site(by_path(a=reply(b"", f"{status} Elsewhere", "Location: /b"), b=reply())) as here:
        await here.pictures.inline(ask(f"http://pictures.test:{here.port}/a"))
        assert [head.split(" ")[1] for head in here.heads] == ["/a", "/b"]


async def test_a_picture_that_is_said_to_be_unpacked_is_taken():
    """``identity`` in any case and with blanks around it says that nothing was done to it; so does nothing at all."""
    for said in ("identity", " Identity ", ""):
        async with site(always(reply(PNG, "200 OK", f"Content-Encoding: {said}"))) as here:
            await here.pictures.inline(ask(f"http://pictures.test:{here.port}/"))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (reply(b"", "404 Not Found"), "status 404"),
        (reply(PNG, "500 Oops"), "status 500"),
        (reply(PNG, "206 Partial Content"), "status 206"),
        (reply(b"", "302 Found"), "status 302"),
        (reply(b"", "300 Multiple Choices", "Location: /b"), "status 300"),
        (redirect("http://[::1"), "malformed"),
        (redirect("ftp://pictures.test/"), "full http"),
        (reply(b"<html>not here</html>", "200 OK", "Content-Type: image/png"), "PNG, JPEG, GIF or WebP"),
        (reply(b""), "empty"),
        (reply(PNG, "200 OK", "Content-Encoding: gzip"), "packed"),
        (reply(PNG, "200 OK", "Content-Encoding: br, identity"), "packed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5242881\r\n\r\n" + PNG, "larger than 5 MiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", "larger than 5 MiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999999\r\n\r\n", "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + PNG, "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + PNG, "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + PNG, "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + PNG[:5], "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n" + PNG, "could not be fetched"),
        (b"", "could not be fetched"),
        (b"HTTP/1.1 2", "could not be fetched"),
        (b"SSH-2.0-OpenSSH_9.7\r\n", "could not be fetched"),
        (b"\xff\xfe\0\0" * 100, "could not be fetched"),
    ],
)
async def test_p11_whatever_a_server_sends_is_a_picture_or_a_400(data, told):
    """P11: the client hears what was wrong and where, and the next request works."""
    async with site(always(data)) as here:
        message = await refused(here.pictures, f"http://pictures.test:{here.port}/")
        assert told in message
        assert "127.0.0.1" not in message
        here.answer = always(reply())
        await here.pictures.inline(ask(f"http://pictures.test:{here.port}/"))


async def test_p11_a_body_without_end_is_cut_at_the_limit():
    """P11: without a length the bytes are counted while they come, and the connection is closed."""

    async def answer(here, head, writer):
        writer.write(reply(PNG, framed=False))
        while True:
            writer.write(bytes(65536))
            here.written += 65536
            await writer.drain()

    async with site(answer) as here:
        assert "larger than 5 MiB" in await refused(here.pictures, f"http://pictures.test:{here.port}/")
        await asyncio.wait_for(here.left.wait(), 5)
        # What the system's own buffers hold was written, too.
        assert here.written < 4 * MAX_PICTURE_BYTES


async def test_p11_the_body_of_a_redirect_is_not_read():
    """P11: a redirect whose body never ends is followed at once."""

    async def answer(here, head, writer):
        if "/a" in head:
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n")
            await here.until_left(writer)
        else:
            writer.write(reply())

    async with site(answer) as here:
        await here.pictures.inline(ask(f"http://pictures.test:{here.port}/a"))
        await asyncio.wait_for(here.left.wait(), 5)


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX: ", reply(PNG, framed=False)])
async def test_p11_a_server_that_drips_is_given_up(beginning):
    """P11: the time is for the whole picture, so that a byte now and then does not help."""

    async def answer(here, head, writer):
        writer.write(beginning)
        await here.until_left(writer)

    async with site(answer, total_seconds=0.2) as here:
        assert "in time" in await refused(here.pictures, f"http://pictures.test:{here.port}/")
        await asyncio.wait_for(here.left.wait(), 5)


async def test_p11_a_name_that_nobody_answers_for_is_given_up():
    """P11: looking up the host counts towards the time."""

    async def never(host, port):
        await asyncio.Event().wait()

    async with site(always(reply()), total_seconds=0.05, resolver=never) as here:
        assert "in time" in await refused(here.pictures, f"http://pictures.test:{here.port}/")


async def test_closing_twice_is_fine():
    """The second close does nothing, with connections made or none."""
    pictures = Pictures(user_agent="fittengate/test")
    await pictures.close()
    await pictures.close()
    async with site(always(reply())) as here:
        await here.pictures.inline(ask(f"http://pictures.test:{here.port}/"))
        await here.pictures.close()
        await here.pictures.close()
