"""Code completion at the speed of typing: what is known needs no call, and what nobody waits for any more is not called.

Of one key's requests: equal ones that are under way share one call; a request about a file ends the older one about the
same file, whose readers are told so (caller_superseded); an answer of the last minutes serves whoever typed on in it
(``services/memory.py``). A limit that goes by what is left to the key counts for the call, not for what is known.

Laws: a call has at least one reader, and when the last one leaves, it is closed before that reader is gone; what one
call cost is charged to one of its readers, once; nothing of this crosses from key to key.

A file is known by its name if the request has one. Otherwise by how it begins and ends, as far as the request tells: the
end must be the same, and one beginning must begin with the other. Where the two say too little, nobody is cancelled:
answering one request too many is cheaper than taking away the wrong one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Literal, NamedTuple, TypeAlias

from msgspec.structs import replace

from fittengate.core.ask import FillAsk
from fittengate.core.caller import Caller
from fittengate.core.events import Began, Ended, Event, TextDelta
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.prompting.estimate import estimate
from fittengate.server.asking import with_most
from fittengate.services.memory import Memory, Place, Remembered, place_of
from fittengate.services.queue import Turns
from fittengate.upstream.base import Upstream

FILE_CHARS = 200
"""So much of a file's beginning and of its end stand for it where it has no name."""

FILE_LEAST_CHARS = 40
"""With fewer of them that are not blank, two files might look the same."""

Source: TypeAlias = Literal["hit", "shared"]


class File(NamedTuple):
    """What a request tells about which file it is."""

    owner: str
    """The key's."""
    name: str
    """Empty where the request has none; otherwise the rest is empty."""
    tail: str = ""
    head: str = ""


def file_of(owner: str, fill: FillAsk) -> File:
    """Return what a request tells about its file."""
    if fill.file_name:
        return File(owner, fill.file_name)
    return File(owner, "", fill.suffix[-FILE_CHARS:], fill.prefix[:FILE_CHARS])


def same_file(one: File, other: File) -> bool:
    """Return whether two requests are about the same file, as far as that can be told."""
    if one[:3] != other[:3]:
        return False
    head = min(one.head, other.head, key=len)
    if not (one.head.startswith(head) and other.head.startswith(head)):
        return False
    return bool(one.name) or sum(map(len, f"{head} {one.tail}".split())) >= FILE_LEAST_CHARS


class _Call:
    """One call to the service and what has come of it so far; it is read by index, so nobody misses anything."""

    def __init__(self, place: Place | None, file: File | None, most: int | None = None) -> None:
        self.place = place
        self.most = most
        """Most tokens of the answer that are left to the key; None where that limits nothing."""
        self.file = file
        self.batches: list[list[Event]] = []
        """All events so far: no more than one answer, which the upstream bounds."""
        self.readers = 0
        self.entered = False
        """It has its turn at the service."""
        self.over = False
        self.error: Exception | None = None
        """Why it is over, where it did not end well."""
        self.charged = False
        """One of the readers has been told what it cost."""
        self.task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def tell(self) -> None:
        """Wake all readers."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def news(self) -> None:
        """Wait until something has changed."""
        await self._news.wait()

    def end(self, error: Exception | None = None) -> None:
        """Note that nothing more comes, and why."""
        if not self.over:
            self.over, self.error = True, error
            self.tell()


class Filling:
    """One reader of an answer. ``events`` once; ``leave`` in any case, as often as one likes."""

    def __init__(self, typing: "Typing", call: _Call | None, found: Remembered | None = None) -> None:
        """``call`` is None where the answer was remembered."""
        self.source: Source | None = None
        """How it came that the service was not asked for this reader; None where it was."""
        self.unpaid = False
        """Its reader was the last to leave, and what the call cost was told to nobody."""
        self._typing = typing
        self._call = call
        self._found = found
        if call is not None:
            call.readers += 1

    async def entered(self) -> None:
        """Wait until the call has its turn at the service. Raises Fault (gateway_busy, caller_superseded)."""
        call = self._call
        while call is not None and not call.entered and not call.over:
            await call.news()
        if call is not None and call.error is not None:
            raise call.error

    async def events(self) -> AsyncGenerator[list[Event], None]:
        """Yield the events of the answer, as :meth:`fittengate.upstream.base.Upstream.complete` does. Raises Fault.

        Closing it closes the call, if nobody else reads it.
        """
        found, call = self._found, self._call
        if found is not None:
            usage = Usage(0, estimate(found.text), estimated=True)
            text: list[Event] = [TextDelta(found.text)] if found.text else []
            yield [Began(), *text, Ended(found.reason, usage, found.stop_sequence)]
        if call is None:
            return
        at = 0
        try:
            while True:
                while at < len(call.batches):
                    batch = self._charged(call, call.batches[at])
                    at += 1
                    yield batch
                    if batch and isinstance(batch[-1], Ended):
                        # Whatever becomes of the call now, this answer is whole.
                        return
                if call.error is not None:
                    raise call.error
                if call.over:
                    return
                await call.news()
        finally:
            if (closing := self.leave()) is not None:
                await asyncio.wait({closing})

    def leave(self) -> "asyncio.Task[None] | None":
        """Read no more. Returns what is being closed if this was the last reader; None otherwise."""
        call, self._call = self._call, None
        if call is None:
            return None
        call.readers -= 1
        self.unpaid = not call.readers and not call.charged
        return None if call.readers or call.task is None or call.over else self._typing.drop(call)

    @staticmethod
    def _charged(call: _Call, batch: list[Event]) -> list[Event]:
        """Return the events with the cost in only one reader's end: to the others the prompt cost nothing."""
        last = batch[-1] if batch else None
        if not isinstance(last, Ended):
            return batch
        if not call.charged:
            call.charged = True
            return batch
        usage = Usage(0, last.usage.output_tokens, last.usage.reasoning_tokens, estimated=True)
        return [*batch[:-1], replace(last, usage=usage)]


