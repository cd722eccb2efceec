"""How the turns of one account are shared between chat and completion, so that neither starves the other.

The rule, where there are two turns or more: one is kept for each kind, so neither ever has all of them. While the first of
one kind waits for turns that the other has, the other may take nothing but the one that is kept for it, unless it is its
turn. Whose turn it is follows from the lanes (``queue.py``). A single request that needs every turn there is (as many
answers as turns) gets them when nothing else runs. With one turn there is nothing to keep. Pure.
"""

from typing import Literal, TypeAlias, get_args

CallKind: TypeAlias = Literal["chat", "completion"]

KINDS: tuple[CallKind, ...] = get_args(CallKind)


def other(kind: CallKind) -> CallKind:
    """Return the kind that is not this one."""
    return "completion" if kind == "chat" else "chat"


class Shares:
    """Who has how many turns."""

    def __init__(self, most: int) -> None:
        """Share ``most`` turns; 0 means no limit."""
        self.running: dict[CallKind, int] = dict.fromkeys(KINDS, 0)
        """Calls under way, of each kind."""
        self._most = most
        self._cap = most - 1 if most > 1 else most

    def fits(self, kind: CallKind, count: int) -> bool:
        """Return whether ``count`` turns are free for a kind, as far as those inside are concerned."""
        if not self._most:
            return True
        inside = self.running[kind] + self.running[other(kind)]
        if count > self._cap:
            return inside == 0 and count <= self._most
        return inside + count <= self._most and self.running[kind] + count <= self._cap

    def may_pass(self, kind: CallKind, count: int, waiting: int) -> bool:
        """Return whether turns that fit may be taken while the first of the other kind waits for ``waiting`` turns."""
        if waiting > self._cap:
            return False
        if self.running[other(kind)] + waiting > self._cap:
            # It waits for its own kind: what the others have is nothing that it could take.
            return True
        # With one turn none is kept.
        return self._cap < self._most and self.running[kind] == 0 and count == 1

    def take(self, kind: CallKind, count: int) -> None:
        """Note that turns were taken."""
        self.running[kind] += count

    def give(self, kind: CallKind, count: int) -> None:
        """Note that turns were given back."""
        self.running[kind] -= count
