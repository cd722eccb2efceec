"""Which path means what: paths, methods and names. The work is done in the modules that the table names."""

from typing import NamedTuple

from msgspec import structs

from fittengate.simulator import chat, models, users
from fittengate.simulator.plan import Plan
from fittengate.simulator.reply import Refused, Reply, Request, json_reply, read_json, refusal
from fittengate.simulator.service import Handler, Service


class Route(NamedTuple):
    """One thing the service does."""

    name: str
    """As plans and the log call it; several paths may share one."""
    method: str
    handler: Handler


def find(method: str, path: str) -> Route | None:
    """Return what is at a path, None if nothing is; raises Refused (405) for the wrong method."""
    route = _EXACT.get(path)
    if route is None:
        # One key stands behind a prefix: nothing, or a path, is no key.
        before, slash, key = path.rpartition("/")
        route = _PREFIXES.get(before + slash) if key else None
    if route is not None and method != route.method:
        reply = refusal(405, "Method Not Allowed").reply
        raise Refused(structs.replace(reply, headers={"allow": route.method}))
    return route


def _chat(service: Service, request: Request, plan: Plan) -> Reply:
    return _stream(service, request, plan, users.bearer(service, request).subject.uid)


def _open_chat(service: Service, request: Request, plan: Plan) -> Reply:
    if not service.scenario.anonymous_chat:
        raise refusal(404, "Not Found")
    return _stream(service, request, plan)


def _stream(service: Service, request: Request, plan: Plan, user_id: str = "") -> Reply:
    reply = chat.chat(service.scenario, request, plan, user_id)
    service.log.counters.chats += 1
    return reply


def _models(service: Service, request: Request, _plan: Plan) -> Reply:
    users.bearer(service, request)
    return models.model_list(service.scenario.models)


def _complete(service: Service, request: Request, _plan: Plan) -> Reply:
    key = request.path.rpartition("/")[2]
    if service.accounts.of_key(key) is None:
        request.problems.append("the key in the path is nobody's")
    reply = service.completions.answer(key, read_json(request), request)
    service.log.counters.completions += 1
    return reply


def _complete_auth(service: Service, request: Request, plan: Plan) -> Reply:
    if users.bearer(service, request).subject.uid != request.path.rpartition("/")[2]:
        request.problems.append("the key in the path and the token are not the same user's")
    return _complete(service, request, plan)


def _nothing(_service: Service, _request: Request, _plan: Plan) -> Reply:
    return json_reply({})


def _invite(_service: Service, _request: Request, _plan: Plan) -> Reply:
    return json_reply({"status": 0})


def _bases(_service: Service, _request: Request, _plan: Plan) -> Reply:
    return json_reply([])


def _base(_service: Service, _request: Request, _plan: Plan) -> Reply:
    return json_reply({"knowledgeBaseName": "", "description": ""})


def _files(service: Service, _request: Request, _plan: Plan) -> Reply:
    return json_reply({"time": int(service.clock.now()), "filesName": []})


def _uploaded(_service: Service, _request: Request, _plan: Plan) -> Reply:
    return json_reply({"message": "ok"})


_ACCOUNT_POSTS = ("signup", "update_password", "update_password_email", "email_code", "phone_code")
_PAGES = ("privacy", "privacy_en", "agreement", "agreement_en")
_RAG_POSTS = (
    "createKnowledgeBase",
    "joinKnowledgeBase",
    "updateKnowledgeBase",
    "deleteKnowledgeBase",
    "deleteFile",
    "getLocalKnowledgeBaseRefs",
    "need_update_project",
    "update_project",
    "save_file_and_directory_names",
    "add_files_and_directories",
)

_EXACT = {
    "/codeuser/auth/login": Route("login", "POST", users.login),
    "/codeuser/login": Route("old_login", "POST", users.old_login),
    "/codeuser/get_ft_token": Route("get_ft_token", "GET", users.get_ft_token),
    "/codeuser/auth/refresh_access_token": Route("refresh", "POST", users.refresh),
    "/codeuser/auth/refresh_refresh_token": Route("refresh_refresh", "POST", users.refresh_refresh),
    "/codeuser/auth/auto_login": Route("auto_login", "POST", users.auto_login),
    "/codeuser/user_info": Route("user_info", "GET", users.info),
    "/codeuser/get_notifications": Route("notifications", "POST", users.notifications),
    "/codeuser/fb_sign_in": Route("sign_in", "GET", users.sign_in),
    "/codeuser/fb_check_login_auth": Route("sign_in_poll", "GET", users.sign_in_poll),
    "/codeuser/fb_check_login": Route("old_sign_in_poll", "GET", users.old_sign_in_poll),
    "/codeuser/gray_test": Route("gray_test", "GET", users.gray_test),
    "/codeuser/click_count": Route("statistics", "GET", users.done),
    "/codeuser/statistic_log": Route("statistics", "GET", users.done),
    "/codeuser/get_completion_version": Route("completion_version", "GET", users.completion_version),
    "/codeuser/pc_check_auth": Route("project_context", "GET", users.project_context),
    "/cvt/register": Route("page", "GET", users.text_page),
    "/codeapi/chat_auth": Route("chat", "POST", _chat),
    "/codeapi/chat": Route("chat", "POST", _open_chat),
    "/codeapi/rag/chat": Route("chat", "POST", _open_chat),
    "/codeapi/chat/models": Route("models", "GET", _models),
    "/codeapi/chat/feedback": Route("feedback", "POST", _nothing),
    "/codeapi/chat/check_invite_code": Route("invite", "POST", _invite),
    "/codeapi/rag/knowledgeBaseInfo": Route("rag", "GET", _bases),
    "/codeapi/rag/getKnowledgeBase": Route("rag", "POST", _base),
    "/codeapi/rag/filesNameList": Route("rag", "GET", _files),
    "/codeapi/rag/upload_large_file": Route("rag", "POST", _uploaded),
    "/codeapi/rag/upload": Route("rag", "POST", _uploaded),
    **{f"/codeuser/{name}": Route("account", "POST", users.done) for name in _ACCOUNT_POSTS},
    **{f"/codeuser/{name}": Route("page", "GET", users.text_page) for name in _PAGES},
    **{f"/codeapi/rag/{name}": Route("rag", "POST", _nothing) for name in _RAG_POSTS},
}

_PREFIXES = {
    **{
        f"/codeapi/completion{version}/generate_one_stage{kind}/": Route("completion", "POST", handler)
        for version in ("", "2_1", "2_2", "2_3")
        for kind, handler in (("", _complete), ("_auth", _complete_auth))
    },
    "/codeapi/completion/accept/": Route("accept", "POST", _nothing),
}

NAMES = frozenset(route.name for route in (*_EXACT.values(), *_PREFIXES.values())) | {
    "preflight",
    "unknown",
}
"""Every name that a plan may be made for; ``preflight`` is a browser's question, ``unknown`` are all other paths."""
