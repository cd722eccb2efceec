"""Several processes on one port: a parent that starts workers, starts anew what crashed, and passes signals on.

The parent opens the socket, and all workers accept from it: there is one line of connections, whoever is free takes the
next, and a worker that dies takes with it only what it had accepted. With a socket for each (SO_REUSEPORT) the system
would deal connections out blindly, also to a worker that is busy or just died.

Laws. The parent serves nothing and has no threads, so that forking it is safe. A worker whose parent is gone stops as if
it had been told to. A worker that cannot start, because of what a person has to put right, ends the whole with its own
exit code; one that crashes is started anew, at once if it had lived for a while, else after a wait that doubles.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from msgspec import Struct

from fittengate.server.siblings import Inboxes, Siblings

GOOD_SECONDS = 10.0
"""A worker that lived for so long had a good start."""

WAIT_SECONDS = 1.0
MOST_WAIT_SECONDS = 30.0
"""Before a worker that crashed at its start is started anew, doubled each time."""

REPAIRABLE = (1, 2)
"""Exit codes of a worker that has said what a person is to do."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Worker(Struct, frozen=True):
    """One of the processes, as it sees itself."""

    number: int
    """From 0 on; whoever takes the place of another one has its number."""
    first: bool
    """Whether it is the first one with its number."""
    parent: int
    """A file descriptor that can be read from when the parent is gone."""
    siblings: Siblings
    """The other ones."""


class WorkersFailedError(Exception):
    """A worker could not start; it has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"a worker ended with {code}")
        self.code = code
        """Its exit code."""


class _Place(Struct):
    """What the parent knows of one number."""

    number: int
    pid: int = 0
    """0 while there is none."""
    began: float = 0.0
    starts: int = 0
    failures: int = 0
    """Crashes in a row, each soon after the start."""
    due: float = 0.0
    """When the next one is to be started."""


def share(most: int, number: int, count: int) -> int:
    """Return how many of ``most`` things that all workers together may have are one worker's; 0 stays no limit."""
    return most // count + (number < most % count)


class Workers:
    """The parent."""

    def __init__(self, count: int, say: Callable[[str], None]) -> None:
        """Make it; ``say`` tells the person at the terminal."""
        self._places = [_Place(number) for number in range(count)]
        self._say = say
        self._stopping = 0
        self._failed: int | None = None
        self._alive, self._held = os.pipe()
        self._told, self._tell = os.pipe()

    def run(self) -> Worker | None:
        """Return in every worker which one it is; in the parent None, when all have ended after a signal.

        Raises WorkersFailedError in the parent.
        """
        for end in (self._told, self._tell):
            os.set_blocking(end, False)
        inboxes = Inboxes(len(self._places))
        with self._signals():
            while True:
                for place in self._places:
                    if not place.pid and not self._stopping and time.monotonic() >= place.due:
                        worker = self._start(place, inboxes)
                        if worker is not None:
                            return worker
                if not any(place.pid for place in self._places) and self._stopping:
                    break
                self._wait()
                self._reap()
        inboxes.close()
        if self._failed is not None:
            raise WorkersFailedError(self._failed)
        return None

    def _start(self, place: _Place, inboxes: Inboxes) -> Worker | None:
        place.starts += 1
        place.began = time.monotonic()
        # A signal between the fork and its own handlers would find the parent's in the worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, (*_SIGNALS, signal.SIGCHLD))
        try:
            pid = os.fork()
            if pid:
                place.pid = pid
                return None
            # Of a group of its own: Ctrl-C is the parent's, who passes it on.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, _end)
            for end in (self._held, self._told, self._tell):
                os.close(end)
            return Worker(place.number, place.starts == 1, self._alive, inboxes.of(place.number))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_SIGNALS, signal.SIGCHLD))

    def _wait(self) -> None:
        """Wait for a signal, or until a worker is to be started."""
        due = [place.due for place in self._places if not place.pid and not self._stopping]
        seconds = max(0.0, min(due) - time.monotonic()) if due else None
        select.select([self._told], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._told, 4096)

    def _reap(self) -> None:
        """Take note of workers that have ended."""
        for place in self._places:
            if not place.pid:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid:
                place.pid = 0
                if not self._stopping:
                    self._ended(place, os.waitstatus_to_exitcode(status))

    def _ended(self, place: _Place, code: int) -> None:
        lived = time.monotonic() - place.began
        if code in REPAIRABLE and place.starts == 1 and lived < GOOD_SECONDS:
            self._failed = code
            self._stop()
            return
        place.failures = 0 if lived >= GOOD_SECONDS or code == 0 else place.failures + 1
        wait = min(MOST_WAIT_SECONDS, WAIT_SECONDS * 2 ** (place.failures - 1)) if place.failures else 0.0
        place.due = time.monotonic() + wait
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        when = f"in {wait:g} s" if wait else "at once"
        self._say(f"worker {place.number + 1} {how}; another one takes its place {when}")

    def _stop(self) -> None:
        """Tell all workers to stop; said twice, they do it at once."""
        self._stopping += 1
        for place in self._places:
            if place.pid:
                os.kill(place.pid, signal.SIGTERM)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Take signals while workers are looked after; in a worker this does nothing more."""

        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of handlers
            self._stop()

        def wake(number: int, frame: FrameType | None) -> None:
            """Do nothing: that it came is enough."""

        parent = os.getpid()
        before = {number: signal.signal(number, stop) for number in _SIGNALS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, wake)
        signal.set_wakeup_fd(self._tell)
        try:
            yield
        finally:
            if os.getpid() == parent:
                signal.set_wakeup_fd(-1)
                for number, handler in before.items():
                    signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of handlers
    """End a worker that is told so before it serves; once it does, it drains."""
    raise SystemExit(0)
