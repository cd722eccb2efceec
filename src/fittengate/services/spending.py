"""What was used of days and months, kept for the next start.

Laws. No request waits for the database, but for the first seconds of a process, until what was used before is known; if
that cannot be read in time, requests go on, and it is added when it can be. Changes are added up in memory and written
by a thread, a second later at most, as additions: what could not be written is written with the next ones. A process
that is killed may lose what changed in its last second.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import asdict, astuple

from fittengate.lib.clock import Clock
from fittengate.services.store import Database, RowRefusedError, StoreDownError

if TYPE_CHECKING:
    from sqlalchemy import Connection

WRITE_SECONDS = 0.8
"""From a change to its writing, at most; with the writing itself less than a second."""

RETRY_SECONDS = 1.0
"""Wait before a store that failed is tried again."""

KNOWN_SECONDS = 2.0
"""Longest wait of a request for what was used before."""

KEPT_SECONDS = 40 * 86_400
"""A row is deleted so long after its period began: a month and more."""

CLOSE_SECONDS = 5.0

Kind: TypeAlias = Literal["day", "month"]


Changed: TypeAlias = tuple[str, int, int]
"""An owner, a day and a month: what is used counts in both."""


class Period(Struct, frozen=True):
    """Whose tokens, and when."""

    owner: str
    kind: Kind
    number: int
    """Of the day or the month, as meters count them."""


Spent: TypeAlias = Mapping[Period, int]


class Spending:
    """Keeps totals. Belongs to an event loop; ``close`` may be called from any thread."""

    def __init__(
        self, database: Database, clock: Clock, say: Callable[..., None], restore: Callable[[Spent], None]
    ) -> None:
        """``restore`` is called once, on the loop, with what was used before."""
        self._database = database
        self._clock = clock
        self._say = say
        self._restore = restore
        self._loop = asyncio.get_running_loop()
        self._known: asyncio.Future[None] = self._loop.create_future()
        # Shared with the thread, under the lock.
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._changes: dict[Changed, int] = {}
        self._closing = False
        self._down = False
        self._read_in = False
        self._thread = threading.Thread(target=self._run, name="fittengate-spending", daemon=True)
        self._thread.start()

    @property
    def known(self) -> bool:
        """Return whether what was used before is counted, or is not to be waited for."""
        return self._known.done()

    async def wait(self) -> None:
        """Wait until it is, but not for long, and not in vain a second time."""
        try:
            async with asyncio.timeout(KNOWN_SECONDS):
                await asyncio.shield(self._known)
        except TimeoutError:
            self._wait_no_longer()

    def add(self, owner: str, day: int, month: int, tokens: int) -> None:
        """Note tokens that were used, or, less than nothing, that were not. Never waits."""
        changed = (owner, day, month)
        with self._lock:
            changes = self._changes
            if not changes:
                self._wake.notify()
            changes[changed] = changes.get(changed, 0) + tokens

    def close(self) -> None:
        """Write what is left, and end."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(CLOSE_SECONDS)

    # From here on: the thread.

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._changes or not self._read_in)
                if self._read_in:
                    self._wake.wait_for(lambda: self._closing, WRITE_SECONDS)
                closing = self._closing
                changes, self._changes = (self._changes, {}) if self._read_in or closing else ({}, self._changes)
            try:
                if not self._read_in:
                    self._tell(self._take_in, self._before())
                    self._read_in = True
                self._write(changes)
            except (StoreDownError, RowRefusedError) as error:
                self._failed(changes, str(error))
            except Exception as error:  # noqa: BLE001 - one writing that fails must not end the thread
                self._failed(changes, type(error).__name__)
            else:
                if self._down:
                    self._down = False
                    self._say("info", "the store of what was used works again")
            if closing:
                break
            if self._down:
                self._tell(self._wait_no_longer)
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, RETRY_SECONDS)
        self._database.close()

    def _failed(self, changes: dict[Changed, int], why: str) -> None:
        with self._wake:
            for changed, tokens in changes.items():
                self._changes[changed] = self._changes.get(changed, 0) + tokens
        if not self._down:
            self._down = True
            self._say("error", f"the store of what was used cannot be used ({why}); limits go on in memory")

    def _before(self) -> Spent:
        if not self._database.there:
            # Nothing was ever used. Looking must not make the file.
            return {}
        with self._database.begin() as connection:
            return _read(connection, self._clock.now())

    def _write(self, changes: dict[Changed, int]) -> None:
        if changes:
            sums: dict[Period, int] = {}
            for (owner, day, month), tokens in changes.items():
                for period in (Period(owner, "day", day), Period(owner, "month", month)):
                    sums[period] = sums.get(period, 0) + tokens
            with self._database.begin() as connection:
                _add(connection, sums, self._clock.now())

    def _take_in(self, spent: Spent) -> None:
        self._restore(spent)
        self._wait_no_longer()

    def _wait_no_longer(self) -> None:
        if not self._known.done():
            self._known.set_result(None)

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        # The loop may be closed before this thread is.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)


def _read(connection: "Connection", now: float) -> Spent:
    """Return what is kept, and delete what is too old to count."""
    from sqlalchemy import select

    from fittengate.services.tables import SPENT

    c = SPENT.c
    connection.execute(SPENT.delete().where(c.first_used < int(now - KEPT_SECONDS)))
    rows = connection.execute(select(c.owner, c.kind, c.number, c.tokens))
    return {Period(owner, kind, number): tokens for owner, kind, number, tokens in rows}


def _add(connection: "Connection", changes: dict[Period, int], now: float) -> None:
    from fittengate.services.statements import upsert
    from fittengate.services.tables import SPENT

    # In one order for all: two processes that take the same rows in different orders lock each other out.
    values = [
        {**asdict(period), "tokens": tokens, "first_used": int(now)}
        for period, tokens in sorted(changes.items(), key=lambda one: astuple(one[0]))
    ]
    add = upsert(connection, SPENT, lambda new: {"tokens": SPENT.c.tokens + new.tokens})
    connection.execute(add, values)
