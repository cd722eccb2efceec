"""What one key, or the account, has used: the arithmetic of limits. Pure; both readings of time are handed in.

Minutes slide. What is used counts for the sixty seconds after it was used: in no sixty seconds, wherever they begin, is
more admitted than the limit. To remember little, uses within a second of one another leave together, with the last of
them. Days and months are the calendar's by UTC. What is reserved counts from when it was admitted, in the minute, day and
month of then; when it is known what was really used, that takes its place there, but more than was reserved counts in
the minute of now. A clock that is put back finds the totals of the day that it goes back to, and loses none.
"""

from collections import deque
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import Struct

from fittengate.core.caller import Allowance
from fittengate.core.limits import Standing

MINUTE = 60.0
STEP = 1.0
"""Uses so close together are one: a window has sixty-odd entries, however much is used."""

DAY = 86_400

KEPT_PERIODS = 3
"""Days, and months, whose totals are remembered: now, and two for clocks that jump."""

USUAL_OUTPUT = 1024
"""Tokens reserved for an answer whose length nobody has limited, where so many are left."""

MONTHS = 12


class Now(Struct, frozen=True):
    """One moment on both clocks."""

    monotonic: float
    """Seconds since some fixed moment; never goes back."""
    epoch: float
    """Seconds since the epoch, as the machine believes; may jump."""
    day: int
    """The number of the day, by UTC."""
    month: int
    """The number of the month, by UTC."""

    def until_tomorrow(self) -> float:
        """Return the seconds until the day ends."""
        return (self.day + 1) * DAY - self.epoch

    def until_next_month(self) -> float:
        """Return the seconds until the month ends."""
        return month_end(self.month) - self.epoch


