"""``serve --also-ollama``: Ollama's paths on a port of their own, without a key, for programs of this machine alone."""

import asyncio
import json
import socket
from signal import SIGTERM

import ollama
import pytest

from fakes.line import line, until
from fakes.running import environment, start_process
from fittengate.simulator import Plan

ASKED = json.dumps({"model": "fitten-code", "prompt": "hello", "stream": False}).encode()


@pytest.fixture
async def gateway(serve):
    """Run the gateway as a process with its second port; give the process and that port."""
    process = await serve("--also-ollama", server_ollama_port=0)
    port = await process.says(r"without a key: http://127\.0\.0\.1:(\d+), for every program on this machine")
    return process, int(port)


async def ask(port, method="GET", path="/api/tags", body=b"", *, hosts=("127.0.0.1:11434",), headers=""):
    """Send a request as a browser or a program would."""
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"Host: {host}\r\n" for host in hosts) + headers
    if method == "POST":
        head += f"Content-Length: {len(body)}\r\n"
    async with line(port) as one:
        await one.send(f"{head}\r\n".encode() + (body if method == "POST" else b""))
        return await one.reply(bodiless=method == "HEAD")


async def test_an_unmodified_client_needs_no_key(gateway, simulator):
    """Lists, shows, talks, completes code; the log calls it by the name of the door."""
    process, port = gateway
    async with ollama.AsyncClient(f"http://127.0.0.1:{port}") as client:
        names = [model.model for model in (await client.list()).models]
        assert "fitten-code:latest" in names
        assert (await client.show(names[0])).capabilities
        simulator.plan("chat", Plan(deltas=("Hello", " you."), interval_ms=20))
        pieces = [
            one async for one in await client.chat("fitten-code", [{"role": "user", "content": "x"}], stream=True)
        ]
        assert "".join(piece.message.content for piece in pieces) == "Hello you."
        filled = await client.generate("fitten-code", "def add(a, b):", suffix="\n")
        assert filled.response == "\n    return a + b"
    log = process.state_dir / "fitten_api.log"
    await until(lambda: log.exists() and "/api/generate" in log.read_text())
    assert " ollama " in next(one for one in log.read_text().splitlines() if "/api/generate" in one).replace("=", " ")


async def test_behind_the_door_is_nothing_else(gateway):
    """No other dialect, no page, no probe; errors are in Ollama's form. The usual port still wants a key."""
    process, port = gateway
    for method in ("GET", "HEAD"):
        reply = await ask(port, method, "/")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert (await ask(port, path="/")).body == b"Ollama is running"
    assert (await ask(port, path="/api/version/")).json["version"].count(".") == 2
    for method, path in [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("GET", "/models"),
        ("GET", "/livez"),
        ("GET", "/docs"),
        ("GET", "/api/hello"),
        ("POST", "/api/pull"),
        ("POST", "/"),
    ]:
        reply = await ask(port, method, path, ASKED)
        assert (reply.status, list(reply.json)) == (404, ["error"]), path
    assert (await ask(port, "DELETE", "/api/tags")).status == 405
    for method, path in [
        ("GET", "/api/tags"),
        ("GET", "/api/version"),
        ("POST", "/api/show"),
        ("POST", "/api/generate"),
    ]:
        assert (await process.request(method, path, ASKED, key=None)).status == 401
        assert (await process.request(method, path, ASKED)).status == 200


async def test_p9_what_comes_in_has_the_limits_of_a_key_that_has_none_of_its_own(serve):
    """P9: together, whoever they are; without such limits nothing is counted."""
    process = await serve("--also-ollama", server_ollama_port=0, limits_rpm=1)
    port = int(await process.says(r"without a key: http://127\.0\.0\.1:(\d+), for every program on this machine"))
    assert (await ask(port)).status == 200
    for method, path in [("GET", "/api/tags"), ("POST", "/api/generate"), ("POST", "/api/show")]:
        reply = await ask(port, method, path, ASKED)
        assert (reply.status, list(reply.json)) == (429, ["error"])
        assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert (await process.request("GET", "/api/tags")).status == 200


