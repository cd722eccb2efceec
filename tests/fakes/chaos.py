"""How much of the chaos suite is wanted: the short form of every test run, or the long one of ``make chaos``."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

LONG = "CHAOS_ROUNDS" in os.environ
"""The long form: every byte, many examples, minutes of load."""


def spread(items: Sequence[T], few: int) -> list[T]:
    """Return all items in the long form, else ``few`` of them from first to last, evenly spread."""
    if LONG or len(items) <= few:
        return list(items)
    return [items[at * (len(items) - 1) // (few - 1)] for at in range(few)]


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most ``size`` items."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
