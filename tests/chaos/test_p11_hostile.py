"""P11: every method on every route, and bodies and heads made to hurt: a clear answer, flat memory, and life goes on."""

import asyncio
import contextlib
import json
import time

import pytest

from fakes.chaos import LONG, spread
from fakes.line import CHAT, KEY, written
from fakes.ways import WAYS
from fittengate.dialects import DIALECTS
from fittengate.server.openapi import document

MEGABYTE = 1024 * 1024
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "LINK", "SEARCH")
JSON = "application/json"


def table():
    """Return every path with the methods that its description names; aliases of a dialect take what its first path takes."""
    found = {path: {method.upper() for method in methods} for path, methods in document("0")["paths"].items()}
    for dialect in DIALECTS:
        found |= dict.fromkeys(dialect.paths, found[dialect.paths[0]])
    return {path: methods | ({"HEAD"} if "GET" in methods else set()) for path, methods in found.items()}


def filled(path):
    return path.replace("{id}", "resp_0").replace("{name}", "nobody")


@pytest.mark.parametrize("key", [KEY, None], ids=["with a key", "without"])
async def test_p11_every_method_on_every_route(start, tmp_path, key, cases):
    """What the description names is taken or asks for a key; whatever else is a 405 that says what would be taken."""
    count = 0
    store = {"url": f"sqlite:///{tmp_path / 'own.db'}"}
    async with start(store=store) as gateway:
        for path, allowed in table().items():
            for method in METHODS:
                body = b"{}" if method in {"POST", "PUT", "PATCH"} else b""
                reply = await gateway.request(method, filled(path), body, key=key)
                case = (method, path, reply)
                assert reply.headers["x-request-id"], case
                count += 1
                if method not in allowed:
                    assert reply.status == 405, case
                    assert set(reply.headers["allow"].split(", ")) == allowed, case
                    assert reply.headers["content-type"] == JSON, case
                    assert method == "HEAD" or json.loads(reply.body), case
                    continue
                # Nothing of an empty request can work but what asks for nothing; nobody is the name of no key.
                assert reply.status in {200, 400, 401, 403, 404, 422}, case
                if key is None and reply.status not in {200, 401}:
                    raise AssertionError(case)
                if reply.status >= 400 and method != "HEAD":
                    assert json.loads(reply.body), case
        for method in METHODS:
            assert (await gateway.request(method, "/no/such/path", key=key)).status == 404
        assert (await gateway.chat("the next one")).status == 200
    cases(count)


def bombs():
    """Return bodies that are cheap to send and dear to read, each with its name."""
    depth = 200_000 if LONG else 50_000
    message = b'{"model":"fitten-code","messages":[{"role":"user","content":%b}]}'
    return {
        "depth of lists": message % (b"[" * depth + b"]" * depth),
        "depth of objects": message % (b'{"a":' * depth + b"1" + b"}" * depth),
        "depth without an end": b'{"messages":' + b"[" * depth,
        "depth of both": b'{"tools":' + b'[{"a":' * depth,
        "a number of a million digits": b'{"max_tokens":' + b"9" * MEGABYTE + b"}",
        "a fraction of a million digits": b'{"temperature":0.' + b"1" * MEGABYTE + b"}",
        "an exponent": b'{"temperature":1e999999999}',
        "an exponent below zero": b'{"top_p":1e-99999999999}',
        "minus nothing": b'{"max_tokens":-0}',
        "not a number": b'{"temperature":NaN}',
        "infinity": b'{"temperature":Infinity}',
        "half a character": message % b'"\\ud83d"',
        "half a character in a name": b'{"\\udc00":1}',
        "no UTF-8": message % b'"\xff\xfe"',
        "UTF-8 too long": message % b'"\xc0\xaf"',
        "UTF-8 of a surrogate": message % b'"\xed\xa0\x80"',
        "UTF-8 beyond Unicode": message % b'"\xf5\x80\x80\x80"',
        "UTF-8 cut off": message[:-6] + b"\xe4\xbd",
        "UTF-16": message.decode().encode("utf-16"),
        "UTF-32": message.decode().encode("utf-32"),
        "a mark of order": b"\xef\xbb\xbf{}",
        "control characters": message % b'"a\x00\x01b"',
        "names without end": b"{" + b",".join(b'"k%d":0' % n for n in range(50_000)) + b"}",
        "one name again and again": b"{" + b",".join([b'"messages":[]'] * 50_000) + b"}",
        "names that hash alike": b"{" + b",".join(b'"%d":0' % (n * (2**61 - 1)) for n in range(20_000)) + b"}",
        "messages without end": b'{"model":"fitten-code","messages":[' + b"{}," * 100_000 + b"{}]}",
        "escapes": message % (b'"' + b"\\u0041" * 100_000 + b"\\"),
        "blanks": b" " * MEGABYTE,
        "a script": b"<script>alert(1)</script>",
        "a form": b"model=fitten-code&messages=hello",
        "packed": b"\x1f\x8b\x08\x00" + b"\x00" * 1000,
        "a pattern that runs away": message[:-2] % b'"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"'
        + b',"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"string","pattern":"^(a+)+$"}}}',
    }


