"""P11: hostile input gets a clear 4xx as JSON, and the next request works."""

import asyncio
import json

import pytest

from fakes.line import CHAT, KEY, ask, chat, line, request, written

MEGABYTE = 1024 * 1024


async def works(port):
    """Hold the gateway to the other half of the promise: the next request works."""
    assert (await chat(port, "the next one")).status == 200


def body_of(**fields):
    return json.dumps(ask(**fields)).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b"1",
        b"{'single': 'quotes'}",
        b'{"messages": NaN}',
        b"\xff\xfe\x00",
        b"\xef\xbb\xbf{",
        b'{"model": "\xff", "messages": []}',
        b'{"messages":[{"role":"user","content":"\\ud83d"}]}',
        b"[" * 100_000,
        b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"messages":[{"role":"user","content":' + b"[" * 50_000,
        b"\x00" * 1000,
        b'{"messages":[{"role":"user","content":"a"}]} trailing',
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_p11_a_body_that_is_no_request_is_a_400(gateway, simulator, body):
    """Malformed JSON, bombs of depth, bytes that are no UTF-8: a clear 400, and nothing reaches the service."""
    async with gateway.line() as one:
        await one.send(written("POST", CHAT, body))
        reply = await one.reply()
        assert reply.status == 400
        assert reply.headers["content-type"] == "application/json"
        assert reply.error["type"] == "invalid_request_error"
        assert reply.error["message"]
        await one.ask("the next one, on the same connection")
        assert (await one.reply()).status == 200
    assert simulator.counters.requests["chat"] == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": 5}]}, "messages[0].content[1].text"),
        ({"content": [{"type": "hologram"}]}, "messages[0].content[0].type"),
        ({"content": ["a"]}, "messages[0].content[0]"),
        ({"content": [{"type": "image_url", "image_url": {"url": 5}}]}, "messages[0].content[0].image_url.url"),
        ({"model": 5}, "model"),
        ({"model": "x" * 10_000}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"stop": ["a"] * 1000}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 1e999}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"n": 5}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"response_format": {"type": "json"}}, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "objekt"}}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "file:///etc/passwd"}}}},
            "response_format.json_schema.schema",
        ),
    ],
    ids=str,
)
async def test_p11_a_wrong_value_is_a_400_that_names_the_place(gateway, simulator, fields, param):
    """Wrong types and values out of range: ``param`` says where."""
    raw = json.dumps(ask(**fields)).replace("Infinity", "1e999").encode()
    for stream in (b'"stream":true', b'"stream":false'):
        body = raw if "stream" in fields else raw[:-1] + b"," + stream + b"}"
        reply = await gateway.request("POST", CHAT, body)
        assert reply.status == 400
        assert reply.error["param"] == param
        assert reply.error["type"] == "invalid_request_error"
    await works(gateway.port)
    assert simulator.counters.requests["chat"] == 1


async def test_p11_a_long_model_name_is_not_repeated(gateway):
    """An unknown model is a 404 whose message stays short."""
    reply = await gateway.chat(model="no/such-model" * 10)
    assert reply.status == 404
    assert reply.error["code"] == "model_not_found"
    assert len(reply.body) < 1000


