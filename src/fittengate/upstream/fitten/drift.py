"""What the service does that is not known of it: counted, and remembered by one sample of each kind.

Laws: a sample is the structure of what came and never its words (``outline.py``); at most :data:`MAX_SAMPLES` kinds are
told apart, what is seen beyond them is only counted; a reply that holds nothing unknown costs nothing here.
"""

import re
from collections import Counter
from typing import Any, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import asdict, replace

from fittengate.upstream.base import NoteStore
from fittengate.upstream.kept import Kept

MAX_SAMPLES = 48
MAX_SAMPLE_CHARS = 300

Kind: TypeAlias = Literal["line", "field", "status", "answer"]
"""A line of a reply, a field of something known, an HTTP status, or an answer other than a reply."""

KNOWN_STATUSES = frozenset({200, 400, 401, 403, 404, 405, 413, 422, 429, 500, 502, 503, 504})
"""What the service, or what stands in front of it, was seen to answer, and what HTTP makes of plain mistakes."""

_DIGITS = re.compile(r"\d+")


class Seen(Struct, frozen=True):
    """One kind of thing that was not known."""

    kind: Kind
    sample: str
    """Its structure; numbers are ``#``, but for a status."""
    count: int
    first: float
    last: float
    """Seconds since the epoch."""


class Notes(Struct, frozen=True):
    """What is kept between two runs."""

    seen: list[Seen] = []


class Drift:
    """Holds what was seen; all on one event loop but for the store, which is asked in a thread."""

    def __init__(self, store: NoteStore | None = None) -> None:
        """``store`` keeps what was seen; None keeps it for the life of the process."""
        self.counts: Counter[Kind] = Counter()
        """How often, by kind, since the process began."""
        self._kept = Kept(store, Notes)
        self._seen: dict[tuple[Kind, str], Seen] = {}
        self._new: list[Seen] = []
        self._changed = False

    def note(self, kind: Kind, sample: str, now: float) -> None:
        """Note that something unknown came at ``now``, seconds since the epoch. ``sample`` holds nobody's words."""
        self.counts[kind] += 1
        self._changed = True
        sample = (sample if kind == "status" else _DIGITS.sub("#", sample))[:MAX_SAMPLE_CHARS]
        known = self._seen.get((kind, sample))
        if known is not None:
            self._seen[kind, sample] = replace(known, count=known.count + 1, last=now)
        elif len(self._seen) < MAX_SAMPLES:
            seen = self._seen[kind, sample] = Seen(kind, sample, 1, now, now)
            self._new.append(seen)

    def note_status(self, what: str, status: int, now: float) -> None:
        """Note a status if it is none that is known; ``what`` was asked for."""
        if status not in KNOWN_STATUSES:
            self.note("status", f"{what}: status {status}", now)

    def seen(self) -> list[Seen]:
        """Return what was seen, in this run and before, the latest first."""
        return sorted(self._seen.values(), key=lambda one: -one.last)

    def told(self) -> dict[str, Any]:
        """Return counts and samples as JSON has them."""
        return {"counts": dict(self.counts), "seen": [asdict(one) for one in self.seen()]}

    def news(self) -> list[Seen]:
        """Return what was seen for the first time since this was asked last."""
        new, self._new = self._new, []
        return new

    async def load(self) -> str | None:
        """Take up what was kept; return why it could not be read, None where it was or there is none."""
        notes, problem = await self._kept.load()
        if notes is None:
            return problem
        for one in notes.seen[:MAX_SAMPLES]:
            self._seen[one.kind, one.sample] = one
        return None

    async def settle(self) -> str | None:
        """Keep what was seen; return why it could not be kept, None where it was."""
        if not self._changed:
            return None
        # What changes while it is being written is for the next time.
        self._changed = False
        problem = await self._kept.save(Notes(self.seen()))
        self._changed = self._changed or problem is not None
        return problem
