"""A lease that several calls share: they were admitted together, and each comes to something of its own.

Law: the lease is settled once, when all calls have ended, with the sum of what is known of each: what it has used; as much
as was reserved for it, where it was broken off; nothing, where it never got to the service.
"""

from collections.abc import Sequence

from fittengate.core.reply import Usage
from fittengate.services.limits import Lease


class LeasePart:
    """The part of one call, itself a lease. The place is not its own: releasing it gives nothing back."""

    __slots__ = ("_lease", "answer", "output", "reserved", "settled")

    def __init__(self, lease: Lease, reserved: int, answer: int) -> None:
        self.output = lease.output
        self.answer = answer
        self._lease = lease
        self.reserved = reserved
        self.settled: int | None = None
        """Tokens that it came to; None as long as nothing is known."""

    def more(self) -> int:
        """Reserve some more in the lease that is divided."""
        found = self._lease.more()
        self.reserved += found
        return found

    def settle(self, usage: Usage | None) -> None:
        """Note what was used; None: as much as was reserved. Counts once."""
        if self.settled is None:
            self.settled = self.reserved if usage is None else usage.input_tokens + usage.output_tokens

    def release(self) -> None:
        """Do nothing: what nothing was noted of counts for nothing."""


class LeaseParts:
    """The parts of a lease."""

    def __init__(self, lease: Lease, prompts: Sequence[int]) -> None:
        """Divide ``lease`` among calls whose prompts come to at most so many tokens."""
        self._lease = lease
        rest = (lease.reserved - sum(prompts)) // len(prompts)
        self.parts: tuple[LeasePart, ...] = tuple([LeasePart(lease, prompt + rest, rest) for prompt in prompts])

    def settle(self) -> None:
        """Settle the lease with what the parts came to; where nothing is known of any, leave it as it is."""
        known = [part.settled for part in self.parts if part.settled is not None]
        if known:
            self._lease.settle(Usage(sum(known), 0, estimated=True))
