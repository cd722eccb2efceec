"""Sends bytes to the Fitten service. With ``pictures.py`` the only file that does.

One aiohttp session for the life of the gateway. Everything that can go wrong on the wire becomes a Fault here, by the
type of the exception or by the status, never by the words of a message.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable

import aiohttp
import yarl
from msgspec import Struct
from multidict import CIMultiDict

from fittengate.core.account import Tokens
from fittengate.core.faults import Fault, FaultKind
from fittengate.lib.clock import Clock
from fittengate.upstream.fitten.lean import LeanRequest, Prepared, head_of
from fittengate.upstream.fitten.outline import outline
from fittengate.upstream.fitten.wire import Answer, Call, chat_path, retry_after

CALL_SECONDS = 30.0
"""For login, refresh and the model list, which answer within a second."""

MAX_ANSWER_BYTES = 1024 * 1024
"""Of login, refresh and model list; the known ones have some kilobytes."""

MAX_ERROR_BYTES = 64 * 1024
"""Of an error's body: a 422 echoes the prompt, and nobody needs all of it."""

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


class FittenClient:
    """The connection pool to the service. Make it inside the event loop; close it at the end."""

    def __init__(self, route: Route, clock: Clock, ssl_context: Callable[[], ssl.SSLContext | None]) -> None:
        self._route = route
        self._clock = clock
        self._proxies = {url: _proxy_for(url, route.proxy) for url in (route.base_url, route.models_url)}
        self._headers: tuple[Tokens, yarl.URL, CIMultiDict[str], bytes] | None = None
        connector = aiohttp.TCPConnector(
            limit=0,  # the queue before this bounds the calls; a second bound would only hide it
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=60,
            ssl=ssl_context() or True,
        )
        self._http = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=route.connect_timeout or None),
            headers={"User-Agent": route.user_agent},
            # A compressed stream is a stream held back: none is asked for.
            skip_auto_headers=("Accept-Encoding",),
            trust_env=False,
            request_class=LeanRequest,
        )

    async def open_chat(self, tokens: Tokens, body: bytes) -> aiohttp.ClientResponse:
        """Send a chat request; return the response, its body unread. Raises one of NETWORK_ERRORS."""
        known = self._headers
        if known is None or known[0] is not tokens:
            url = yarl.URL(self._route.base_url + chat_path(tokens.user_id), encoded=True)
            headers = CIMultiDict(
                {
                    "Authorization": f"Bearer {tokens.access}",
                    "Content-Type": "application/json",
                    "Accept": "application/x-ndjson, application/json",
                }
            )
            headers["User-Agent"] = self._route.user_agent
            known = self._headers = (tokens, url, headers, head_of(url, headers))
        return await self._http.post(
            known[1],
            data=Prepared(known[2], known[3], body),
            allow_redirects=False,
            proxy=self._proxies[self._route.base_url],
        )

    async def open_completion(self, path: str, body: bytes, bearer: str | None = None) -> bytes | Failure | None:
        """Send a completion request, gzip where it has a ``bearer``; return the body of its answer.

        None for a 401; a Failure where there is no answer. Never raises for the network's sake.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if bearer is not None:
            headers |= {"Authorization": f"Bearer {bearer}", "Content-Encoding": "gzip"}
        base_url = self._route.base_url
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._http.post(
                yarl.URL(base_url + path, encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                proxy=self._proxies[base_url],
            )
            if response.status == 401:
                return None
            if response.status != 200:
                return await self.refusal(response)
            answer = bytearray()
            while part := await response.content.readany():
                answer += part
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

    async def refusal(self, response: aiohttp.ClientResponse) -> Failure:
        """Return what a status other than 200 means; reads and closes the response."""
        try:
            text = (await response.content.read(MAX_ERROR_BYTES)).decode("utf-8", "replace")
        except NETWORK_ERRORS as error:
            text = f"(body unreadable: {type(error).__name__})"
        response.close()
        status = response.status
        wait = retry_after(response.headers.get("Retry-After"), self._clock.now())
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
        return await self._send(self._route.models_url, call)

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

    async def _send(self, base_url: str, call: Call) -> Answer:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
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
                return Answer(response.status, bytes(body))
        except NETWORK_ERRORS as error:
            return Answer(0, b"", f"{call!r}: {broken(error).fault.detail}")

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()
