"""Limits that all replicas of a fleet keep together, behind the same protocols as those of one process.

Laws. Room is asked for and given in one round trip, by the server's clock, for the key and the account at once or for
neither; what is asked at the same time goes together. Only who is limited pays for it. What was used is told behind the
reply, and nobody waits for that. What runs here is told as a whole, so a replica that dies gives its places back when it
has not been heard of for a while; what was reserved for its requests stays counted, for nobody knows what they came to.

While the server is away each replica keeps a share of every limit by itself: of what runs and of minutes a share of the
whole, of days and months a share of what was left. What is used in that time is added when the server is back. A batch
says until when it may be done, so that a server that was stuck does not do what nobody waits for; where a batch broke
off all the same and it is not known what became of it, what would free room is not repeated. What the server has lost
of days and months, it is told by whoever asks first.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault
from fittengate.core.limits import LimitState
from fittengate.services.fleet_lease import FleetLease, Place
from fittengate.services.fleet_script import ADMIT, CORRECT, COUNT, LIMITS, SPEND
from fittengate.services.fleet_seen import Admission, Told, state_of
from fittengate.services.limits import ACCOUNT, Lease, LocalLimits, Metered, Need, owner_of, refused
from fittengate.services.meter import Meter
from fittengate.services.valkey import FleetDownError, Say, Script, Valkey

MAX_BATCH = 100
"""So many things are told in one run: some milliseconds of the server's time."""

MAX_OWNERS = 100
"""Of so many owners at most a batch tells something."""

GATHER_SECONDS = 0.01
"""What nobody waits for is told with the next question, or so long after: most requests then cost one run, not two."""

BEAT_SECONDS = 2.0
"""How often a replica lets itself be heard of, several times within the time after which it is taken to be dead."""

MAX_STATES = 4096
"""Callers whose standing is remembered."""

CLOSE_SECONDS = 1.0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Told).decode

T = TypeVar("T")

Period: TypeAlias = tuple[str, int, int]
"""An owner's day and month."""


class _Asked(Struct, frozen=True, eq=False):
    """Somebody who waits for room."""

    caller: Caller
    need: Need
    metered: tuple[Metered, ...]
    granted: "asyncio.Future[FleetLease]"


