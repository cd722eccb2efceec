"""What one key, or the account, has used, and when. Pure; both readings of time are handed in.

What that leaves of limits is the business of ``tally.py``.

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
from fittengate.services.tally import Refusal, Tally, Waits, spread

MINUTE = 60.0
STEP = 1.0
"""Uses so close together are one: a window has sixty-odd entries, however much is used."""

DAY = 86_400

KEPT_PERIODS = 3
"""Days, and months, whose totals are remembered: now, and two for clocks that jump."""

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

    def count(self, now: float) -> int:
        """Return how much counts."""
        uses = self._uses
        while uses and uses[0].last + MINUTE <= now:
            self.total -= uses.popleft().amount
        return self.total

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
        self.count(now)
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

    def tally(self, now: Now) -> Tally:
        """Return what counts now."""
        at, day, month = now.monotonic, now.day, now.month
        return Tally(
            self.requests.count(at),
            self.tokens.count(at),
            self.running,
            self.days.of.get(day, 0),
            self.months.of.get(month, 0),
        )

    def refusal(self, allowance: Allowance, requests: int, slots: int, tokens: int, now: Now) -> Refusal | None:
        """Return why this cannot be admitted now, of several reasons the longest one; None where it can."""
        at, tally = now.monotonic, self.tally(now)
        waits = Waits(self.requests.wait(requests, allowance.rpm, at), self.tokens.wait(tokens, allowance.tpm, at))
        return tally.refusal(allowance, (requests, slots, tokens), waits, now)

    def standing(self, allowance: Allowance, now: Now) -> tuple[Standing | None, Standing | None]:
        """Return where requests and tokens stand, by the limit of which the least is left; None where there is none."""
        at, tally = now.monotonic, self.tally(now)
        return tally.standing(allowance, self.requests.resets_in(at), self.tokens.resets_in(at), now)

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
            for use, part in spread(change, entry.tokens, entry.grown):
                self.tokens.correct(use, part, now)
            self.days.add(entry.day, change)
            self.months.add(entry.month, change)

    def grow(self, entry: Entry, tokens: int, now: float) -> None:
        """Reserve more for what was admitted before; it counts in the minute of ``now``, and in the day of the entry."""
        entry.grown.append((self.tokens.add(tokens, now), tokens))
        self.days.add(entry.day, tokens)
        self.months.add(entry.month, tokens)
