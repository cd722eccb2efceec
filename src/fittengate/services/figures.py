"""What exchanges came to, as plain numbers: added to at every end of one, read when somebody asks for metrics.

Laws: counting is adding to numbers that are at hand, with no lock and no library, all on the event loop; nothing is
formatted before somebody reads. Every label set is bounded: dialects, outcomes and faults are closed lists, and of
models and keys so many are told apart; the rest are ``other``.
"""

from bisect import bisect_left

from fittengate.core.caller import OUTCOMES, Receipt
from fittengate.core.faults import FaultKind

FIRST_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
GAP_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TOTAL_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0)
"""Upper ends of buckets, for a service whose first word takes about a second and whose replies take up to minutes."""

MAX_CELLS = 100
"""So many pairs of dialect and model are told apart; each is some fifty lines of a scrape."""

MAX_KEYS = 1000

OTHER = "other"
NONE = "none"


class Durations:
    """How often something took how long: a histogram."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: tuple[float, ...]) -> None:
        """``edges`` are the upper ends of the buckets in seconds, rising; what is longer has a bucket of its own."""
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0
        """All of it together, in seconds."""

    def note(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.edges, seconds)] += 1
        self.total += seconds


class Cell:
    """What is counted for one dialect and model."""

    __slots__ = ("estimated", "first", "gaps", "outcomes", "told", "total")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.first = Durations(FIRST_SECONDS)
        self.total = Durations(TOTAL_SECONDS)
        self.gaps = Durations(GAP_SECONDS)
        """Time between two pieces of a streamed reply."""
        self.told = [0, 0]
        """Tokens of prompts and of answers as the service counted them."""
        self.estimated = [0, 0]
        """The same where at least one of the two counts was ours."""


class KeyCell:
    """What is counted for one key."""

    __slots__ = ("requests", "tokens")

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = [0, 0]
        """Of prompts and of answers."""


class Figures:
    """All of it. Belongs to the event loop."""

    def __init__(self, *, by_key: bool = False) -> None:
        """``by_key`` counts for each key, too."""
        self.cells: dict[tuple[str, str], Cell] = {}
        """By dialect and model."""
        self.faults: dict[str, int] = dict.fromkeys([kind.value for kind in FaultKind], 0)
        """Requests that ended with a fault, by its kind."""
        self.keys: dict[str, KeyCell] | None = {} if by_key else None
        """By name of the key; None where keys are not told apart."""

    def cell(self, dialect: str, model: str) -> Cell:
        """Return where a dialect and a model are counted; ``model`` is empty where it did not come to one."""
        return self.cells.get((dialect, model)) or self._made(dialect, model)

    def count(self, receipt: Receipt) -> None:
        """Count an exchange that has ended."""
        cell = self.cells.get((receipt.dialect, receipt.model)) or self._made(receipt.dialect, receipt.model)
        cell.outcomes[receipt.outcome] += 1
        cell.total.note(receipt.total_seconds)
        if receipt.first_seconds is not None:
            cell.first.note(receipt.first_seconds)
        usage = receipt.usage
        if usage is not None:
            tokens = cell.estimated if usage.estimated else cell.told
            tokens[0] += usage.input_tokens
            tokens[1] += usage.output_tokens
        if receipt.fault is not None:
            self.faults[receipt.fault] += 1
        if self.keys is not None:
            self._count_key(self.keys, receipt)

    def _made(self, dialect: str, model: str) -> Cell:
        if len(self.cells) >= MAX_CELLS:
            # Dialects are few: there is always room for what has no model of its own.
            model = OTHER
        return self.cells.setdefault((dialect, model), Cell())

    @staticmethod
    def _count_key(keys: dict[str, KeyCell], receipt: Receipt) -> None:
        cell = keys.get(receipt.caller)
        if cell is None:
            cell = keys.setdefault(receipt.caller if len(keys) < MAX_KEYS else OTHER, KeyCell())
        cell.requests += 1
        if (usage := receipt.usage) is not None:
            cell.tokens[0] += usage.input_tokens
            cell.tokens[1] += usage.output_tokens
