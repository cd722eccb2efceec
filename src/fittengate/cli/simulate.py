"""``fittengate simulate``: the simulated service alone."""

import errno
import os
from pathlib import Path

import click

from fittengate.cli.failures import CommandError
from fittengate.server.configure import ConfigurationError

MAX_PORT = 65_535


@click.command("simulate")
@click.option("--host", default="127.0.0.1", metavar="TEXT", help="Address to listen on. [127.0.0.1]")
@click.option("--port", default="5100", metavar="NUMBER", help="Port to listen on; 0 takes any free one. [5100]")
@click.option(
    "--scenario",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File with accounts, replies and faults (TOML if its name ends so, else JSON).",
)
def command(host: str, port: str, scenario: Path | None) -> None:
    """Run a simulated Fitten service, for tests, demos and benchmarks. Its account is demo with password demo."""
    from fittengate.simulator import ScenarioError, run

    if not host.strip():
        # It would mean every address of this machine.
        raise ConfigurationError(("--host: expected an address, such as 127.0.0.1",))
    if not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise ConfigurationError((f"--port: expected a whole number from 0 to {MAX_PORT}, not {port!r}",))
    try:
        run(host, int(port), scenario)
    except ScenarioError as error:
        raise ConfigurationError((f"--scenario: {error}",)) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(f"port {port} is in use. Choose another one with --port.") from error
        number = error.errno or 0
        # Names that cannot be resolved have numbers of their own, below zero.
        reason = os.strerror(number).lower() if number > 0 else "no such host"
        raise CommandError(f"cannot listen on {host}:{port} ({reason}). Check --host and --port.") from error
