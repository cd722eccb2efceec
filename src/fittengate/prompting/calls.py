"""The calls of one reply: opened, written and ended here, wherever they were read, and dropped where none was wanted.

Laws: indexes rise by one and at most one call is open; what the request forbids never comes out; the call after which
the reply is over ends it at once.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import ToolSpec
from fittengate.core.events import Event, ToolOpened
from fittengate.prompting.call import Call, CallWriter
from fittengate.prompting.declared import declared
from fittengate.prompting.speech import Speech
from fittengate.prompting.syntax import whole
from fittengate.prompting.thoughts import Thoughts
from fittengate.prompting.trouble import Trouble


class Calls:
    """What is to come out of a call is appended to the list that is given."""

    def __init__(
        self,
        tools: Sequence[ToolSpec],
        tool_use: ToolUse,
        make_id: Callable[[], str],
        speech: Speech,
        thoughts: Thoughts,
    ) -> None:
        self.ended = False
        """The reply is over for us: results were invented, or a call came where one was enough, or none was wanted."""
        self.count = 0
        """Calls that were completed and passed on."""
        self.opened = 0
        """Calls of which anything was passed on."""
        self.called = False
        """A call came, passed on or not."""
        self.full = True
        """Every call so far was of a declared tool and had all that it requires."""
        self.troubles: defaultdict[Trouble, int] = defaultdict(int)
        """How often each oddity was met."""
        self.writer: CallWriter | None = None
        """Writes the open call; None where none is open."""
        known = declared(tuple(tools))
        self.names = known.names
        self.schema = known.schema
        self.openings = known.openings
        self._tool_use = tool_use
        self._make_id = make_id
        self._speech = speech
        self._thoughts = thoughts
        self._muted = False
        """The open call is dropped."""

    def open(self, name: str, out: list[Event]) -> None:
        """Begin a call of the tool that is meant by a name; or end the reply, where no call was wanted."""
        self._speech.drop_space()
        tool = self.names.find(name)
        if self._is_unwanted(tool or name):
            if self.ended:
                return
        elif tool is None:
            self.full = False
            self.troubles[Trouble.UNKNOWN_TOOL] += 1
        if tool is not None and tool != name:
            self.troubles[Trouble.REPAIRED_NAME] += 1
        opened = ToolOpened(self.opened, "" if self._muted else self._make_id(), whole(tool or name))
        self.opened += not self._muted
        self.writer = CallWriter(opened, self.schema(tool or name), self.troubles)
        self.writer.open(self.sink(out))

    def sink(self, out: list[Event]) -> list[Event]:
        """Return the list that takes what comes out of the open call: one to be forgotten where the call is dropped."""
        return [] if self._muted else out

    def close(self, out: list[Event], *, named: bool) -> None:
        """End the open call; ``named`` says that it was closed by its tag."""
        writer = self._open()
        self._end(writer, out, complete=writer.close(self.sink(out), named=named))

    def abort(self, out: list[Event]) -> None:
        """Give the open call up."""
        writer = self._open()
        self._end(writer, out, complete=writer.abort(self.sink(out)))

    def close_with(self, call: Call | None, out: list[Event]) -> None:
        """End the open call, of which nothing came yet, with all its arguments; give it up where there are none."""
        if call is None:
            self.abort(out)
        else:
            writer = self._open()
            self._end(writer, out, complete=writer.close_with(call, self.sink(out)))

    def write(self, calls: Sequence[Call], out: list[Event]) -> None:
        """Write whole calls, up to one that ends the reply."""
        for call in calls:
            if not self.ended:
                self.open(call.name, out)
            if self.writer is not None:
                self.close_with(call, out)

    def _open(self) -> CallWriter:
        if self.writer is None:
            raise AssertionError("there is no open call")
        return self.writer

    def _is_unwanted(self, name: str) -> bool:
        """Return whether a call is to be dropped; one that no call was wanted beside ends the reply."""
        choice = self._tool_use.choice
        self.called = True
        self._muted = choice == "none" or (choice == "named" and name != self._tool_use.name)
        if self._muted:
            self.troubles[Trouble.UNWANTED] += 1
            self.ended = choice == "none"
        return self._muted

    def _end(self, writer: CallWriter, out: list[Event], *, complete: bool) -> None:
        self.full = self.full and writer.full
        self.writer = None
        self._speech.after_call()
        if complete and not self._muted:
            self.count += 1
            self.ended = not self._tool_use.parallel
        self._muted = False
        self._thoughts.settle(out)
