"""Starts, pins and stops the programs that take part.

Law: what was started here is stopped here, by its id, in the opposite order, however the run ends.
"""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

START_SECONDS = 15.0
STOP_SECONDS = 5.0


class BenchError(Exception):
    """The run cannot go on; the message is for the person at the terminal."""


class Cores(NamedTuple):
    """Who runs where."""

    measured: frozenset[int]
    """For the process whose time is taken."""
    others: frozenset[int]
    """For the simulated service and the load."""

    @property
    def shared(self) -> bool:
        """Return whether there was only one core for all."""
        return self.measured == self.others


def choose_cores() -> Cores:
    """Return the first core this process may use for the measured one, and the second for the rest."""
    cores = sorted(os.sched_getaffinity(0))
    return Cores(frozenset(cores[:1]), frozenset(cores[1:2] or cores[:1]))


class Running(NamedTuple):
    """A program that was started."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    """What it wrote on standard output and standard error."""
    started: float
    """When, on the monotonic clock."""

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.process.pid

    def check(self) -> None:
        """Raise BenchError with its last words when it has ended."""
        status = self.process.poll()
        if status is not None:
            words = self.output.read_text(errors="replace")[-2000:].strip()
            raise BenchError(f"{self.name} ended with status {status}: {words}")


@contextlib.contextmanager
def running(
    name: str, command: Sequence[str | Path], folder: Path, *, core: frozenset[int], env: Mapping[str, str]
) -> Iterator[Running]:
    """Run a program in ``folder`` on the given core until the block ends."""
    output = folder / f"{name}.out"
    with output.open("wb") as sink, _on(core):
        started = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            # Its own session: Ctrl-C comes to the benchmark, which then stops its programs in order.
            start_new_session=True,
        )
    try:
        yield Running(name, process, output, started)
    finally:
        stop(process)


@contextlib.contextmanager
def _on(core: frozenset[int]) -> Iterator[None]:
    """Be on a core for a moment: a new process stays where its parent is."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process: politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port of the loopback that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(program: Running, port: int) -> None:
    """Return once somebody listens there; raises BenchError."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        program.check()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.005)
    raise BenchError(f"{program.name} did not listen within {START_SECONDS:.0f} s")


def plain_environment(folder: Path) -> dict[str, str]:
    """Return an environment in which no setting of this machine's user is found."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LANG": "C.UTF-8"}
