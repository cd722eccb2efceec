"""Code completions for the language server: from a gateway that runs, or from the account itself."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from fittengate.core.ask import FillAsk
from fittengate.core.events import Fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.lib.jsonio import to_json

if TYPE_CHECKING:
    import aiohttp

    from fittengate.server.configure import Configured
    from fittengate.upstream.fitten.service import FittenService

SECONDS = 30.0
"""Longest wait for a gateway: nobody waits so long for a proposal."""

MAX_ANSWER_BYTES = 1024 * 1024


class Completer(Protocol):
    """Completes code. A cancelled call closes what it opened."""

    async def complete(self, fill: FillAsk) -> str:
        """Return the text to insert, perhaps none. Raises Fault, CommandError."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class FromGateway:
    """Asks a gateway by HTTP, in Tabby's form, which carries the file's name and language."""

    def __init__(self, url: str, key: str) -> None:
        """``url`` is the gateway's address, with or without ``/v1``."""
        self._url = url.rstrip("/").removesuffix("/v1") + "/v1/completions"
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, fill: FillAsk) -> str:
        """Return the text to insert. Raises Fault with the gateway's own words."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS))
        segments = {"prefix": fill.prefix, "suffix": fill.suffix, "filepath": fill.file_name}
        body = to_json({"language": fill.language, "segments": segments})
        try:
            async with self._session.post(
                self._url, data=body, headers=self._headers, allow_redirects=False
            ) as response:
                answer = await response.content.read(MAX_ANSWER_BYTES)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            text = f"No gateway answers at {self._url}. Start `fittengate serve`, or set lsp.url."
            raise Fault(FaultKind.UPSTREAM_BROKEN, text, detail=type(error).__name__) from error
        return _text_of(status, answer)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


def _text_of(status: int, answer: bytes) -> str:
    try:
        value: Any = msgspec.json.decode(answer)
        if status != 200:
            raise Fault(FaultKind.UPSTREAM_REFUSED, str(value["error"]["message"]))
        return str(value["choices"][0]["text"])
    except (msgspec.DecodeError, LookupError, TypeError) as error:
        text = f"What answers at lsp.url is no gateway of ours (status {status})."
        raise Fault(FaultKind.UPSTREAM_BROKEN, text) from error


class FromAccount:
    """Asks the service with the account of the settings; signs in when it is first asked."""

    def __init__(self, configured: "Configured") -> None:
        self._configured = configured
        self._stack = AsyncExitStack()
        self._service: FittenService | None = None
        self._opening = asyncio.Lock()

    async def complete(self, fill: FillAsk) -> str:
        """Return the text to insert. Raises Fault, CommandError where there is no account."""
        from fittengate.cli.account import signed_in

        async with self._opening:
            if self._service is None:
                self._service = await self._stack.enter_async_context(signed_in(self._configured))
        total = Fold()
        events = self._service.complete(fill)
        try:
            async for batch in events:
                total.feed(batch)
        finally:
            await events.aclose()
        return total.reply().text

    async def close(self) -> None:
        """Close all connections."""
        await self._stack.aclose()
