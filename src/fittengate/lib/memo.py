"""Remembers what was made of long bytes that come again and again, such as the tools that an agent sends every turn.

Law: what is given back was made of the very same bytes, every one of which is compared; what is kept is bounded in
entries and in bytes. The key is a few samples, because hashing all the bytes would cost a good part of what is saved.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_SAMPLE = 64


class Memo(Generic[T]):
    """Calls ``make`` for bytes that it does not remember. What ``make`` raises is raised, and nothing is kept."""

    def __init__(self, make: Callable[[bytes], T], *, entries: int, most: int) -> None:
        """Keep at most so many ``entries``, each of at most ``most`` bytes."""
        self._make = make
        self._entries = entries
        self._most = most
        self._kept: dict[tuple[int, bytes, bytes, bytes], tuple[bytes, T]] = {}

    def of(self, data: bytes) -> T:
        """Return what is made of ``data``."""
        middle = len(data) // 2
        key = (len(data), data[:_SAMPLE], data[middle : middle + _SAMPLE], data[-_SAMPLE:])
        known = self._kept.get(key)
        if known is not None and known[0] == data:
            return known[1]
        made = self._make(data)
        if len(data) <= self._most:
            self._kept.pop(key, None)
            if len(self._kept) >= self._entries:
                # The one that came first: whoever still needs it brings it again.
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (data, made)
        return made
