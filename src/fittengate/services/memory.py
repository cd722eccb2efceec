"""What was completed a moment ago, so that whoever types what was predicted, or deletes back, asks the service nothing.

The law. An answer was a text at a cursor: with the prefix before it, the text, and the suffix after it, a file was meant.
What is served from here, inserted at its own cursor, gives that very file. So the suffix must be the same, the prefix
must be the remembered one and then nothing but the beginning of the remembered text, and the rest of that is served. An
empty answer is served at its own place alone. A rest that repeats the rest of the line is not served, because the
service is never taken at its word there either; nor is one of which nothing is left: then the next thought is wanted.

Nothing is shared between two keys, two file names, two languages or two ways to cut an answer. What is kept is bounded in
entries, in bytes and in age; the oldest goes first. Of a file only lengths and hashes are kept (BLAKE2b, 128 bits), so
a place in a large one costs no more than in a small one. Pure but for the clock, which is handed in.
"""

import hashlib
import re
from collections import OrderedDict

from msgspec import Struct

from fittengate.core.ask import FillAsk
from fittengate.core.reply import StopReason
from fittengate.lib.clock import Clock

SECONDS = 300.0
"""So long an answer is remembered: what else the reader has changed meanwhile may call for another one."""

EMPTY_SECONDS = 5.0
"""So long it is remembered that there was none: long enough for an editor that asks again about the same place."""

MAX_ENTRIES = 4096
MAX_BYTES = 8 * 1024 * 1024
"""Most that is kept in all, with :data:`ENTRY_BYTES` for each entry beside its text."""

ENTRY_BYTES = 600
MAX_TEXT_BYTES = 64 * 1024
"""A longer answer is not remembered."""

MAX_FILE_CHARS = 1_000_000
"""Of a longer file nothing is remembered: looking at all of it would cost more than the service's answer is worth."""

MAX_PLACES = 64
"""Most answers about one context, which are gone through one by one; the oldest goes first."""

_LINE = re.compile(r"[^\r\n]*")


class Place(Struct, frozen=True):
    """A cursor in a file, as it is known again."""

    context: bytes
    """Hash of the suffix, and of all but the prefix that an answer depends on."""
    prefix: bytes
    """What stands before the cursor, in UTF-8; half a surrogate pair as itself."""
    digest: bytes
    """Hash of that."""
    line: str
    """What stands after the cursor in its line."""

    @property
    def id(self) -> tuple[bytes, int, bytes]:
        """Equal for equal requests of one key, and for no others."""
        return (self.context, len(self.prefix), self.digest)


class Remembered(Struct, frozen=True):
    """What is served."""

    text: str
    reason: StopReason
    stop_sequence: str | None


class _Entry(Struct, frozen=True):
    place: tuple[bytes, int, bytes]
    text: bytes
    reason: StopReason
    stop_sequence: str | None
    at: float


def place_of(owner: str, fill: FillAsk) -> Place | None:
    """Return where a request of ``owner`` wants a completion; None for a file that is too long to be remembered."""
    if len(fill.prefix) + len(fill.suffix) > MAX_FILE_CHARS:
        return None
    sampling = fill.sampling
    # It reads back as one value only, and holds no NUL.
    about = repr((owner, fill.file_name, fill.language, sampling.max_tokens, sampling.stop))
    suffix = fill.suffix.encode("utf-8", "surrogatepass")
    context = _hash(about.encode("utf-8", "backslashreplace") + b"\0" + suffix)
    prefix = fill.prefix.encode("utf-8", "surrogatepass")
    line = _LINE.match(fill.suffix)
    return Place(context, prefix, _hash(prefix), line[0] if line else "")


class Memory:
    """The answers of the last minutes."""

    def __init__(self, clock: Clock, *, entries: int = MAX_ENTRIES, most: int = MAX_BYTES) -> None:
        """Keep at most so many ``entries`` and bytes."""
        self.size = 0
        """Bytes that are kept, by the count of :data:`MAX_BYTES`."""
        self._clock = clock
        self._most_entries = entries
        self._most = most
        self._entries: OrderedDict[tuple[bytes, int, bytes], _Entry] = OrderedDict()
        self._contexts: dict[bytes, dict[tuple[bytes, int, bytes], tuple[int, int, _Entry]]] = {}
        """By context, each entry behind the shortest and the longest prefix that it can serve: a quick first look."""

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._entries)

    def remember(self, place: Place, text: str, reason: StopReason, stop_sequence: str | None = None) -> None:
        """Keep the answer to a place in place of an earlier one; an empty text means that there was none."""
        data = text.encode("utf-8", "surrogatepass")
        if (known := self._entries.get(place.id)) is not None:
            self._drop(known)
        if len(data) > MAX_TEXT_BYTES:
            return
        entry = _Entry(place.id, data, reason, stop_sequence, self._clock.monotonic())
        of_context = self._contexts.setdefault(place.context, {})
        self._entries[entry.place] = entry
        size = len(place.prefix)
        of_context[entry.place] = (size, size + len(data), entry)
        self.size += ENTRY_BYTES + len(data)
        if len(of_context) > MAX_PLACES:
            self._drop(next(iter(of_context.values()))[2])
        while self._entries and (len(self._entries) > self._most_entries or self.size > self._most):
            self._drop(next(iter(self._entries.values())))

    def look(self, place: Place) -> Remembered | None:
        """Return what is known to go on from a place, perhaps that nothing does; None where nothing is known."""
        self._expire()
        entry = self._entry(place)
        if entry is None:
            return None
        text = entry.text[len(place.prefix) - entry.place[1] :].decode("utf-8", "surrogatepass")
        line = place.line.strip()
        if text and (text == place.line or (line and text.strip() == line)):
            return None
        return Remembered(text, entry.reason, entry.stop_sequence)

    def _entry(self, place: Place) -> _Entry | None:
        """Return the answer that was given closest to a place, of those that go on from it."""
        prefix, here = place.prefix, len(place.prefix)
        now = self._clock.monotonic()
        of_context = self._contexts.get(place.context, {}).values()
        near = [(size, entry) for size, most, entry in of_context if size <= here <= most]
        for size, entry in sorted(near, key=_size, reverse=True):
            digest = entry.place[2]
            if size == here:
                if digest == place.digest and (entry.text or now - entry.at <= EMPTY_SECONDS):
                    return entry
            elif (
                here < size + len(entry.text)
                and entry.text.startswith(prefix[size:])
                and _hash(prefix[:size]) == digest
            ):
                return entry
        return None

    def _expire(self) -> None:
        limit = self._clock.monotonic() - SECONDS
        while self._entries and (oldest := next(iter(self._entries.values()))).at < limit:
            self._drop(oldest)

    def _drop(self, entry: _Entry) -> None:
        del self._entries[entry.place]
        context = entry.place[0]
        of_context = self._contexts[context]
        del of_context[entry.place]
        if not of_context:
            del self._contexts[context]
        self.size -= ENTRY_BYTES + len(entry.text)


def _size(found: tuple[int, _Entry]) -> int:
    return found[0]


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
