"""Signing in, tokens, refreshing: the account side over a real socket."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json

import pytest

from fittengate.simulator import Plan, Scenario, SignIn, Tokens, fingerprint
from fittengate.simulator.scenario import AccountRecord

DAY = 86_400
EXPIRED = {"detail": "Token time expired: expired_token: The token is expired"}
INVALID = {"detail": "Invalid token: Signature verification failed."}
MISSING = {"detail": "Credentials are not provided"}
REFRESH = "/codeuser/auth/refresh_access_token"
RENEW = "/codeuser/auth/refresh_refresh_token"


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def test_a_login_gives_tokens_and_the_user(client, clock):
    """With claims in the order and with the lives of the real ones."""
    status, body = await client.login()
    assert status == 200
    assert list(body) == ["access_token", "refresh_token", "user_info"]
    assert len(body["user_info"]["user_id"]) == 24
    assert isinstance(body["user_info"]["client_time"], int)
    for token, kind, life in ((body["access_token"], "access", DAY), (body["refresh_token"], "refresh", 30 * DAY)):
        said = claims(token)
        assert list(said) == ["subject", "type", "exp", "iat", "jti"]
        assert said["subject"] == {"uid": client.user_id}
        assert (said["type"], said["iat"], said["exp"] - said["iat"]) == (kind, int(clock.now()), life)


async def test_tokens_are_signed_with_hmac_sha256(client):
    """By any reader's reckoning."""
    head, payload, signature = client.access.split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "typ": "JWT"}
    expected = hmac.digest(Tokens().secret.encode(), f"{head}.{payload}".encode(), hashlib.sha256)
    assert base64.urlsafe_b64encode(expected).rstrip(b"=").decode() == signature


async def test_a_wrong_password_is_told_in_a_200_body(client):
    """As the real service does it; so is an unknown name and a body of the wrong form."""
    for body in (
        {"username": "demo", "password": "x"},
        {"username": "who", "password": "demo"},
        {},
        [],
        {"username": 1},
    ):
        status, said = await client.json("POST", "/codeuser/auth/login", body)
        assert (status, said) == (200, {"data": "", "status_code": 2, "msg": "用户名或密码不正确"})
    assert client.sim.counters.failed_logins == 5
    assert client.sim.counters.logins == 1


async def test_a_wrong_password_can_be_a_401(serve):
    """On demand."""
    async with serve(Scenario(wrong_password="401"), login=False) as client:
        assert (await client.login(password="x"))[0] == 401


async def test_accounts_of_the_scenario_sign_in_by_name_mail_and_phone(serve):
    """Beside or without the demo account."""
    record = AccountRecord(username="u", password="p", email="u@example.org", phone="+861", user_id="ab" * 12)
    async with serve(Scenario(accounts=(record,), demo_account=False), login=False) as client:
        for name in ("u", "u@example.org", "+861"):
            assert (await client.login(name, "p"))[1]["user_info"]["user_id"] == "ab" * 12
        assert (await client.login())[1]["status_code"] == 2


async def test_the_old_login_leads_to_the_old_key(client):
    """Two steps, three kinds of success."""
    status, body = await client.json("POST", "/codeuser/login", {"username": "demo", "password": "demo"})
    assert (status, body["code"]) == (200, 200)
    status, key = await client.json("GET", "/codeuser/get_ft_token", token=body["data"]["token"])
    assert (status, key["status_code"]) == (200, 0)
    assert key["data"]["fico_token"].startswith("FT_")
    assert len(key["data"]["fico_token"]) == 53
    assert (await client.json("GET", "/codeuser/get_ft_token", token="x"))[0] == 401
    assert await client.json("GET", "/codeuser/get_ft_token") == (401, MISSING)
    _, new = await client.login()
    assert new["user_info"]["token"] == body["data"]["token"]
    status, auto = await client.json("POST", f"/codeuser/auth/auto_login?ft_token={key['data']['fico_token']}")
    assert auto["user_info"]["user_id"] == client.user_id
    assert (await client.json("POST", f"/codeuser/auth/auto_login?ft_token={client.user_id}"))[1]["access_token"]
    assert (await client.json("POST", "/codeuser/auth/auto_login?ft_token=x"))[1]["status_code"] == 2
    assert (await client.json("POST", "/codeuser/login", {"username": "demo"}))[1]["status_code"] == 2