class FleetLimits:
    """Limits of a fleet. Belongs to an event loop; ``close`` is owed."""

    def __init__(
        self,
        local: LocalLimits,
        valkey: Valkey,
        prefix: str,
        replica: str,
        share: float,
        say: Say,
        program: Script = LIMITS,
    ) -> None:
        """Make them; ``prefix`` begins all names on the server, and ``replica`` is nobody else's.

        ``share`` is what one replica may have of every limit by itself, from 0 to 1; ``say`` is the log's.
        """
        self.local = local
        """What is used here, and the limits that hold while the server is away."""
        self.account = local.account
        self.alone = 0
        """Admissions and refusals without the server, since the start."""
        self._valkey = valkey
        self._prefix = prefix
        self._replica = replica
        self._share = share
        self._say = say
        self._broken = False
        self._program = program
        self._states: dict[str, LimitState] = {}
        self._used: dict[str, dict[str, int]] = {}
        self._asked: deque[_Asked] = deque()
        self._changes: deque[tuple[Place, int]] = deque()
        self._touched: dict[str, None] = {}
        self._owed: dict[Period, int] = {}
        """Tokens of days and months that the server is to be told when it is back."""
        self._recount: dict[str, None] = {}
        """Owners of whose minute the server is to be told when it is back."""
        self._left_at: dict[tuple[str, str, int], int] = {}
        """What was used of a period when the server went away; by owner, ``day`` or ``month``, and number."""
        self._ahead: int | None = None
        """By how many milliseconds the server's clock is ahead of the loop's; None before it has said anything."""
        self._beat = True
        self._sending = False
        self._ringing = False
        self._bell = asyncio.Event()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        valkey.recovered.append(self._beats_now)
        self._bell.set()
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beats)
        self._task = self._loop.create_task(self._run())

    def apply_to(self, caller: Caller) -> bool:
        """Return whether anything is limited for this caller."""
        return self.local.apply_to(caller)

    def count_tokens_of(self, caller: Caller) -> bool:
        """Return whether tokens are limited for this caller."""
        return self.local.count_tokens_of(caller)

    async def admit(self, caller: Caller, need: Need) -> Lease:
        """Reserve what a request needs. Raises Fault: policy_rate, policy_quota."""
        await self.local.known(caller)
        if self._closing or not self._valkey.up:
            return self._admit_alone(caller, need)
        asked = _Asked(caller, need, self.local.of(caller), self._loop.create_future())
        self._asked.append(asked)
        self._bell.set()
        try:
            return await asked.granted
        except FleetDownError:
            return self._admit_alone(caller, need)
        except asyncio.CancelledError:
            granted = asked.granted
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().release()
            raise

    def state(self, caller: Caller) -> LimitState | None:
        """Return where the caller stood when the server was asked last; while it is away, where it stands here."""
        if not self._valkey.up:
            return self._by_share(caller, self.local.state)
        return self._states.get(owner_of(caller))

    def used(self, owner: str | None) -> dict[str, int]:
        """Return what an owner had used in the whole fleet when it was asked last; None means all keys together."""
        known = self._used.get(ACCOUNT if owner is None else owner)
        return self.local.used(owner) if known is None or not self._valkey.up else known

    def touched(self, owners: list[str]) -> None:
        """Tell the fleet how many requests of these owners run here now."""
        for owner in owners:
            self._touched[owner] = None
        self._ring_soon()

    def corrected(self, places: list[Place], change: int) -> None:
        """Tell the fleet that more or less was used than was reserved."""
        for place in places:
            if self._valkey.up:
                self._changes.append((place, change))
            else:
                self._owe(place, change)
        self._ring_soon()

    def left(self, whose: str, most: int) -> int:
        """Return how many tokens, ``most`` at most, a caller had left in the fleet when the server was asked last."""
        state = self._states.get(whose)
        if not self._valkey.up or state is None or state.tokens is None:
            return most
        return min(most, state.tokens.remaining)

    def spent(self, whose: str, tokens: int) -> None:
        """Note that so many of them are reserved, until the server is asked again."""
        state = self._states.get(whose)
        if state is not None and state.tokens is not None:
            remaining = max(0, state.tokens.remaining - tokens)
            self._states[whose] = replace(state, tokens=replace(state.tokens, remaining=remaining))

    async def close(self) -> None:
        """Tell what is left to tell, unless that takes too long, and end."""
        self._closing = True
        self._timer.cancel()
        for asked in self._asked:
            _refuse(asked, FleetDownError("closing", sent=False))
        self._asked.clear()
        # The places of this replica are free from now on.
        self._touched |= dict.fromkeys(self._running())
        self._bell.set()
        await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    # Without the server.

    def _admit_alone(self, caller: Caller, need: Need) -> FleetLease:
        self.alone += 1
        lease = self._by_share(caller, lambda one: self.local.admit_now(one, need))
        places = [(held.owner, 0, held.entry.day, held.entry.month) for held in lease.held]
        for place in places:
            self._owe(place, lease.reserved)
            self._recount[place[0]] = None
        return FleetLease(self, lease.held, need.slots, lease.reserved, lease.output, places, owner_of(caller))

    def _by_share(self, caller: Caller, use: Callable[[Caller], T]) -> T:
        """Do something while the local limits are this replica's share of the fleet's."""
        found = {one.owner: self._share_of(one) for one in self.local.of(caller)}
        self.local.account = found.pop(ACCOUNT, self.account)
        try:
            return use(replace(caller, allowance=next(iter(found.values()), caller.allowance)))
        finally:
            self.local.account = self.account

    def _share_of(self, one: Metered) -> Allowance:
        allowance = one.allowance
        now = self.local.now()
        meter = one.meter
        shared = {
            name: max(1, int(most * self._share)) if (most := getattr(allowance, name)) else 0
            for name in ("rpm", "tpm", "concurrency")
        }
        for name, period, number, totals in (
            ("tokens_per_day", "day", now.day, meter.days),
            ("tokens_per_month", "month", now.month, meter.months),
        ):
            most = getattr(allowance, name)
            before = self._left_at.setdefault((one.owner, period, number), totals.of.get(number, 0))
            shared[name] = min(most, before + int(max(0, most - before) * self._share)) if most else 0
        return Allowance(**shared)

    def _owe(self, place: Place, tokens: int) -> None:
        if tokens:
            owner, _, day, month = place
            self._owed[owner, day, month] = self._owed.get((owner, day, month), 0) + tokens

    # Towards the server.

    def _ring_soon(self) -> None:
        if not self._ringing and not self._bell.is_set():
            self._ringing = True
            self._loop.call_later(GATHER_SECONDS, self._ring)

    def _ring(self) -> None:
        self._ringing = False
        self._bell.set()

    def _beats(self) -> None:
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beats)
        self._beats_now()

    def _beats_now(self) -> None:
        self._beat = True
        self._touched |= dict.fromkeys(self._running())
        self._bell.set()

    def _running(self) -> list[str]:
        """Return the owners of whom requests run here."""
        return self.local.running()

    def _pending(self) -> bool:
        return bool(self._asked or self._changes or self._touched or self._owed or self._recount or self._beat)

    async def _run(self) -> None:
        while not self._closing:
            await self._bell.wait()
            self._bell.clear()
            self._sending = True
            while self._valkey.up and self._pending():
                await self._send()
                if self._broken:
                    # Not again and again: the next beat tries again.
                    break
            self._sending = False
            for asked in self._asked:
                _refuse(asked, FleetDownError("down", sent=False))
            self._asked.clear()
            for place, change in self._changes:
                self._owe(place, change)
            self._changes.clear()

    async def _send(self) -> None:
        batch = _Batch(self.local, self._replica, beat=self._beat)
        self._beat = False
        # What is owed goes first: whoever asks is told what counts with it.
        while self._recount and batch.has_room():
            batch.add_minute(self._recount.popitem()[0])
        changes: list[tuple[Place, int]] = []
        while self._owed and batch.has_room():
            owner, day, month = period = next(iter(self._owed))
            tokens = self._owed.pop(period)
            changes.append(((owner, 0, day, month), tokens))
            batch.add_owed(period, tokens)
        while self._changes and batch.has_room():
            changes.append(self._changes.popleft())
            batch.add_change(*changes[-1])
        asked: list[_Asked] = []
        while self._asked and batch.has_room():
            one = self._asked.popleft()
            # Whoever has left meanwhile needs no room.
            if not one.granted.done():
                asked.append(one)
                batch.add_asked(one)
        while self._touched and batch.has_room():
            batch.place_of(self._touched.popitem()[0])
        keys = [f"{self._prefix}:replicas", *(f"{self._prefix}:meter:{owner}" for owner in batch.places)]
        try:
            told = await self._run_there(keys, batch)
            if told.late:
                # An answer has come, so it was in time: the server's clock was put forward.
                told = await self._run_there(keys, batch)
            if told.late:
                raise FleetDownError("too late", sent=False)
            for waiting, admission in zip(asked, told.admissions, strict=True):
                self._answer(waiting, admission, told)
            self._broken = False
            self._left_at.clear()
        except FleetDownError as error:
            self._broke_off(batch, asked, changes, error)
        except Exception as error:  # noqa: BLE001 - one batch that fails must not end the task
            self._broke_off(batch, asked, changes, FleetDownError(type(error).__name__))
            if not self._broken:
                self._broken = True
                self._say("error", f"the fleet's limits failed: {type(error).__name__}; this replica goes on by itself")

    async def _run_there(self, keys: list[str], batch: "_Batch") -> Told:
        told = _decode(await self._valkey.run(self._program, keys, batch.encoded(self._due())))
        self._ahead = told.ms - round(self._loop.time() * 1000)
        return told

    def _due(self) -> int:
        """Return when, by the server's clock, nobody waits for a batch any more that is sent now; 0: not known."""
        if self._ahead is None:
            return 0
        return round((self._loop.time() + self._valkey.seconds) * 1000) + self._ahead

    def _broke_off(
        self, batch: "_Batch", asked: list[_Asked], changes: list[tuple[Place, int]], error: FleetDownError
    ) -> None:
        for place, change in changes:
            # Should it have been done after all, twice too much is harmless, and twice too little is not.
            if change > 0 or not error.sent:
                self._owe(place, change)
        self._touched |= dict.fromkeys(batch.places)
        self._recount |= dict.fromkeys(batch.minutes)
        for one in asked:
            _refuse(one, error)

    def _answer(self, asked: _Asked, admission: Admission, told: Told) -> None:
        now = told.now()
        standings, refusals = [], []
        need, metered = asked.need, self.local.of(asked.caller)
        for one, seen in zip(metered, admission.seen, strict=True):
            standings.append(seen.standing(one.allowance, now))
            self._used[one.owner] = seen.used()
            if not admission.admitted:
                refusal = seen.refusal(one.allowance, need.requests, need.slots, admission.tokens, now)
                if refusal is not None:
                    refusals.append((one.owner, refusal))
        state = state_of(standings, now.epoch)
        if state is not None:
            if len(self._states) >= MAX_STATES:
                self._states.clear()
                self._used.clear()
            self._states[owner_of(asked.caller)] = state
        if not admission.admitted:
            _refuse(asked, refused(asked.caller, refusals, admission.tokens, state))
            return
        # Days are the server's, minutes are counted here by the clock that is here.
        here = replace(self.local.now(), day=told.day, month=told.month)
        held = self.local.take(metered, need, admission.tokens, here)
        places = []
        for one, seen, entry in zip(metered, admission.seen, held, strict=True):
            # The whole fleet's: that is what counts should the server go away.
            one.meter.days.put(told.day, seen.day)
            one.meter.months.put(told.month, seen.month)
            places.append((one.owner, seen.use, entry.entry.day, entry.entry.month))
        output = None if admission.room < 0 else admission.room
        lease = FleetLease(self, held, need.slots, admission.tokens, output, places, owner_of(asked.caller))
        if asked.granted.done():
            # Whoever asked has left meanwhile.
            lease.release()
        else:
            asked.granted.set_result(lease)


