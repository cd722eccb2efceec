"""Limits: who may go on now. Reserve before, settle after, give back on every way out.

Laws. What is admitted is reserved in the same step, for the key and for the account at once or for neither: any number of
requests at a time cannot pass a limit together. Every lease ends exactly once. What a call has used and nobody counted,
because it was broken off, is taken to be what was reserved for it: leaving early is no way past a limit. What never
reached the service is given back. An answer without a limit of its own is cut where what was left at its admission ends.
Here is one process; a fleet shares its limits behind the same two protocols.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.limits import LimitState, Standing
from fittengate.core.reply import Usage
from fittengate.lib.clock import Clock
from fittengate.services.meter import USUAL_OUTPUT, Entry, Meter, Now, Refusal, day_of, month_of
from fittengate.services.spending import Spending, Spent
from fittengate.services.store import Database

NO_LIMITS = Allowance()

MANY_METERS = 1024
"""From so many on, meters on which nothing counts any more are thrown away. There are never more than keys."""

QUOTA_SECONDS = 61.0
"""Least wait that is told where waiting a minute does not help: agents stop at more than 60."""

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


class _Held(Struct, frozen=True):
    """An entry in a meter."""

    meter: Meter
    entry: Entry
    owner: str | None
    """Under which it is kept; None where no limit of a day or a month needs it."""


class LocalLease:
    """A lease of this process."""

    __slots__ = ("_held", "_limits", "_released", "_settled", "_slots", "output", "reserved")

    def __init__(self, limits: "LocalLimits", held: list[_Held], slots: int, reserved: int, output: int | None) -> None:
        self.output = output
        self._limits = limits
        self._held = held
        self._slots = slots
        self.reserved = reserved
        self._settled = self._released = False

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
            for held in self._held:
                held.meter.running -= self._slots

    def _correct(self, change: int) -> None:
        if self.reserved and change:
            now = self._limits.now()
            for held in self._held:
                held.meter.correct(held.entry, change, now)
                self._limits.keep(held, change)


class LocalLimits:
    """Limits of one process."""

    def __init__(self, account: Allowance, clock: Clock) -> None:
        """``account`` is what all keys together may use. What was used ends with the process, until :meth:`survive`."""
        self.spending: Spending | None = None
        self.account = account
        self._clock = clock
        self._all = Meter()
        self._meters: dict[str, Meter] = {}
        self._day = self._month = 0
        self._shared = account != NO_LIMITS
        self._shared_tokens = _limits_tokens(account)
        self._shared_quota = _has_quota(account)

    def now(self) -> Now:
        """Return the moment on both clocks."""
        epoch = self._clock.now()
        day = day_of(epoch)
        if day != self._day:
            # A day's month is worth remembering: the calendar costs more than all the rest.
            self._day, self._month = day, month_of(day)
        return Now(self._clock.monotonic(), epoch, day, self._month)

    def apply_to(self, caller: Caller) -> bool:
        """Return whether anything is limited for this caller."""
        return self._shared or caller.allowance != NO_LIMITS

    def count_tokens_of(self, caller: Caller) -> bool:
        """Return whether tokens are limited for this caller."""
        return self._shared_tokens or _limits_tokens(caller.allowance)

    async def admit(self, caller: Caller, need: Need) -> LocalLease:
        """Reserve what a request needs. Raises Fault: policy_rate, policy_quota."""
        spending = self.spending
        if spending is not None and not spending.known and (self._shared_quota or _has_quota(caller.allowance)):
            await spending.wait()
        return self.admit_now(caller, need)

    def admit_now(self, caller: Caller, need: Need) -> LocalLease:
        """Reserve in one step. Raises as :meth:`admit`."""
        now = self.now()
        both = self._of(caller)
        tokens, output = self._wanted(both, need, now)
        slots = need.slots
        worst: tuple[str, Refusal] | None = None
        for where, meter, allowance in both:
            if meter.has_room(allowance, need.requests, slots, tokens, now):
                continue
            refusal = meter.refusal(allowance, need.requests, slots, tokens, now)
            if refusal is not None and (worst is None or _later(refusal, worst[1])):
                worst = where, refusal
        if worst is not None:
            raise _refused(caller, *worst, tokens, self.state(caller))
        held = []
        for where, meter, allowance in both:
            owner = (ACCOUNT if where == "account" else _owner(caller)) if _has_quota(allowance) else None
            held.append(_Held(meter, meter.take(need.requests, slots, tokens, now), owner))
            self.keep(held[-1], tokens)
        return LocalLease(self, held, slots, tokens, output)

    def state(self, caller: Caller) -> LimitState | None:
        """Return where the caller stands."""
        now = self.now()
        found = [meter.standing(allowance, now) for _, meter, allowance in self._of(caller)]
        requests = _tightest([requests for requests, _ in found])
        tokens = _tightest([tokens for _, tokens in found])
        return None if requests is None and tokens is None else LimitState(requests, tokens, now.epoch)

    def used(self, owner: str | None) -> dict[str, int]:
        """Return what an owner has used, as far as limits made it count; None means all keys together."""
        meter = self._all if owner is None else self._meters.get(owner) or Meter()
        return meter.used(self.now())

    def keep(self, held: _Held, change: int) -> None:
        """Note a change of totals for the next start, if they are kept."""
        if change and held.owner is not None and self.spending is not None:
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

    def _of(self, caller: Caller) -> list[tuple[str, Meter, Allowance]]:
        """Return the meters that count for a caller, each with whose limits they are; none without limits."""
        found = []
        if caller.allowance != NO_LIMITS:
            found.append(("key", self._own(caller), caller.allowance))
        if self._shared:
            found.append(("account", self._all, self.account))
        return found

    def _own(self, caller: Caller) -> Meter:
        owner = _owner(caller)
        meter = self._meters.get(owner)
        if meter is None:
            if len(self._meters) >= MANY_METERS:
                self._tidy()
            meter = self._meters[owner] = Meter()
        return meter

    def _wanted(self, both: list[tuple[str, Meter, Allowance]], need: Need, now: Now) -> tuple[int, int | None]:
        """Return the tokens to reserve, and where each answer is to be cut."""
        if need.prompt is None:
            return 0, None
        if need.output is not None:
            return need.prompt + need.output, None
        found = [meter.tokens_left(allowance, now) for _, meter, allowance in both]
        left = min((tokens for tokens in found if tokens is not None), default=None)
        if left is None:
            return need.prompt + need.answers * USUAL_OUTPUT, None
        room = max(1, (left - need.prompt) // need.answers)
        return need.prompt + need.answers * min(USUAL_OUTPUT, room), room

    def _tidy(self) -> None:
        now = self.now()
        for owner, meter in list(self._meters.items()):
            quiet = (
                not meter.running and meter.requests.left(0, now.monotonic) == meter.tokens.left(0, now.monotonic) == 0
            )
            if quiet and not meter.days.of.get(now.day) and not meter.months.of.get(now.month):
                del self._meters[owner]


def _limits_tokens(allowance: Allowance) -> bool:
    return bool(allowance.tpm or allowance.tokens_per_day or allowance.tokens_per_month)


def _has_quota(allowance: Allowance) -> bool:
    return bool(allowance.tokens_per_day or allowance.tokens_per_month)


def _owner(caller: Caller) -> str:
    return caller.owner or caller.name


def _later(one: Refusal, other: Refusal) -> bool:
    if other.seconds is None:
        return False
    return one.seconds is None or one.seconds > other.seconds


def _tightest(found: list[Standing | None]) -> Standing | None:
    return min((one for one in found if one is not None), key=lambda one: one.remaining, default=None)


_WORDS = {
    "rpm": "requests a minute",
    "tpm": "tokens a minute",
    "concurrency": "requests at a time",
    "tokens_per_day": "tokens a day (UTC)",
    "tokens_per_month": "tokens a month (UTC)",
}


def _refused(caller: Caller, where: str, refusal: Refusal, tokens: int, state: LimitState | None) -> Fault:
    whose = f"The key {caller.name}" if where == "key" else "All keys together"
    name = refusal.limit if where == "key" else f"limits.account_{refusal.limit}"
    text = f"{whose} may use {refusal.most} {_WORDS[refusal.limit]} ({name})"
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
