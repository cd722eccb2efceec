"""The arithmetic of limits: what counts of an owner, against what it may use. Pure; the only one there is in Python.

One process makes its tallies of meters (``meter.py``), a replica of a fleet of what the server says (``fleet_seen.py``,
``fleet_room.py``); from there on both go the same way. What has to be one step on that server, room and the reservation,
stands there once more in Lua (``fleet_script.py``); a property test holds the two to the same answers.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from msgspec import Struct

from fittengate.core.caller import Allowance
from fittengate.core.limits import LimitState, Standing

USUAL_OUTPUT = 1024
"""Tokens reserved for an answer whose length nobody has limited, where so many are left."""

BUSY_SECONDS = 1.0
"""When to come back where too many requests run: nobody knows when one of them ends."""

T = TypeVar("T")


class Moment(Protocol):
    """What the calendar says."""

    def until_tomorrow(self) -> float:
        """Return the seconds until the day ends."""
        ...

    def until_next_month(self) -> float:
        """Return the seconds until the month ends."""
        ...


class Waits(NamedTuple):
    """Seconds until there is room for what was asked, in the minute of requests and in that of tokens; None: never."""

    requests: float | None
    tokens: float | None


class Refusal(Struct, frozen=True):
    """Why something is not admitted."""

    limit: str
    """Name of the limit: ``rpm``, ``tokens_per_day``."""
    most: int
    """What it is set to."""
    seconds: float | None
    """When to come back; None means that so much never fits."""


class Tally(Struct, frozen=True, gc=False):
    """What counts of one owner now."""

    requests: int
    """Of the minute."""
    tokens: int
    """Of the minute."""
    running: int
    day: int
    """Tokens of the day, and of the month."""
    month: int

    def used(self) -> dict[str, int]:
        """Return what counts, by the name of the limit that it would count against."""
        return {
            "rpm": self.requests,
            "tpm": self.tokens,
            "concurrency": self.running,
            "tokens_per_day": self.day,
            "tokens_per_month": self.month,
        }

    def left(self, allowance: Allowance) -> int | None:
        """Return how many tokens may still be used now, perhaps less than none; None means no limit."""
        least: int | None = None
        if most := allowance.tpm:
            least = most - self.tokens
        if most := allowance.tokens_per_day:
            left = most - self.day
            least = left if least is None or left < least else least
        if most := allowance.tokens_per_month:
            left = most - self.month
            least = left if least is None or left < least else least
        return least

    def has_room(self, allowance: Allowance, requests: int, slots: int, tokens: int) -> bool:
        """Return whether this can be admitted now. What :meth:`refusal` says in full, this says fast."""
        if slots and (most := allowance.concurrency) and self.running + slots > most:
            return False
        if requests and (most := allowance.rpm) and self.requests + requests > most:
            return False
        if not tokens:
            return True
        tpm, day, month = allowance.tpm, allowance.tokens_per_day, allowance.tokens_per_month
        return (
            (not tpm or self.tokens + tokens <= tpm)
            and (not day or self.day + tokens <= day)
            and (not month or self.month + tokens <= month)
        )

    def refusal(self, allowance: Allowance, need: tuple[int, int, int], waits: Waits, now: Moment) -> Refusal | None:
        """Return why this cannot be admitted now, of several reasons the longest one; None where it can.

        ``need`` are requests, slots and tokens; ``waits`` are those for them.
        """
        requests, slots, tokens = need
        day, month = allowance.tokens_per_day, allowance.tokens_per_month
        limits = (
            ("concurrency", allowance.concurrency, self.running, slots, BUSY_SECONDS),
            ("rpm", allowance.rpm, self.requests, requests, waits.requests),
            ("tpm", allowance.tpm, self.tokens, tokens, waits.tokens),
            ("tokens_per_day", day, self.day, tokens, now.until_tomorrow() if tokens <= day else None),
            ("tokens_per_month", month, self.month, tokens, now.until_next_month() if tokens <= month else None),
        )
        found = [
            Refusal(name, most, seconds)
            for name, most, used, amount, seconds in limits
            if most and amount and used + amount > most
        ]
        return max(found, key=lambda one: (one.seconds is None, one.seconds or 0)) if found else None

    def standing(
        self, allowance: Allowance, requests_reset: float, tokens_reset: float, now: Moment
    ) -> tuple[Standing | None, Standing | None]:
        """Return where requests and tokens stand, by the limit of which the least is left; None where there is none.

        The seconds are those until nothing of the two minutes counts any more.
        """
        requests = tokens = None
        if most := allowance.rpm:
            requests = Standing(most, max(0, most - self.requests), requests_reset)
        least: int | None = None
        of = 0
        # As :meth:`left`, but here it matters which it is: what is less than nothing counts as nothing, and of several
        # of which nothing is left the first.
        if most := allowance.tpm:
            least, of = max(0, most - self.tokens), 1
        if most := allowance.tokens_per_day:
            left = max(0, most - self.day)
            if least is None or left < least:
                least, of = left, 2
        if most := allowance.tokens_per_month:
            left = max(0, most - self.month)
            if least is None or left < least:
                least, of = left, 3
        if least is not None:
            if of == 1:
                tokens = Standing(allowance.tpm, least, tokens_reset)
            elif of == 2:
                tokens = Standing(allowance.tokens_per_day, least, now.until_tomorrow())
            else:
                tokens = Standing(allowance.tokens_per_month, least, now.until_next_month())
        return requests, tokens


def least(found: Iterable[int | None]) -> int | None:
    """Return the least of what is left of some limits; None where there is none."""
    least: int | None = None
    for left in found:
        if least is None or (left is not None and left < least):
            least = left
    return least


def reservation(prompt: int | None, output: int | None, answers: int, left: int | None) -> tuple[int, int | None]:
    """Return the tokens to reserve, and where each answer is to be cut; None where that is no matter of limits.

    Arguments are those of :class:`fittengate.services.limits.Need`, and the least that is left of all limits on tokens;
    None where there are none.
    """
    if prompt is None:
        return 0, None
    if output is not None:
        return prompt + output, None
    if left is None:
        return prompt + answers * USUAL_OUTPUT, None
    room = max(1, (left - prompt) // answers)
    return prompt + answers * min(USUAL_OUTPUT, room), room


def spread(change: int, first: T, grown: list[tuple[T, int]]) -> list[tuple[T, int]]:
    """Return where a correction of what was reserved belongs, with how much of it.

    What is taken back comes out of what was reserved later, the newest first, for that counts for longest; it is taken
    out of ``grown``. The rest, and what is more than was reserved, belongs to ``first``.
    """
    found = []
    while change < 0 and grown:
        place, amount = grown.pop()
        back = max(change, -amount)
        found.append((place, back))
        change -= back
    if change:
        found.append((first, change))
    return found


def tightest(found: Iterable[Standing | None]) -> Standing | None:
    """Return the limit of which the least is left; None where there is none."""
    return min((one for one in found if one is not None), key=lambda one: one.remaining, default=None)


def state_of(found: list[tuple[Standing | None, Standing | None]], at: float) -> LimitState | None:
    """Return the tightest of some standings; None where nothing of it is limited."""
    if len(found) == 1:
        requests, tokens = found[0]
    else:
        requests = tightest([requests for requests, _ in found])
        tokens = tightest([tokens for _, tokens in found])
    return None if requests is None and tokens is None else LimitState(requests, tokens, at)
