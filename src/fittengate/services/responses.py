"""Responses that clients have kept: found again by their id, by their owner alone, as long as they are kept.

Law: keeping one never waits and never fails. It is in memory at once, from where it is found until the writing thread has
it in the database; while the database is down it stays there and is tried again. Only when too many wait is one lost, and
then it is counted and the log says so. Without a database the newest ones stay in memory, and that is all.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeAlias

from msgspec import Struct

from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Record
from fittengate.lib.clock import Clock
from fittengate.services.response_rows import Row, find_chain, find_one, insert, remove, sweep
from fittengate.services.store import Database, RowRefusedError, StoreDownError

MAX_ROW_BYTES = 8 * 1024 * 1024
"""A larger response, with what was asked, is not kept."""

MAX_WAITING = 2000
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Bounds of what is in memory."""

BATCH_ROWS = 200
BATCH_BYTES = 8 * 1024 * 1024
"""So much is written in one transaction."""

READERS = 2
"""Threads that look responses up."""

FIRST_SWEEP_SECONDS = 60.0
SWEEP_SECONDS = 3600.0
"""How often old responses are looked for; the first time when the start is over."""

RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 1.0
"""Wait before a database that failed is tried again, doubled each time."""

CLOSE_SECONDS = 5.0
DELETE_SECONDS = 10.0

Say: TypeAlias = Callable[..., None]
"""The log's ``say``."""


Find: TypeAlias = Callable[[Any, str, str, float], tuple[Record, ...]]
"""Looks for a record of this id and owner, made not before a time, on a connection."""


class _Deletion(Struct):
    """A row that is to go."""

    id: str
    done: "Future[None]"


