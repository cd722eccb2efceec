"""The server that a fleet's replicas share: Valkey, or Redis, which is spoken to in the same way.

Laws. No call takes longer than :data:`CALL_SECONDS`. After a failure nobody asks again for a second: the calls of that
second fail at once, so an outage costs one request half a second, and not each of them. It is a task of its own that
tries whether the server works again. Whatever goes wrong comes out as FleetDownError, and is told once when it begins
and once when it is over. The URL may hold a password: it is shown nowhere.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    import redis
    import redis.asyncio

CALL_SECONDS = 0.5
"""For a call with everything in it: finding the host, connecting, sending, the answer."""

PROBE_SECONDS = 1.0
"""How often it is tried whether a server that failed works again."""

PROBE_MILLISECONDS = 1000
"""How long what is written for that is kept."""

LISTEN_SECONDS = 5.0
"""How often a line on which nothing is said is tried."""

MAX_CONNECTIONS = 16

T = TypeVar("T")

Say: TypeAlias = Callable[..., None]
"""The log's ``say``."""


class FleetDownError(Exception):
    """The shared server cannot be used now. The message says why, and nothing of what is kept there."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent
        """Whether the server may have done what it was asked."""


class Script(Struct, frozen=True):
    """A program that runs on the server, all of it or nothing of it."""

    text: str
    sha1: str
    """Of the text, in hexadecimal digits: what the server knows it by."""


def script(text: str) -> Script:
    """Return a program with what the server knows it by."""
    import hashlib

    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def shown_url(url: str) -> str:
    """Return where a URL leads, without user name, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Valkey:
    """Connections to the server. Belongs to an event loop; ``close`` is owed."""

    def __init__(self, url: str, say: Say, prefix: str = "{fittengate}") -> None:
        """Make it; nothing is sent yet. ``url`` begins with redis:// or, for TLS, with rediss://.

        ``prefix`` is that of the fleet's keys: the one that is written to see whether the server works again has it too.
        """
        self.up = True
        """Whether the server is asked at all."""
        self.failures = 0
        """Calls that failed since the start."""
        self.outages = 0
        """How often it went down since the start."""
        self.problem: str | None = None
        """Why it cannot be used; None while it can."""
        self.recovered: list[Callable[[], None]] = []
        """What is called, in the loop, when it works again."""
        self.seconds = CALL_SECONDS
        """How long a call may take."""
        self._late: set[asyncio.Task[Any]] = set()
        """Calls that nobody waits for any more."""
        self._url = url
        self._say = say
        self._probe_key = f"{prefix}:probe"
        self._client: redis.asyncio.Redis | None = None
        self._probing: asyncio.Task[None] | None = None
        self._closing = False

    async def command(self, *words: Any) -> Any:
        """Send one command; return the answer as it comes, texts as bytes. Raises FleetDownError."""
        return await self._call(lambda client: client.execute_command(*words))

    async def run(self, program: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a program on the server; return its answer. Raises FleetDownError."""
        from redis.exceptions import NoScriptError

        async def tried(client: Any) -> Any:
            try:
                return await client.execute_command("EVALSHA", program.sha1, len(keys), *keys, *arguments)
            except NoScriptError:
                # It has started anew, or was told to forget: nothing was done.
                return await client.execute_command("EVAL", program.text, len(keys), *keys, *arguments)

        return await self._call(tried)

    async def listen(self, channel: str, heard: Callable[[], None]) -> None:
        """Call ``heard`` whenever something is said on a channel, and whenever something may have been missed; for ever."""
        from redis.exceptions import RedisError

        while True:
            line: Any = self._opened().pubsub()
            try:
                await _whole(line.subscribe(channel))
                heard()
                silent = False
                while True:
                    message = await line.get_message(timeout=LISTEN_SECONDS)
                    if message is not None:
                        silent = False
                        if message["type"] == "message":
                            heard()
                    elif silent:
                        # Not even a ping was answered: who is behind it is gone without a word.
                        break
                    else:
                        silent = True
                        await line.ping()
            except (RedisError, OSError):
                # What there is to say of it, the calls of others say.
                await asyncio.sleep(PROBE_SECONDS)
            finally:
                await line.aclose()

    async def close(self) -> None:
        """Close every connection."""
        self._closing = True
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing
        if self._late:
            await asyncio.wait(self._late)
        if self._client is not None:
            await self._client.aclose()

    async def _call(self, use: Callable[[Any], Any]) -> Any:
        if not self.up:
            raise FleetDownError(self.problem or "down", sent=False)
        try:
            return await self._tried(use)
        except FleetDownError as error:
            self._failed(str(error))
            raise

    async def _tried(self, use: Callable[[Any], Any]) -> Any:
        from redis.exceptions import RedisError

        # Cancelled in the middle, the library would leave connections behind: whoever is late ends by its own timeouts.
        task = asyncio.get_running_loop().create_task(use(self._opened()))
        try:
            await asyncio.wait({task}, timeout=self.seconds)
        finally:
            if not task.done():
                self._late.add(task)
                task.add_done_callback(self._ended)
        if not task.done():
            raise FleetDownError(f"no answer within {self.seconds:g} s")
        try:
            return task.result()
        except (RedisError, OSError) as error:
            raise FleetDownError(_reason(error)) from error

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._late.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failures += 1

    def _opened(self) -> "redis.asyncio.Redis":
        if self._client is None:
            import redis.asyncio
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            # Whoever asks is better served by a quick no than by a second try.
            self._client = redis.asyncio.Redis.from_url(
                self._url,
                socket_timeout=self.seconds,
                socket_connect_timeout=self.seconds,
                retry=Retry(NoBackoff(), 0),
                max_connections=MAX_CONNECTIONS,
            )
        return self._client

    def _failed(self, why: str) -> None:
        self.failures += 1
        if not self.up or self._closing:
            return
        self.up = False
        self.outages += 1
        self.problem = f"{shown_url(self._url)} cannot be used ({why})"
        self._say("error", f"the fleet's server {self.problem}; this replica goes on by itself")
        self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                # A ping is answered, too, by a server that is full, or by a copy of one that may only be read.
                await self._tried(lambda client: client.set(self._probe_key, b"1", px=PROBE_MILLISECONDS))
            except FleetDownError:
                self.failures += 1
                continue
            self.up, self.problem = True, None
            self._say("info", "the fleet's server works again")
            for call in self.recovered:
                call()
            return


async def _whole(what: Awaitable[T]) -> T:
    """Await something that is not to be cut short; whoever is cancelled meanwhile waits for its end."""
    task = asyncio.ensure_future(what)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def publish(url: str, channel: str) -> None:
    """Say something on a channel, from a command that runs no event loop. Raises FleetDownError."""
    import redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

    try:
        with redis.Redis.from_url(
            url,
            socket_timeout=CALL_SECONDS,
            socket_connect_timeout=CALL_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.publish(channel, b"")
    except (RedisError, OSError) as error:
        raise FleetDownError(f"{shown_url(url)} cannot be used ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """Return what went wrong. The server's own words may quote what it was sent, so only their kind is told."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    # The library raises its own error while it handles the system's, without saying that the one comes from the other.
    cause = error.__cause__ or error.__context__
    return (cause.strerror if isinstance(cause, OSError) else None) or type(error).__name__
