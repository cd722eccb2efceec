"""Sheds load by degrees before the gateway gives way under it.

Law: what was accepted is never ended for it; only what comes is turned away, what can wait first. The grade follows the
worst of all measures, each as a share of its bound: it rises at once, and falls step by step, each only after the load
was clearly lower for a while, so that it does not flap. A bound of 0 is not looked at. What is measured is handed in.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from msgspec import Struct

from fittengate.core.faults import Fault, FaultKind
from fittengate.services.figures import Durations
from fittengate.services.queue import QueueLane

SHARES = (0.7, 0.8, 0.9, 1.0)
"""Of a bound, where grades 1 to 4 begin: no keep-alive, no background work, nothing interactive, no completion."""

LEAST_GRADE = MappingProxyType[QueueLane, int]({"background": 2, "interactive": 3, "completion": 4})

AGAIN_SECONDS = MappingProxyType[QueueLane, float]({"background": 15.0, "interactive": 5.0, "completion": 2.0})
"""When to come back: what was turned away first comes back last."""

LOWER = 0.9
"""A grade is left when the load is below this share of where it began..."""

CALM_SECONDS = 2.0
"""...for so long."""

SAMPLE_SECONDS = 0.25

LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper ends of the buckets that lags are counted in."""

QUEUE_GRADE = 2
"""A long wait for a turn turns away background work and no more: the queue itself has bounds for the rest, and code
completion has turns of its own."""


class Load(Struct, frozen=True):
    """The measures; or their bounds, 0 for none."""

    lag: float = 0.0
    """How late the event loop does what is due, in seconds."""
    memory: float = 0.0
    """Resident memory in bytes."""
    requests: float = 0.0
    """Requests under way, those in the queue included."""
    queue: float = 0.0
    """How long the oldest request in the queue has waited, in seconds."""


class Overload:
    """The grade of the load, and what was turned away for it."""

    def __init__(self, most: Load) -> None:
        self.most = most
        self.grade = 0
        """0 is fine; see :data:`SHARES`."""
        self.cause = ""
        """The measure that the grade is for; empty for 0."""
        self.load = Load()
        """What was measured last."""
        self.shed: Counter[str] = Counter()
        """Requests that were turned away, by lane."""
        self.lags = Durations(LAG_SECONDS)
        """How late the event loop was, each time that it was looked at."""
        self._calm_since: float | None = None

    def check(self, lane: QueueLane) -> None:
        """Raise Fault (gateway_busy) if a request of this lane is not to be taken now."""
        if self.grade >= LEAST_GRADE[lane]:
            self.shed[lane] += 1
            raise Fault(
                FaultKind.GATEWAY_BUSY,
                f"The gateway is overloaded and takes no {lane} requests at the moment. Try again later.",
                detail=f"shed at grade {self.grade}: {self.cause}",
                retry_after=AGAIN_SECONDS[lane],
            )

    def observe(self, load: Load, now: float) -> bool:
        """Take in what was measured; tell whether the grade has changed."""
        self.load = load
        before, shares = self.grade, self._shares()
        reached, cause = max(((one.grade, one.cause) for one in shares), default=(0, ""))
        if reached >= before:
            self._calm_since = None
            self.grade = reached
        elif any(one.cap >= before and one.share >= LOWER * SHARES[before - 1] for one in shares):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= CALM_SECONDS:
            self._calm_since = now
            self.grade -= 1
        if reached >= self.grade:
            self.cause = cause if self.grade else ""
        return self.grade != before

    def _shares(self) -> "list[_Share]":
        most, load = self.most, self.load
        caps = {"queue": QUEUE_GRADE}
        return [
            _Share(getattr(load, name) / bound, name, caps.get(name, len(SHARES)))
            for name in Load.__struct_fields__
            if (bound := getattr(most, name))
        ]


class _Share(NamedTuple):
    share: float
    cause: str
    cap: int
    """The highest grade that this measure leads to."""

    @property
    def grade(self) -> int:
        return min(self.cap, sum(self.share >= least for least in SHARES))


class Sampler:
    """Measures again and again, by one timer. ``stop`` is owed after ``start``."""

    def __init__(
        self, overload: Overload, measure: Callable[[], tuple[int, float]], changed: Callable[[Overload], None]
    ) -> None:
        """``measure`` gives the requests under way and the oldest wait; ``changed`` is told of each new grade."""
        self._overload = overload
        self._measure = measure
        self._changed = changed
        self._lags: deque[float] = deque([0.0, 0.0], maxlen=2)
        self._handle: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin."""
        due = loop.time() + SAMPLE_SECONDS
        self._handle = loop.call_at(due, self._sample, loop, due)

    def stop(self) -> None:
        """Measure no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _sample(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        lag = max(0.0, now - due)
        self._lags.append(lag)
        self._overload.lags.note(lag)
        requests, queue = self._measure()
        memory = resident_bytes() if self._overload.most.memory else 0
        # One long turn of the loop is a hiccup; a lag that stands is load.
        if self._overload.observe(Load(min(self._lags), memory, requests, queue), now):
            self._changed(self._overload)
        self.start(loop)


def resident_bytes() -> int:
    """Return this process's resident memory; 0 where the system does not tell it as Linux does."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    import resource

    return pages * resource.getpagesize()
