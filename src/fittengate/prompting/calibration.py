"""What the service's own counts teach about the token estimates of one model. Pure: values in, values out.

The ratio of what was told to what was estimated is a property of the model's tokenizer and of what its users write, so
it is kept by model and forgets slowly. Laws: the factor stays within 0.9 and 1.5 whatever comes; a count that cannot be
right, or that is too small to say much, changes nothing but a counter; :func:`at_most` is never below the estimate that
nothing was learned for.
"""

from math import ceil

from msgspec import Struct, structs

from fittengate.prompting.estimate import Estimates

SMALLEST = 200
"""Smaller prompts are mostly what the service adds to each, which is only roughly known."""

LEAST_RATIO, MOST_RATIO = 0.5, 2.0
"""What is told lies in here unless somebody counted something else."""

LEAST_FACTOR, MOST_FACTOR = 0.9, 1.5

MARGIN = 1.1
"""What goes on top of a learned count that must not be too low: prompts of one model differ by about as much."""

_TRUST = 2000.0
"""What the sums begin with, so that the first prompts do not move the factor much; it fades with everything else."""

_KEPT = 0.95
"""What is left of everything earlier at each new prompt: the newest twenty decide."""

_HEAVIEST = 8000.0
"""A larger prompt weighs no more than one of this size."""


class Learned(Struct, frozen=True):
    """What is known of one model: sums that fade, and counts of prompts."""

    estimated: float = _TRUST
    told: float = _TRUST
    used: int = 0
    too_small: int = 0
    """Left out: under :data:`SMALLEST` tokens."""
    too_odd: int = 0
    """Left out: told less than half, or more than twice, of what was estimated."""


def learn(known: Learned, estimated: int, told: int) -> Learned:
    """Return what is known after one more prompt; ``told`` is without what the service adds."""
    if estimated < SMALLEST:
        return structs.replace(known, too_small=known.too_small + 1)
    ratio = told / estimated
    if not LEAST_RATIO <= ratio <= MOST_RATIO:
        return structs.replace(known, too_odd=known.too_odd + 1)
    weight = min(float(estimated), _HEAVIEST)
    return structs.replace(
        known,
        estimated=known.estimated * _KEPT + weight,
        told=known.told * _KEPT + weight * ratio,
        used=known.used + 1,
    )


def factor(known: Learned) -> float:
    """Return what a likely estimate is to be multiplied by; 1 where nothing is known."""
    return min(max(known.told / known.estimated, LEAST_FACTOR), MOST_FACTOR)


def is_sane(known: Learned) -> bool:
    """Tell whether sums that were kept somewhere can be what :func:`learn` made."""
    most = 2 * _HEAVIEST / (1 - _KEPT)
    return 1 <= known.estimated <= most and 0 <= known.told <= most


def at_most(estimated: Estimates, learned: float) -> int:
    """Return a count that errs high, by a factor that was learned."""
    return max(estimated.high, ceil(estimated.likely * learned * MARGIN))
