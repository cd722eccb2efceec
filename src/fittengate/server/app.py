"""The route table. Paths only: what happens behind a path is elsewhere."""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

from starlette.middleware.cors import CORSMiddleware

from fittengate.core.faults import Fault, FaultKind
from fittengate.dialects import BY_HEADER, COUNTING, DIALECTS, OLLAMA, RESPONSES
from fittengate.dialects.base import CountingDialect, Dialect
from fittengate.server.admin import ADMIN_METHODS, Admin, admin_path
from fittengate.server.exchange import Exchanges
from fittengate.server.http import HEAD_TOO_LARGE
from fittengate.server.kept import COMPACT, KEPT_METHODS, answer_kept, kept_path, refuse_compact
from fittengate.server.pages import Pages
from fittengate.server.probes import Probes
from fittengate.server.request import OUTLET, Handler, Receive, Request, Scope, Send

MODEL_PREFIXES = ("/v1/models/", "/models/", "/v1/v1/models/")

OLLAMA_PREFIX = "/api/"
"""Below it errors are in Ollama's form, also where there is nothing."""


class Routes(Protocol):
    """What brings further paths, each with what answers it."""

    gets: Mapping[str, Handler]
    posts: Mapping[str, Handler]


_SLASHES = re.compile("/{2,}")


class App:
    """The ASGI application: one table of exact paths, and one prefix for single models."""

    def __init__(
        self,
        exchanges: Exchanges,
        probes: Probes,
        pages: Pages,
        admin: Admin,
        make_id: Callable[[], str],
        *others: Routes,
    ) -> None:
        self._exchanges = exchanges
        self._admin = admin
        self._make_id = make_id
        self._probes = probes
        self._posts: dict[str, Dialect] = {path: dialect for dialect in DIALECTS for path in dialect.paths}
        self._counts: dict[str, CountingDialect] = {
            path: dialect for dialect in COUNTING for path in dialect.count_paths
        }
        self._default = DIALECTS[0]
        self._gets: Mapping[str, Handler] = {
            "/livez": probes.live,
            "/health": probes.live,
            "/readyz": probes.ready,
            "/props": probes.props,
            "/openapi.json": pages.openapi,
            "/docs": pages.docs,
            "/docs.js": pages.script,
            "/": pages.home,
            "/api/hello": pages.hello,
            "/v1/models": probes.models,
            "/models": probes.models,
            "/v1/v1/models": probes.models,
            **{path: handler for routes in others for path, handler in routes.gets.items()},
        }
        self._tells: Mapping[str, Handler] = {
            **{f"{path}/{COMPACT}": partial(refuse_compact, exchanges) for path in RESPONSES.paths},
            **{path: handler for routes in others for path, handler in routes.posts.items()},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            # Lifespan is the server's business, web sockets are nobody's.
            raise RuntimeError(f"no handler for {scope['type']}")
        request = Request(scope, receive, send, self._make_id)
        path = request.path
        dialect = self._posts.get(path)
        if dialect is not None and request.method == "POST" and HEAD_TOO_LARGE not in scope:
            await self._exchanges.handle(dialect, request)
            return
        if "//" in path:
            path = _SLASHES.sub("/", path)
        await self._other(request, path.rstrip("/") or "/")

    async def _other(self, request: Request, path: str) -> None:
        dialect = self._speaking(request, path)
        request.timing = self._exchanges.stopwatch()
        try:
            if HEAD_TOO_LARGE in request.scope:
                raise Fault(
                    FaultKind.CALLER_HEAD_TOO_LARGE, "The head of the request is too large (server.max_head_bytes)."
                )
            if path in self._posts:
                if request.method != "POST":
                    raise _wrong_method(request, "POST")
                await self._exchanges.handle(dialect, request)
                return
            if path in self._counts:
                if request.method != "POST":
                    raise _wrong_method(request, "POST")
                await self._exchanges.count(self._counts[path], request)
                return
            if (target := admin_path(_SLASHES.sub("/", request.raw_path).rstrip("/"))) is not None:
                methods = ADMIN_METHODS[target[0]]
                if request.method not in methods:
                    raise _wrong_method(request, ", ".join(methods))
                await self._admin.answer(request, target)
                return
            if (kept := kept_path(path)) is not None:
                if request.method not in KEPT_METHODS[kept[1]]:
                    raise _wrong_method(request, ", ".join(KEPT_METHODS[kept[1]]))
                await answer_kept(self._exchanges, request, kept)
                return
            await self._plain(request, path)
        except Fault as fault:
            await self._exchanges.answer_fault(dialect, request, fault)
            self._exchanges.note(dialect, request, fault)

    async def _plain(self, request: Request, path: str) -> None:
        """Answer what is no question to the service. Raises Fault."""
        get, post = self._gets.get(path), self._tells.get(path)
        if get is None and path.startswith(MODEL_PREFIXES):
            get = self._probes.model
        if get is None and post is None:
            raise _no_route(path)
        if request.method == "POST" and post is not None:
            await post(request)
        elif request.method in {"GET", "HEAD"} and get is not None:
            await get(request)
        else:
            allowed = [*(("GET", "HEAD") if get is not None else ()), *(("POST",) if post is not None else ())]
            raise _wrong_method(request, ", ".join(allowed))

    def _speaking(self, request: Request, path: str) -> Dialect:
        """Return the dialect whose path this is or begins with; for others the one whose header came, or the default."""
        for known, dialect in self._posts.items():
            if path.startswith(known):
                return dialect
        for name, dialect in BY_HEADER.items():
            if request.header(name):
                return dialect
        return OLLAMA[0] if path.startswith(OLLAMA_PREFIX) else self._default


def _wrong_method(request: Request, allowed: str) -> Fault:
    return Fault(
        FaultKind.CALLER_WRONG_METHOD, f"{request.path} does not take {request.method}. Use {allowed}.", detail=allowed
    )


def _no_route(path: str) -> Fault:
    shown = path if len(path) <= 100 else path[:100] + "…"
    return Fault(
        FaultKind.CALLER_NO_ROUTE,
        f"There is nothing at {shown}. The base URL is http://HOST:PORT/v1 for OpenAI clients, http://HOST:PORT for "
        "Anthropic clients; all paths are at /docs.",
    )


_LIMITS = [(what, of) for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")]

_EXPOSED = (
    "x-request-id",
    "request-id",
    "server-timing",
    "x-fittengate-model",
    "x-fittengate-ignored",
    "x-fittengate-warning",
    "x-fittengate-memory",
    "x-fittengate-usage",
    "retry-after",
    "x-should-retry",
    *(f"x-ratelimit-{what}-{of}" for what, of in _LIMITS),
    *(f"anthropic-ratelimit-{of}-{what}" for what, of in _LIMITS),
)
"""Headers of answers that a page of the web may read."""


def with_cors(app: App, origins: tuple[str, ...]) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return the application with CORS for these origins; as it is when there are none."""
    if not origins:
        return app

    async def by_messages(scope: Scope, receive: Receive, send: Send) -> None:
        # The middleware adds its headers to the messages: nothing may go past them.
        scope.pop(OUTLET, None)
        await app(scope, receive, send)

    return CORSMiddleware(
        by_messages,
        allow_origins=origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        # Browsers ask whether a page of the web may call a machine of the user's own: these may, they were named.
        allow_private_network=True,
        expose_headers=_EXPOSED,
    )
