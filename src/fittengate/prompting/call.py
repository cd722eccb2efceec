"""One call on its way out: values in, pieces of its arguments' JSON out, so that they join to one valid JSON object.

A string is passed on as it comes. A value of another type has to be whole before it can be read, and so has a first
parameter that may hold all arguments as one object, which some models write.

Law: a call that was closed gave valid JSON, and one that was aborted never did.
"""

from collections import defaultdict

from msgspec import Struct

from fittengate.core.events import Event, ToolAborted, ToolClosed, ToolDelta, ToolOpened
from fittengate.prompting.repair import read_json
from fittengate.prompting.syntax import compact, quoted, whole
from fittengate.prompting.trouble import Trouble
from fittengate.prompting.values import Schema

_WRAPPERS = frozenset({"arguments", "args", "input", "params", "parameters"})


class Call(Struct, frozen=True):
    """A whole call that was read in one piece."""

    name: str
    arguments: dict[str, object]
    """Values; those of ``texts`` are texts still, whose type the schema decides."""
    texts: bool = False


class CallWriter:
    """Writes the call that ``opened`` begins; what is to come out is appended to the list that is given."""

    def __init__(self, opened: ToolOpened, schema: Schema, troubles: defaultdict[Trouble, int]) -> None:
        self._schema = schema
        self._troubles = troubles
        self._opened: ToolOpened | None = opened
        self._seen: set[str] = set()
        self.name = opened.name
        self._name = ""
        self._parts: list[str] | None = None
        """The pieces of a value that has to be whole; None while a string passes, or is dropped."""
        self._dropped = False
        self._wrapper: tuple[str, str] | None = None
        """A first parameter, whole, that holds all arguments if no other comes."""
        self._json = False
        self._empty = True
        self.full = False
        """The call is complete and has all that its tool requires."""

    def open(self, out: list[Event]) -> None:
        """Begin the call, once."""
        if self._opened is not None:
            out.append(self._opened)
            self._opened = None

    @property
    def untouched(self) -> bool:
        """No parameter has come yet."""
        return not self._seen

    def expects(self, name: str) -> bool:
        """Return whether a parameter is declared and has not come yet."""
        return name in self._schema.types and name not in self._seen

    def begin(self, name: str, said_text: bool | None, out: list[Event]) -> None:  # noqa: FBT001 - as the tag has it
        """Begin a value. ``said_text`` is what its tag says of it; None for nothing."""
        self._settle(out)
        self._name = name
        self._dropped = name in self._seen
        self._json = said_text is False and name not in self._schema.types
        may_wrap = not self._seen and name in _WRAPPERS and name not in self._schema.types
        self._seen.add(name)
        if self._dropped:
            self._troubles[Trouble.REPEATED_PARAMETER] += 1
            self._parts = None
        elif may_wrap or self._json or not self._schema.is_string(name):
            self._parts = []
        else:
            self._parts = None
            out.append(ToolDelta(f'{self._key(name)}"'))

    def feed(self, text: str, out: list[Event]) -> None:
        """Go on with the value."""
        if self._parts is not None:
            self._parts.append(text)
        elif not self._dropped:
            out.append(ToolDelta(quoted(text)[1:-1]))

    def end(self, out: list[Event]) -> None:
        """End the value."""
        if self._parts is None:
            if not self._dropped:
                out.append(ToolDelta('"'))
            return
        text, self._parts = "".join(self._parts), None
        if self._name in _WRAPPERS and len(self._seen) == 1 and self._name not in self._schema.types:
            self._wrapper = (self._name, text)
        else:
            self._write(self._name, text, out)

    def close(self, out: list[Event], *, named: bool) -> bool:
        """End the call; return whether it is complete.

        ``named`` says that it was closed by its tag; without that it must have a parameter, and all required ones.
        """
        self.open(out)
        wrapped = self._unwrapped()
        names = wrapped.keys() if wrapped is not None else self._seen
        if not named and (not names or not self._schema.required <= names):
            return self.abort(out)
        self.full = self._schema.required <= names
        if not named:
            self._troubles[Trouble.MISSING_CLOSE] += 1
        if wrapped is not None:
            self._troubles[Trouble.UNWRAPPED] += 1
            out.append(ToolDelta(whole(compact(wrapped))))
        else:
            self._settle(out)
            out.append(ToolDelta("{}" if self._empty else "}"))
        out.append(ToolClosed())
        return True

    def abort(self, out: list[Event]) -> bool:
        """Give the call up; return False."""
        self.open(out)
        self._troubles[Trouble.ABORTED] += 1
        out.append(ToolAborted())
        return False

    def close_with(self, call: Call, out: list[Event]) -> bool:
        """End the call, of which nothing came yet, with all its arguments; return that it is complete."""
        if call.texts:
            for name, text in call.arguments.items():
                self.begin(name, None, out)
                if text:
                    self.feed(str(text), out)
                self.end(out)
            return self.close(out, named=True)
        self.open(out)
        self.full = self._schema.required <= call.arguments.keys()
        out += (ToolDelta(whole(compact(call.arguments))), ToolClosed())
        return True

    def _settle(self, out: list[Event]) -> None:
        """Write the first parameter that was taken for a wrapper: it is none."""
        if self._wrapper is not None:
            (name, text), self._wrapper = self._wrapper, None
            self._write(name, text, out)

    def _write(self, name: str, text: str, out: list[Event]) -> None:
        if self._json or name not in self._schema.types:
            value = _json_or_string(text) if self._json else quoted(text)
        else:
            value, fits = self._schema.value(name, text)
            if not fits:
                self._troubles[Trouble.UNFIT_VALUE] += 1
        out.append(ToolDelta(self._key(name) + value))

    def _key(self, name: str) -> str:
        start, self._empty = ("{" if self._empty else ", "), False
        return f"{start}{quoted(name)}: "

    def _unwrapped(self) -> dict[str, object] | None:
        if self._wrapper is None:
            return None
        try:
            value = read_json(self._wrapper[1])
        except ValueError:
            return None
        return self._schema.typed(value) if isinstance(value, dict) else None


def _json_or_string(text: str) -> str:
    try:
        read_json(text)
    except ValueError:
        return quoted(text)
    return whole(text.strip())
