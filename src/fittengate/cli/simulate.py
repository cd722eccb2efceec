"""``fittengate simulate``: the simulated service alone."""

from pathlib import Path

import click

from fittengate.cli.failures import CommandError
from fittengate.server.configure import ConfigurationError


@click.command("simulate", short_help="Run the simulated service alone.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5100, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one.")
@click.option(
    "--scenario", type=click.Path(path_type=Path), help="File with accounts, replies and faults (JSON or TOML)."
)
def command(host: str, port: int, scenario: Path | None) -> None:
    """Run a simulated Fitten service, for tests, demos and benchmarks. Its account is demo with password demo."""
    from fittengate.simulator import ScenarioError, run

    try:
        run(host, port, scenario)
    except ScenarioError as error:
        raise ConfigurationError((f"--scenario: {error}",)) from error
    except OSError as error:
        raise CommandError(
            f"cannot listen on {host}:{port}: {error.strerror}. Choose another one with --port or --host."
        ) from error