class Typing:
    """Code completions of all keys."""

    def __init__(self, upstream: Upstream, turns: Turns, memory: Memory) -> None:
        self.counts: Counter[str] = Counter()
        """Requests by what became of them: ``called``, ``hit``, ``shared``; and calls that were ``superseded``."""
        self._upstream = upstream
        self._turns = turns
        self._memory = memory
        self._calls: dict[tuple[bytes, int, bytes], _Call] = {}
        """Under way, by place."""
        self._files: dict[tuple[str, ...], list[_Call]] = {}
        """Under way, by all of a file but its beginning: of each file one, the newest."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close all calls that may still be under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def begin(self, fill: FillAsk, caller: Caller, most: int | None = None) -> Filling:
        """Return what reads the answer, once there is a turn for it; ``leave`` is owed.

        ``most`` are the tokens that are left for an answer without a limit of its own; None: any number. Raises Fault:
        gateway_busy when there is no turn, caller_superseded when a newer request came first.
        """
        filling = self._filling(fill, caller, most if fill.sampling.max_tokens is None else None)
        try:
            await filling.entered()
        except BaseException:
            if (closing := filling.leave()) is not None:
                await asyncio.wait({closing})
            raise
        return filling

    def _filling(self, fill: FillAsk, caller: Caller, most: int | None) -> Filling:
        if fill.sampling.max_tokens == 0:
            # Some editors warm a model up and want no text: that says nothing about what their reader waits for.
            return self._called(fill, caller, _Call(None, None), set())
        owner = caller.owner or caller.name
        place, file = place_of(owner, fill), file_of(owner, fill)
        equal = None if place is None else self._calls.get(place.id)
        older = [
            call
            for call in self._files.get(file[:3], ())
            if call is not equal and call.file is not None and same_file(call.file, file)
        ]
        closing = {task for call in older if (task := self._superseded(call)) is not None}
        if equal is not None:
            return self._counted("shared", Filling(self, equal))
        found = None if place is None else self._memory.look(place)
        if found is not None:
            return self._counted("hit", Filling(self, None, found))
        return self._called(fill, caller, _Call(place, file, most), closing)

    def _counted(self, source: Source, filling: Filling) -> Filling:
        self.counts[source] += 1
        filling.source = source
        return filling

    def _called(self, fill: FillAsk, caller: Caller, call: _Call, closing: "set[asyncio.Task[None]]") -> Filling:
        """Begin a call, once those that are ``closing`` have ended: their turn may be the one that it gets."""
        if call.place is not None:
            self._calls[call.place.id] = call
        if call.file is not None:
            self._files.setdefault(call.file[:3], []).append(call)
        self.counts["called"] += 1
        call.entered = self._turns.try_enter(1, "completion")
        call.task = task = asyncio.create_task(self._run(call, fill, caller, closing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Cancelled before its first step, a task never comes to its own end.
        task.add_done_callback(lambda _: self._ended(call, None))
        return Filling(self, call)

    def _superseded(self, call: _Call) -> "asyncio.Task[None] | None":
        """End a call that is no longer wanted; return what closes it."""
        self.counts["superseded"] += 1
        message = "A newer request about the same file took the place of this one."
        call.end(Fault(FaultKind.CALLER_SUPERSEDED, message))
        return self.drop(call)

    def drop(self, call: _Call) -> "asyncio.Task[None] | None":
        """Close a call; return what does it. From now on nobody finds it."""
        self._forget(call)
        if call.task is not None:
            call.task.cancel()
        return call.task

    def _forget(self, call: _Call) -> None:
        if call.place is not None and self._calls.get(call.place.id) is call:
            del self._calls[call.place.id]
        if call.file is not None and call in (of_file := self._files.get(call.file[:3], [])):
            of_file.remove(call)
            if not of_file:
                del self._files[call.file[:3]]

    def _ended(self, call: _Call, error: Exception | None) -> None:
        """Give the turn back and wake the readers; what was done already is not done again."""
        self._forget(call)
        if call.entered:
            call.entered = False
            self._turns.leave(1, "completion")
        call.end(error)

    async def _run(self, call: _Call, fill: FillAsk, caller: Caller, closing: "set[asyncio.Task[None]]") -> None:
        error: Exception | None = None
        try:
            if closing:
                await asyncio.wait(closing)
            await self._answer(call, fill, caller)
        except Exception as caught:  # noqa: BLE001 - it is raised where the reply is written
            error = caught
        finally:
            self._ended(call, error)

    async def _answer(self, call: _Call, fill: FillAsk, caller: Caller) -> None:
        if not call.entered:
            if not self._turns.try_enter(1, "completion"):
                await self._turns.enter(caller.name, 1, "completion")
            call.entered = True
            call.tell()
        events = self._upstream.complete(fill if call.most is None else with_most(fill, call.most))
        try:
            async for batch in events:
                call.batches.append(batch)
                if batch and isinstance(last := batch[-1], Ended):
                    self._remember(call, last)
                call.tell()
        finally:
            await events.aclose()

    def _remember(self, call: _Call, ended: Ended) -> None:
        # Where what was left to the key has cut it, it says nothing about the next request.
        if call.place is not None and not (call.most is not None and ended.reason is StopReason.LENGTH):
            text = "".join([event.text for batch in call.batches for event in batch if isinstance(event, TextDelta)])
            self._memory.remember(call.place, text, ended.reason, ended.stop_sequence)
