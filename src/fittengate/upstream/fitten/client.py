"""Sends requests to the Fitten service; those for chat go out over the lines of ``call.py``.

One aiohttp session for the life of the gateway. Everything that can go wrong on the wire becomes a Fault here, by the
type of the exception or by the status, never by the words of a message.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import aiohttp
import yarl
from msgspec import Struct

from fittengate.core.account import Tokens
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.tape import TAPE, Pieces
from fittengate.lib.clock import Clock
from fittengate.upstream.fitten.call import Call as ChatCall
from fittengate.upstream.fitten.call import Line, post
from fittengate.upstream.fitten.drift import KNOWN_STATUSES, Drift, Kind
from fittengate.upstream.fitten.outline import outline
from fittengate.upstream.fitten.spares import Spares
from fittengate.upstream.fitten.wire import MODELS_HEADERS, Answer, Call, chat_path, retry_after

CALL_SECONDS = 30.0
"""For login, refresh and the model list, which answer within a second."""

MAX_ANSWER_BYTES = 1024 * 1024
"""Of login, refresh and model list; the known ones have some kilobytes."""

MAX_ERROR_BYTES = 64 * 1024
"""Of an error's body: a 422 echoes the prompt, and nobody needs all of it."""

RECEIVE_BYTES = 128 * 1024
"""So much of a reply the system takes in ahead of us (Linux takes twice as much): where a client reads slowly, the service
is to be held back, and the system's memory is not to fill."""

KEEPALIVE_SECONDS = 30.0
"""How long an unused connection is kept: less than the minute or more after which proxies drop them silently."""


class Route(Struct, frozen=True):
    """How the service is reached."""

    base_url: str
    models_url: str
    connect_timeout: float
    proxy: str
    user_agent: str


class Failure(Struct, frozen=True):
    """Why a request got no reply: a fault, and whether another try may help."""

    fault: Fault
    again: bool
    gone: bool = False
    """There is nothing at this path, or nothing that takes the request."""
    answered: bool = False
    """The service itself says so, in the form it has for that."""

    @property
    def broken(self) -> bool:
        """Return whether the service is out of order, or what is in front of it."""
        return self.fault.kind is FaultKind.UPSTREAM_BROKEN and not self.answered


def broken(error: BaseException) -> Failure:
    """Return what an exception of the HTTP client means."""
    # A malformed answer is quoted by its exception, and an answer may hold the user's words.
    quotes = isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError)
    detail = type(error).__name__ if quotes else f"{type(error).__name__}: {error}"[:500]
    match error:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLError():
            text = (
                "The Fitten service's certificate is not trusted. If a proxy breaks TLS open, set `upstream.ca_file`."
            )
            return Failure(Fault(FaultKind.UPSTREAM_BROKEN, text, detail=detail), again=False)
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError() | TimeoutError():
            text = "The Fitten service cannot be reached. Try again; `fittengate doctor` looks closer."
        case aiohttp.InvalidURL():
            return Failure(
                Fault(FaultKind.UPSTREAM_BROKEN, "`upstream.base_url` is no URL.", detail=detail), again=False
            )
        case _:
            text = "The connection to the Fitten service broke. Try again."
    return Failure(Fault(FaultKind.UPSTREAM_BROKEN, text, detail=detail), again=True)


NETWORK_ERRORS = (aiohttp.ClientError, OSError, TimeoutError)
"""Everything that the HTTP client raises for the network's sake."""


def _proxy_for(url: str, proxy: str) -> yarl.URL | None:
    """Return the proxy towards a host; None without one, and for this machine itself, which no proxy can reach."""
    host = yarl.URL(url).host or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return yarl.URL(proxy) if proxy and not local else None


