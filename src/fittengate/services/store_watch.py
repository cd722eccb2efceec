"""How the database is, for who asks from outside: by what its last use came to, or by a look of its own.

Law: asking never waits. Where nobody has used the database for a while, asking begins a look in a thread, one at a time,
and the next who asks is told what it found.
"""

import contextlib
import threading

from fittengate.lib.clock import Clock
from fittengate.services.store import Database, RowRefusedError, StoreDownError

STALE_SECONDS = 5.0
"""A last use that was longer ago says nothing any more."""

RETRY_SECONDS = 1.0
"""After a failure that is shorter."""

SLOW_SECONDS = 2.0
"""A look that takes longer found a database that does not answer."""


class StoreWatch:
    """Knows whether a database can be used. Belongs to an event loop."""

    def __init__(self, database: Database | None, clock: Clock) -> None:
        """Without a database nothing is ever wrong with it."""
        self._database = database
        self._clock = clock
        self._since: float | None = None
        """When the look that is under way began; None where none is."""

    @property
    def problem(self) -> str | None:
        """Return what is wrong, without names of hosts or files; None when all is well, or it was not used yet."""
        database, now = self._database, self._clock.monotonic()
        if database is None or database.tried is None:
            return None
        since = self._since
        if since is not None:
            if now - since > SLOW_SECONDS:
                return "the database does not answer; keys that were seen before go on"
        elif now - database.tried > (STALE_SECONDS if database.problem is None else RETRY_SECONDS):
            self._since = now
            threading.Thread(target=self._look, args=(database,), name="fittengate-watch", daemon=True).start()
        if database.problem is None:
            return None
        return "the database cannot be used, the log says why; keys that were seen before go on"

    def _look(self, database: Database) -> None:
        try:
            with contextlib.suppress(StoreDownError, RowRefusedError), database.begin():
                pass
        finally:
            self._since = None