PATHS = {way.path: way for way in WAYS}


async def test_p11_bombs_on_every_route(start, cases):
    """Depth, numbers, UTF-8 that is none, names without end: refused in a blink, on every path, and the next one works."""
    count = 0
    many = spread(list(bombs().items()), 99)
    async with start(limits={}) as gateway:
        for path in spread(list(PATHS), 99 if LONG else 4):
            for name, body in many:
                began = time.perf_counter()
                reply = await gateway.request("POST", path, body)
                if reply.status == 200:
                    # Ollama's clients ask for no text to have a model loaded; whatever else they send means nothing.
                    assert path.startswith("/api/"), (path, name, reply)
                    continue
                assert 400 <= reply.status < 500, (path, name, reply)
                assert reply.headers["content-type"] == JSON, (path, name)
                assert len(reply.body) < 4096, "nobody is sent back what was sent"
                assert time.perf_counter() - began < 2, (path, name)
                count += 1
        assert (await gateway.chat("the next one")).status == 200
    cases(count)


async def _sent(one, megabytes):
    """Send a body of so many megabytes in chunks, as far as anybody takes it."""
    piece = b"%x\r\n" % MEGABYTE + b"x" * MEGABYTE + b"\r\n"
    with contextlib.suppress(ConnectionError):
        for _ in range(megabytes):
            await one.send(piece)


async def test_p11_bodies_of_a_hundred_megabytes(serve, cases):
    """Announced or in chunks, with a key or without, on every kind of path: refused, and memory does not follow."""
    process = await serve()
    assert (await process.chat("warm")).status == 200
    before = process.memory()
    count = 0
    head = "POST {} HTTP/1.1\r\nHost: a\r\n{}Transfer-Encoding: chunked\r\n\r\n"
    auth = f"Authorization: Bearer {KEY}\r\n"
    rounds = 5 if LONG else 1
    for path, key, statuses in [
        (CHAT, auth, {413}),
        ("/v1/messages", auth, {413}),
        ("/admin/api/keys", auth, {413, 403}),
        (CHAT, "", {401}),
        ("/nothing", "", {404}),
        ("/livez", "", {405}),
    ] * rounds:
        async with process.line() as one:
            await one.send(head.format(path, key).encode())
            sending = asyncio.create_task(_sent(one, 100))
            reply = await one.reply()
            assert reply.status in statuses, (path, reply)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        async with process.line() as one:
            long = f"POST {path} HTTP/1.1\r\nHost: a\r\n{key}Content-Length: {100 * MEGABYTE}\r\n\r\n"
            await one.send(long.encode())
            assert (await one.reply()).status in statuses
        count += 2
    # Of a body that came in chunks up to the limit (32 MB) may be held, once.
    assert process.memory() - before < 48 * MEGABYTE
    assert (await process.chat("the next one")).status == 200
    cases(count)


def heads():
    """Return heads made to hurt."""
    start = f"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n"
    return {
        "one header of a megabyte": start + "X: " + "a" * MEGABYTE + "\r\n\r\n",
        "a name of a megabyte": start + "X" * MEGABYTE + ": a\r\n\r\n",
        "a hundred thousand headers": start + "".join(f"X-{n}: a\r\n" for n in range(100_000)) + "\r\n",
        "the same header again and again": start + "X: a\r\n" * 100_000 + "\r\n",
        "empty headers": start + "X:\r\n" * 100_000 + "\r\n",
        "a path of a megabyte": start.replace("/v1/models", "/" + "a" * MEGABYTE) + "\r\n",
        "a query of a megabyte": start.replace("/v1/models", "/v1/models?" + "a" * MEGABYTE) + "\r\n",
        "a method of a megabyte": "A" * MEGABYTE + start[3:] + "\r\n",
        "a version of a megabyte": start.replace("1.1", "1." + "1" * MEGABYTE) + "\r\n",
        "a key of a megabyte": start.replace(KEY, "k" * MEGABYTE) + "\r\n",
        "cookies": start + "Cookie: " + "a=b; " * 200_000 + "\r\n\r\n",
        "lines without an end": start + "X: a\r\n" * 100_000,
        "an extension of a megabyte": start.replace("GET /v1/models", f"POST {CHAT}")
        + "Transfer-Encoding: chunked\r\n\r\n2;"
        + "a" * MEGABYTE
        + "\r\n{}\r\n0\r\n\r\n",
    }


async def test_p11_head_bombs(serve, cases):
    """Heads, trailers and extensions of megabytes: one 4xx and the end, and memory stays where it was."""
    process = await serve()
    assert (await process.chat("warm")).status == 200
    before = process.memory()
    for name, head in heads().items():
        async with process.line() as one:
            sending = asyncio.create_task(one.send(head.encode()))
            reply = await one.reply()
            assert 400 <= reply.status < 500, (name, reply)
            assert reply.error["message"], name
            sending.cancel()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await sending
        async with process.line() as one:
            await one.send(written("GET", "/livez"))
            assert (await one.reply()).status == 200
    assert process.memory() - before < 16 * MEGABYTE
    assert (await process.chat("the next one")).status == 200
    cases(len(heads()))
