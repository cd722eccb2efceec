"""Where the account's tokens outlive the process: a file beside others, or, for a demo, memory alone.

Law: whoever reads sees the tokens as they were saved last, or none; two processes never hold the lock at once; the lock
of a process that dies is free. Both vaults are a ``TokenVault`` of ``upstream/base.py``.
"""

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from fittengate.core.account import Tokens
from fittengate.services.files import MODE, read_private, write_private

if TYPE_CHECKING:
    from filelock import FileLock

S = TypeVar("S", bound=Struct)

LOCK_SECONDS = 60.0
"""Longest wait for the lock: more than any renewal takes."""

MAX_BYTES = 1024 * 1024
"""A larger file is none of ours; tokens have some kilobytes."""


class Refusal(Struct, frozen=True):
    """A login that the service refused."""

    fingerprint: str
    """Tells which credentials were refused without giving them away; others may be tried at once."""
    until: float
    """No login with them before then, seconds since the epoch."""
    message: str


class FileVault:
    """Tokens in a file (0600), the last refused login in a second one beside it, a lock in a third."""

    def __init__(self, path: Path) -> None:
        self.problem: str | None = None
        """Why the last :meth:`load` could not read what is there; None when it could, or when nothing is."""
        self._path = path
        self._state = path.with_name(f"{path.stem}-state{path.suffix}")
        self._lock_path = path.with_suffix(".lock")
        self._lock: FileLock | None = None
        self._turn = asyncio.Lock()

    async def load(self) -> Tokens | None:
        """Return what was saved last; None when nothing was, or when it cannot be read (see :attr:`problem`)."""
        tokens, self.problem = await asyncio.to_thread(_read, self._path, Tokens)
        return tokens

    async def save(self, tokens: Tokens) -> None:
        """Replace what is saved, atomically. Raises OSError."""
        await asyncio.to_thread(_write, self._path, tokens)

    async def forget(self) -> None:
        """Remove what is saved. Raises OSError."""
        await asyncio.to_thread(self._path.unlink, missing_ok=True)

    async def acquire(self) -> None:
        """Wait until nobody else signs in or refreshes, here or in another process. Raises TimeoutError, OSError."""
        # The file lock lets its own holder in again; tasks of this process take turns by the other one.
        async with asyncio.timeout(LOCK_SECONDS):
            await self._turn.acquire()
        given_up = threading.Event()
        waiting = asyncio.get_running_loop().run_in_executor(None, self._take, given_up)
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            # The thread cannot be stopped at once. Should it get the lock after all, it is given back.
            given_up.set()
            waiting.add_done_callback(self._give_back)
            raise
        except BaseException:
            self._turn.release()
            raise

    async def release(self) -> None:
        """Let the next one."""
        self._free()

    async def refusal(self) -> tuple[str, float, str] | None:
        """Return the last refused login: fingerprint of the credentials, until when to wait, message; None: none."""
        found, _ = await asyncio.to_thread(_read, self._state, Refusal)
        return None if found is None else (found.fingerprint, found.until, found.message)

    async def note_refusal(self, fingerprint: str, until: float, message: str) -> None:
        """Remember a refused login for every process; ``until`` in seconds since the epoch. Raises OSError."""
        await asyncio.to_thread(_write, self._state, Refusal(fingerprint, until, message))

    async def clear_refusal(self) -> None:
        """Forget it: a login worked. Raises OSError."""
        await asyncio.to_thread(self._state.unlink, missing_ok=True)

    def _take(self, given_up: threading.Event) -> None:
        from filelock import FileLock  # 40 ms to import: not for commands that never lock
        from filelock import Timeout as LockTimeoutError

        if self._lock is None:
            # Not of one thread: it is taken in one and given back in another.
            self._lock = FileLock(self._lock_path, mode=MODE, thread_local=False)
        try:
            self._lock.acquire(timeout=LOCK_SECONDS, poll_interval=0.02, cancel_check=given_up.is_set)
        except LockTimeoutError as error:
            raise TimeoutError(f"another process has held {self._lock_path} for {LOCK_SECONDS:.0f} s") from error

    def _give_back(self, waiting: "asyncio.Future[None]") -> None:
        if waiting.cancelled() or waiting.exception() is not None:
            self._turn.release()
        else:
            self._free()

    def _free(self) -> None:
        if self._lock is not None:
            self._lock.release()
        self._turn.release()


class MemoryVault:
    """The same without a disk: what is saved goes with the process."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        self.problem: str | None = None
        """None: there is nothing that could not be read."""
        self._tokens = tokens
        self._refusal: tuple[str, float, str] | None = None
        self._turn = asyncio.Lock()

    async def load(self) -> Tokens | None:
        """Return what was saved last; None when nothing was."""
        return self._tokens

    async def save(self, tokens: Tokens) -> None:
        """Replace what is saved."""
        self._tokens = tokens

    async def forget(self) -> None:
        """Remove what is saved."""
        self._tokens = None

    async def acquire(self) -> None:
        """Wait until no other task signs in or refreshes. Raises TimeoutError."""
        async with asyncio.timeout(LOCK_SECONDS):
            await self._turn.acquire()

    async def release(self) -> None:
        """Let the next one."""
        self._turn.release()

    async def refusal(self) -> tuple[str, float, str] | None:
        """Return the last refused login; None when there was none."""
        return self._refusal

    async def note_refusal(self, fingerprint: str, until: float, message: str) -> None:
        """Remember a refused login."""
        self._refusal = (fingerprint, until, message)

    async def clear_refusal(self) -> None:
        """Forget it."""
        self._refusal = None


def _read(path: Path, kind: type[S]) -> tuple[S | None, str | None]:
    """Return what the file holds, or why it cannot be read; None and None where there is none."""
    try:
        # Fields that a newer version has added are passed over.
        return msgspec.json.decode(read_private(path, MAX_BYTES), type=kind), None
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"{path} cannot be read ({error.strerror or type(error).__name__})"
    except (ValueError, RecursionError) as error:
        # Says which field is wrong, and not what stands there.
        return None, f"{path} is damaged ({error})"


def _write(path: Path, value: Struct) -> None:
    write_private(path, msgspec.json.format(msgspec.json.encode(value)) + b"\n")
