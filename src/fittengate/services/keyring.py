"""Who a credential belongs to: the keys of the settings, those that ``serve`` made, and those of the store.

Laws. A lookup of a known key touches no disk. A key that is not known is looked for in the store once, off the event
loop, and then refused for a second without looking. While keys of the store are used, a thread asks every 0.4 s what has
changed; when nobody has used one for a while it sleeps, and the next lookup waits for it: so a key that was revoked is
refused within a second. A store that is down takes no key away: who is known goes on, who is not is told to come back.
One that hangs makes known keys wait once, for a second in all.
A key ends by being revoked, replaced or expired, never by being gone from the store: that may be a file that was lost.
"""

import asyncio
import contextlib
import hashlib
import hmac
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from msgspec import Struct

from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault, FaultKind
from fittengate.lib.clock import Clock
from fittengate.services.key_rows import LIMITS, MAX_KEYS, KeyRow, last_change, read_since
from fittengate.services.keys import MAX_KEY_CHARS, StoredKey, owner_of
from fittengate.services.store import Database, RowRefusedError, StoreDownError

POLL_SECONDS = 0.4
"""How often it is asked what has changed: twice in the second within which a revocation must be known."""

IDLE_POLLS = 10
"""So often without any use between, and the asking stops until the next use."""

KNOWN_SECONDS = 1.0
"""Longest wait of a known key for the store to say that it has not changed."""

UNKNOWN_SECONDS = 5.0
"""Longest wait of an unknown key for the store."""

REFUSED_SECONDS = 1.0
MAX_REFUSED = 4096
"""How long, and how many, keys that are nobody's are remembered."""

MAX_KNOWN = 2 * MAX_KEYS
"""From so many on, keys that were revoked are forgotten: the store has fewer than that."""

DOWN_SECONDS = 5.0
"""When to come back while the store is down."""

_HOW = "Send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`."

Say: TypeAlias = Callable[..., None]
"""The log's ``say``."""


class _Known(Struct, frozen=True, gc=False):
    """A key that was seen."""

    digest: bytes
    caller: Caller
    stored: bool
    """It may change: only as good as the last look into the store."""
    expires: int | None = None
    ended: str | None = None
    """Why it no longer works; None while it does."""


