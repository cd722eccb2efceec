"""Holds a text until it is whole, and tries it each time it may be. Linear: pieces are joined where an end came."""

import re
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

_MAX_TRIES = 128
"""A text that holds more endings than this and is still not whole never will be."""

_MAX_ASKED = 64
"""So often it is looked whether the text might end; each look goes over all of it."""

_OVERLAP = 64
"""Most characters of an ending."""


class Gathered(NamedTuple, Generic[T]):
    """How it came out."""

    value: T | None
    """None: the text is not what was hoped for."""
    text: str
    """All that was held."""
    end: int
    """The place in it behind what was read."""


class Gathering(Generic[T]):
    """Gathers up to an ending.

    ``read`` is given the text before an ending, and with it, and returns None where it is not whole. ``hopeless`` says
    of the text before an ending that nothing can make it whole.
    """

    def __init__(
        self, ending: re.Pattern[str], read: Callable[[str, str], T | None], hopeless: Callable[[str], bool]
    ) -> None:
        self._ending = ending
        self._read = read
        self._hopeless = hopeless
        self._parts: list[str] = []
        self._window = ""
        self._tried = 0
        self._tries = 0
        self._asked = 0

    def feed(self, text: str) -> Gathered[T] | None:
        """Go on with ``text``; return what came of it, or None while it may still become whole."""
        self._parts.append(text)
        window = self._window + text
        self._window = window[-_OVERLAP:]
        if self._ending.search(window) is None:
            return None
        whole = self._joined()
        for ending in self._ending.finditer(whole, self._tried):
            before = whole[: ending.start()]
            value = self._read(before, whole[: ending.end()])
            self._tried = ending.end()
            self._tries += 1
            if value is not None or self._tries >= _MAX_TRIES or self._hopeless(before):
                return Gathered(value, whole, ending.end())
        return None

    def close(self) -> Gathered[T]:
        """Return what the text comes to, if it ends here."""
        whole = self._joined()
        return Gathered(self._read(whole, whole), whole, len(whole))

    def may_end(self) -> bool:
        """Return whether nothing is cut in its middle if the text ends here."""
        self._asked += 1
        if self._asked > _MAX_ASKED:
            return False
        whole = self._joined()
        return self._hopeless(whole) or self._read(whole, whole) is not None

    def _joined(self) -> str:
        whole = "".join(self._parts)
        self._parts = [whole]
        return whole
