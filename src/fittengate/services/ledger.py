"""The ledger: one receipt for each request, in the store for as long as the settings say.

Law: :meth:`Ledger.add` puts a receipt into the journal and rings a bell, and nothing else: whatever goes wrong with a disk
or a database, no reply waits for it. A thread moves what the journal has to the store, in batches, within a second. While
the store cannot be used it tries again, at least once a second; meanwhile the journal keeps the receipts. The thread also
moves what processes that were killed have left, and deletes what is too old.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from fittengate.core.caller import Receipt
from fittengate.lib.clock import Clock
from fittengate.services.journal import Journal, left_behind
from fittengate.services.receipt_rows import BATCH_ROWS, packed, store, sweep
from fittengate.services.store import Database, RowRefusedError, StoreDownError

GATHER_SECONDS = 0.4
"""How long receipts gather before they are moved: less than half of the time in which they are to be seen."""

RETRY_SECONDS = 0.25
MAX_RETRY_SECONDS = 1.0
"""Wait before what failed is tried again, doubled each time."""

UPKEEP_SECONDS = 30.0
"""How often a look is taken for what others have left behind."""

SWEEP_SECONDS = 3600.0
"""How often old receipts are looked for."""

START_SECONDS = 1.0
"""The store is opened only then, if nobody needs it before: the start is the wrong time for it."""

CLOSE_SECONDS = 5.0

Say: TypeAlias = Callable[..., None]
"""The log's ``say``."""


class Receipts(Protocol):
    """Takes the receipt of each request. :class:`Ledger` keeps them, :class:`NoLedger` does not."""

    def add(self, receipt: Receipt) -> None:
        """Take a receipt. Never waits, never raises."""

    @property
    def problem(self) -> str | None:
        """Return why receipts might not outlive the process now; None when all is well."""

    @property
    def lost(self) -> int:
        """Return how many receipts were not kept."""

    @property
    def depth(self) -> tuple[int, int]:
        """Return how many receipts are on their way to the store: all of them, and those in memory alone."""

    @property
    def store_problem(self) -> bool:
        """Return whether the store took nothing when it was tried last."""

    def close(self) -> None:
        """Finish; takes some seconds at most."""


class NoLedger:
    """Implements Receipts where there is no store: nothing is kept."""

    problem: str | None = None
    lost = 0
    depth = (0, 0)
    store_problem = False

    def add(self, receipt: Receipt) -> None:
        """Take a receipt, and forget it."""

    def close(self) -> None:
        """Do nothing."""