@pytest.mark.parametrize("body", [None, {}])
async def test_a_refresh_gives_a_new_access_token_with_or_without_a_body(client, body):
    """And only that."""
    status, said = await client.json("POST", REFRESH, body, token=client.refresh)
    assert (status, list(said), said["access_token_expires"]) == (200, ["access_token", "access_token_expires"], "P1D")
    assert said["access_token"] != client.access
    assert (await client.json("GET", "/codeuser/user_info", token=said["access_token"]))[0] == 200
    assert (await client.json("GET", "/codeuser/user_info", token=client.access))[0] == 200
    assert (await client.json("POST", REFRESH, body, token=client.refresh))[0] == 200
    assert client.sim.counters.refreshes == 2


async def test_an_access_token_is_no_refresh_token(client):
    """With the words of the real service."""
    assert await client.json("POST", REFRESH, token=client.access) == (
        401,
        {"detail": "Invalid token: 'type' is not 'refresh'"},
    )
    assert client.sim.counters.failed_refreshes == 1


async def test_a_refresh_token_passes_for_an_access_token(serve):
    """Unless the scenario is stricter than the real service."""
    async with serve() as client:
        assert (await client.json("GET", "/codeuser/user_info", token=client.refresh))[0] == 200
    async with serve(Scenario(tokens=Tokens(refresh_as_access=False))) as client:
        assert await client.json("GET", "/codeuser/user_info", token=client.refresh) == (
            401,
            {"detail": "Invalid token: 'type' is not 'access'"},
        )


async def test_tokens_end_after_their_life_and_a_leeway(client, clock):
    """Ten seconds more, not eleven."""
    clock.seconds += DAY + 10
    assert (await client.json("GET", "/codeuser/user_info", token=client.access))[0] == 200
    clock.seconds += 1
    assert await client.json("GET", "/codeuser/user_info", token=client.access) == (401, EXPIRED)
    assert (await client.json("POST", REFRESH, token=client.refresh))[0] == 200
    clock.seconds += 29 * DAY
    assert await client.json("POST", REFRESH, token=client.refresh) == (401, EXPIRED)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc"], ids=["none", "empty", "scheme", "space", "basic"]
)
async def test_no_token_is_told_apart(client, header):
    """From a bad one."""
    headers = {} if header is None else {"Authorization": header}
    assert await client.json("GET", "/codeuser/user_info", headers=headers) == (401, MISSING)


async def test_a_bad_token_is_a_401_or_a_plain_500(serve):
    """Depending on the library behind the service."""
    forged = "a.b.c", "garbage", "é.é.é"
    async with serve() as client:
        for token in (*forged, client.access[:-2], client.access + "A"):
            assert await client.json("GET", "/codeuser/user_info", token=token) == (401, INVALID)
        assert client.sim.counters.refused == 5
    async with serve(Scenario(tokens=Tokens(bad_signature="500"))) as client:
        assert await client.json("GET", "/codeuser/user_info", token="a.b.c") == (500, "Internal Server Error")


async def test_a_refresh_for_a_user_that_is_gone_is_a_404(client):
    """Its tokens are still well signed."""
    client.sim.set_scenario(Scenario(demo_account=False))
    assert await client.json("POST", REFRESH, token=client.refresh) == (404, {"detail": "User not found"})


async def test_both_tokens_can_be_renewed_with_a_bare_json_string(client, clock):
    """The refresh token only when it is due; no header is needed."""
    status, said = await client.json("POST", RENEW, client.refresh)
    assert status == 200
    assert list(said) == ["access_token", "access_token_expires", "refresh_token", "refresh_token_expires"]
    assert (said["refresh_token"], said["refresh_token_expires"]) == ("Not expired", "P30D")
    assert claims(said["access_token"])["type"] == "access"
    clock.seconds += 16 * DAY
    _, said = await client.json("POST", RENEW, client.refresh)
    assert claims(said["refresh_token"])["type"] == "refresh"