async def test_p11_forty_megabytes_are_refused_unread(serve):
    """With a length that says so, and without one: 413, and the process does not grow by what was sent."""
    process = await serve()
    await works(process.port)
    before = process.memory()
    limit = 33_554_432
    async with process.line() as one:
        await one.send(written("POST", CHAT, b"x")[:-1].replace(b"Length: 1", b"Length: 41943040"))
        reply = await one.reply()
        assert reply.status == 413
        assert reply.error["code"] == "body_too_large"
    assert process.memory() - before < 10 * MEGABYTE
    for _ in range(3):
        async with process.line() as one:
            head = (
                f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            await one.send(head.encode())
            sending = asyncio.create_task(_endless(one, 40))
            reply = await one.reply()
            assert reply.status == 413
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    await works(process.port)
    # What one body took may stay with the allocator; three do not pile up.
    assert process.memory() - before < limit * 1.5


async def _endless(one, megabytes):
    piece = b"%x\r\n" % MEGABYTE + b"x" * MEGABYTE + b"\r\n"
    for _ in range(megabytes):
        await one.send(piece)


async def test_p11_many_large_bodies_that_are_refused_leave_memory_flat(serve):
    """Twenty bodies of 8 MB that are no requests come and go; memory comes back down."""
    process = await serve(server_max_body_bytes=10 * MEGABYTE)
    junk = b'{"messages":[' + b"0," * (4 * MEGABYTE)
    for _ in range(3):
        assert (await process.request("POST", CHAT, junk)).status == 400
    async with asyncio.timeout(10):
        # The first receipts bring the database's code in, which stays.
        while b'journal_records{place="disk"} 0.0' not in (await process.request("GET", "/metrics")).body:
            await asyncio.sleep(0.05)
    before = process.memory()
    for _ in range(17):
        assert (await process.request("POST", CHAT, junk)).status == 400
    # What a request held is free when it ends, not when the cycle collector comes by: they do not pile up.
    assert process.memory() - before < 34 * MEGABYTE
    await works(process.port)


@pytest.mark.parametrize(
    "filler", ["X-Filler: " + "a" * 200_000 + "\r\n", "".join(f"X-{n}: a\r\n" for n in range(9000))]
)
async def test_p11_a_head_that_is_too_large_is_a_431(gateway, filler):
    """One huge header or thousands of small ones."""
    reply = await gateway.request("GET", "/v1/models", headers=filler)
    assert reply.status == 431
    assert reply.error["code"] == "head_too_large"
    await works(gateway.port)


async def test_p11_a_head_without_an_end_is_cut_off(gateway):
    """A head that never ends is given up at the limit."""
    async with gateway.line() as one:
        await one.send(b"GET /livez HTTP/1.1\r\nX-Filler: ")
        for _ in range(40):
            await one.send(b"a" * 1024)
        assert (await one.reply()).status == 431
        assert await one.ended()
    await works(gateway.port)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", CHAT), ("DELETE", CHAT), ("PUT", CHAT), ("PATCH", CHAT), ("POST", "/v1/models"), ("POST", "/livez")],
)
async def test_p11_a_wrong_method_is_a_405(gateway, method, path):
    """The path is right, the method is not; the answer says which one is."""
    reply = await gateway.request(method, path)
    assert reply.status == 405
    assert reply.error["code"] == "method_not_allowed"
    await works(gateway.port)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/chat/completions", "/%00", "/v1/chat/completions%00", "/..%2f..%2fetc"]
)
async def test_p11_an_unknown_path_is_a_404_that_names_the_base_url(gateway, path):
    """No key is needed to be told where one should have gone."""
    method = "POST" if path != "/" else "GET"
    reply = await gateway.request(
        method, path if path != "/" else "/nothing", b"{}" if method == "POST" else b"", key=None
    )
    assert reply.status == 404
    assert "/v1" in reply.error["message"]
    await works(gateway.port)


@pytest.mark.parametrize("query", ["?beta=true", "?" + "a=b&" * 5000, "?%00%ff=%zz"])
async def test_p11_a_query_is_ignored(gateway, query):
    """Whatever stands behind the question mark, the path counts."""
    reply = await request(gateway.port, "POST", CHAT + query, body_of())
    assert reply.status == 200


@pytest.mark.parametrize(
    "hosts",
    [
        b"",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nhost: b\r\n",
        b"Host: a b\r\n",
        b"Host: a/b\r\n",
        b"Host: a@b\r\n",
        b"Host: a, b\r\n",
        b"Host: http://a\r\n",
        b"Host: a:b\r\n",
        b"Host: a:1:2\r\n",
        b"Host: [::1\r\n",
        b"Host: \xe4\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/livez", b"http://a/livez"])
async def test_p11_a_request_names_one_host(gateway, hosts, path):
    """None, two, or one that is none (RFC 9112, 3.2): 400, and the connection is closed."""
    async with gateway.line() as one:
        await one.send(b"GET %b HTTP/1.1\r\n%b\r\n" % (path, hosts))
        reply = await one.reply()
        assert reply.status == 400
        assert "Host" in reply.error["message"]
        assert await one.ended()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.0\r\n",
        b"GET /livez HTTP/1.0\r\nHost: a\r\n",
        *[
            b"GET /livez HTTP/1.1\r\nHost: %b\r\n" % host
            for host in (
                b"",
                b"a",
                b" a:80 \t",
                b"A_b.example:5000",
                b"a.",
                b"[::1]:80",
                b"127.0.0.1:",
                b"xn--caf-dma.example",
            )
        ],
    ],
)
async def test_hosts_of_every_form_are_taken(gateway, head):
    """Names, numbers, with a port and without; in HTTP/1.0 none at all."""
    async with gateway.line() as one:
        await one.send(head + b"\r\n")
        assert (await one.reply()).status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /?a=\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n : b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:60]),
)
async def test_p11_what_is_no_http_is_a_400_and_closed(gateway, raw):
    """Bytes that are no HTTP get one JSON error and the end of the connection."""
    async with gateway.line() as one:
        await one.send(raw)
        reply = await one.reply()
        assert reply.status in {400, 404, 405, 413, 431}
        assert reply.error["type"] == "invalid_request_error"
    await works(gateway.port)


SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: smuggled\r\n\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 60\r\n\r\n{}   ",
        b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ],
    ids=lambda framing: repr(framing[:50]),
)
async def test_p11_ambiguous_framing_smuggles_nothing(gateway, framing):
    """Two lengths, a length and chunks, chunks that are none: a 400 and the end, never a second answer."""
    async with gateway.line() as one:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n".encode()
        await one.send(head + framing + SMUGGLED)
        reply = await one.reply()
        assert reply.status == 400
        assert await one.ended()
    await works(gateway.port)


