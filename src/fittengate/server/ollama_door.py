"""The door without a key: Ollama's paths on a port of their own, for programs that let nobody set a path or a key.

The laws of it: nobody comes in from another machine, nor a page of the web in a browser on this one. So the port is on
loopback alone; a request whose ``Host`` is no name of this machine is refused, for a page can give its own name this
machine's address; and so is one that another site's page has sent, which its browser tells in ``Origin`` or, where there
is none, in ``Sec-Fetch-Site``. Behind the door are Ollama's paths and no others.
"""

import re
from collections.abc import Awaitable, Callable, Iterable

from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault, FaultKind
from fittengate.dialects import OLLAMA
from fittengate.server.exchange import Exchanges
from fittengate.server.request import CALLER, OUTLET, Receive, Request, Scope, Send

HOST = "127.0.0.1"
"""Where the port is; never anywhere else."""

NAME = "ollama"
"""Whoever comes through the door is called so, in the log and wherever else callers are told apart."""

_LOCAL = rb"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?"
_HOST = re.compile(_LOCAL, re.IGNORECASE)
_ORIGIN = re.compile(rb"https?://" + _LOCAL, re.IGNORECASE)

_TEXT = (b"content-type", b"text/plain; charset=utf-8")


class OllamaDoor:
    """The ASGI application behind the door."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        exchanges: Exchanges,
        paths: Iterable[str],
        make_id: Callable[[], str],
        allowance: Allowance,
    ) -> None:
        """``app`` answers what comes in, ``paths`` beside those of the dialects; ``allowance`` is for all who come."""
        self._app = app
        self._exchanges = exchanges
        self._paths = frozenset([*paths, *(path for dialect in OLLAMA for path in dialect.paths)])
        self._make_id = make_id
        self._caller = Caller(NAME, owner=NAME, allowance=allowance)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send, self._make_id)
        path = request.path.rstrip("/") or "/"
        request.timing = self._exchanges.stopwatch()
        try:
            _let_in(request)
            if path == "/" and request.method in {"GET", "HEAD"}:
                # Clients look for these words.
                await request.respond(200, [_TEXT], b"Ollama is running")
                return
            if path not in self._paths:
                text = "There is nothing at this path. This port speaks Ollama's API alone."
                raise Fault(FaultKind.CALLER_NO_ROUTE, text)
        except Fault as fault:
            await self._exchanges.answer_fault(OLLAMA[0], request, fault)
            self._exchanges.note(OLLAMA[0], request, fault)
            return
        scope[CALLER] = self._caller
        if request.outlet is not None:
            scope[OUTLET] = request.outlet
        await self._app(scope, receive, send)


def _let_in(request: Request) -> None:
    """Raise Fault (caller_forbidden) for a request that no program of this machine would send."""
    headers = request.scope["headers"]
    hosts = [value for name, value in headers if name == b"host"]
    if not hosts or not all(_HOST.fullmatch(host) for host in hosts):
        raise Fault(FaultKind.CALLER_FORBIDDEN, f"This port is asked for by the name {HOST} or localhost alone.")
    origins = [value for name, value in headers if name == b"origin"]
    site = request.headers.get(b"sec-fetch-site", b"none")
    if not all(_ORIGIN.fullmatch(origin) for origin in origins) or (
        not origins and site not in {b"none", b"same-origin"}
    ):
        raise Fault(FaultKind.CALLER_FORBIDDEN, "Pages of the web may not use this port: it takes no key.")
