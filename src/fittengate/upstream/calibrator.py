"""Learns from the service's own counts how far the token estimates are off, model by model.

Law: a reply pays one look into a dict. What it told waits, one prompt for each model, until :meth:`Calibrator.settle` is
called in the background; there the prompt is estimated and what was learned is kept. At most MAX_MODELS models are known
and of a prompt that waits there is a sample at most, so nothing grows with traffic.
"""

from msgspec import Struct

from fittengate.prompting.calibration import Learned, at_most, factor, is_sane, learn
from fittengate.prompting.estimate import Sample, estimate, estimates, likely_of, sample
from fittengate.upstream.base import NoteStore
from fittengate.upstream.kept import Kept

MAX_MODELS = 32
"""The service lists a handful. Of more, the one that was asked least recently is forgotten."""

SETTLE_SECONDS = 15.0
"""How often what waits is worth a look."""


class _Notes(Struct, frozen=True):
    """What is kept between two runs."""

    models: dict[str, Learned] = {}


class Calibrator:
    """Holds what was learned; all on one event loop but for the store, which is asked in a thread."""

    def __init__(self, store: NoteStore | None = None) -> None:
        """``store`` keeps what was learned; None keeps it for the life of the process."""
        self._kept = Kept(store, _Notes)
        self._learned: dict[str, Learned] = {}
        self._factors: dict[str, float] = {}
        self._waiting: dict[str, tuple[Sample, int]] = {}
        self._changed = False

    def heard(self, model: str, text: str, told: int) -> None:
        """Note what the service counted for a prompt, without what it adds; the first since the last look counts."""
        if model not in self._waiting and len(self._waiting) < MAX_MODELS:
            self._waiting[model] = sample(text), told

    def likely(self, model: str, text: str) -> int:
        """Return the likely number of tokens of a prompt."""
        return round(estimate(text) * self._factors.get(model, 1.0))

    def at_most(self, model: str, text: str) -> int:
        """Return a number of tokens that errs high; never below the estimate that nothing was learned for."""
        return at_most(estimates(text), self._factors.get(model, 1.0))

    def known(self, model: str) -> Learned:
        """Return what was learned of a model."""
        return self._learned.get(model, Learned())

    async def load(self) -> str | None:
        """Take up what was kept; return why it could not be read, None where it was or there is none."""
        notes, problem = await self._kept.load()
        if notes is None:
            return problem
        for model, known in list(notes.models.items())[-MAX_MODELS:]:
            if is_sane(known):
                self._learned[model], self._factors[model] = known, factor(known)
        return None

    async def settle(self) -> str | None:
        """Learn from what waits and keep it; return why it could not be kept, None where it was."""
        waiting, self._waiting = self._waiting, {}
        for model, (taken, told) in waiting.items():
            known = learn(self._learned.pop(model, Learned()), likely_of(taken), told)
            # Put in again at the end: the first of the dict is the one that was asked least recently.
            self._learned[model], self._factors[model] = known, factor(known)
            self._changed = True
        while len(self._learned) > MAX_MODELS:
            oldest = next(iter(self._learned))
            del self._learned[oldest], self._factors[oldest]
        if not self._changed:
            return None
        # What changes while it is being written is for the next time.
        self._changed = False
        problem = await self._kept.save(_Notes(dict(self._learned)))
        self._changed = self._changed or problem is not None
        return problem