@pytest.mark.parametrize("body", ["nonsense", {"refresh_token": "x"}, 5])
async def test_renewing_with_anything_else_is_an_error_body(client, body):
    """Told with a status code inside."""
    status, said = await client.json("POST", RENEW, body)
    assert (status, list(said)) == (200, ["data", "status_code", "msg"])
    assert (await client.json("POST", RENEW, client.access))[1]["status_code"]


async def test_not_expired_is_a_literal(serve, clock):
    """Always, or as long as the newest access token has time left."""
    async with serve(Scenario(tokens=Tokens(access_renewal="never"))) as client:
        _, said = await client.json("POST", REFRESH, token=client.refresh)
        assert said == {"access_token": "Not expired", "access_token_expires": "P1D"}
    async with serve(Scenario(tokens=Tokens(access_renewal="due"))) as client:
        assert (await client.json("POST", REFRESH, token=client.refresh))[1]["access_token"] == "Not expired"
        clock.seconds += 0.6 * DAY
        assert (await client.json("POST", REFRESH, token=client.refresh))[1]["access_token"] != "Not expired"
        assert (await client.json("POST", REFRESH, token=client.refresh))[1]["access_token"] == "Not expired"


async def test_a_refresh_can_withdraw_what_was_before(serve):
    """Earlier access tokens; or the refresh token that was used."""
    async with serve(Scenario(tokens=Tokens(invalidate_previous=True))) as client:
        _, said = await client.json("POST", REFRESH, token=client.refresh)
        assert await client.json("GET", "/codeuser/user_info", token=client.access) == (401, EXPIRED)
        assert (await client.json("GET", "/codeuser/user_info", token=said["access_token"]))[0] == 200
    async with serve(Scenario(tokens=Tokens(rotate_refresh=True))) as client:
        _, said = await client.json("POST", REFRESH, token=client.refresh)
        assert (await client.json("POST", REFRESH, token=client.refresh))[0] == 401
        assert (await client.json("POST", REFRESH, token=said["refresh_token"]))[0] == 200


async def test_tokens_can_be_made_stale_at_once(client):
    """One kind or both; what is made later counts."""
    client.sim.expire("access")
    assert await client.json("GET", "/codeuser/user_info", token=client.access) == (401, EXPIRED)
    assert (await client.json("POST", REFRESH, token=client.refresh))[0] == 200
    client.sim.expire()
    assert (await client.json("POST", REFRESH, token=client.refresh))[0] == 401
    await client.login()
    assert (await client.json("GET", "/codeuser/user_info", token=client.access))[0] == 200


@pytest.mark.parametrize("form", ["no_exp", "opaque"])
async def test_access_tokens_can_have_other_forms(serve, clock, form):
    """The service still knows when they end."""
    async with serve(Scenario(tokens=Tokens(access_form=form))) as client:
        if form == "no_exp":
            assert list(claims(client.access)) == ["subject", "type", "iat", "jti"]
        else:
            assert "." not in client.access
        assert (await client.json("GET", "/codeuser/user_info", token=client.access))[0] == 200
        assert claims(client.refresh)["exp"]
        clock.seconds += DAY + 11
        assert (await client.json("GET", "/codeuser/user_info", token=client.access))[0] == 401


async def test_lives_are_configurable_and_told(serve):
    """In the form of ISO 8601."""
    async with serve(
        Scenario(tokens=Tokens(access_seconds=90, refresh_seconds=2 * DAY, refresh_renewal="always"))
    ) as c:
        _, said = await c.json("POST", RENEW, c.refresh)
        assert (said["access_token_expires"], said["refresh_token_expires"]) == ("PT90S", "P2D")
        assert said["refresh_token"] != "Not expired"
        assert claims(c.access)["exp"] - claims(c.access)["iat"] == 90


async def test_third_party_sign_in_is_ready_after_some_polls(serve):
    """Each client token on its own."""
    async with serve(Scenario(sign_in=SignIn(polls=2, create=True)), login=False) as client:
        assert "<html>" in (await client.json("GET", "/codeuser/fb_sign_in?source=<b>&client_token=t"))[1]
        path = "/codeuser/fb_check_login_auth?client_token=t"
        for _ in range(2):
            assert "access_token" not in (await client.json("GET", path))[1]
        _, said = await client.json("GET", path)
        assert said["create"] is True
        assert (await client.json("GET", "/codeuser/user_info", token=said["access_token"]))[0] == 200
        assert "access_token" not in (await client.json("GET", path.replace("=t", "=u")))[1]
        old = [(await client.json("GET", "/codeuser/fb_check_login?client_token=old"))[1] for _ in range(3)]
        assert old[0]["status_code"] == 1
        assert list(old[2]) == ["token", "create"]


