"""A reply on its way out: pauses, stalls, back-pressure, and how it ends."""

import asyncio
import socket
import struct
from typing import Literal, Protocol

from fittengate.lib.clock import Clock
from fittengate.simulator.log import Log, Record
from fittengate.simulator.times import Times
from fittengate.simulator.wire import Outgoing

WRITE_SIZE = 65_536
RESET_GRACE = 0.02
"""Seconds between the last byte and a reset, so that the byte is read first."""


class Desk(Protocol):
    """What sending needs of the simulator."""

    clock: Clock
    log: Log
    times: Times
    held: "set[Sending]"
    """Replies that wait to be released."""


class Line(Protocol):
    """What sending needs of a connection."""

    transport: asyncio.Transport
    write_paused: bool

    def finished(self, *, keep: bool) -> None:
        """Take notice that the reply is out."""
        ...


class Sending:
    """One reply, and the record that tells how it ended; without a record nothing is counted.

    Law: ``go`` writes until something has to be waited for, and exactly one thing is waited for at a time: a timer, a
    release, or the client's reading.
    """

    def __init__(self, desk: Desk, line: Line, out: Outgoing, record: Record | None, arrived: float) -> None:
        self._desk = desk
        self._line = line
        self._transport = line.transport
        self._out = out
        self._record = record
        self._arrived = arrived
        self._next = 0
        self._rested = False
        self._head_sent = False
        self._given_up = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        if out.streamed and record is not None:
            self._desk.log.counters.stream_opened()
            self._desk.log.changed()

    def go(self) -> None:
        """Send as far as pauses, stalls and the client's reading allow."""
        self._timer = None
        steps = self._out.steps
        while self._next < len(steps):
            if self._line.write_paused:
                return
            step = steps[self._next]
            if step.delay and not self._rested:
                self._rested = True
                self._timer = self._loop.call_later(step.delay, self.go)
                return
            self._rested = False
            if step.data is None:
                self._next += 1
                self._desk.held.add(self)
                self._desk.log.changed()
                return
            self._write()
        if not self._line.write_paused:
            self._finish()

    def resume(self) -> None:
        """Go on: the client has read what was written."""
        if self._timer is None and self not in self._desk.held:
            self.go()

    def release(self) -> None:
        """Go on after a stall."""
        self._desk.held.discard(self)
        self.go()

    def lost(self) -> None:
        """Take notice that the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._desk.held.discard(self)
        now = self._desk.clock.monotonic()
        if not self._given_up:
            self._desk.log.counters.client_left(now)
        self._ended("cut" if self._given_up else "left", now)

    def give_up(self) -> None:
        """Take notice that the connection will be dropped by this side."""
        self._given_up = True

    def _write(self) -> None:
        """Write the current step and those that follow it at once."""
        steps = self._out.steps
        parts: list[bytes] = []
        size = 0
        while self._next < len(steps) and size < WRITE_SIZE:
            delay, data = steps[self._next]
            if data is None or (parts and delay):
                break
            parts.append(data)
            size += len(data)
            self._next += 1
        out = self._out.framed(b"".join(parts))
        if not self._head_sent:
            self._head_sent = True
            out = self._head() + out
        if self._next == len(steps) and self._out.ending == "end":
            out += self._out.end
        if self._record is not None:
            self._record.bytes_sent += size
        self._transport.write(out)

    def _head(self) -> bytes:
        if self._record is not None:
            self._record.status = self._out.status
            self._record.began = self._desk.clock.monotonic()
        return self._out.head(self._desk.times.lines(self._arrived, self._desk.clock.now()))

    def _finish(self) -> None:
        ending = self._out.ending
        if ending == "reset":
            self._timer = self._loop.call_later(self._out.pause or RESET_GRACE, self._reset)
        elif ending == "close":
            self._timer = self._loop.call_later(self._out.pause, self._close)
        else:
            self._ended("complete", self._desk.clock.monotonic())
            self._line.finished(keep=self._out.keep_alive)

    def _close(self) -> None:
        self.give_up()
        self._transport.close()

    def _reset(self) -> None:
        self.give_up()
        handle = self._transport.get_extra_info("socket")
        if handle is not None:
            # The event loop keeps the socket itself to itself; options set on a duplicate hold for both.
            with socket.fromfd(handle.fileno(), handle.family, handle.type) as twin:
                twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _ended(self, outcome: Literal["complete", "cut", "left"], when: float) -> None:
        record = self._record
        if record is None:
            return
        record.ended = when
        record.outcome = outcome
        if self._out.streamed:
            self._desk.log.counters.open_streams -= 1
        self._desk.log.changed()