class Keys:
    """Tells who a credential belongs to. Belongs to an event loop, if there is a store."""

    def __init__(
        self,
        configured: Iterable[str],
        made: Iterable[StoredKey],
        defaults: Allowance = Allowance(),  # noqa: B008 - a frozen value
        database: Database | None = None,
        clock: Clock | None = None,
        say: Say | None = None,
    ) -> None:
        """``made`` are the keys of ``serve``'s own file. With a ``database`` there must be a clock and a log's ``say``."""
        self._known: dict[bytes, _Known] = {}
        self._defaults = defaults
        self._database = database
        self._clock = clock
        self._say = say
        for key in made:
            if not key.moved:
                digest = bytes.fromhex(key.sha256)
                self._add(_Known(digest, self._caller(key.prefix, digest), stored=database is not None))
        # Named by their place, never by a part of themselves: they may be short.
        texts = [text.strip() for text in configured if text.strip()]
        for number, text in enumerate(dict.fromkeys(texts), 1):
            digest = hashlib.sha256(text.encode()).digest()
            self._add(_Known(digest, self._caller(f"key-{number}", digest), stored=False))
        self._refused: dict[bytes, float] = {}
        self._watching = False
        """What is known is as good as new: the thread asked less than half a second ago, or was told that it may not."""
        self._hanging = False
        """A look takes too long to be waited for; until it ends, what is known must do."""
        self._used = False
        self._unused = 0
        self._down = False
        # Shared with the thread, under the lock of ``_wake``.
        self._wake = threading.Condition()
        self._waiting: list[asyncio.Future[bool]] = []
        self._polling = False
        self._closing = False
        self._thread: threading.Thread | None = None
        if database is not None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="fittengate-keys", daemon=True)
            self._thread.start()
            # Known from the start, the keys outlive a store that goes down later.
            self._look()

    def known(self, credential: str | None) -> Caller | None:
        """Return whose key it is; None where :meth:`find` has to look. Raises Fault (caller_no_key)."""
        if not credential:
            raise Fault(FaultKind.CALLER_NO_KEY, f"No API key was given. {_HOW}", detail="no key was shown")
        found = self._found(credential)
        if found is None:
            if self._database is None:
                raise _unknown()
            return None
        if not found.stored:
            return found.caller
        if not (self._watching or self._hanging):
            return None
        self._used = True
        return self._judged(found)

    async def find(self, credential: str) -> Caller:
        """Return whose key it is, after a look into the store. Raises Fault: caller_no_key, gateway_busy."""
        if len(credential) > MAX_KEY_CHARS or not credential.isascii():
            raise _unknown()
        digest = hashlib.sha256(credential.encode()).digest()
        found = self._found(credential)
        self._used = True
        if found is None and self._refused.get(digest, 0.0) > self._loop.time():
            raise _unknown()
        look = self._look()
        certain = False
        try:
            async with asyncio.timeout(UNKNOWN_SECONDS if found is None else KNOWN_SECONDS):
                certain = await look
        except TimeoutError:
            self._hanging = True
        found = self._found(credential)
        if found is not None:
            return self._judged(found)
        if not certain:
            text = "The store of keys cannot be used now, and this key was not seen before. Try again in a moment."
            raise Fault(FaultKind.GATEWAY_BUSY, text, retry_after=DOWN_SECONDS)
        if len(self._refused) >= MAX_REFUSED:
            self._refused.clear()
        self._refused[digest] = self._loop.time() + REFUSED_SECONDS
        raise _unknown()

    def look(self) -> None:
        """Ask the store soon what has changed: somebody says that something has."""
        if self._database is not None:
            self._look()

    def close(self) -> None:
        """End the thread. May be called from any thread."""
        if self._thread is not None:
            with self._wake:
                self._closing = True
                self._wake.notify()
            self._thread.join(UNKNOWN_SECONDS)

    def _found(self, credential: str) -> _Known | None:
        if len(credential) > MAX_KEY_CHARS or not credential.isascii():
            return None
        digest = hashlib.sha256(credential.encode()).digest()
        found = self._known.get(digest[:8])
        return found if found is not None and hmac.compare_digest(found.digest, digest) else None

    def _judged(self, found: _Known) -> Caller:
        if found.ended is not None:
            raise _ended(found.ended)
        if found.expires is not None and self._clock is not None and found.expires <= self._clock.now():
            raise _ended("has expired")
        return found.caller

    def _add(self, new: _Known) -> None:
        # Two keys whose hashes begin with the same 64 bits are as likely as guessing half of one.
        self._known[new.digest[:8]] = new

    def _caller(self, name: str, digest: bytes) -> Caller:
        return Caller(name, owner=owner_of(digest), allowance=self._defaults)

    def _look(self) -> "asyncio.Future[bool]":
        """Ask the thread for a look that begins from now on; the future says whether it could."""
        done: asyncio.Future[bool] = self._loop.create_future()
        with self._wake:
            self._waiting.append(done)
            self._wake.notify()
        return done

    def _looked(self, rows: list[KeyRow], waiting: "list[asyncio.Future[bool]]", problem: str | None) -> None:
        """Take in what the thread has found."""
        for row in rows:
            digest = bytes.fromhex(row.sha256)
            before = self._known.get(digest[:8])
            # A key of the settings works as long as it stands there.
            if before is None or before.stored:
                ended = None if row.revoked is None else "was revoked"
                self._add(_Known(digest, self._holder(row), stored=True, expires=row.expires, ended=ended))
        if len(self._known) > MAX_KNOWN:
            # Of those that ended there is no need to know: the store says no more of them.
            self._known = {start: known for start, known in self._known.items() if known.ended is None}
        self._unused = 0 if self._used else self._unused + 1
        self._used = False
        self._watching = self._unused < IDLE_POLLS
        self._hanging = False
        with self._wake:
            self._polling = self._watching
            self._wake.notify()
        if (problem is not None) is not self._down and self._say is not None:
            self._down = problem is not None
            if problem is not None:
                self._say("error", f"the store of keys cannot be used ({problem}); known keys go on")
            else:
                self._say("info", "the store of keys works again")
        for future in waiting:
            if not future.done():
                future.set_result(problem is None)

    def _holder(self, row: KeyRow) -> Caller:
        given = {name: getattr(row, name) for name in LIMITS if getattr(row, name) is not None}
        defaults = {name: getattr(self._defaults, name) for name in LIMITS}
        patterns = tuple(pattern.lower() for pattern in row.models)
        allowance = Allowance(**{**defaults, **given})
        return Caller(row.name, frozenset(row.scopes), row.owner, patterns, row.lane, allowance)

    # From here on: the thread.

    def _run(self) -> None:
        assert self._database is not None  # noqa: S101
        seen = 0
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._waiting or self._polling)
                self._wake.wait_for(lambda: self._closing or self._waiting, POLL_SECONDS)
                if self._closing:
                    break
                waiting, self._waiting = self._waiting, []
                # Until the loop has taken this in there is nothing to ask for.
                self._polling = False
            rows: list[KeyRow] = []
            problem: str | None = None
            try:
                seen, rows = _changes(self._database, seen)
            except (StoreDownError, RowRefusedError) as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001 - one look that fails must not end the thread
                problem = type(error).__name__
            self._tell(self._looked, rows, waiting, problem)
        self._database.close()

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        # The loop may be closed before this thread is.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)


def _changes(database: Database, seen: int) -> tuple[int, list[KeyRow]]:
    """Return the last change and what changed since ``seen``. Raises StoreDownError."""
    if not database.there:
        # Nobody has made a key there. Looking must not make the file.
        return seen, []
    with database.begin() as connection:
        last = last_change(connection)
        if last == seen:
            return seen, []
        # Lower than before: another file is in its place, and all of it is new.
        return last, read_since(connection, seen if last > seen else 0)


def _unknown() -> Fault:
    text = f"The API key is not one of this gateway's. {_HOW} `fittengate keys create` makes another one."
    return Fault(FaultKind.CALLER_NO_KEY, text)


def _ended(why: str) -> Fault:
    return Fault(FaultKind.CALLER_NO_KEY, f"The API key {why}. `fittengate keys create` makes another one.")
