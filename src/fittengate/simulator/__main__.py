"""``python -m fittengate.simulator``: the simulator as a process."""

import argparse
import os
import sys
from pathlib import Path

from fittengate.simulator.process import run
from fittengate.simulator.scenario import ScenarioError


def main() -> int:
    """Serve as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="fittengate.simulator", description="A simulated Fitten service.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=5100, help="port, 0 for any (default: %(default)s)")
    parser.add_argument("--scenario", type=Path, help="a JSON or TOML file that says how to behave")
    given = parser.parse_args()
    try:
        run(given.host, given.port, given.scenario)
    except ScenarioError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        # Names that cannot be resolved have numbers of their own, below zero.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        sys.stderr.write(f"Cannot listen on {given.host}:{given.port} ({reason}). Choose another --port or --host.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