async def test_p11_a_bare_line_feed_starts_no_second_request(gateway):
    """A header that ends in a bare line feed cannot hide a request in what follows."""
    async with gateway.line() as one:
        await one.send(b"GET /livez HTTP/1.1\nHost: a\n\n")
        reply = await one.reply()
        assert reply.status in {200, 400}
    await works(gateway.port)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, gzip", "nonsense"])
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/api/chat", "/v1/responses/input_tokens"])
async def test_p11_a_compressed_body_is_refused(gateway, coding, path):
    """Nothing is unpacked: a small body cannot become a large one. A 415 that says what would be taken (RFC 9110, 15.5.16)."""
    reply = await gateway.request("POST", path, b"\x1f\x8b", headers=f"Content-Encoding: {coding}\r\n")
    assert reply.status == 415
    assert reply.headers["accept-encoding"] == "identity"
    assert "without Content-Encoding" in str(reply.json["error"])


@pytest.mark.parametrize("coding", ["", "identity", "Identity", " identity , "])
async def test_what_is_no_coding_is_taken(gateway, coding):
    """A header that is empty, or says that nothing was done."""
    reply = await gateway.request(
        "POST", CHAT, json.dumps(ask("repeat: a")).encode(), headers=f"Content-Encoding: {coding}\r\n"
    )
    assert reply.status == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/messages", "/v1/completions", "/api/chat"])
@pytest.mark.parametrize("late", [False, True])
async def test_a_mark_before_utf_8_is_passed_over(gateway, path, late):
    """RFC 8259, 8.1: a body may begin with a byte order mark, whole or in pieces; one mark, not two."""
    said = [{"role": "user", "content": "repeat: a"}]
    tools = [{"type": "function", "name": "f", "function": {"name": "f", "parameters": {}}, "input_schema": {}}]
    fields = {"model": "fitten-code", "messages": said, "max_tokens": 9, "input": "a"}
    fields |= {"prompt": "a"} if path == "/v1/completions" else {}
    if path in {CHAT, "/v1/responses"}:
        fields["tools"] = tools
    body = b"\xef\xbb\xbf" + json.dumps(fields).encode()
    for sent, status in ((body, 200), (b"\xef\xbb\xbf" + body, 400)):
        async with gateway.line() as one:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(sent)}\r\n\r\n"
            )
            await one.send(head.encode() + sent[: 2 if late else None])
            if late:
                await asyncio.sleep(0.01)
                await one.send(sent[2:])
            assert (await one.reply()).status == status


@pytest.mark.parametrize("own", ["ok-id_1.2:3", "a" * 128])
async def test_p11_a_sane_request_id_is_kept(gateway, own):
    """The caller's own id comes back, with an answer and with an error."""
    for path in (CHAT, "/nothing"):
        reply = await gateway.request("POST", path, body_of(), headers=f"X-Request-Id: {own}\r\n")
        assert reply.headers["x-request-id"] == own


@pytest.mark.parametrize("own", ["a" * 129, "with space", "<script>", "é"])
async def test_p11_an_odd_request_id_is_replaced(gateway, own):
    """What could break a log line is not repeated."""
    reply = await gateway.request("POST", CHAT, body_of(), headers=f"X-Request-Id: {own}\r\n")
    assert reply.headers["x-request-id"].startswith("req_")


async def _filler(one):
    while True:
        await one.send(b"a" * 1024)
        await asyncio.sleep(0)


async def test_p11_trailers_without_an_end_are_cut_off(gateway):
    """What follows the last chunk of a body is bounded like a head."""
    async with gateway.line() as one:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
        await one.send(head.encode() + b"2\r\n{}\r\n0\r\nX-Filler: ")
        sending = asyncio.create_task(_filler(one))
        reply = await one.reply()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert reply.status == 431
    await works(gateway.port)


@pytest.mark.parametrize("size", [30_000, 33_000, 120_000, 2_000_000])
async def test_p11_a_large_prompt_is_no_large_head(start, simulator, size):
    """Bodies of agents are far larger than any head, and come in one piece or in many."""
    async with start(models={"context_window": 0}) as gateway, gateway.line() as one:
        for stream in (True, False):
            await one.ask("word " * (size // 5), stream=stream)
            assert (await one.reply()).status == 200
    assert simulator.requests("chat")[0].body_size > size


async def test_p11_a_slow_head_holds_nobody_up(gateway):
    """A hundred connections that say half a word: others are served meanwhile."""
    made = [line(gateway.port) for _ in range(100)]
    ones = [await one.__aenter__() for one in made]
    for one in ones:
        await one.send(b"POST /v1/ch")
    await works(gateway.port)
    for one in ones:
        one.leave()