async def test_third_party_sign_in_can_stay_pending(serve):
    """Also without a client token, and for an account that does not exist."""
    async with serve(Scenario(sign_in=SignIn(polls=0, never=True)), login=False) as client:
        assert "access_token" not in (await client.json("GET", "/codeuser/fb_check_login_auth?client_token=t"))[1]
        client.sim.set_scenario(Scenario(sign_in=SignIn(polls=0)))
        assert "access_token" not in (await client.json("GET", "/codeuser/fb_check_login_auth"))[1]
        client.sim.set_scenario(Scenario(sign_in=SignIn(polls=0, username="who")))
        assert "access_token" not in (await client.json("GET", "/codeuser/fb_check_login_auth?client_token=t"))[1]


async def test_the_small_endpoints_answer(serve):
    """Statistics, gray tests, pages, notifications and the rest."""
    async with serve(Scenario(gray={"write_mode_beta": 1})) as client:
        assert await client.json("GET", "/codeuser/gray_test?plan_name=write_mode_beta") == (200, 1)
        assert await client.json("GET", "/codeuser/gray_test?plan_name=x") == (200, 0)
        for path in ("/codeuser/click_count?type=login", "/codeuser/statistic_log?tracker={}"):
            assert await client.json("GET", path) == (200, {"status_code": 0, "msg": ""})
        for name in ("signup", "update_password", "update_password_email", "email_code", "phone_code"):
            assert (await client.json("POST", f"/codeuser/{name}", {"password": "secret"}))[0] == 200
        assert client.sim.requests("account")[0].json == {"password": fingerprint("secret")}
        for path in ("/codeuser/privacy", "/codeuser/agreement_en", "/cvt/register"):
            assert "<html>" in (await client.json("GET", path))[1]
        assert (await client.json("POST", "/codeuser/get_notifications", {"page": 1}, token=client.access))[0] == 200
        assert (await client.json("POST", "/codeuser/get_notifications", {"page": 1}))[0] == 401
        assert await client.json("POST", "/codeapi/chat/feedback", {"inputs": ""}) == (200, {})
        assert (await client.json("POST", "/codeapi/chat/check_invite_code?code=1", {}))[0] == 200
        for path in ("createKnowledgeBase", "getKnowledgeBase", "update_project", "upload_large_file"):
            assert (await client.json("POST", f"/codeapi/rag/{path}", {}))[0] == 200
        assert (await client.json("GET", "/codeapi/rag/filesNameList"))[1]["filesName"] == []
        assert (await client.json("GET", "/codeapi/rag/knowledgeBaseInfo"))[1] == []


async def test_wrong_paths_and_methods_are_told(client):
    """As the framework behind the service tells them."""
    assert await client.json("GET", "/codeapi/nothing") == (404, {"detail": "Not Found"})
    assert await client.json("GET", "/codeuser/auth/login") == (405, {"detail": "Method Not Allowed"})
    assert [record.route for record in client.sim.requests()][1:] == ["unknown", "unknown"]
    async with client.session.head("/codeuser/auth/login") as reply:
        assert (reply.status, reply.headers["Allow"], int(reply.headers["Content-Length"]) > 0) == (405, "POST", True)
    # The connection is still good: a HEAD is answered without a body.
    assert (await client.login())[0] == 200


