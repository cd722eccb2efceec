"""Limits: who may go on now. Reserve before, settle after, give back on every way out.

Laws. What is admitted is reserved in the same step, for the key and for the account at once or for neither: any number of
requests at a time cannot pass a limit together. Every lease ends exactly once. What a call has used and nobody counted,
because it was broken off, is taken to be what was reserved for it: leaving early is no way past a limit. What never
reached the service is given back. An answer without a limit of its own is cut where what was left at its admission
ends; it has a part of that reserved, reserves the rest as it grows, and is cut before where others have used that up.
Here is one process; a fleet shares its limits behind the same two protocols.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.limits import LimitState
from fittengate.core.reply import Usage
from fittengate.lib.clock import Clock
from fittengate.services.meter import DAY, Entry, Meter, Now, day_of, month_of
from fittengate.services.spending import Spending, Spent
from fittengate.services.store import Database
from fittengate.services.tally import USUAL_OUTPUT, Refusal, Tally, least, reservation, state_of

NO_LIMITS = Allowance()

MANY_METERS = 1024
"""From so many on, meters on which nothing counts any more are thrown away. There are never more than keys."""

QUOTA_SECONDS = 61.0
"""Least wait that is told where waiting a minute does not help: agents stop at more than 60."""

_NOTHING = Tally(0, 0, 0, 0, 0)

_QUOTAS = frozenset({"tokens_per_day", "tokens_per_month"})


class Need(Struct, frozen=True):
    """What a request wants to use."""

    prompt: int | None = None
    """Tokens that the prompt comes to at most; None where no tokens are used or none are limited."""
    output: int | None = None
    """Most tokens of the answer; None where the request does not say."""
    requests: int = 1
    slots: int = 1
    """Places among the requests at a time."""
    answers: int = 1
    """How many answers it asks for; ``prompt`` and ``output`` are those of all together."""


class Lease(Protocol):
    """What one request has reserved. Its end is owed: ``release``."""

    output: int | None
    """Most tokens that each answer may have; None where that is no matter of limits."""
    reserved: int
    """Tokens that are reserved."""
    answer: int
    """Tokens of those that are for each answer; no matter where ``output`` is None."""

    def more(self) -> int:
        """Reserve some more for an answer that grows past that; return how many, 0 where nothing is left."""
        ...

    def settle(self, usage: Usage | None) -> None:
        """Put what was used into the place of what was reserved; None: as much as was reserved. Counts once."""
        ...

    def release(self) -> None:
        """Give back the place, and what was reserved unless it was settled. Never fails; may be called again."""
        ...


class _NoLease:
    """The lease of those for whom nothing is limited."""

    output: int | None = None
    reserved: int = 0
    answer: int = 0

    def more(self) -> int:
        """Return 0: there is no limit that would be asked."""
        return 0

    def settle(self, usage: Usage | None) -> None:
        """Nobody counts."""

    def release(self) -> None:
        """There is nothing to give back."""


NO_LEASE: Lease = _NoLease()


class Limits(Protocol):
    """Who may go on."""

    def apply_to(self, caller: Caller) -> bool:
        """Return whether anything is limited for this caller; if not, nothing here need be called."""
        ...

    def count_tokens_of(self, caller: Caller) -> bool:
        """Return whether tokens are limited for this caller; if not, a prompt need not be estimated."""
        ...

    async def admit(self, caller: Caller, need: Need) -> Lease:
        """Reserve what a request needs. Raises Fault: policy_rate, policy_quota, with the state of the limits."""
        ...

    def state(self, caller: Caller) -> LimitState | None:
        """Return where the caller stands; None where neither requests nor tokens are limited."""
        ...


ACCOUNT = "*"
"""The owner of what all keys together have used."""


class Metered(Struct, frozen=True):
    """What counts for a caller: the key's own, or the account's."""

    owner: str
    """Whose it is; :data:`ACCOUNT` for all keys together."""
    meter: Meter
    allowance: Allowance
    kept: bool
    """Whether its totals are kept for the next start: where a limit of a day or a month needs them."""


class _Prepared(Struct, frozen=True, gc=False):
    """What counts for a caller, and of what it follows."""

    allowance: Allowance
    account: Allowance
    metered: tuple[Metered, ...]


class Held(Struct, frozen=True):
    """An entry in a meter."""

    meter: Meter
    entry: Entry
    owner: str
    kept: bool
    allowance: Allowance


class LocalLease:
    """A lease of this process."""

    __slots__ = ("_limits", "_released", "_settled", "_slots", "answer", "held", "output", "reserved")

    def __init__(self, limits: "LocalLimits", held: list[Held], slots: int, reserved: int, output: int | None) -> None:
        self.output = output
        self.answer = USUAL_OUTPUT if output is None or output > USUAL_OUTPUT else output
        self._limits = limits
        self.held = held
        self._slots = slots
        self.reserved = reserved
        self._settled = self._released = False

    def more(self) -> int:
        """Reserve another :data:`USUAL_OUTPUT`, or what is left of it."""
        if self._settled or not self.held:
            return 0
        limits, entry = self._limits, self.held[0].entry
        # By the day and the month in which it is noted: that of the admission.
        now = replace(limits.now(), day=entry.day, month=entry.month)
        found = self._left(now, USUAL_OUTPUT)
        if found <= 0:
            return 0
        for held in self.held:
            held.meter.grow(held.entry, found, now.monotonic)
            limits.keep(held, found)
        self.reserved += found
        return found

    def settle(self, usage: Usage | None) -> None:
        """Put what was used into the place of what was reserved."""
        if not self._settled:
            self._settled = True
            if usage is not None:
                self._correct(usage.input_tokens + usage.output_tokens - self.reserved)

    def release(self) -> None:
        """Give back what is left of it."""
        if not self._released:
            self._released = True
            if not self._settled:
                self._settled = True
                self._correct(-self.reserved)
            for held in self.held:
                held.meter.running -= self._slots

    def _left(self, now: Now, most: int) -> int:
        """Return how many tokens are left of all limits, ``most`` at most."""
        left = least([held.meter.tally(now).left(held.allowance) for held in self.held])
        return most if left is None else min(left, most)

    def _correct(self, change: int) -> None:
        if self.reserved and change:
            limits = self._limits
            now = limits.monotonic()
            for held in self.held:
                held.meter.correct(held.entry, change, now)
                limits.keep(held, change)


class LocalLimits:
    """Limits of one process."""

    def __init__(self, account: Allowance, clock: Clock) -> None:
        """``account`` is what all keys together may use. What was used ends with the process, until :meth:`survive`."""
        self.spending: Spending | None = None
        self.account = account
        self._clock = clock
        self.monotonic = clock.monotonic
        """The clock that never goes back, in seconds."""
        self._all = Meter()
        self._meters: dict[str, Meter] = {}
        self._prepared: dict[str, _Prepared] = {}
        """By owner; not more than meters."""
        self._day = self._month = 0
        self._day_began = self._day_ends = 0.0
        self._shared = account != NO_LIMITS
        self._shared_tokens = _limits_tokens(account)
        self._shared_quota = _has_quota(account)

    def now(self) -> Now:
        """Return the moment on both clocks."""
        epoch = self._clock.now()
        if not self._day_began <= epoch < self._day_ends:
            # Worth remembering for a day: the calendar costs more than all the rest.
            day = self._day = day_of(epoch)
            self._month = month_of(day)
            self._day_began, self._day_ends = day * DAY, (day + 1) * DAY
        return Now(self.monotonic(), epoch, self._day, self._month)

    def apply_to(self, caller: Caller) -> bool:
        """Return whether anything is limited for this caller."""
        return self._shared or caller.allowance != NO_LIMITS

    def count_tokens_of(self, caller: Caller) -> bool:
        """Return whether tokens are limited for this caller."""
        return self._shared_tokens or _limits_tokens(caller.allowance)

    async def admit(self, caller: Caller, need: Need) -> LocalLease:
        """Reserve what a request needs. Raises Fault: policy_rate, policy_quota."""
        spending = self.spending
        if spending is not None and not spending.known:
            await self.known(caller)
        return self.admit_now(caller, need)

    async def known(self, caller: Caller) -> None:
        """Wait, but not for long, until what was used before is counted, if it matters for a caller."""
        spending = self.spending
        if spending is not None and not spending.known and (self._shared_quota or _has_quota(caller.allowance)):
            await spending.wait()

    def admit_now(self, caller: Caller, need: Need) -> LocalLease:
        """Reserve in one step. Raises as :meth:`admit`."""
        now = self.now()
        both = self.of(caller)
        tallies = [(one.allowance, one.meter.tally(now)) for one in both]
        left = None
        if need.prompt is not None and need.output is None:
            left = least([tally.left(allowance) for allowance, tally in tallies])
        tokens, output = reservation(need.prompt, need.output, need.answers, left)
        requests, slots = need.requests, need.slots
        for allowance, tally in tallies:
            if not tally.has_room(allowance, requests, slots, tokens):
                raise self._refused(caller, both, need, tokens, now)
        return LocalLease(self, self.take(both, need, tokens, now), slots, tokens, output)

    def _refused(self, caller: Caller, both: tuple[Metered, ...], need: Need, tokens: int, now: Now) -> Fault:
        found: list[tuple[str, Refusal]] = []
        for one in both:
            refusal = one.meter.refusal(one.allowance, need.requests, need.slots, tokens, now)
            if refusal is not None:
                found.append((one.owner, refusal))
        return refused(caller, found, tokens, self.state(caller))

    def take(self, metered: tuple[Metered, ...], need: Need, tokens: int, now: Now) -> list[Held]:
        """Note what was admitted in each of a caller's meters."""
        found = []
        for one in metered:
            entry = one.meter.take(need.requests, need.slots, tokens, now)
            held = Held(one.meter, entry, one.owner, one.kept, one.allowance)
            found.append(held)
            self.keep(held, tokens)
        return found

    def state(self, caller: Caller) -> LimitState | None:
        """Return where the caller stands."""
        now = self.now()
        return state_of([one.meter.standing(one.allowance, now) for one in self.of(caller)], now.epoch)

    def used(self, owner: str | None) -> dict[str, int]:
        """Return what an owner has used, as far as limits made it count; None means all keys together."""
        return (self.meter(owner or ACCOUNT) or Meter()).tally(self.now()).used()

    def meter(self, owner: str) -> Meter | None:
        """Return what an owner has used; None where nothing is known."""
        return self._all if owner == ACCOUNT else self._meters.get(owner)

    def running(self) -> list[str]:
        """Return the owners of whom requests run."""
        found = [owner for owner, meter in self._meters.items() if meter.running]
        return [*found, ACCOUNT] if self._all.running else found

    def keep(self, held: Held, change: int) -> None:
        """Note a change of totals for the next start, if they are kept."""
        if change and held.kept and self.spending is not None:
            self.spending.add(held.owner, held.entry.day, held.entry.month, change)

    def survive(self, database: Database, say: Callable[..., None]) -> None:
        """Keep what is used of days and months in a database, and count what was used before; ``close`` is owed."""
        self.spending = Spending(database, self._clock, say, self._restore)

    def close(self) -> None:
        """Write what is to be kept. May be called from any thread."""
        if self.spending is not None:
            self.spending.close()

    def _restore(self, spent: Spent) -> None:
        now = self.now()
        for period, tokens in spent.items():
            # What is long over need not be known; a clock may be off by one.
            if abs(period.number - (now.day if period.kind == "day" else now.month)) > 1:
                continue
            meter = self._all if period.owner == ACCOUNT else self._meters.setdefault(period.owner, Meter())
            (meter.days if period.kind == "day" else meter.months).add(period.number, tokens)

    def of(self, caller: Caller) -> tuple[Metered, ...]:
        """Return what counts for a caller, the key's own first; nothing without limits."""
        owner = caller.owner or caller.name
        known = self._prepared.get(owner)
        if known is not None and known.allowance is caller.allowance and known.account is self.account:
            return known.metered
        found = []
        if caller.allowance != NO_LIMITS:
            found.append(Metered(owner, self._own(owner), caller.allowance, _has_quota(caller.allowance)))
        if self._shared:
            found.append(Metered(ACCOUNT, self._all, self.account, _has_quota(self.account)))
        made = _Prepared(caller.allowance, self.account, tuple(found))
        if len(self._prepared) >= MANY_METERS:
            self._prepared.clear()
        self._prepared[owner] = made
        return made.metered

    def _own(self, owner: str) -> Meter:
        meter = self._meters.get(owner)
        if meter is None:
            if len(self._meters) >= MANY_METERS:
                self._tidy()
            meter = self._meters[owner] = Meter()
        return meter

    def _tidy(self) -> None:
        now = self.now()
        for owner, meter in list(self._meters.items()):
            if meter.tally(now) == _NOTHING:
                del self._meters[owner]
                self._prepared.pop(owner, None)


