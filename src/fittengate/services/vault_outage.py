"""Tokens while their disk is full, read-only or gone: they serve this process from memory until the disk takes them.

Law: what a renewal gave is never lost to an OSError. What the disk did not take is given to it again with the next look,
and when the gateway stops, unless somebody else has saved other tokens there meanwhile: those count.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fittengate.core.account import Tokens
from fittengate.services.vault import FileVault, MemoryVault


class OutageVault:
    """A ``TokenVault`` of ``upstream/base.py`` around another one, whose OSErrors it keeps to itself and tells once."""

    def __init__(self, vault: FileVault | MemoryVault | Any, say: Callable[..., None]) -> None:
        """``vault`` is any TokenVault; ``say`` is the log's."""
        self.problem: str | None = None
        """Why the last :meth:`load` could not read what is on the disk; None when it could, or when nothing is."""
        self._vault = vault
        self._say = say
        self._unsaved: Tokens | None = None
        self._stands: Tokens | None = None
        """What was on the disk when it did not take ``_unsaved``."""
        self._noted: tuple[str, float, str] | None = None
        self._locked = False

    async def load(self) -> Tokens | None:
        """Return what was saved last, on the disk or here."""
        saved: Tokens | None = await self._vault.load()
        self.problem = self._vault.problem
        if self._unsaved is None:
            return saved
        if saved is not None and saved != self._stands:
            self._unsaved = None
            return saved
        waiting = self._unsaved
        await self.save(waiting)
        return waiting

    async def save(self, tokens: Tokens) -> None:
        """Replace what is saved. Never raises OSError: where the disk takes nothing, it is kept here."""
        stood = self._stands if self._unsaved is not None else await self._vault.load()
        try:
            await self._vault.save(tokens)
        except OSError as error:
            if self._unsaved is None:
                self._say("error", f"the login cannot be saved ({_reason(error)}); it is kept in memory")
            self._unsaved, self._stands = tokens, stood
            return
        if self._unsaved is not None:
            self._say("info", "the login is saved again")
        self._unsaved = None

    async def forget(self) -> None:
        """Remove what is saved. Raises OSError."""
        await self._vault.forget()
        self._unsaved = None

    async def acquire(self) -> None:
        """Wait until nobody else signs in or refreshes; without a disk to lock, go on. Raises TimeoutError."""
        try:
            await self._vault.acquire()
        except TimeoutError:
            raise
        except OSError:
            # One renewal at a time is the keeper's own law. Other processes cannot be asked.
            self._locked = False
            return
        self._locked = True

    async def release(self) -> None:
        """Let the next one."""
        if self._locked:
            self._locked = False
            await self._vault.release()

    async def refusal(self) -> tuple[str, float, str] | None:
        """Return the last refused login, from the disk or from here; None: none."""
        found: tuple[str, float, str] | None = await self._vault.refusal()
        return found or self._noted

    async def note_refusal(self, fingerprint: str, until: float, message: str) -> None:
        """Remember a refused login, here if the disk does not take it."""
        self._noted = (fingerprint, until, message)
        try:
            await self._vault.note_refusal(fingerprint, until, message)
        except OSError as error:
            self._say("error", f"a refused login cannot be noted ({_reason(error)}); it is kept in memory")

    async def clear_refusal(self) -> None:
        """Forget it: a login worked."""
        self._noted = None
        try:
            await self._vault.clear_refusal()
        except OSError as error:
            self._say("error", f"a refused login cannot be forgotten ({_reason(error)})")


@asynccontextmanager
async def through_outages(vault: Any, say: Callable[..., None]) -> AsyncIterator[OutageVault]:
    """Give a vault that goes on without its disk; at the end it tries once more to save what is left."""
    kept = OutageVault(vault, say)
    try:
        yield kept
    finally:
        await kept.load()


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
