"""Brings the pictures of a conversation into it: remote ones are fetched, inline ones checked.

A stranger chooses what is called, so these laws hold for every call (P11):

- The address that is dialled was allowed (``dialer.py``).
- A redirect is a new call: all rules once more, three at most, never from https to http.
- Nothing of ours goes out but the user agent. Nothing comes in beyond a size and a time, and nothing packed.
- A host that must not be called is refused in the same words whether it is unknown, an inner one, open or closed.

A proxy is never used here, whatever is set for the service: it would look the name up by itself, and so undo the first
law. A gateway whose only way out is a proxy cannot fetch pictures; its clients send data URLs.
"""

import asyncio
import ssl
from collections.abc import Callable, Container, Sequence

import aiohttp
from msgspec.structs import replace

from fittengate.core.ask import Ask
from fittengate.core.conversation import Image
from fittengate.upstream.addresses import WEB_PORTS, Address, cannot_fetch, is_public, next_hop, picture_url
from fittengate.upstream.dialer import Dialer, NotAllowedError, Resolver
from fittengate.upstream.picture_data import MAX_PICTURE_BYTES, to_data_url, too_large
from fittengate.upstream.picture_turns import carry_out, plan_pictures

AT_A_TIME = 4
"""Fetches of one request that run together."""

MAX_CONNECTIONS = 32
"""Of all requests together: each may hold a whole picture in memory."""

MAX_REDIRECTS = 3

TOTAL_SECONDS = 10.0
"""For one picture, from the look-up of its host to its last byte."""

CONNECT_SECONDS = 5.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Pictures:
    """Fetches and checks pictures. Makes its connections inside the event loop; ``close`` it at the end."""

    def __init__(
        self,
        *,
        user_agent: str,
        resolver: Resolver | None = None,
        allow: Callable[[Address], bool] = is_public,
        ports: Container[int] = WEB_PORTS,
        ssl_context: ssl.SSLContext | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        """Make one without I/O.

        ``resolver`` None asks the system. ``allow`` says which addresses may be dialled. ``ssl_context`` None trusts
        the usual certificate authorities.
        """
        self._headers = {"User-Agent": user_agent, "Accept": "image/*", "Accept-Encoding": "identity"}
        self._dialer = Dialer(resolver, allow)
        self._ports = ports
        self._ssl_context = ssl_context
        self._total_seconds = total_seconds
        self._http: aiohttp.ClientSession | None = None

    async def inline(self, ask: Ask) -> Ask:
        """Return the ask with the newest picture of each turn as a checked data URL; the same one if nothing changes.

        Turns whose newest picture is not among the ``MAX_REMOTE`` newest remote ones get a note in place of theirs.
        Raises Fault (caller_bad_request) that names the picture which cannot be used.
        """
        conversation = ask.conversation
        plan = plan_pictures(conversation.messages)
        if plan is None:
            return ask
        fetched = await self._fetch_all(plan.remote) if plan.remote else {}
        messages = carry_out(plan, conversation.messages, fetched)
        if messages is conversation.messages:
            return ask
        return replace(ask, conversation=replace(conversation, messages=messages))

    async def close(self) -> None:
        """Close every connection; nothing can be fetched afterwards. May be called twice."""
        self._dialer.close()
        if self._http is not None:
            await self._http.close()

    async def _fetch_all(self, images: Sequence[Image]) -> dict[str, str]:
        """Return data URLs by URL. The first failure stops the other fetches, and so does a caller that leaves."""
        slots = asyncio.Semaphore(AT_A_TIME)

        async def fetch(image: Image) -> str:
            async with slots:
                return await self._fetch(image)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = {image.url: group.create_task(fetch(image)) for image in images}
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            raise first from first.__cause__
        return {url: task.result() for url, task in tasks.items()}

    async def _fetch(self, image: Image) -> str:
        where = image.where
        try:
            async with asyncio.timeout(self._total_seconds):
                content = await self._download(image)
        except NotAllowedError as error:
            raise cannot_fetch("The host of the picture has no public address.", where, str(error)) from error
        except aiohttp.InvalidURL as error:
            # An address in a spelling of old, which the HTTP client refuses by itself: `http://2130706433/`.
            raise cannot_fetch("The host of the picture has no public address.", where) from error
        except TimeoutError as error:
            raise cannot_fetch("The server of the picture did not send it in time.", where) from error
        except (aiohttp.ClientError, OSError) as error:
            # Not the error's own words: some quote the URL, and the URL may hold a secret.
            detail = type(error).__name__
            raise cannot_fetch("The picture could not be fetched from its server.", where, detail) from error
        return to_data_url(content, where)

    async def _download(self, image: Image) -> bytes:
        http = self._http = self._http or self._session()
        url = picture_url(image.url, image.where, self._ports)
        for _ in range(1 + MAX_REDIRECTS):
            async with http.get(url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    return await _content(response, image.where)
            url = next_hop(url, location, image.where, self._ports)
        raise cannot_fetch(f"The server of the picture redirects more than {MAX_REDIRECTS} times.", image.where)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._dialer.connector(self._ssl_context, MAX_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            headers=self._headers,
            auto_decompress=False,
            trust_env=False,
        )


async def _content(response: aiohttp.ClientResponse, where: str) -> bytes:
    if response.status != 200:
        raise cannot_fetch(f"The server of the picture answered with status {response.status}.", where)
    # None was asked for, and what unpacks to a thousand times its size must not be unpacked.
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise cannot_fetch("The server of the picture sends it packed.", where)
    if (response.content_length or 0) > MAX_PICTURE_BYTES:
        raise too_large(where)
    content = bytearray()
    while part := await response.content.readany():
        content += part
        if len(content) > MAX_PICTURE_BYTES:
            raise too_large(where)
    return bytes(content)
