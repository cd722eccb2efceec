"""The account side of the service: everything under ``/codeuser`` (protocol: account)."""

import html

from fittengate.simulator import jwt
from fittengate.simulator.accounts import ft_key, old_token, user_info
from fittengate.simulator.plan import Plan
from fittengate.simulator.reply import HTML, Refused, Reply, Request, json_reply, message, read_json, text_reply
from fittengate.simulator.scenario import AccountRecord
from fittengate.simulator.service import Service

_POLLS_KEPT = 256


def login(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer a login with tokens."""
    return json_reply(service.accounts.login_body(_signed_in(service, request)))


def old_login(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer a login of the old kind with its token."""
    record = _signed_in(service, request)
    data = {
        "token": old_token(record),
        "user_id": record.user_id,
        "username": record.username,
        "nickname": record.nickname,
        "email": record.email,
        "phone": record.phone,
        "jobs": [],
        "like_jobs": [],
        "liked_count": 0,
        "viewed_count": 0,
    }
    return json_reply({"code": 200, "message": "ok", "data": data})


def get_ft_token(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer an old token with the old API key."""
    record = service.accounts.of_old_token(request.headers.get("authorization", ""))
    data = {
        "fico_token": ft_key(record),
        "expire_time": 0,
        "expire_token": {},
        "phone": record.phone,
        "user_id": record.user_id,
        "username": record.username,
    }
    return json_reply({"status_code": 0, "msg": "ok", "data": data})


def refresh(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer a refresh token with an access token; the body does not matter."""
    counters = service.log.counters
    try:
        claims = service.accounts.check(request.headers.get("authorization", ""), "refresh")
        body = service.accounts.refreshed(claims)
    except Refused:
        counters.failed_refreshes += 1
        raise
    counters.refreshes += 1
    return json_reply(body)


def refresh_refresh(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer a refresh token, which is the whole body, with tokens of both kinds."""
    counters = service.log.counters
    token = read_json(request)
    try:
        claims = service.accounts.read(token) if isinstance(token, str) else None
    except Refused:
        claims = None
    if claims is None or claims.type != "refresh":
        counters.failed_refreshes += 1
        return json_reply(message(3, "登录已失效"))
    body = service.accounts.both_refreshed(claims)
    counters.refreshes += 1
    return json_reply(body)


def auto_login(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer an old key with tokens."""
    record = service.accounts.of_key(request.key)
    if record is None:
        service.log.counters.failed_logins += 1
        return json_reply(message(2, "用户不存在"))
    service.log.counters.logins += 1
    return json_reply(service.accounts.login_body(record))


def info(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer who the token is for."""
    return json_reply(user_info(service.accounts.owner(bearer(service, request))))


def notifications(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer that there are none; the real shape is unknown."""
    bearer(service, request)
    return json_reply({"status_code": 0, "msg": "", "data": []})


def sign_in(_service: Service, request: Request, _plan: Plan) -> Reply:
    """Show the page that a browser would be sent to for third-party sign-in."""
    source = html.escape(request.query.get("source", ""))
    return text_reply(f"<html><body><p>Signing in with {source} in the simulator.</p></body></html>\n", HTML)


def sign_in_poll(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer whether a third-party sign-in is through, and with tokens once it is."""
    rules = service.scenario.sign_in
    record = service.accounts.named(rules.username) if _arrived(service, request) else None
    if record is None:
        return json_reply(message(1, "等待登录"))
    service.log.counters.logins += 1
    return json_reply(service.accounts.login_body(record) | {"create": rules.create})


def old_sign_in_poll(service: Service, request: Request, _plan: Plan) -> Reply:
    """Do the same in the old form, with the old token."""
    rules = service.scenario.sign_in
    record = service.accounts.named(rules.username) if _arrived(service, request) else None
    if record is None:
        return json_reply(message(1, "等待登录"))
    service.log.counters.logins += 1
    return json_reply({"token": old_token(record), "create": rules.create})


def gray_test(service: Service, request: Request, _plan: Plan) -> Reply:
    """Answer the number of a gray test."""
    return text_reply(str(service.scenario.gray.get(request.query.get("plan_name", ""), 0)))


def completion_version(service: Service, _request: Request, _plan: Plan) -> Reply:
    """Answer which completion path to use, as a JSON string."""
    return json_reply(service.scenario.completion.version)


def project_context(service: Service, _request: Request, _plan: Plan) -> Reply:
    """Answer whether project context may be sent."""
    return text_reply(service.scenario.completion.project_context)


def done(_service: Service, _request: Request, _plan: Plan) -> Reply:
    """Answer that it is done, whatever it is."""
    return json_reply({"status_code": 0, "msg": ""})


def text_page(_service: Service, request: Request, _plan: Plan) -> Reply:
    """Show a page in the place of privacy rules and the like."""
    return text_reply(f"<html><body><h1>{html.escape(request.path)}</h1></body></html>\n", HTML)


def bearer(service: Service, request: Request) -> jwt.Claims:
    """Return the claims of the request's access token; raises Refused."""
    try:
        return service.accounts.check(request.headers.get("authorization", ""))
    except Refused:
        service.log.counters.refused += 1
        raise


def _signed_in(service: Service, request: Request) -> AccountRecord:
    try:
        record = service.accounts.sign_in(read_json(request))
    except Refused:
        service.log.counters.failed_logins += 1
        raise
    service.log.counters.logins += 1
    return record


def _arrived(service: Service, request: Request) -> bool:
    rules = service.scenario.sign_in
    token = request.query.get("client_token", "")
    count = service.polls.pop(token, 0) + 1
    service.polls[token] = count
    while len(service.polls) > _POLLS_KEPT:
        del service.polls[next(iter(service.polls))]
    return bool(token) and not rules.never and count > rules.polls
