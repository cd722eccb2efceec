"""One HTTP request as the handlers see it: its headers, its body under a cap, its client, and the way to answer."""

import asyncio
import re
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from fittengate.core.faults import Fault, FaultKind

if TYPE_CHECKING:
    from fittengate.server.outlet import Outlet
    from fittengate.services.tape import Tape

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

Handler: TypeAlias = Callable[["Request"], Awaitable[None]]
"""Answers a request. Raises Fault for what is to be answered with an error."""

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")

GONE = "fittengate.gone"
"""Key of the scope: the server protocol calls what stands there when the client goes away."""

OUTLET = "fittengate.outlet"
"""Key of the scope: the short way to answer, where there is one. Whoever wraps ``send`` takes it out."""

SLOW = "fittengate.slow"
"""Key of the scope: its client stopped sending its body, or reading its answer, and is waited for no longer."""

CALLER = "fittengate.caller"
"""Key of the scope: whose request it is, where no key is asked for."""

_STALLED = "The body of the request did not come in time (server.body_idle_timeout, server.body_timeout). Send the request again."

_NO_CODING = frozenset({b"", b"identity"})

_SANE_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}\Z")


class Request:
    """One request. Belongs to the task that handles it."""

    __slots__ = (
        "_receive",
        "_task",
        "content_length",
        "evicted",
        "gone",
        "headers",
        "id",
        "method",
        "outlet",
        "path",
        "scope",
        "send",
        "status",
        "tape",
        "timing",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, make_id: Callable[[], str]) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        """Names in lower case; of a repeated header the last value."""
        own = self.headers.get(b"x-request-id")
        self.id = own.decode() if own is not None and _SANE_ID.match(own) else make_id()
        self.send = send
        # Taken out: it knows the scope's owner, and what knows itself waits for the cycle collector.
        self.outlet: Outlet | None = scope.pop(OUTLET, None)
        self.status = 0
        """The HTTP status that was sent; 0 before that."""
        self.timing: Callable[[], bytes] | None = None
        """Gives the value of ``Server-Timing`` when the head of the answer is made; None leaves it out."""
        self.gone = False
        """The client went away."""
        self.evicted = False
        """The gateway itself ends this request, because it is shutting down."""
        self.tape: Tape | None = None
        """What the exchange is noted on; None where it is not."""
        self._receive = receive
        self._task: asyncio.Task[Any] | None = None

    def header(self, name: bytes) -> str:
        """Return a header's value, "" where there is none. Bytes outside ASCII become U+FFFD."""
        value = self.headers.get(name)
        return "" if value is None else value.decode("ascii", "replace")

    @property
    def raw_path(self) -> str:
        """The path as it was sent, percent-encoded."""
        raw: bytes = self.scope.get("raw_path") or self.path.encode()
        return raw.decode("ascii", "replace")

    @property
    def credentials(self) -> tuple[str, ...]:
        """Every key that the request shows, from ``Authorization: Bearer`` and from ``x-api-key``."""
        found = []
        bearer = self.headers.get(b"authorization", b"")
        if bearer[:7].lower() == b"bearer ":
            found.append(bearer[7:].strip().decode("utf-8", "replace"))
        key = self.headers.get(b"x-api-key")
        if key is not None:
            found.append(key.strip().decode("utf-8", "replace"))
        return tuple(found)

    async def body(self, limit: int) -> bytes:
        """Return the whole body, without the mark that some editors put before UTF-8 (RFC 8259, 8.1).

        Raises Fault: caller_body_too_large over ``limit`` bytes (0: none), caller_coded, caller_slow, caller_gone.
        """
        length = self.headers.get(b"content-length", b"")
        if limit and length.isdigit() and (len(length) > 18 or int(length) > limit):
            raise _too_large(limit)
        coding = self.headers.get(b"content-encoding")
        if coding is not None and not all(one.strip().lower() in _NO_CODING for one in coding.split(b",")):
            raise Fault(FaultKind.CALLER_CODED, "The body is compressed. Send it without Content-Encoding.")
        at_once = None if self.outlet is None else self.outlet.taken()
        if at_once is not None:
            if limit and len(at_once) > limit:
                raise _too_large(limit)
            return at_once if at_once[:3] != BOM_UTF8 else at_once[3:]
        message = await self._receive()
        data: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts = bytearray(data)
            while message.get("more_body"):
                if SLOW in self.scope:
                    raise Fault(FaultKind.CALLER_SLOW, _STALLED)
                if limit and len(parts) > limit:
                    raise _too_large(limit)
                message = await self._receive()
                parts += message.get("body", b"")
            data = bytes(parts)
        if message["type"] == "http.disconnect":
            raise Fault(FaultKind.CALLER_GONE, "The client went away while sending.")
        if limit and len(data) > limit:
            raise _too_large(limit)
        return data if data[:3] != BOM_UTF8 else data[3:]

    def watch_client(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on the current task is cancelled as soon as the client goes away (P3)."""
        # The loop is named because asking which one runs costs a system call on some Pythons.
        self._task = asyncio.current_task(loop)
        self.scope[GONE] = self._leave

    def _leave(self) -> None:
        self.gone = True
        if self._task is not None:
            self._task.cancel()

    def evict(self) -> None:
        """End this request from our side: its client is told why."""
        self.evicted = True
        if self._task is not None:
            self._task.cancel()

    def unwatch(self) -> None:
        """Let the client come and go; a cancellation that was ours is taken back."""
        self.scope.pop(GONE, None)
        if (self.gone or self.evicted) and self._task is not None:
            self._task.uncancel()
        self._task = None

    async def respond(
        self, status: int, headers: Headers, body: bytes, before: Callable[[], object] | None = None
    ) -> None:
        """Send a whole answer; ``before`` is called at the last moment before it goes out."""
        self.status = status
        if self.tape is not None:
            self.tape.answered(status, body)
        headers += ((b"x-request-id", self.id.encode()), (b"content-length", b"%d" % len(body)))
        if self.timing is not None:
            headers.append((b"server-timing", self.timing()))
        outlet = self.outlet
        if outlet is not None:
            if outlet.paused:
                await outlet.writable()
            outlet.whole(status, headers, body, before)
            return
        if before is not None:
            before()
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})


def _too_large(limit: int) -> Fault:
    return Fault(FaultKind.CALLER_BODY_TOO_LARGE, f"The body is larger than {limit} bytes (server.max_body_bytes).")