def _refuse(asked: _Asked, error: FleetDownError | Fault) -> None:
    if not asked.granted.done():
        asked.granted.set_exception(error)


class _Batch:
    """What is told in one run."""

    def __init__(self, local: LocalLimits, replica: str, *, beat: bool) -> None:
        self.places: dict[str, int] = {}
        """Place of each owner, from 1 on."""
        self._local = local
        self._replica = replica
        self._beat = beat
        self._ops: list[list[Any]] = []
        self.minutes: list[str] = []
        """Owners of whose minute it tells."""
        self._told: dict[str, int] = {}
        """Tokens that this batch tells of an owner's days."""

    def has_room(self) -> bool:
        """Return whether one more fits in."""
        return len(self._ops) < MAX_BATCH and len(self.places) < MAX_OWNERS

    def place_of(self, owner: str) -> int:
        """Return the place of an owner, of whom it is told what runs."""
        return self.places.setdefault(owner, len(self.places) + 1)

    def add_minute(self, owner: str) -> None:
        """Tell what was used here in the last minute; what the server has not forgotten of it counts twice."""
        self.minutes.append(owner)
        used = self._meter(owner).used(self._local.now())
        self._ops.append([COUNT, self.place_of(owner), used["rpm"], used["tpm"]])

    def add_owed(self, period: Period, tokens: int) -> None:
        """Tell what was used while the server was away."""
        owner, day, month = period
        self._ops.append([SPEND, self.place_of(owner), day, month, tokens])
        self._told[owner] = self._told.get(owner, 0) + tokens

    def add_change(self, place: Place, change: int) -> None:
        """Tell that more or less was used than was reserved."""
        owner, use, day, month = place
        self._ops.append([CORRECT, self.place_of(owner), use, day, month, change])
        self._told[owner] = self._told.get(owner, 0) + change

    def add_asked(self, asked: _Asked) -> None:
        """Ask for room."""
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
            told = self._told.get(owner, 0)
            day = meter.days.of.get(now.day, 0) - told
            month = meter.months.of.get(now.month, 0) - told
            meters.append([meter.running, now.day, max(0, day), now.month, max(0, month)])
        whole = {"who": self._replica, "beat": self._beat, "due": due, "meters": meters, "ops": self._ops}
        return _encode(whole)

    def _meter(self, owner: str) -> Meter:
        return self._local.meter(owner) or Meter()
