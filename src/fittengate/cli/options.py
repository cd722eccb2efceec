"""Options that several commands share: the settings as flags."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fittengate.server.configure import Configured, configure
from fittengate.settings import TABLE

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(*keys: str) -> Callable[[F], F]:
    """Give a command ``--config`` and a flag for each of these settings; the values come as keyword ``flags``."""

    def decorate(function: F) -> F:
        for row in reversed([row for row in TABLE if row.key in keys]):
            name = f"--{row.name.replace('_', '-')}"
            default = f" [{row.default}]" if row.default not in ("", ()) else ""
            function = click.option(name, row.key.replace(".", "__"), metavar="TEXT", help=row.help + default)(function)
        option = click.option("--config", metavar="FILE", help="settings file (TOML); see docs/settings.md")
        return option(function)

    return decorate


def read_settings(options: dict[str, Any]) -> Configured:
    """Return the settings that hold with the flags that were given. Raises ConfigurationError."""
    return configure({name.replace("__", "."): value for name, value in options.items() if value is not None})
