"""The routes of the contract: aliases, keys, open paths, CORS."""

import json

import pytest

from fakes.line import CHAT, KEY, ask

BODY = json.dumps(ask("hello")).encode()


@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        "/chat/completions",
        "/v1/v1/chat/completions",
        CHAT + "/",
        "/v1//chat/completions",
        "//v1/chat//completions/",
    ],
)
async def test_every_alias_of_a_path_answers(gateway, path):
    """The base-URL slips that everybody makes."""
    assert (await gateway.request("POST", path, BODY)).status == 200


@pytest.mark.parametrize("path", ["//v1/chat/completions", "/v1//chat/completions", "//chat/completions//"])
async def test_a_slash_too_many_does_no_harm(gateway, path):
    """A base URL that ends in a slash, put together with a path that begins with one."""
    assert (await gateway.request("POST", path, BODY)).status == 200
    assert (await gateway.request("POST", path, BODY, key="wrong")).status == 401
    assert (await gateway.request("GET", "//v1/models")).json["object"] == "list"
    assert (await gateway.request("GET", "/v1//models/gpt-5")).json["id"] == "gpt-5"
    assert (await gateway.request("GET", "//admin//api/keys", key=None)).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/models",
        "/v1/v1/models",
        "/v1//models",
        "/v1/models/fitten-code",
        "/models/gpt-4o",
        "/v1//models/gpt-4o",
    ],
)
async def test_every_alias_of_the_models_answers(gateway, path):
    """List and single models, under each prefix, and only with a key."""
    assert (await gateway.request("GET", path)).status == 200
    assert (await gateway.request("GET", path, key=None)).status == 401


async def test_the_model_list_has_both_shapes(gateway):
    """OpenAI's list and Anthropic's page in one body."""
    body = (await gateway.request("GET", "/v1/models?limit=1000")).json
    assert body["object"] == "list"
    assert body["has_more"] is False
    assert body["first_id"] == body["data"][0]["id"] == "fitten-code"
    assert body["last_id"] == body["data"][-1]["id"]
    assert {"id", "object", "type", "display_name", "created_at", "context_window"} <= set(body["data"][0])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/health", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("HEAD", "/", 200),
        ("GET", "/", 200),
        ("HEAD", "/api/hello", 200),
        ("GET", "/nothing", 404),
        ("POST", "/nothing", 404),
    ],
)
async def test_what_is_open_needs_no_key(gateway, method, path, status):
    """Probes, pages, agents' hellos and wrong paths."""
    reply = await gateway.request(method, path, key=None)
    assert reply.status == status
    assert reply.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "header", [f"Authorization: Bearer {KEY}", f"authorization: bearer {KEY}", f"x-api-key: {KEY}", f"X-Api-Key:{KEY}"]
)
async def test_a_key_is_taken_in_either_header(gateway, header):
    """``Authorization: Bearer`` and ``x-api-key``."""
    assert (await gateway.request("POST", CHAT, BODY, key=None, headers=f"{header}\r\n")).status == 200


@pytest.mark.parametrize(
    "header", ["", "Authorization: Basic abc\r\n", f"Authorization: Bearer {KEY}x\r\n", "x-api-key: \r\n"]
)
async def test_no_or_a_wrong_key_is_a_401_in_the_tongue_of_the_client(gateway, simulator, header):
    """Before the body is read and the service touched."""
    reply = await gateway.request("POST", CHAT, b"{not json", key=None, headers=header)
    assert reply.status == 401
    assert reply.error["code"] == "invalid_api_key"
    assert KEY not in reply.body.decode()
    assert simulator.counters.requests["chat"] == 0


