"""The simulator as a program of its own."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from fittengate.simulator.scenario import DEMO_PACE, Scenario, ScenarioError, load
from fittengate.simulator.simulator import Simulator, check


def run(host: str, port: int, scenario_path: Path | None = None) -> None:
    """Serve until interrupted or terminated; says on standard output where.

    Without a scenario it answers at the pace of the real service. Raises ScenarioError for a file that cannot be read
    and OSError for a port that cannot be had.
    """
    scenario = _checked(scenario_path) if scenario_path else Scenario(pace=DEMO_PACE)
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        try:
            runner.run(_serve(host, port, scenario))
        except KeyboardInterrupt:
            # Asked to stop where signals cannot be handled otherwise: a clean end.
            return


def _checked(path: Path) -> Scenario:
    scenario = load(path)
    try:
        check(scenario)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error
    return scenario


async def _serve(host: str, port: int, scenario: Scenario) -> None:
    simulator = Simulator(scenario)
    await simulator.start(host, port)
    # Whoever started it may not read what it says, or the disk may be full.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"listening on {simulator.base_url}\n")
        sys.stdout.flush()
    stop = asyncio.Event()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await simulator.stop()


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes an event loop; None means asyncio's own, where uvloop is not to be had."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