VISITORS = [
    (["localhost"], "", 200),
    (["LOCALHOST:1"], "Origin: http://localhost:3000\r\n", 200),
    (["[::1]:11434"], "Origin: http://[::1]\r\n", 200),
    (["127.0.0.1"], "Origin: https://127.0.0.1:8443\r\n", 200),
    (["127.0.0.1"], "Sec-Fetch-Site: none\r\n", 200),
    # A page of the web whose name was given this machine's address.
    (["page.example:11434"], "", 403),
    (["127.0.0.1.page.example"], "", 403),
    (["localhost.page.example"], "", 403),
    (["127.0.0.1@page.example"], "", 400),
    (["localhost", "page.example"], "", 400),
    (["page.example", "localhost"], "", 400),
    (["localhost:1:2"], "", 400),
    ([""], "", 403),
    ([], "", 400),
    # A page of the web that knows the address.
    (["127.0.0.1:11434"], "Origin: https://page.example\r\n", 403),
    (["127.0.0.1:11434"], "Origin: http://localhost.page.example\r\n", 403),
    (["127.0.0.1:11434"], "Origin: http://localhost:1.page.example\r\n", 403),
    (["127.0.0.1:11434"], "Origin: null\r\n", 403),
    (["127.0.0.1:11434"], "Origin: \r\n", 403),
    (["127.0.0.1:11434"], "Origin: http://localhost\r\nOrigin: https://page.example\r\n", 403),
    (["127.0.0.1:11434"], "Sec-Fetch-Site: cross-site\r\n", 403),
    (["127.0.0.1:11434"], "Sec-Fetch-Site: same-site\r\n", 403),
]


async def test_p11_pages_of_the_web_do_not_come_in(gateway, simulator):
    """P11: by their own name or by this machine's, a page is refused before anything is asked; programs are not."""
    _, port = gateway
    for hosts, headers, status in VISITORS:
        asked = len(simulator.requests("chat"))
        for method, path in [("POST", "/api/generate"), ("GET", "/api/tags"), ("GET", "/")]:
            reply = await ask(port, method, path, ASKED, hosts=hosts, headers=headers)
            assert reply.status == status, (hosts, headers, path)
            assert "access-control-allow-origin" not in reply.headers
            if status == 403:
                assert list(reply.json) == ["error"]
        assert len(simulator.requests("chat")) == asked + (status == 200)


async def test_what_comes_in_is_bounded_as_everywhere(serve):
    """P6, P11: heads and bodies over the cap are refused; a body that is no JSON too."""
    process = await serve("--also-ollama", server_ollama_port=0, server_max_body_bytes=100, server_max_head_bytes=1000)
    port = int(await process.says(r"without a key: http://127\.0\.0\.1:(\d+)"))
    assert (await ask(port, "POST", "/api/show", b'{"model":"%b"}' % (b"x" * 200))).status == 413
    assert (await ask(port, "POST", "/api/chat", b"x" * 101)).status == 413
    assert (await ask(port, "POST", "/api/chat", b"[")).status == 400
    assert (await ask(port, "POST", "/api/chat", b"{}", headers=f"X: {'x' * 1000}\r\n")).status == 431


async def test_a_stream_at_the_door_is_drained_too(gateway, simulator):
    """P7: what runs when the signal comes ends cleanly, and the process with code 0."""
    process, port = gateway
    simulator.plan("chat", Plan(deltas=("Hello", " you."), interval_ms=300))
    async with ollama.AsyncClient(f"http://127.0.0.1:{port}") as client:
        stream = await client.chat("fitten-code", [{"role": "user", "content": "x"}], stream=True)
        first = await anext(stream)
        process.signal(SIGTERM)
        rest = [piece async for piece in stream]
    assert first.message.content + "".join(piece.message.content for piece in rest) == "Hello you."
    assert rest[-1].done_reason == "stop"
    assert await process.ended() == 0


async def test_off_unless_it_is_asked_for(serve):
    """Without the flag nothing is said of it and nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await serve(server_ollama_port=port)
    assert "without a key" not in process.stderr
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken_is_one_line(simulator, tmp_path):
    """It says what to do; no key is made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        state = tmp_path / "state"
        given = environment(simulator, state, server_ollama_port=port, server_api_key=None)
        process = await start_process(given, state, "--also-ollama")
        assert await process.ended() == 1
    (said,) = process.stderr.splitlines()
    assert f"port {port} is in use" in said
    assert "--also-ollama" in said
    assert not (state / "keys.json").exists()