def _socket(info: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    return made


class _Prepared(Struct, frozen=True):
    """What all chat requests with the same tokens have in common."""

    tokens: Tokens
    target: aiohttp.ClientRequest
    """Where to connect to; never sent."""
    head: bytes
    """The request line and headers, up to the number of the content-length."""


class FittenClient:
    """The connection pool to the service. Make it inside the event loop; close it at the end."""

    def __init__(
        self,
        route: Route,
        clock: Clock,
        ssl_context: Callable[[], ssl.SSLContext | None],
        drift: Drift | None = None,
    ) -> None:
        """``drift`` is told of what is not known of the service."""
        self.drift = Drift() if drift is None else drift
        self._route = route
        self._clock = clock
        self._proxies = {url: _proxy_for(url, route.proxy) for url in (route.base_url, route.models_url)}
        self._prepared: _Prepared | None = None
        self._loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(
            limit=0,  # the queue before this bounds the calls; a second bound would only hide it
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=60,
            ssl=ssl_context() or True,
            socket_factory=_socket,
        )
        self._http = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=route.connect_timeout or None),
            headers={"User-Agent": route.user_agent},
            # A compressed stream is a stream held back: none is asked for.
            skip_auto_headers=("Accept-Encoding",),
            trust_env=False,
        )
        self._connector = connector
        # All chat calls go to one place.
        self._spares: Spares[Line] = Spares(KEEPALIVE_SECONDS, self._loop)
        self._connecting = aiohttp.ClientTimeout(total=None, sock_connect=route.connect_timeout or None)

    def connections(self) -> tuple[int, int]:
        """Return how many connections carry a call now, and how many are kept for the next one."""
        # The pool says it nowhere else.
        kept = self._connector._conns.values()  # noqa: SLF001
        spare = len(self._spares)
        return len(self._connector._acquired) - spare, sum(map(len, kept)) + spare  # noqa: SLF001

    def open_chat(self, tokens: Tokens, body: bytes) -> Coroutine[Any, Any, ChatCall]:
        """Send a chat request; return its reply, the body unread. Raises one of NETWORK_ERRORS."""
        prepared = self._prepared
        if prepared is None or prepared.tokens is not tokens:
            prepared = self._prepared = self._prepare(tokens)
        return post(self._connector, prepared.target, prepared.head, body, self._spares, self._connecting)

    async def open_completion(self, path: str, body: bytes, bearer: str | None = None) -> bytes | Failure | None:
        """Send a completion request, gzip where it has a ``bearer``; return the body of its answer.

        None for a 401; a Failure where there is no answer. Never raises for the network's sake.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if bearer is not None:
            headers |= {"Authorization": f"Bearer {bearer}", "Content-Encoding": "gzip"}
        base_url = self._route.base_url
        response: aiohttp.ClientResponse | None = None
        tape = TAPE.get()
        # The last part of the path is the account.
        call = None if tape is None else tape.call(self._loop.time(), path.rpartition("/")[0], body)
        try:
            response = await self._http.post(
                yarl.URL(base_url + path, encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                proxy=self._proxies[base_url],
            )
            if call is not None:
                call.replied(self._loop.time(), response.status)
            if response.status == 401:
                return None
            if response.status != 200:
                body = await response.content.read(MAX_ERROR_BYTES)
                if call is not None:
                    call.raw.add(self._loop.time(), body)
                text = body.decode("utf-8", "replace")
                return self._refusal("completion", response.status, text, response.headers.get("Retry-After"))
            answer = bytearray()
            while part := await response.content.readany():
                answer += part
                if call is not None:
                    call.raw.add(self._loop.time(), part)
                if len(answer) > MAX_ANSWER_BYTES:
                    message = "The Fitten service's answer is too long. Try again in a moment."
                    detail = f"completion: more than {MAX_ANSWER_BYTES} bytes"
                    return Failure(Fault(FaultKind.UPSTREAM_BROKEN, message, detail=detail), again=True)
            return bytes(answer)
        except NETWORK_ERRORS as error:
            return broken(error)
        finally:
            if response is not None:
                # At the end of a body the connection is back in the pool already, and this does nothing.
                response.close()

    def _prepare(self, tokens: Tokens) -> "_Prepared":
        url = yarl.URL(self._route.base_url + chat_path(tokens.user_id), encoded=True)
        proxy = self._proxies[self._route.base_url]
        headers = {
            "Authorization": f"Bearer {tokens.access}",
            "Content-Type": "application/json",
            "Accept": "application/x-ndjson, application/json",
            "User-Agent": self._route.user_agent,
        }
        if proxy is not None and url.scheme == "http" and proxy.user is not None:
            # Towards an https service the proxy is told when the tunnel is made, and by aiohttp.
            headers["Proxy-Authorization"] = aiohttp.BasicAuth(proxy.user, proxy.password or "").encode()
        target = aiohttp.ClientRequest("POST", url, proxy=proxy, loop=asyncio.get_running_loop(), session=self._http)
        whole = proxy is not None and url.scheme == "http"
        lines = [f"POST {url if whole else url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return _Prepared(tokens, target, ("\r\n".join(lines) + "\r\nContent-Length: ").encode("ascii"))

    async def refusal(self, response: ChatCall, raw: Pieces | None = None) -> Failure:
        """Return what a status other than 200 means; reads and closes the response. ``raw`` takes its body."""
        try:
            body = await response.read(MAX_ERROR_BYTES)
            if raw is not None:
                raw.add(self._loop.time(), body)
            text = body.decode("utf-8", "replace")
        except NETWORK_ERRORS as error:
            text = f"(body unreadable: {type(error).__name__})"
        response.close()
        return self._refusal("chat", response.status, text, response.header(b"retry-after"))

    def note(self, kind: Kind, sample: str) -> None:
        """Note something that is not known of the service, by its structure."""
        self.drift.note(kind, sample, self._clock.now())

    def note_status(self, what: str, status: int) -> None:
        """Note a status, if it is none that is known of the service."""
        self.drift.note_status(what, status, self._clock.now())

    def _refusal(self, what: str, status: int, text: str, later: str | None) -> Failure:
        """Return what a status means, with the body and the ``Retry-After`` that came with it."""
        self.note_status(what, status)
        wait = retry_after(later, self._clock.now())
        detail = f"status {status}: {outline(text)}"
        if status == 429:
            message = "The Fitten service says that this account asks too often. Wait before trying again."
            return Failure(Fault(FaultKind.UPSTREAM_RATE, message, detail=detail, retry_after=wait), again=False)
        if status == 413:
            message = "The prompt is larger than the Fitten service takes."
            return Failure(Fault(FaultKind.CALLER_TOO_LONG, message, detail=detail), again=False)
        if 400 <= status < 500:
            message = f"The Fitten service refused the request (status {status}). Details are in the gateway's log."
            fault = Fault(FaultKind.UPSTREAM_REFUSED, message, detail=detail)
            return Failure(fault, again=False, gone=status in (404, 405))
        message = f"The Fitten service is out of order (status {status}). Try again in a moment."
        fault = Fault(FaultKind.UPSTREAM_BROKEN, message, detail=detail, retry_after=wait)
        # A service that says when to come back is not asked again before.
        return Failure(fault, again=status >= 500 and wait is None)

    async def send(self, call: Call) -> Answer:
        """Send a small request to the account's host; never raises for the network's sake."""
        return await self._send(self._route.base_url, call)

    async def send_models(self, call: Call) -> Answer:
        """Send a small request to the host of the model list."""
        return await self._send(self._route.models_url, call, MODELS_HEADERS)

    async def look(self) -> str | None:
        """Send a bare request without token; return the response's ``Date``, None where it has none.

        The status does not matter. Raises one of NETWORK_ERRORS.
        """
        url = yarl.URL(self._route.base_url + "/", encoded=True)
        async with (
            asyncio.timeout(CALL_SECONDS),
            self._http.get(url, allow_redirects=False, proxy=self._proxies[self._route.base_url]) as response,
        ):
            response.close()
            return response.headers.get("Date")

    async def _send(self, base_url: str, call: Call, more: Mapping[str, str] | None = None) -> Answer:
        headers = {"Content-Type": "application/json", "Accept": "application/json", **(more or {})}
        if call.bearer is not None:
            headers["Authorization"] = f"Bearer {call.bearer}"
        url = yarl.URL(base_url + call.path, encoded=True)
        try:
            async with (
                asyncio.timeout(CALL_SECONDS),
                self._http.request(
                    call.method,
                    url,
                    data=call.body,
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxies[base_url],
                ) as response,
            ):
                body = bytearray()
                while len(body) <= MAX_ANSWER_BYTES and (part := await response.content.readany()):
                    body += part
                if len(body) > MAX_ANSWER_BYTES:
                    response.close()
                    return Answer(0, b"", f"{call!r}: more than {MAX_ANSWER_BYTES} bytes")
                if response.status not in KNOWN_STATUSES:
                    self.note_status(repr(call), response.status)
                wait = retry_after(response.headers.get("Retry-After"), self._clock.now())
                return Answer(response.status, bytes(body), retry_after=wait)
        except NETWORK_ERRORS as error:
            return Answer(0, b"", f"{call!r}: {broken(error).fault.detail}")

    async def close(self) -> None:
        """Close every connection."""
        self._spares.close()
        await self._http.close()
