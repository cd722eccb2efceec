"""What a replica of a fleet tells and asks the server in one run; :mod:`fittengate.services.fleet_script` reads it."""

import asyncio
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from fittengate.core.caller import Caller
from fittengate.services.fleet_lease import FleetLease
from fittengate.services.fleet_room import Place
from fittengate.services.fleet_script import ADMIT, CORRECT, COUNT, SPEND
from fittengate.services.limits import LocalLimits, Metered, Need
from fittengate.services.meter import Meter

MAX_BATCH = 100
"""So many things are told in one run: some milliseconds of the server's time."""

MAX_OWNERS = 100
"""Of so many owners at most a batch tells something."""

_encode = msgspec.msgpack.Encoder().encode

Period: TypeAlias = tuple[str, int, int]
"""An owner's day and month."""


class Asked(Struct, frozen=True, eq=False):
    """Somebody who waits for room."""

    caller: Caller
    need: Need
    metered: tuple[Metered, ...]
    granted: "asyncio.Future[FleetLease]"


class Batch:
    """What is told in one run."""

    def __init__(self, local: LocalLimits, replica: str, *, beat: bool) -> None:
        self.places: dict[str, int] = {}
        """Place of each owner, from 1 on."""
        self._local = local
        self._replica = replica
        self._beat = beat
        self._ops: list[list[Any]] = []
        self.asked: list[Asked] = []
        """Who asks for room."""
        self.changes: list[tuple[Place, int]] = []
        """What it tells of days and months, corrections among it."""
        self.grown: list[tuple[Place, int]] = []
        """Corrections upwards that it tells."""
        self.minutes: list[str] = []
        """Owners of whose minute it tells."""
        self._days: dict[tuple[str, int], int] = {}
        self._months: dict[tuple[str, int], int] = {}
        """Tokens that this batch tells of an owner's days, and months: those of an older day are none of today's."""

    def has_room(self) -> bool:
        """Return whether one more fits in."""
        return len(self._ops) < MAX_BATCH and len(self.places) < MAX_OWNERS

    def place_of(self, owner: str) -> int:
        """Return the place of an owner, of whom it is told what runs."""
        return self.places.setdefault(owner, len(self.places) + 1)

    def add_minute(self, owner: str) -> None:
        """Tell what was used here in the last minute; what the server has not forgotten of it counts twice."""
        self.minutes.append(owner)
        tally = self._meter(owner).tally(self._local.now())
        self._ops.append([COUNT, self.place_of(owner), tally.requests, tally.tokens])

    def add_owed(self, period: Period, tokens: int) -> None:
        """Tell what was used while the server was away."""
        owner, day, month = period
        self.changes.append((Place(owner, 0, day, month), tokens))
        self._ops.append([SPEND, self.place_of(owner), day, month, tokens])
        self._tells(owner, day, month, tokens)

    def add_change(self, place: Place, change: int) -> None:
        """Tell that more or less was used than was reserved."""
        owner = place.owner
        self.changes.append((place, change))
        if change > 0:
            self.grown.append((place, change))
        self._ops.append([CORRECT, self.place_of(owner), place.use, place.day, place.month, change])
        self._tells(owner, place.day, place.month, change)

    def add_asked(self, asked: Asked) -> None:
        """Ask for room."""
        self.asked.append(asked)
        limits = [
            [
                self.place_of(one.owner),
                one.allowance.rpm,
                one.allowance.tpm,
                one.allowance.concurrency,
                one.allowance.tokens_per_day,
                one.allowance.tokens_per_month,
            ]
            for one in asked.metered
        ]
        need = asked.need
        prompt = -1 if need.prompt is None else need.prompt
        output = -1 if need.output is None else need.output
        self._ops.append([ADMIT, limits, need.requests, need.slots, prompt, output, need.answers])

    def encoded(self, due: int) -> bytes:
        """Return it as it is sent; after ``due``, by the server's clock, it is not to be done; 0: at any time."""
        now = self._local.now()
        meters = []
        for owner in self.places:
            meter = self._meter(owner)
            day = meter.days.of.get(now.day, 0) - self._days.get((owner, now.day), 0)
            month = meter.months.of.get(now.month, 0) - self._months.get((owner, now.month), 0)
            meters.append([meter.running, now.day, max(0, day), now.month, max(0, month)])
        whole = {"who": self._replica, "beat": self._beat, "due": due, "meters": meters, "ops": self._ops}
        return _encode(whole)

    def _tells(self, owner: str, day: int, month: int, tokens: int) -> None:
        self._days[owner, day] = self._days.get((owner, day), 0) + tokens
        self._months[owner, month] = self._months.get((owner, month), 0) + tokens

    def _meter(self, owner: str) -> Meter:
        return self._local.meter(owner) or Meter()
