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
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault
from fittengate.core.limits import LimitState
from fittengate.services.fleet_batch import Asked, Batch, Period
from fittengate.services.fleet_lease import FleetLease
from fittengate.services.fleet_room import Place, Room
from fittengate.services.fleet_script import LIMITS, NEWEST
from fittengate.services.fleet_seen import Admission, Told
from fittengate.services.limits import ACCOUNT, Held, Lease, LocalLimits, Metered, Need, owner_of, refused
from fittengate.services.meter import Now
from fittengate.services.tally import least, state_of
from fittengate.services.valkey import FleetDownError, Say, Script, Valkey

GATHER_SECONDS = 0.01
"""What nobody waits for is told with the next question, or so long after: most requests then cost one run, not two."""

BEAT_SECONDS = 2.0
"""How often a replica lets itself be heard of, several times within the time after which it is taken to be dead."""

MAX_STATES = 4096
"""Callers whose standing is remembered."""

CLOSE_SECONDS = 1.0

_decode = msgspec.msgpack.Decoder(Told).decode

T = TypeVar("T")


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
        self._room = Room()
        self._used: dict[str, dict[str, int]] = {}
        self._asked: deque[Asked] = deque()
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
        asked = Asked(caller, need, self.local.of(caller), self._loop.create_future())
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

    def corrected(self, places: list[Place], change: int) -> list[Place]:
        """Tell the fleet that more or less is used than was reserved; return where that is noted."""
        if change > 0:
            # It counts from now on, wherever the rest is.
            places = [Place(place.owner, NEWEST, place.day, place.month) for place in places]
        up = self._valkey.up
        for place in places:
            if up:
                self._changes.append((place, change))
                if change > 0:
                    self._room.grew(place.owner, change)
            else:
                self._miss(place, change)
        self._ring_soon()
        return places

    def left(self, held: list[Held], now: Now, most: int) -> int:
        """Return how many tokens, ``most`` at most, are left in the fleet; while the server is away, of the share."""
        known = self._valkey.up and not self._broken
        left = least(
            [
                self._room.left(one, now) if known else one.meter.tally(now).left(self._share_of(one, now))
                for one in held
            ]
        )
        return most if left is None else min(left, most)

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
        # The share is for now: the server may come back while the answer grows.
        both = zip(lease.held, self.local.of(caller), strict=True)
        held = [replace(entry, allowance=one.allowance) for entry, one in both]
        places = [Place(one.owner, 0, one.entry.day, one.entry.month) for one in held]
        for place in places:
            self._owe(place, lease.reserved)
            self._recount[place.owner] = None
        return FleetLease(self, held, need.slots, lease.reserved, lease.output, places)

    def _by_share(self, caller: Caller, use: Callable[[Caller], T]) -> T:
        """Do something while the local limits are this replica's share of the fleet's."""
        now = self.local.now()
        found = {one.owner: self._share_of(one, now) for one in self.local.of(caller)}
        self.local.account = found.pop(ACCOUNT, self.account)
        try:
            return use(replace(caller, allowance=next(iter(found.values()), caller.allowance)))
        finally:
            self.local.account = self.account

    def _share_of(self, one: Metered | Held, now: Now) -> Allowance:
        allowance = one.allowance
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
            # Never 0, which would mean no limit.
            shared[name] = min(most, max(1, before + int(max(0, most - before) * self._share))) if most else 0
        return Allowance(**shared)

    def _miss(self, place: Place, tokens: int) -> None:
        """Note what the server cannot be told now, its minute included."""
        self._owe(place, tokens)
        if tokens > 0:
            self._recount[place.owner] = None

    def _owe(self, place: Place, tokens: int) -> None:
        place.use = 0
        if tokens:
            period = place.owner, place.day, place.month
            self._owed[period] = self._owed.get(period, 0) + tokens

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
            self._room.sent([(place, change) for place, change in self._changes if change > 0])
            for place, change in self._changes:
                self._miss(place, change)
            self._changes.clear()

    async def _send(self) -> None:
        batch = Batch(self.local, self._replica, beat=self._beat)
        self._beat = False
        # What is owed goes first: whoever asks is told what counts with it.
        while self._recount and batch.has_room():
            batch.add_minute(self._recount.popitem()[0])
        while self._owed and batch.has_room():
            batch.add_owed(*self._owed.popitem())
        while self._changes and batch.has_room():
            batch.add_change(*self._changes.popleft())
        while self._asked and batch.has_room():
            one = self._asked.popleft()
            # Whoever has left meanwhile needs no room.
            if not one.granted.done():
                batch.add_asked(one)
        while self._touched and batch.has_room():
            batch.place_of(self._touched.popitem()[0])
        await self._tell(batch)

    async def _tell(self, batch: Batch) -> None:
        keys = [f"{self._prefix}:replicas", *(f"{self._prefix}:meter:{owner}" for owner in batch.places)]
        try:
            told = await self._run_there(keys, batch)
            if told.late:
                # An answer has come, so it was in time: the server's clock was put forward.
                told = await self._run_there(keys, batch)
            if told.late:
                raise FleetDownError("too late", sent=False)
            for (place, _), use in zip(batch.grown, told.noted, strict=True):
                place.use = use
            self._room.hear(told, list(batch.places))
            for waiting, admission in zip(batch.asked, told.admissions, strict=True):
                self._answer(waiting, admission, told)
            self._broken = False
            self._left_at.clear()
        except FleetDownError as error:
            self._broke_off(batch, error)
        except Exception as error:  # noqa: BLE001 - one batch that fails must not end the task
            self._broke_off(batch, FleetDownError(type(error).__name__))
            if not self._broken:
                self._broken = True
                self._say("error", f"the fleet's limits failed: {type(error).__name__}; this replica goes on by itself")
        finally:
            self._room.sent(batch.grown)

    async def _run_there(self, keys: list[str], batch: Batch) -> Told:
        told = _decode(await self._valkey.run(self._program, keys, batch.encoded(self._due())))
        self._ahead = told.ms - round(self._loop.time() * 1000)
        return told

    def _due(self) -> int:
        """Return when, by the server's clock, nobody waits for a batch any more that is sent now; 0: not known."""
        if self._ahead is None:
            return 0
        return round((self._loop.time() + self._valkey.seconds) * 1000) + self._ahead

    def _broke_off(self, batch: Batch, error: FleetDownError) -> None:
        for place, change in batch.changes:
            # Should it have been done after all, twice too much is harmless, and twice too little is not.
            if change > 0 or not error.sent:
                self._owe(place, change)
        self._touched |= dict.fromkeys(batch.places)
        self._recount |= dict.fromkeys(batch.minutes)
        for one in batch.asked:
            _refuse(one, error)

    def _answer(self, asked: Asked, admission: Admission, told: Told) -> None:
        now = told.now()
        standings, refusals = [], []
        need, metered = asked.need, self.local.of(asked.caller)
        for one, seen in zip(metered, admission.seen, strict=True):
            tally = seen.tally
            resets = seen.requests_reset / 1000, seen.tokens_reset / 1000
            standings.append(tally.standing(one.allowance, *resets, now))
            self._used[one.owner] = tally.used()
            if not admission.admitted:
                wanted = need.requests, need.slots, admission.tokens
                refusal = tally.refusal(one.allowance, wanted, seen.waits, now)
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
            places.append(Place(one.owner, seen.use, entry.entry.day, entry.entry.month))
        output = None if admission.room < 0 else admission.room
        lease = FleetLease(self, held, need.slots, admission.tokens, output, places)
        if asked.granted.done():
            # Whoever asked has left meanwhile.
            lease.release()
        else:
            asked.granted.set_result(lease)


def _refuse(asked: Asked, error: FleetDownError | Fault) -> None:
    if not asked.granted.done():
        asked.granted.set_exception(error)
