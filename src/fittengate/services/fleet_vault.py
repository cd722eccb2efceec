"""The account's tokens, on the fleet's server: one login, and one renewal at a time, for all replicas.

Laws. Whoever holds the lock holds the vault of its own machine too, so that processes of one machine never meet, whatever
becomes of the server. The lock ends by itself when its holder is not heard of for :data:`LOCK_LIFE_SECONDS`. What is
saved is saved in both places. While the server is away the machine's own vault serves; when it is back, the tokens that
live longer count, and tokens of another account never do.
"""

import asyncio
import contextlib
from typing import Protocol

import msgspec

from fittengate.core.account import Tokens
from fittengate.services.valkey import FleetDownError, Valkey, script
from fittengate.services.vault import LOCK_SECONDS, Refusal

LOCK_LIFE_SECONDS = 10.0
"""A holder of the lock that is not heard of for so long has lost it."""

LOCK_BEAT_SECONDS = 2.0
"""How often the holder lets itself be heard of."""

LOCK_POLL_SECONDS = 0.05
"""How often whoever waits for the lock looks whether it is free."""

REFUSAL_SECONDS = 7200
"""A refused login is kept so long: more than the longest wait after one."""

_KEEP = script(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
)
_FREE = script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
_SWAP = script(
    "if (redis.call('GET', KEYS[1]) or '') == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0"
)


class OwnVault(Protocol):
    """The vault of one machine: :class:`fittengate.services.vault.FileVault`, or another that does what that does."""

    problem: str | None

    async def load(self) -> Tokens | None: ...  # noqa: D102
    async def save(self, tokens: Tokens) -> None: ...  # noqa: D102
    async def forget(self) -> None: ...  # noqa: D102
    async def acquire(self) -> None: ...  # noqa: D102
    async def release(self) -> None: ...  # noqa: D102
    async def refusal(self) -> tuple[str, float, str] | None: ...  # noqa: D102
    async def note_refusal(self, fingerprint: str, until: float, message: str) -> None: ...  # noqa: D102
    async def clear_refusal(self) -> None: ...  # noqa: D102


class FleetVault:
    """A ``TokenVault`` of ``upstream/base.py``."""

    def __init__(self, own: OwnVault, valkey: Valkey, prefix: str, replica: str) -> None:
        """``own`` is the machine's; ``prefix`` begins all names on the server, ``replica`` is nobody else's."""
        self.problem: str | None = None
        """Why the last :meth:`load` could not read what is there; None when it could, or when nothing is."""
        self._own = own
        self._valkey = valkey
        self._name = f"{prefix}:account"
        self._replica = replica
        self._keeping: asyncio.Task[None] | None = None

    async def load(self) -> Tokens | None:
        """Return what was saved last; None when nothing was, or when it cannot be read (see :attr:`problem`)."""
        own = await self._own.load()
        self.problem = self._own.problem
        try:
            raw = await self._valkey.command("GET", self._name)
            shared = _tokens(raw)
            if own is None or not _outlives(own, shared):
                return shared
            # Somebody has signed in here, or the server was away when it was renewed here.
            done = await self._valkey.run(_SWAP, [self._name], raw or b"", msgspec.json.encode(own))
            return own if done else _tokens(await self._valkey.command("GET", self._name))
        except FleetDownError:
            return own

    async def save(self, tokens: Tokens) -> None:
        """Replace what is saved. Raises OSError when it could be saved nowhere."""
        try:
            await self._valkey.command("SET", self._name, msgspec.json.encode(tokens))
        except FleetDownError:
            await self._own.save(tokens)
            return
        # It is safe already; a disk that is full or not to be written is no reason to fail.
        with contextlib.suppress(OSError):
            await self._own.save(tokens)

    async def forget(self) -> None:
        """Remove what is saved, here and on the server. Raises OSError."""
        with contextlib.suppress(FleetDownError):
            await self._valkey.command("DEL", self._name)
        await self._own.forget()

    async def acquire(self) -> None:
        """Wait until nobody else in the fleet signs in or refreshes. Raises TimeoutError, OSError."""
        await self._own.acquire()
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                await self._lock()
        except BaseException:
            await self._own.release()
            raise

    async def release(self) -> None:
        """Let the next one."""
        keeping, self._keeping = self._keeping, None
        try:
            if keeping is not None:
                keeping.cancel()
                with contextlib.suppress(FleetDownError):
                    await self._valkey.run(_FREE, [f"{self._name}:lock"], self._replica)
        finally:
            await self._own.release()

    async def refusal(self) -> tuple[str, float, str] | None:
        """Return the last refused login: fingerprint of the credentials, until when to wait, message; None: none."""
        try:
            raw = await self._valkey.command("GET", f"{self._name}:refusal")
        except FleetDownError:
            return await self._own.refusal()
        try:
            found = None if raw is None else msgspec.json.decode(raw, type=Refusal)
        except ValueError:
            return None
        return None if found is None else (found.fingerprint, found.until, found.message)

    async def note_refusal(self, fingerprint: str, until: float, message: str) -> None:
        """Remember a refused login for the whole fleet; ``until`` in seconds since the epoch. Raises OSError."""
        raw = msgspec.json.encode(Refusal(fingerprint, until, message))
        with contextlib.suppress(FleetDownError):
            await self._valkey.command("SET", f"{self._name}:refusal", raw, "EX", REFUSAL_SECONDS)
        await self._own.note_refusal(fingerprint, until, message)

    async def clear_refusal(self) -> None:
        """Forget it: a login worked. Raises OSError."""
        with contextlib.suppress(FleetDownError):
            await self._valkey.command("DEL", f"{self._name}:refusal")
        await self._own.clear_refusal()

    async def _lock(self) -> None:
        """Take the lock on the server; without the server that of this machine has to do."""
        life = round(LOCK_LIFE_SECONDS * 1000)
        with contextlib.suppress(FleetDownError):
            while True:
                if await self._valkey.command("SET", f"{self._name}:lock", self._replica, "NX", "PX", life):
                    break
                await asyncio.sleep(LOCK_POLL_SECONDS)
            self._keeping = asyncio.get_running_loop().create_task(self._keep(life))

    async def _keep(self, life: int) -> None:
        while True:
            await asyncio.sleep(LOCK_BEAT_SECONDS)
            with contextlib.suppress(FleetDownError):
                await self._valkey.run(_KEEP, [f"{self._name}:lock"], self._replica, life)


def _tokens(raw: bytes | None) -> Tokens | None:
    """Return tokens as they were saved; None for nothing, and for what a login will replace because it is none."""
    try:
        return None if raw is None else msgspec.json.decode(raw, type=Tokens)
    except (ValueError, RecursionError):
        return None


def _outlives(own: Tokens, shared: Tokens | None) -> bool:
    if shared is None:
        return True
    same = own.base_url == shared.base_url and own.user_id == shared.user_id
    return same and (own.access_expires or 0.0) > (shared.access_expires or 0.0)