async def test_a_login_can_be_odd_in_every_way(client):
    """Missing fields, HTML, empty, slow, refused."""
    login = "/codeuser/auth/login", {"username": "demo", "password": "demo"}
    client.sim.plan("login", Plan(drop=("access_token", "user_info"), set={"extra": 1}))
    assert list((await client.json("POST", *login))[1]) == ["refresh_token", "extra"]
    client.sim.plan("login", Plan(page="portal"))
    assert (await client.json("POST", *login))[1].startswith("<!DOCTYPE html>")
    client.sim.plan("login", Plan(body=""))
    assert await client.json("POST", *login) == (200, "")
    client.sim.plan("login", Plan(raw=b"\xff\xfe"))
    async with client.session.post(login[0], json=login[1]) as reply:
        assert await reply.read() == b"\xff\xfe"
    client.sim.plan("login", Plan(status=401))
    assert await client.json("POST", *login) == (401, EXPIRED)
    client.sim.plan("login", Plan(status=202))
    assert (await client.json("POST", *login))[0] == 202
    client.sim.plan("login", Plan(json=[1, 2]))
    assert await client.json("POST", *login) == (200, [1, 2])
    assert client.sim.counters.logins == 3, "only where the work was done"


async def test_concurrent_refreshes_are_counted(client):
    """So that a client's single flight can be tested."""
    await asyncio.gather(*(client.json("POST", REFRESH, token=client.refresh) for _ in range(5)))
    assert client.sim.counters.refreshes == 5
    assert len({record.headers["authorization"] for record in client.sim.requests("refresh")}) == 1
    assert client.sim.requests("refresh")[0].headers["authorization"] == f"Bearer {fingerprint(client.refresh)}"


async def test_a_compressed_request_is_understood_and_a_broken_one_refused(client):
    """On the paths of code completion, where clients send such; a login nobody unpacks."""
    body = gzip.compress(json.dumps({"inputs": "!FCPREFIX!a!FCSUFFIX!!FCMIDDLE!"}).encode())
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    path = f"/codeapi/completion/generate_one_stage/{client.user_id}"
    for data, status in ((body, 200), (body[:-5], 400), (b"plain", 400)):
        async with client.session.post(path, data=data, headers=headers) as reply:
            assert reply.status == status
    login = gzip.compress(b'{"username":"demo","password":"demo"}')
    async with client.session.post("/codeuser/auth/login", data=login, headers=headers) as reply:
        assert (reply.status, (await reply.json())["detail"][0]["type"]) == (422, "json_invalid")


async def test_a_body_that_is_no_json_is_a_422(client):
    """Nor is one that is not said to be: the framework takes it for a text."""
    headers = {"Content-Type": "application/json"}
    async with client.session.post("/codeuser/auth/login", data=b"{", headers=headers) as reply:
        assert (reply.status, (await reply.json())["detail"][0]["type"]) == (422, "json_invalid")
    for kind in ("text/plain", "application/octet-stream"):
        headers = {"Content-Type": kind}
        async with client.session.post("/codeuser/auth/login", data=b"{}", headers=headers) as reply:
            detail = (await reply.json())["detail"][0]
            assert (reply.status, detail["type"], detail["input"]) == (422, "model_attributes_type", "{}")


async def test_one_key_stands_at_the_end_of_a_path(client):
    """Neither nothing nor a path is one."""
    for end in ("", "a/b", f"{client.user_id}/"):
        path = f"/codeapi/completion/generate_one_stage/{end}"
        assert await client.json("POST", path, {"inputs": ""}) == (404, {"detail": "Not Found"})


async def test_keys_that_are_not_the_tokens_are_noted(client):
    """Served all the same: whether the service compares them is not known."""
    marked = {"inputs": "!FCPREFIX!a!FCSUFFIX!!FCMIDDLE!"}
    await client.json("POST", "/codeapi/completion/generate_one_stage/nobody", marked)
    whole = {"inputs": "", "meta_datas": {"filename": "a", "diff": "", "nmd5": hashlib.md5(b"").hexdigest()}}
    path = "/codeapi/completion/generate_one_stage_auth/nobody"
    assert (await client.json("POST", path, whole, token=client.access))[0] == 200
    inputs = "<|user|>\nrepeat: a\n<|end|>\n<|assistant|>"
    for key, told in (("nobody", client.user_id), (client.user_id, "nobody"), (client.user_id, client.user_id)):
        body = {"inputs": inputs, "ft_token": told}
        await client.json("POST", f"/codeapi/chat_auth?ft_token={key}", body, token=client.access)
    noted = [record.problems for record in client.sim.requests() if record.route in {"completion", "chat"}]
    assert [len(problems) for problems in noted] == [1, 2, 1, 1, 0]
