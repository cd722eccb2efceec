"""How much is left to owners of limits in a fleet, as far as one replica knows.

Law: that is what the server said last, less what was reserved here since for answers that grow. The server says it of
every owner that a batch is about, so of those of whom requests run here it is said with every beat.
"""

from msgspec import Struct

from fittengate.services.fleet_seen import Counted, Told
from fittengate.services.limits import Held
from fittengate.services.meter import Now
from fittengate.services.tally import Tally

MAX_HEARD = 4096
"""Owners of whom it is remembered what counts."""


class Place(Struct, eq=False):
    """Where tokens are noted on the server."""

    owner: str
    use: int
    """Use of the minute; 0 for none, ``NEWEST`` until the server has told it."""
    day: int
    month: int


class Room:
    """What is left, by owner."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[Counted, Told]] = {}
        self._untold: dict[str, int] = {}
        """Tokens by which answers have grown since; not more owners than running requests have."""

    def grew(self, owner: str, tokens: int) -> None:
        """Note that more is reserved, of which the server does not know yet."""
        self._untold[owner] = self._untold.get(owner, 0) + tokens

    def sent(self, grown: list[tuple[Place, int]]) -> None:
        """Forget what the server was told, or never will be: what it says next counts with it, or without it."""
        for place, tokens in grown:
            left = self._untold.get(place.owner, 0) - tokens
            if left > 0:
                self._untold[place.owner] = left
            else:
                self._untold.pop(place.owner, None)

    def hear(self, told: Told, owners: list[str]) -> None:
        """Take what the server said of the owners of a batch."""
        if len(self._heard) + len(owners) > MAX_HEARD:
            self._heard.clear()
        for owner, counted in zip(owners, told.counted, strict=True):
            self._heard[owner] = counted, told

    def left(self, held: Held, now: Now) -> int | None:
        """Return how many tokens the owner of an entry may still use, perhaps less than none; None means no limit."""
        meter, allowance = held.meter, held.allowance
        heard = self._heard.get(held.owner)
        if heard is None:
            return meter.tally(now).left(allowance)
        counted, told = heard
        # The server said it of the day and the month that it was; those of the entry may be over.
        day = counted.day if told.day == now.day else meter.days.of.get(now.day, 0)
        month = counted.month if told.month == now.month else meter.months.of.get(now.month, 0)
        untold = self._untold.get(held.owner, 0)
        return Tally(0, counted.minute + untold, 0, day + untold, month + untold).left(allowance)
