"""JSON objects of which one long value comes again and again, such as the tools that an agent sends every turn.

Law: what is given back for the value was made of the very bytes that stand in the body, every one of which is compared;
what is kept is bounded in entries and in bytes. A value that is known is looked for where it stood the last time, from
the beginning or from the end, and is not read at all: a mark takes its place, and only if that mark turns out to be the
value of the name in question, at the top of the object, was it what it looked like.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from fittengate.lib.jsonio import read_object, value_in

T = TypeVar("T")

WORTH_REMEMBERING = 2048
"""Bytes below which a value is read as fast as it is looked up."""

_MARK = "\x1fset apart"


class _Known(Struct, Generic[T]):
    """A value, and where it stood the last time."""

    written: bytes
    """The name, the colon and the value."""
    made: T
    from_start: int
    from_end: int


class Recurring(Generic[T]):
    """Reads objects, and remembers what was made of the value of one name."""

    def __init__(
        self, name: str, *, entries: int, most: int, read_object: Callable[[bytes], dict[str, Any]] = read_object
    ) -> None:
        """Keep at most so many ``entries``, each of at most ``most`` bytes; ``read_object`` reads the bodies."""
        self._name = name
        self._read_object = read_object
        self._quoted = b'"%b"' % name.encode()
        self._in_place = b'%b:"\\u001f%b"' % (self._quoted, _MARK[1:].encode())
        self._entries = entries
        self._most = most
        self._known: list[_Known[T]] = []

    def read(self, body: bytes) -> tuple[dict[str, Any], T | None]:
        """Return the object without the value, and what was made of that; the whole object and None if it is not known.

        Raises what ``read_object`` raises.
        """
        if len(body) >= WORTH_REMEMBERING:
            for known in self._known:
                at = known.from_start
                if not body.startswith(known.written, at):
                    at = len(body) - known.from_end
                    if at < 0 or not body.startswith(known.written, at):
                        continue
                fields = self._read_object(b"%b%b%b" % (body[:at], self._in_place, body[at + len(known.written) :]))
                if fields.get(self._name) != _MARK:
                    break
                del fields[self._name]
                known.from_start, known.from_end = at, len(body) - at
                if known is not self._known[0]:
                    self._known.remove(known)
                    self._known.insert(0, known)
                return fields, known.made
        return self._read_object(body), None

    def keep(self, body: bytes, made: T) -> None:
        """Remember what was made of the value in a body that was read as a whole."""
        if not WORTH_REMEMBERING <= len(body) <= 2 * self._most:
            return
        value = value_in(body, self._name)
        if not WORTH_REMEMBERING <= len(value) <= self._most:
            return
        end = body.rfind(value)
        start = body.rfind(self._quoted, 0, end)
        if start >= 0 and body[start + len(self._quoted) : end].strip() == b":":
            written = body[start : end + len(value)]
            others = [known for known in self._known if known.written != written]
            self._known = [_Known(written, made, start, len(body) - start), *others[: self._entries - 1]]
