"""What a fleet's server answers about an owner of limits, and what follows from it."""

from msgspec import Struct

from fittengate.core.caller import Allowance
from fittengate.core.limits import LimitState, Standing
from fittengate.services.limits import tightest
from fittengate.services.meter import Now, Refusal


class Seen(Struct, frozen=True, array_like=True):
    """One owner after an admission or a refusal; times in milliseconds."""

    use: int
    """Where the tokens are noted in the minute; 0 where none are."""
    requests: int
    requests_reset: int
    requests_wait: int
    """Until there is room for what was asked; -1 means never."""
    tokens: int
    tokens_reset: int
    tokens_wait: int
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

    def standing(self, allowance: Allowance, now: Now) -> tuple[Standing | None, Standing | None]:
        """Return where requests and tokens stand; None where there is no limit."""
        requests = None
        if most := allowance.rpm:
            requests = Standing(most, max(0, most - self.requests), self.requests_reset / 1000)
        return requests, tightest([standing for _, standing, _ in self._tokens(allowance, now)])

    def refusal(self, allowance: Allowance, requests: int, slots: int, tokens: int, now: Now) -> Refusal | None:
        """Return why this was not admitted, of several reasons the longest one; None where it could have been."""
        found: list[Refusal] = []
        if slots and allowance.concurrency and self.running + slots > allowance.concurrency:
            found.append(Refusal("concurrency", allowance.concurrency, 1.0))
        if requests and allowance.rpm and self.requests + requests > allowance.rpm:
            found.append(Refusal("rpm", allowance.rpm, _seconds(self.requests_wait)))
        for name, standing, used in self._tokens(allowance, now) if tokens else ():
            if used + tokens > standing.limit:
                wait: float | None = standing.resets_in
                if name == "tpm":
                    wait = _seconds(self.tokens_wait)
                elif tokens > standing.limit:
                    wait = None
                found.append(Refusal(name, standing.limit, wait))
        return max(found, key=lambda one: (one.seconds is None, one.seconds or 0)) if found else None

    def _tokens(self, allowance: Allowance, now: Now) -> list[tuple[str, Standing, int]]:
        found = (
            ("tpm", allowance.tpm, self.tokens, self.tokens_reset / 1000),
            ("tokens_per_day", allowance.tokens_per_day, self.day, now.until_tomorrow()),
            ("tokens_per_month", allowance.tokens_per_month, self.month, now.until_next_month()),
        )
        return [(name, Standing(most, max(0, most - used), resets), used) for name, most, used, resets in found if most]


class Admission(Struct, frozen=True, array_like=True):
    """What became of one request."""

    admitted: int
    tokens: int
    """What was reserved, or was to be."""
    room: int
    """Most tokens of each answer; -1 where that is no matter of limits."""
    seen: list[Seen]
    """One for each owner, in the order in which they were asked about."""


class Counted(Struct, frozen=True, array_like=True):
    """What counts of one owner's tokens after a batch."""

    minute: int
    day: int
    month: int


class Told(Struct, frozen=True, array_like=True):
    """The answer to a batch."""

    ms: int
    """The server's time, in milliseconds since the epoch."""
    day: int
    month: int
    admissions: list[Admission]
    late: bool
    """It came too late, and nothing of it was done."""
    noted: list[int]
    """In which use of the minute each correction upwards is noted, in the order in which they were told."""
    counted: list[Counted]
    """One for each owner that the batch was about, in the order in which they were told."""

    def now(self) -> Now:
        """Return the moment of the answer, by the server's clock."""
        return Now(self.ms / 1000, self.ms / 1000, self.day, self.month)


def state_of(found: list[tuple[Standing | None, Standing | None]], at: float) -> LimitState | None:
    """Return the tightest of some standings; None where nothing of it is limited."""
    requests = tightest([requests for requests, _ in found])
    tokens = tightest([tokens for _, tokens in found])
    return None if requests is None and tokens is None else LimitState(requests, tokens, at)


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000