def _limits_tokens(allowance: Allowance) -> bool:
    return bool(allowance.tpm or allowance.tokens_per_day or allowance.tokens_per_month)


def _has_quota(allowance: Allowance) -> bool:
    return bool(allowance.tokens_per_day or allowance.tokens_per_month)


def owner_of(caller: Caller) -> str:
    """Return under what it is counted what a caller uses."""
    return caller.owner or caller.name


def _later(one: Refusal, other: Refusal) -> bool:
    if other.seconds is None:
        return False
    return one.seconds is None or one.seconds > other.seconds


_WORDS = {
    "rpm": "requests a minute",
    "tpm": "tokens a minute",
    "concurrency": "requests at a time",
    "tokens_per_day": "tokens a day (UTC)",
    "tokens_per_month": "tokens a month (UTC)",
}


def refused(caller: Caller, found: list[tuple[str, Refusal]], tokens: int, state: LimitState | None) -> Fault:
    """Return how a caller is told of the worst of some refusals, each with whose limit it is."""
    owner, refusal = found[0]
    for other in found[1:]:
        if _later(other[1], refusal):
            owner, refusal = other
    whose = "All keys together" if owner == ACCOUNT else f"The key {caller.name}"
    name = f"limits.account_{refusal.limit}" if owner == ACCOUNT else refusal.limit
    words = _WORDS[refusal.limit] if refusal.most != 1 else _WORDS[refusal.limit].replace("s ", " ", 1)
    text = f"{whose} may use {refusal.most} {words} ({name})"
    if refusal.seconds is None:
        # Coming back helps nobody: agents are told so in the way that they understand.
        text = f"{text}; this request alone may come to {tokens}. Shorten it, or lower its token limit."
        return Fault(FaultKind.POLICY_QUOTA, text, code="rate_limit_exceeded", retry_after=QUOTA_SECONDS, limits=state)
    if refusal.limit in _QUOTAS:
        text = f"{text}, and they are used up, or not enough are left."
        wait = max(QUOTA_SECONDS, refusal.seconds)
        return Fault(FaultKind.POLICY_QUOTA, text, retry_after=wait, limits=state)
    wait = max(1.0, refusal.seconds)
    text = f"{text}. Try again in {-int(-wait // 1)} s."
    return Fault(FaultKind.POLICY_RATE, text, retry_after=wait, limits=state)
