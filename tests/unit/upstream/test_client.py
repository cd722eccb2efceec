"""The client on real sockets: proxy, authorities, and what a status or a broken connection means."""

import asyncio
import shutil
import ssl
import subprocess

import pytest

from fittengate.core.account import Tokens
from fittengate.core.faults import FaultKind
from fittengate.upstream.fitten.client import NETWORK_ERRORS, FittenClient, Route, broken
from fittengate.upstream.fitten.wire import Call

TOKENS = Tokens("http://service.test", "me", "uid", "access-token", "refresh", None, None)


class Clock:
    def now(self):
        return 1_800_000_000.0

    def monotonic(self):
        return 0.0


class Server:
    """Answers every request with the same bytes and keeps what was asked."""

    def __init__(self, answer, context=None):
        self.answer, self.context, self.asked = answer, context, []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode())
        writer.write(self.answer)
        await writer.drain()
        writer.close()


def reply(status, body=b"{}", headers=""):
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{headers}\r\n".encode() + body


async def use(base_url, *, proxy="", context=None):
    return FittenClient(Route(base_url, base_url, 5, proxy, "fittengate/test"), Clock(), lambda: context)


async def test_a_proxy_is_used_for_the_service_and_never_for_this_machine():
    """The service's name goes to the proxy unresolved; loopback is called directly."""
    async with Server(reply("200 OK")) as proxy, Server(reply("200 OK")) as local:
        url = f"http://127.0.0.1:{proxy.port}"
        client = await use("http://service.test", proxy=url)
        assert (await client.send(Call("POST", "/login", b"{}"))).status == 200
        await client.close()
        client = await use(f"http://127.0.0.1:{local.port}", proxy=url)
        assert (await client.send(Call("POST", "/login", b"{}"))).status == 200
        await client.close()
    assert [head.split("\r\n")[0] for head in proxy.asked] == ["POST http://service.test/login HTTP/1.1"]
    assert len(local.asked) == 1


async def test_a_request_tells_nothing_but_itself():
    """An honest user agent, the token, no compression, no cookie, no name of the machine or user."""
    async with Server(reply("200 OK", b"", "set-cookie: a=b\r\n")) as server:
        client = await use(f"http://127.0.0.1:{server.port}")
        response = await client.open_chat(TOKENS, b'{"inputs":""}')
        response.close()
        response = await client.open_chat(TOKENS, b'{"inputs":""}')
        response.close()
        await client.close()
    names = {line.split(":")[0].lower() for line in server.asked[1].split("\r\n")[1:] if line}
    assert names == {"host", "user-agent", "authorization", "content-type", "accept", "content-length"}
    assert "User-Agent: fittengate/test" in server.asked[1]


async def test_the_model_list_is_asked_for_in_the_version_that_is_known():
    """The header that the list's one known client sends; no other request has it."""
    async with Server(reply("200 OK")) as server:
        client = await use(f"http://127.0.0.1:{server.port}")
        await client.send_models(Call("GET", "/codeapi/chat/models", None, "access-token"))
        await client.send(Call("POST", "/login", b"{}"))
        await client.close()
    assert ["x-api-version: v2" in head.lower() for head in server.asked] == [True, False]


async def test_what_an_answer_asks_to_wait_comes_with_it():
    """`Retry-After` of login, renewal and model list."""
    async with Server(reply("429 Too Many Requests", b"{}", "retry-after: 17\r\n")) as server:
        client = await use(f"http://127.0.0.1:{server.port}")
        answer = await client.send(Call("POST", "/login", b"{}"))
        await client.close()
    assert (answer.status, answer.retry_after) == (429, 17.0)


@pytest.mark.parametrize(
    ("status", "headers", "kind", "again", "wait"),
    [
        ("429 Too Many Requests", "retry-after: 17\r\n", FaultKind.UPSTREAM_RATE, False, 17),
        ("429 Too Many Requests", "", FaultKind.UPSTREAM_RATE, False, 10),
        ("422 Unprocessable", "", FaultKind.UPSTREAM_REFUSED, False, None),
        ("413 Too Large", "", FaultKind.CALLER_TOO_LONG, False, None),
        ("502 Bad Gateway", "", FaultKind.UPSTREAM_BROKEN, True, None),
        ("503 Unavailable", "retry-after: 30\r\n", FaultKind.UPSTREAM_BROKEN, False, 30),
        ("302 Found", "location: http://elsewhere.test/\r\n", FaultKind.UPSTREAM_BROKEN, False, None),
    ],
)
async def test_a_status_is_translated_by_its_number(status, headers, kind, again, wait):
    """A refusal is not tried again, retry-after is passed on, a redirect is not followed with the token."""
    async with Server(reply(status, b"<html>secret detail</html>", headers)) as server:
        client = await use(f"http://127.0.0.1:{server.port}")
        failure = await client.refusal(await client.open_chat(TOKENS, b"{}"))
        await client.close()
    assert (failure.fault.kind, failure.again, failure.fault.retry_after) == (kind, again, wait)
    assert "secret" not in failure.fault.message
    assert len(server.asked) == 1


async def test_a_service_that_is_not_there_is_a_fault_worth_another_try():
    """Refused connections are translated by type."""
    async with Server(b"") as server:
        port = server.port
    client = await use(f"http://127.0.0.1:{port}")
    with pytest.raises(NETWORK_ERRORS) as caught:
        await client.open_chat(TOKENS, b"{}")
    await client.close()
    assert broken(caught.value).again
    assert broken(caught.value).fault.kind is FaultKind.UPSTREAM_BROKEN


async def test_an_endless_answer_to_a_small_request_is_given_up():
    """Login and model list are read up to a megabyte."""
    async with Server(reply("200 OK", b"x" * 1_500_000)) as server:
        client = await use(f"http://127.0.0.1:{server.port}")
        answer = await client.send(Call("GET", "/models"))
        await client.close()
    assert answer.status == 0
    assert answer.error


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with the openssl command")
async def test_a_further_authority_is_trusted_only_when_it_is_named(tmp_path):
    """upstream.ca_file: without it the certificate is refused, and that is not tried again."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            cert,
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ],
        check=True,
        capture_output=True,
    )
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=str(cert))
    async with Server(reply("200 OK"), served) as server:
        url = f"https://localhost:{server.port}"
        client = await use(url, context=trusting)
        assert (await client.send(Call("GET", "/x"))).status == 200
        await client.close()
        client = await use(url)
        with pytest.raises(NETWORK_ERRORS) as caught:
            await client.open_chat(TOKENS, b"{}")
        await client.close()
    assert not broken(caught.value).again
    assert "ca_file" in broken(caught.value).fault.message