BEARER, X_API_KEY = f"Authorization: Bearer {KEY}\r\n", f"x-api-key: {KEY}\r\n"


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/messages/count_tokens", "/v1/models"])
@pytest.mark.parametrize(
    "headers",
    [
        f"{BEARER}Authorization: Bearer other\r\n",
        f"Authorization: Bearer other\r\n{BEARER}",
        f"{BEARER}authorization: Basic abc\r\n",
        f"x-api-key: other\r\n{X_API_KEY}",
        f"X-Api-Key: \r\n{BEARER}{X_API_KEY}",
    ],
)
async def test_a_header_that_names_two_keys_is_a_400(gateway, simulator, path, headers):
    """Whoever stands before the gateway may have judged the other one, so neither is taken, whichever came last."""
    method = "GET" if path.endswith("models") else "POST"
    reply = await gateway.request(method, path, BODY if method == "POST" else b"", key=None, headers=headers)
    assert reply.status == 400
    assert "came several times" in reply.body.decode()
    assert KEY not in reply.body.decode()
    assert simulator.counters.requests["chat"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        f"{BEARER}{BEARER}",
        f"{X_API_KEY}x-api-key: {KEY}\r\n",
        f"{BEARER}accept: a/b\r\naccept: c/d\r\n",
        f"Authorization: Bearer nobody\r\n{X_API_KEY}",
        f"{BEARER}x-api-key: nobody\r\n",
    ],
)
async def test_a_key_that_was_merely_doubled_or_stands_beside_a_placeholder_is_taken(gateway, headers):
    """Proxies double headers, and clients that must send both send something in the other one."""
    assert (await gateway.request("POST", CHAT, BODY, key=None, headers=headers)).status == 200


PREFLIGHT = "Origin: https://page.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n"


async def test_cors_is_off_unless_it_is_set(gateway):
    """No page of the web may call a gateway that was not told so."""
    reply = await gateway.request("POST", CHAT, BODY, headers="Origin: https://page.example\r\n")
    assert "access-control-allow-origin" not in reply.headers
    assert (await gateway.request("OPTIONS", CHAT, key=None, headers=PREFLIGHT)).status == 405


async def test_cors_lets_the_named_origins_in(start):
    """Preflight without a key, and the headers on answers, for that origin alone."""
    async with start(server={"cors_origins": ("https://page.example",)}) as gateway:
        reply = await gateway.request("OPTIONS", CHAT, key=None, headers=PREFLIGHT)
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == "https://page.example"
        answer = await gateway.request("POST", CHAT, BODY, headers="Origin: https://page.example\r\n")
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        shown = answer.headers["access-control-expose-headers"].split(", ")
        # What the vendors' SDKs look at, also in a page: the request's id, and whether and when to try again.
        assert {"x-request-id", "request-id", "retry-after", "x-should-retry", "x-fittengate-usage"} <= set(shown)
        other = await gateway.request("POST", CHAT, BODY, headers="Origin: https://other.example\r\n")
        assert "access-control-allow-origin" not in other.headers
        # An SDK in a page reads the request's id from either, and does not try again what it need not.
        shown = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"x-request-id", "request-id", "retry-after", "x-should-retry", "x-fittengate-usage"} <= shown


async def test_cors_lets_a_page_reach_this_machine_and_read_what_sdks_read(start):
    """A browser asks whether a page may call a private address; SDKs in it look at the headers that tell of retries."""
    told = {"request-id", "x-should-retry", "x-fittengate-usage", "anthropic-ratelimit-tokens-remaining", "retry-after"}
    async with start(server={"cors_origins": ("https://page.example",)}) as gateway:
        private = f"{PREFLIGHT}Access-Control-Request-Private-Network: true\r\n"
        reply = await gateway.request("OPTIONS", CHAT, key=None, headers=private)
        assert reply.status == 200
        assert reply.headers["access-control-allow-private-network"] == "true"
        answer = await gateway.request("POST", CHAT, BODY, headers="Origin: https://page.example\r\n")
        assert told <= {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}


async def test_readyz_follows_the_account(gateway):
    """200 as soon as the account can be used."""
    assert (await gateway.chat("hello")).status == 200
    assert (await gateway.request("GET", "/readyz", key=None)).json == {"status": "ready"}
