"""What a process has cost, as the kernel counts it."""

import ctypes
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from processes import BenchError

SETTLE_SECONDS = 0.25
"""Work that follows a reply, such as writing the log, is counted too: it is done within this time."""


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process, all its threads, since it began.

    It is the sum of ``utime`` and ``stime`` in ``/proc/PID/stat`` (proc(5)), read through the process's CPU clock
    (clock_getcpuclockid(3)), which counts nanoseconds instead of hundredths of a second.
    """
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise BenchError(f"process {pid} has no CPU clock: it has ended, or the system has none")
    return time.clock_gettime(clock.value)


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


class Spent(NamedTuple):
    """CPU time over a while."""

    cpu: float
    wall: float
    units: int
    """Requests, or deltas."""

    @property
    def each(self) -> float:
        """Return seconds for each unit."""
        return self.cpu / self.units


class Stopwatch:
    """Takes the CPU time of a process from now on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu = cpu_seconds(pid)
        self._wall = time.monotonic()

    def spent(self, units: int) -> Spent:
        """Return what was spent since the start on so many units."""
        return Spent(cpu_seconds(self._pid) - self._cpu, time.monotonic() - self._wall, units)


def interleaved(
    rounds: int, works: Mapping[str, Callable[[], float]], note: Callable[[str], None]
) -> dict[str, tuple[float, ...]]:
    """Do all works in turn, again and again; return the seconds that each took, round by round."""
    seen: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seen[name].append(work())
    for name, figures in seen.items():
        note(f"  {name}: " + " ".join(f"{figure * 1e6:.1f}" for figure in figures) + " µs")
    return {name: tuple(figures) for name, figures in seen.items()}


def allow_many_files(count: int) -> bool:
    """Let this process and its children open so many files; return whether the machine lets them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return True
    if hard != resource.RLIM_INFINITY and hard < count:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return True