def day_of(epoch: float) -> int:
    """Return the number of the day, by UTC, of a time in seconds since the epoch."""
    return int(epoch // DAY)


def month_of(day: int) -> int:
    """Return the number of the month that a day is in."""
    date = datetime.fromtimestamp(day * DAY, UTC)
    return date.year * MONTHS + date.month - 1


@lru_cache(4)
def month_end(number: int) -> float:
    """Return when the month of that number ends, in seconds since the epoch."""
    year, month = divmod(number + 1, MONTHS)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp()


class Refusal(Struct, frozen=True):
    """Why something is not admitted."""

    limit: str
    """Name of the limit: ``rpm``, ``tokens_per_day``."""
    most: int
    """What it is set to."""
    seconds: float | None
    """When to come back; None means that so much never fits."""


class Use:
    """Some uses of a window that are close together in time."""

    __slots__ = ("amount", "began", "last")

    def __init__(self, now: float) -> None:
        self.amount = 0
        self.began = self.last = now


class Window:
    """What was used in the last minute."""

    __slots__ = ("_uses", "total")

    def __init__(self) -> None:
        self.total = 0
        self._uses: deque[Use] = deque()

    def left(self, most: int, now: float) -> int:
        """Return how much of ``most`` is left."""
        uses = self._uses
        while uses and uses[0].last + MINUTE <= now:
            self.total -= uses.popleft().amount
        return most - self.total

    def add(self, amount: int, now: float) -> Use:
        """Use some; return where it is noted."""
        uses = self._uses
        while uses and uses[0].last + MINUTE <= now:
            self.total -= uses.popleft().amount
        if not uses or now - (use := uses[-1]).began >= STEP:
            use = Use(now)
            uses.append(use)
        use.amount += amount
        use.last = now
        self.total += amount
        return use

    def correct(self, use: Use, change: int, now: float) -> None:
        """Take back some of what was noted, if it still counts; more than that counts from now on."""
        if change > 0:
            self.add(change, now)
            return
        self.left(0, now)
        if self._uses and use.last >= self._uses[0].last:
            use.amount += change
            self.total += change

    def wait(self, amount: int, most: int, now: float) -> float | None:
        """Return after how many seconds ``amount`` more is within ``most``; None means never."""
        if amount > most:
            return None
        over = self.total + amount - most
        seconds = 0.0
        for use in self._uses:
            if over <= 0:
                break
            over -= use.amount
            # Sums of floats: a hair over a minute would be told as 61 s.
            seconds = min(MINUTE, use.last + MINUTE - now)
        return seconds

    def resets_in(self, now: float) -> float:
        """Return after how many seconds nothing counts any more."""
        return max(0.0, self._uses[-1].last + MINUTE - now) if self.total and self._uses else 0.0


class Totals:
    """Tokens by day, or by month."""

    __slots__ = ("_latest", "of")

    def __init__(self) -> None:
        self._latest: int | None = None
        """The last of ``of``."""
        self.of: dict[int, int] = {}
        """By the number of the period; so many of the latest as :data:`KEPT_PERIODS`."""

    def add(self, period: int, tokens: int) -> None:
        """Use some; less than nothing takes some back. What is taken back of a forgotten period is forgotten too."""
        if period == self._latest:
            self.of[period] += tokens
            return
        known = self.of.pop(period, None)
        if known is None:
            if tokens < 0:
                return
            while len(self.of) >= KEPT_PERIODS:
                # The one that was not used for longest.
                del self.of[next(iter(self.of))]
            known = 0
        self.of[period] = known + tokens
        self._latest = period

    def put(self, period: int, tokens: int) -> None:
        """Take what is known better from elsewhere."""
        self.add(period, tokens - self.of.get(period, 0))


class Entry(Struct):
    """Where an admission is noted in one meter."""

    tokens: Use | None
    day: int
    month: int
    grown: list[tuple[Use, int]] = []
    """Where what was reserved later is noted, and how much of it."""


class Meter:
    """What one holder of limits has used. Knows no limits: they are handed in, for they may change."""

    __slots__ = ("days", "months", "requests", "running", "tokens")

    def __init__(self) -> None:
        self.requests = Window()
        self.tokens = Window()
        self.days = Totals()
        self.months = Totals()
        self.running = 0
        """Requests under way."""

    def tokens_left(self, allowance: Allowance, now: Now) -> int | None:
        """Return how many tokens may still be used now, perhaps less than none; None means no limit."""
        least: int | None = None
        if most := allowance.tpm:
            least = self.tokens.left(most, now.monotonic)
        if most := allowance.tokens_per_day:
            left = most - self.days.of.get(now.day, 0)
            least = left if least is None or left < least else least
        if most := allowance.tokens_per_month:
            left = most - self.months.of.get(now.month, 0)
            least = left if least is None or left < least else least
        return least

    def has_room(self, allowance: Allowance, requests: int, slots: int, tokens: int, now: Now) -> bool:
        """Return whether this can be admitted now. What :meth:`refusal` says in full, this says fast."""
        if slots and allowance.concurrency and self.running + slots > allowance.concurrency:
            return False
        if requests and allowance.rpm and self.requests.left(allowance.rpm, now.monotonic) < requests:
            return False
        if not tokens:
            return True
        if allowance.tpm and self.tokens.left(allowance.tpm, now.monotonic) < tokens:
            return False
        day, month = allowance.tokens_per_day, allowance.tokens_per_month
        return (not day or self.days.of.get(now.day, 0) + tokens <= day) and (
            not month or self.months.of.get(now.month, 0) + tokens <= month
        )

    def refusal(self, allowance: Allowance, requests: int, slots: int, tokens: int, now: Now) -> Refusal | None:
        """Return why this cannot be admitted now, of several reasons the longest one; None where it can."""
        found: list[Refusal] = []
        if slots and allowance.concurrency and self.running + slots > allowance.concurrency:
            found.append(Refusal("concurrency", allowance.concurrency, 1.0))
        at = now.monotonic
        if requests and allowance.rpm and self.requests.left(allowance.rpm, at) < requests:
            found.append(Refusal("rpm", allowance.rpm, self.requests.wait(requests, allowance.rpm, at)))
        for name, standing, used in self._tokens(allowance, now) if tokens else ():
            if used + tokens > standing.limit:
                wait: float | None = standing.resets_in
                if name == "tpm":
                    wait = self.tokens.wait(tokens, allowance.tpm, at)
                elif tokens > standing.limit:
                    wait = None
                found.append(Refusal(name, standing.limit, wait))
        return max(found, key=lambda one: (one.seconds is None, one.seconds or 0)) if found else None

    def take(self, requests: int, slots: int, tokens: int, now: Now) -> Entry:
        """Note what was admitted."""
        if requests:
            self.requests.add(requests, now.monotonic)
        self.running += slots
        noted = None
        day, month = now.day, now.month
        if tokens:
            noted = self.tokens.add(tokens, now.monotonic)
            self.days.add(day, tokens)
            self.months.add(month, tokens)
        return Entry(noted, day, month)

    def correct(self, entry: Entry, change: int, now: float) -> None:
        """Put what was really used into the place of what was reserved; ``change`` is the difference in tokens.

        ``now`` is monotonic: days and months are those of the entry.
        """
        if entry.tokens is not None and change:
            rest = change
            while rest < 0 and entry.grown:
                # The newest first: it counts for longest.
                use, amount = entry.grown.pop()
                back = max(rest, -amount)
                self.tokens.correct(use, back, now)
                rest -= back
            if rest:
                self.tokens.correct(entry.tokens, rest, now)
            self.days.add(entry.day, change)
            self.months.add(entry.month, change)

    def grow(self, entry: Entry, tokens: int, now: float) -> None:
        """Reserve more for what was admitted before; it counts in the minute of ``now``, and in the day of the entry."""
        entry.grown.append((self.tokens.add(tokens, now), tokens))
        self.days.add(entry.day, tokens)
        self.months.add(entry.month, tokens)

    def used(self, now: Now) -> dict[str, int]:
        """Return what counts now, by the name of the limit that it would count against."""
        return {
            "rpm": -self.requests.left(0, now.monotonic),
            "tpm": -self.tokens.left(0, now.monotonic),
            "concurrency": self.running,
            "tokens_per_day": self.days.of.get(now.day, 0),
            "tokens_per_month": self.months.of.get(now.month, 0),
        }

    def standing(self, allowance: Allowance, now: Now) -> tuple[Standing | None, Standing | None]:
        """Return where requests and tokens stand, by the limit of which the least is left; None where there is none."""
        requests = tokens = None
        at = now.monotonic
        if most := allowance.rpm:
            requests = Standing(most, max(0, self.requests.left(most, at)), self.requests.resets_in(at))
        least: int | None = None
        of = 0
        # As :meth:`tokens_left`, but here it matters which it is: what is less than nothing counts as nothing, and of
        # several of which nothing is left the first.
        if most := allowance.tpm:
            least, of = max(0, self.tokens.left(most, at)), 1
        if most := allowance.tokens_per_day:
            left = max(0, most - self.days.of.get(now.day, 0))
            if least is None or left < least:
                least, of = left, 2
        if most := allowance.tokens_per_month:
            left = max(0, most - self.months.of.get(now.month, 0))
            if least is None or left < least:
                least, of = left, 3
        if least is not None:
            if of == 1:
                tokens = Standing(allowance.tpm, least, self.tokens.resets_in(at))
            elif of == 2:
                tokens = Standing(allowance.tokens_per_day, least, now.until_tomorrow())
            else:
                tokens = Standing(allowance.tokens_per_month, least, now.until_next_month())
        return requests, tokens

    def _tokens(self, allowance: Allowance, now: Now) -> list[tuple[str, Standing, int]]:
        """Return each limit on tokens: its name, where it stands, what was used."""
        found: list[tuple[str, Standing, int]] = []
        if most := allowance.tpm:
            left = self.tokens.left(most, now.monotonic)
            found.append(("tpm", Standing(most, max(0, left), self.tokens.resets_in(now.monotonic)), most - left))
        if most := allowance.tokens_per_day:
            used = self.days.of.get(now.day, 0)
            found.append(("tokens_per_day", Standing(most, max(0, most - used), now.until_tomorrow()), used))
        if most := allowance.tokens_per_month:
            used = self.months.of.get(now.month, 0)
            found.append(("tokens_per_month", Standing(most, max(0, most - used), now.until_next_month()), used))
        return found