class Responses:
    """Keeps responses. Belongs to an event loop; ``close`` may be called from any thread."""

    def __init__(self, database: Database | None, clock: Clock, say: Say, retention_days: float) -> None:
        """``retention_days`` of 0 means for ever. Without a database responses stay in memory."""
        self.lost = 0
        """Responses that should have been kept and could not be."""
        self._database = database
        self._clock = clock
        self._say = say
        self._retention = retention_days * 86_400
        self._rows: dict[str, Row] = {}
        """What is in memory, by id, oldest first."""
        self._bytes = 0
        self._queue: deque[Row | _Deletion] = deque()
        self._deleting: set[str] = set()
        self._wake = threading.Condition()
        self._closing = False
        self._down = False
        self._told = 0
        self._readers: ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None
        if database is not None:
            self._thread = threading.Thread(target=self._run, name="fittengate-store", daemon=True)
            self._thread.start()

    def put(self, record: Record, caller: str) -> None:
        """Keep a record that belongs to ``caller``. Never waits, never raises."""
        row = Row(record, caller, int(self._clock.now()))
        with self._wake:
            if row.size > MAX_ROW_BYTES or not self._make_room(row.size):
                self.lost += 1
                if self._database is None:
                    self._tell_losses()
                self._wake.notify()
                return
            self._rows[record.id] = row
            self._bytes += row.size
            if self._database is not None:
                self._queue.append(row)
                self._wake.notify()

    async def find(self, name: str, caller: str) -> Record | None:
        """Return a record of ``caller``'s; None where there is none. Raises Fault (gateway_busy)."""
        row = self._rows.get(name)
        if row is not None:
            return row.record if self._is_seen(row, caller) else None
        if self._database is None or name in self._deleting:
            return None
        found = await self._read(find_one, name, caller)
        return found[0] if found else None

    async def chain(self, name: str, caller: str) -> tuple[Record, ...]:
        """Return the records that lead up to one of ``caller``'s, oldest first, itself last; none where one is missing.

        Raises Fault: gateway_busy when the database cannot be read, caller_too_long for a conversation that is too
        large to go on with.
        """
        newest: list[Record] = []
        wanted: str | None = name
        while wanted is not None and (row := self._rows.get(wanted)) is not None:
            if not self._is_seen(row, caller):
                return ()
            newest.append(row.record)
            wanted = row.record.previous
        older: tuple[Record, ...] = ()
        if wanted is not None:
            if self._database is None:
                return ()
            older = await self._read(find_chain, wanted, caller)
            if not older or any(record.id in self._deleting for record in older):
                return ()
        return (*older, *reversed(newest))

    async def delete(self, name: str, caller: str) -> bool:
        """Remove a record; tell whether there was one of this caller. Raises Fault (gateway_busy)."""
        if await self.find(name, caller) is None:
            return False
        if self._database is None:
            self._forget(name)
            return True
        done: Future[None] = Future()
        with self._wake:
            self._deleting.add(name)
            self._queue.append(_Deletion(name, done))
            self._wake.notify()
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(done)), DELETE_SECONDS)
        except TimeoutError as error:
            message = "It can no longer be fetched, but could not be removed from the disk yet. That is tried again."
            raise Fault(FaultKind.GATEWAY_BUSY, message) from error
        return True

    def close(self) -> None:
        """Write what is left and stop; takes some seconds at most."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
        if self._readers is not None:
            self._readers.shutdown(wait=False, cancel_futures=True)

    async def _read(self, find: Find, name: str, caller: str) -> tuple[Record, ...]:
        if self._readers is None:
            self._readers = ThreadPoolExecutor(READERS, "fittengate-store-reader")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, find, name, caller)
        except StoreDownError as error:
            message = "Kept responses cannot be read just now. Try again, or send the whole conversation."
            raise Fault(FaultKind.GATEWAY_BUSY, message, detail=f"store: {error}") from error
        except RowRefusedError:
            # It cannot be written as an id, so there is none.
            return ()

    def _look(self, find: Find, name: str, caller: str) -> tuple[Record, ...]:
        assert self._database is not None  # noqa: S101
        with self._database.begin() as connection:
            return find(connection, name, caller, self._oldest())

    def _is_seen(self, row: Row, caller: str) -> bool:
        return row.caller == caller and row.record.id not in self._deleting and row.created >= int(self._oldest())

    def _oldest(self) -> float:
        """Return the time before which nothing is kept, in seconds since the epoch."""
        return self._clock.now() - self._retention if self._retention else 0.0

    def _make_room(self, size: int) -> bool:
        """Tell whether one more may be in memory. Without a database the oldest ones make room for it."""
        while len(self._rows) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            if self._database is not None or not self._rows:
                return False
            self._forget(next(iter(self._rows)))
        return True

    def _forget(self, name: str) -> None:
        row = self._rows.pop(name, None)
        if row is not None:
            self._bytes -= row.size

    # From here on: the writing thread.

    def _run(self) -> None:
        assert self._database is not None  # noqa: S101
        wait = RETRY_SECONDS
        next_sweep = self._clock.monotonic() + FIRST_SWEEP_SECONDS
        while True:
            with self._wake:
                until = next_sweep - self._clock.monotonic()
                self._wake.wait_for(lambda: self._queue or self._closing or self.lost > self._told, max(0.0, until))
                closing, batch = self._closing, self._batch()
            self._tell_losses()
            try:
                self._write(self._database, batch)
                if self._clock.monotonic() >= next_sweep:
                    next_sweep = self._clock.monotonic() + SWEEP_SECONDS
                    if self._database.there:
                        sweep(self._database, self._oldest())
            except StoreDownError as error:
                self._note(error)
                if closing:
                    break
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, wait)
                wait = min(2 * wait, MAX_RETRY_SECONDS)
                next_sweep = max(next_sweep, self._clock.monotonic())
                continue
            except Exception as error:  # noqa: BLE001 - one batch that cannot be written must not end the thread
                self._drop(batch, error)
            self._recovered(batch)
            wait = RETRY_SECONDS
            if closing and not self._queue:
                break
        self.lost += sum(type(one) is Row for one in self._queue)
        self._tell_losses()
        self._database.close()

    def _batch(self) -> list[Row | _Deletion]:
        """Return what is to be written next: rows up to the next deletion, or that deletion."""
        batch: list[Row | _Deletion] = []
        size = 0
        for one in islice(self._queue, BATCH_ROWS):
            if batch and (isinstance(one, _Deletion) or size > BATCH_BYTES):
                break
            batch.append(one)
            if isinstance(one, _Deletion):
                break
            size += one.size
        return batch

    def _write(self, database: Database, batch: list[Row | _Deletion]) -> None:
        rows = [one for one in batch if isinstance(one, Row)]
        deletions = [one.id for one in batch if isinstance(one, _Deletion)]
        if not batch:
            return
        try:
            with database.begin() as connection:
                insert(connection, rows)
                remove(connection, deletions)
        except RowRefusedError:
            for row in rows:
                try:
                    with database.begin() as connection:
                        insert(connection, [row])
                except RowRefusedError:
                    self.lost += 1

    def _recovered(self, batch: list[Row | _Deletion]) -> None:
        """Take what was written from the queue and from memory."""
        with self._wake:
            for one in batch:
                self._queue.popleft()
                if isinstance(one, Row):
                    self._forget(one.record.id)
                else:
                    self._deleting.discard(one.id)
                    if not one.done.done():
                        one.done.set_result(None)
        if self._down:
            self._down = False
            self._say("info", "the store of responses works again")

    def _note(self, error: StoreDownError) -> None:
        if not self._down:
            self._down = True
            text = f"the store of responses cannot be used ({error}); new ones wait in memory"
            self._say("error", text, store=self._database.place.name if self._database else None)

    def _drop(self, batch: list[Row | _Deletion], error: Exception) -> None:
        self._say("error", f"the store of responses failed: {type(error).__name__}")
        for one in batch:
            if isinstance(one, Row):
                self.lost += 1
            else:
                one.done.set_exception(error)

    def _tell_losses(self) -> None:
        if self.lost > self._told:
            count, self._told = self.lost - self._told, self.lost
            self._say("warning", f"{count} responses were not kept: too large, or too many wait for the store")