class Ledger:
    """Implements Receipts. ``add`` may be called from any thread."""

    def __init__(
        self, root: Path, name: str, database: Database, clock: Clock, say: Say, retention_days: float
    ) -> None:
        """Begin. ``root`` holds the journals of all processes; ``name`` is this one's, and never another's.

        ``retention_days`` of 0 means for ever. The first segments of the journal are made here, if the disk lets them.
        """
        self._root = root
        self._journal = Journal(root, name)
        self._database = database
        self._clock = clock
        self._say = say
        self._retention = retention_days * 86_400
        self._awake = False
        self._bell = threading.Semaphore(0)
        self._closing = threading.Event()
        self._said: dict[str, str] = {}
        self._unread = 0
        self._told = 0
        self._no_room: str | None = None
        self._provide()
        self._thread = threading.Thread(target=self._run, name="fittengate-ledger", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Return how many receipts were not kept: there was no room for them, or the store did not take them."""
        return self._journal.lost + self._unread

    @property
    def depth(self) -> tuple[int, int]:
        """Return how many receipts are on their way to the store: all of them, and those in memory alone."""
        return self._journal.depth, self._journal.waiting

    @property
    def store_problem(self) -> bool:
        """Return whether the store took nothing when it was tried last."""
        return "store" in self._said

    @property
    def problem(self) -> str | None:
        """Return why receipts might not outlive the process now; None when all is well."""
        waiting = self._journal.waiting
        if not waiting:
            return None
        return f"receipts in memory alone: {waiting} ({self._no_room or 'the journal is full'})"

    def add(self, receipt: Receipt) -> None:
        """Put a receipt into the journal."""
        self._journal.append(packed(receipt))
        if not self._awake:
            self._awake = True
            self._bell.release()

    def close(self) -> None:
        """Move what is left and stop; takes some seconds at most. What cannot be moved is for the next process."""
        self._closing.set()
        self._bell.release()
        self._thread.join(CLOSE_SECONDS)

    # From here on: the thread, but for the first _provide.

    def _run(self) -> None:
        now = self._clock.monotonic
        wait = RETRY_SECONDS
        upkeep, old = now() + START_SECONDS, now() + UPKEEP_SECONDS
        while True:
            pause = min(upkeep, now() + MAX_RETRY_SECONDS) if self._journal.waiting else upkeep
            self._bell.acquire(timeout=max(0.0, pause - now()))
            self._closing.wait(GATHER_SECONDS)
            closing = self._closing.is_set()
            self._awake = False
            try:
                self._provide()
                self._move()
                if now() >= upkeep:
                    self._take_over()
                    upkeep = now() + UPKEEP_SECONDS
                if now() >= old and not closing:
                    self._sweep()
                    old = now() + SWEEP_SECONDS
                self._recovered()
                wait = RETRY_SECONDS
            except StoreDownError as error:
                self._tell("store", f"the ledger's store cannot be used ({error}); receipts wait in the journal")
                self._retry(wait)
                wait = min(2 * wait, MAX_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the thread
                self._tell("store", f"the ledger failed: {type(error).__name__}")
                self._retry(wait)
                wait = min(2 * wait, MAX_RETRY_SECONDS)
            self._tell_losses()
            if closing:
                break
        self._journal.close()

    def _retry(self, wait: float) -> None:
        """Wait, and let the next round begin at once."""
        self._closing.wait(wait)
        self._bell.release()

    def _provide(self) -> None:
        try:
            self._journal.provide()
            self._no_room = None
        except OSError as error:
            self._no_room = f"the disk gives the journal no room: {error.strerror or type(error).__name__}"
            self._tell("journal", self._no_room)

    def _move(self) -> None:
        while batch := self._journal.take(BATCH_ROWS):
            self._store(self._journal.name, batch)
            self._journal.done(batch)
            self._provide()

    def _store(self, journal: str, batch: list[tuple[int, bytes]]) -> int:
        """Write a batch; return how many of it are new in the store."""
        now = int(self._clock.now())
        try:
            with self._database.begin() as connection:
                written, unread = store(connection, journal, batch, now)
        except RowRefusedError:
            if len(batch) > 1:
                return sum(self._store(journal, [one]) for one in batch)
            written, unread = 0, 1
        self._unread += unread
        return written

    def _take_over(self) -> None:
        """Move what killed processes have left; migrate the database if it is an old one and nobody has used it yet."""
        if self._database.there:
            with self._database.begin():
                pass
        try:
            if count := left_behind(self._root, self._store, BATCH_ROWS):
                self._say("info", f"read {count} receipts of a process that was killed")
        except OSError as error:
            self._say("warning", f"a journal cannot be read ({error.strerror or type(error).__name__})")

    def _sweep(self) -> None:
        if self._database.there:
            sweep(self._database, self._clock.now() - self._retention if self._retention else 0.0)

    def _tell(self, what: str, text: str, **fields: Any) -> None:
        """Say what is wrong, once for each time that it goes wrong."""
        if what not in self._said:
            self._say("error", text, **fields)
        self._said[what] = text

    def _recovered(self) -> None:
        if self._said.pop("store", ""):
            self._say("info", "the ledger's store works again")
        if self._no_room is None and self._said.pop("journal", ""):
            self._say("info", "the journal has room again")

    def _tell_losses(self) -> None:
        if (lost := self.lost) > self._told:
            self._say("error", f"{lost - self._told} receipts were lost: there was no room, or they could not be read")
            self._told = lost
