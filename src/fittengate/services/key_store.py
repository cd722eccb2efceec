"""What can be done to the keys in the store: make, list, replace, revoke. Blocks, so not for the event loop.

Law: a key is returned once, by what makes it, and written nowhere; the store has its hash and its first characters.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from fittengate.core.caller import LANES, SCOPES, Lane
from fittengate.lib.clock import Clock
from fittengate.services import key_rows as rows
from fittengate.services.key_rows import LIMITS, KeyRefusedError, KeyRow
from fittengate.services.keys import PREFIX_CHARS, StoredKey, hand_over, make_key, owner_of
from fittengate.services.store import Database

MAX_NAME_CHARS = 64
MAX_PATTERNS = 32
MAX_PATTERN_CHARS = 100
MAX_LIMIT = 10**12

DAY_SECONDS = 86_400

MAX_SECONDS = 100 * 366 * DAY_SECONDS
"""No key lasts longer than a hundred years; whoever wants more names no end."""


class KeyWish(Struct, frozen=True, kw_only=True):
    """What a new key is to be."""

    name: str
    scopes: tuple[str, ...] = ("chat", "completion")
    models: tuple[str, ...] = ()
    """Patterns of model ids; none means all."""
    lane: Lane = "interactive"
    lasts: float | None = None
    """Seconds until it expires; None means never."""
    rpm: int | None = None
    """None means the default of the settings, 0 no limit; so with all limits."""
    tpm: int | None = None
    concurrency: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None

    def check(self) -> None:
        """Raise KeyRefusedError with what is wrong, if anything is."""
        name = self.name
        if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable() or name != name.strip():
            raise KeyRefusedError(f"a name has 1 to {MAX_NAME_CHARS} printable characters, and no space at its ends.")
        if name.startswith(("fg_", "key-", "-")):
            raise KeyRefusedError(
                "a name begins neither with fg_ nor with key- nor with -: those are other keys' names."
            )
        if not self.scopes or not set(self.scopes) <= set(SCOPES):
            raise KeyRefusedError(f"scopes are {', '.join(SCOPES)}.")
        if self.lane not in LANES:
            raise KeyRefusedError(f"lanes are {', '.join(LANES)}.")
        plain = all(pattern.isprintable() and 0 < len(pattern) <= MAX_PATTERN_CHARS for pattern in self.models)
        if len(self.models) > MAX_PATTERNS or not plain:
            raise KeyRefusedError(f"at most {MAX_PATTERNS} models, each of 1 to {MAX_PATTERN_CHARS} characters.")
        if self.lasts is not None and not 0 < self.lasts <= MAX_SECONDS:
            raise KeyRefusedError("a key expires after more than nothing and less than a hundred years.")
        for limit in LIMITS:
            value = getattr(self, limit)
            if value is not None and not 0 <= value <= MAX_LIMIT:
                raise KeyRefusedError(f"{limit.replace('_', '-')} is a number from 0, which means no limit, to 10^12.")


class KeyStore:
    """The keys of one database. Everything may raise StoreDownError."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        retention_days: float,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Keys that ended more than ``retention_days`` ago are deleted when one is made; 0 keeps them for ever.

        ``changed`` is called after every change, in whatever thread made it.
        """
        self._changed = changed
        self._database = database
        self._clock = clock
        self._random_bytes = random_bytes
        self._retention = retention_days * DAY_SECONDS

    def listed(self) -> list[KeyRow]:
        """Return every key, the oldest first."""
        with self._database.begin() as connection:
            return rows.listed(connection)

    def create(self, wish: KeyWish) -> tuple[str, KeyRow]:
        """Make a key; return it, and what is kept of it. Raises KeyRefusedError."""
        wish.check()
        now = self._clock.now()
        key, digest, prefix = self._made()
        row = KeyRow(
            sha256=digest.hex(),
            prefix=prefix,
            name=wish.name,
            owner=owner_of(digest),
            scopes=tuple(scope for scope in SCOPES if scope in wish.scopes),
            models=wish.models,
            lane=wish.lane,
            created=int(now),
            expires=None if wish.lasts is None else int(now + wish.lasts),
            **{limit: getattr(wish, limit) for limit in LIMITS},
        )
        with self._database.begin() as connection:
            if self._retention:
                rows.sweep(connection, now - self._retention)
            made = rows.insert(connection, row, now)
        self._changed()
        return key, made

    def find(self, name: str) -> KeyRow:
        """Return the key of this name or visible prefix. Raises NoKeyError."""
        with self._database.begin() as connection:
            return rows.find(connection, name, self._clock.now())

    def rotate(self, name: str, grace: float) -> tuple[str, KeyRow]:
        """Make a key for the place of another one, which works for ``grace`` seconds more; return the new one.

        It may do what the old one may, and what the old one used counts on. Raises NoKeyError, KeyRefusedError.
        """
        if not 0 <= grace <= MAX_SECONDS:
            raise KeyRefusedError("a grace is a time from 0 to a hundred years.")
        now = self._clock.now()
        key, digest, prefix = self._made()
        with self._database.begin() as connection:
            old = rows.find(connection, name, now)
            new = replace(old, sha256=digest.hex(), prefix=prefix, created=int(now))
            made = rows.replace(connection, old, new, now, grace)
        self._changed()
        return key, made

    def revoke(self, name: str) -> list[KeyRow]:
        """End a key, and those whose place it took, at once; return what was ended. Raises NoKeyError."""
        now = self._clock.now()
        with self._database.begin() as connection:
            ended = rows.revoke(connection, rows.find(connection, name, now), now)
        self._changed()
        return ended

    def take_over(self, directory: Path) -> None:
        """Take the keys that ``serve`` made into the store; their names are their prefixes. Raises as hand_over."""
        hand_over(directory, self._take)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _take(self, made: Iterable[StoredKey]) -> None:
        now = self._clock.now()
        with self._database.begin() as connection:
            there = {row.sha256 for row in rows.listed(connection)}
            for key in made:
                if key.sha256 not in there:
                    owner = owner_of(bytes.fromhex(key.sha256))
                    row = KeyRow(sha256=key.sha256, prefix=key.prefix, name=key.prefix, owner=owner, created=int(now))
                    rows.insert(connection, row, now)

    def _made(self) -> tuple[str, bytes, str]:
        key = make_key(self._random_bytes)
        return key, hashlib.sha256(key.encode()).digest(), key[:PREFIX_CHARS]
