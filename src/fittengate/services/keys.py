"""Client keys: how they are made, and the file of those that ``serve`` itself has made.

Keys are kept as SHA-256 only: a made key has 256 random bits, so no salt and nothing slower is needed, and a key from
the settings stands in the clear in the settings anyway. A credential is hashed whole before anything is compared; its
hash finds a candidate, and the comparison of the whole hash takes the same time wherever the two differ. So neither a
beginning nor the time taken tells anything about a key. Hashing costs a third of a microsecond: nothing is cached.

The file is for a gateway that has no other keys: it needs no database, and a start need not wait for one. The commands
for keys take what is in it over into the store, where keys can be listed, replaced and revoked.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from fittengate.core.faults import Fault, FaultKind
from fittengate.services.files import MODE, read_private, write_private

PREFIX_CHARS = 10
"""So much of a made key may be shown: 7 characters of 43."""

MAX_KEY_CHARS = 512
"""A longer credential is none of ours and is not even hashed."""

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Room for some hundred thousand keys."""

LOCK_SECONDS = 10.0
"""Longest wait for another process that makes a key."""

FILE = "keys.json"
FIRST_KEY_FILE = "first-key"

BUNDLE_KEY = "fittengate bundle"
"""Name of the key that the command ``bundle`` makes for a minute: no client's, so it is no reason to make no first key."""


class StoredKey(Struct, frozen=True, omit_defaults=True):
    """A made key as it is kept."""

    prefix: str
    """Its visible beginning."""
    sha256: str
    """Of the whole key, in hexadecimal digits."""
    moved: bool = False
    """It is in the store now, and what stands there counts."""

    def __post_init__(self) -> None:
        """Refuse a hash that is none: it would match nothing and let nobody know."""
        if len(bytes.fromhex(self.sha256)) != hashlib.sha256().digest_size:
            raise ValueError("no SHA-256")


def make_key(random_bytes: Callable[[int], bytes]) -> str:
    """Return a new key: ``fg_`` and 256 random bits. ``random_bytes`` is ``secrets.token_bytes`` or like it."""
    return "fg_" + base64.urlsafe_b64encode(random_bytes(32)).decode().rstrip("=")


def owner_of(digest: bytes) -> str:
    """Return what the holder of a key with this SHA-256 has its data under; it does not tell the hash."""
    return hashlib.sha256(b"owner" + digest).hexdigest()[:32]


def stored_keys(directory: Path) -> tuple[StoredKey, ...]:
    """Return the keys made so far. Raises Fault (gateway_broken) when the file is damaged, OSError when unreadable.

    A damaged file is not taken for an empty one: a new key would lock everybody else out.
    """
    path = directory / FILE
    try:
        return tuple(msgspec.json.decode(read_private(path, MAX_FILE_BYTES), type=list[StoredKey]))
    except FileNotFoundError:
        return ()
    except (ValueError, RecursionError) as error:
        message = f"{path} is damaged. Put a good copy there, or remove it and run `fittengate serve --new-key`."
        raise Fault(FaultKind.GATEWAY_BROKEN, message, detail=str(error)) from error


def store_new_key(directory: Path, random_bytes: Callable[[int], bytes]) -> str:
    """Make a key, keep its hash, and return the key: it is never seen again. Raises OSError, TimeoutError, Fault."""
    key = _stored(directory, random_bytes, only_first=False)
    assert key is not None  # noqa: S101
    return key


def ensure_first_key(directory: Path, configured: Iterable[str], random_bytes: Callable[[int], bytes]) -> str | None:
    """Return a new key when there is none yet, configured or made; None when there is one. Raises as store_new_key.

    Of several processes that start at once, one makes the key. It is to be shown, or written by :func:`write_first_key`.
    """
    if any(key.strip() for key in configured) or stored_keys(directory):
        return None
    return _stored(directory, random_bytes, only_first=True)


def write_first_key(directory: Path, key: str) -> Path:
    """Leave the key in a private file for whoever started the gateway without a terminal; return where. Raises OSError."""
    path = directory / FIRST_KEY_FILE
    write_private(path, key.encode() + b"\n")
    return path


def hand_over(directory: Path, take: Callable[[list[StoredKey]], None]) -> None:
    """Let ``take`` put the file's keys elsewhere, and note that they are there. Raises as store_new_key, and as take."""
    if all(key.moved for key in stored_keys(directory)):
        return
    from filelock import FileLock

    with FileLock(directory / "keys.lock", timeout=LOCK_SECONDS, mode=MODE):
        kept = stored_keys(directory)
        take([key for key in kept if not key.moved])
        moved = [StoredKey(key.prefix, key.sha256, moved=True) for key in kept]
        write_private(directory / FILE, msgspec.json.format(msgspec.json.encode(moved)) + b"\n")


def _stored(directory: Path, random_bytes: Callable[[int], bytes], *, only_first: bool) -> str | None:
    from filelock import FileLock  # 40 ms to import: only for those who make a key

    with FileLock(directory / "keys.lock", timeout=LOCK_SECONDS, mode=MODE):
        kept = stored_keys(directory)
        if kept and only_first:
            return None
        key = make_key(random_bytes)
        new = StoredKey(key[:PREFIX_CHARS], hashlib.sha256(key.encode()).hexdigest())
        write_private(directory / FILE, msgspec.json.format(msgspec.json.encode([*kept, new])) + b"\n")
        return key
