"""Options that several commands share: the settings as flags."""

from collections.abc import Callable
from typing import Any, TypeVar, get_origin

import click

from fittengate.server.configure import Configured, configure
from fittengate.settings import TABLE, Row

F = TypeVar("F", bound=Callable[..., Any])

SERVICE = ("server.state_dir", "upstream.base_url", "upstream.models_url")
"""What a command that talks to the service takes."""


def settings_options(*keys: str, config: bool = True) -> Callable[[F], F]:
    """Give a command a flag for each of these settings, and ``--config``; their texts come as keyword arguments.

    Nothing is checked here: the table does that, and names everything that is wrong at once.
    """

    def decorate(function: F) -> F:
        for row in reversed([row for row in TABLE if row.key in keys]):
            kind: dict[str, Any] = {"metavar": _metavar(row)}
            if row.type is bool:
                kind = {"is_flag": True, "flag_value": "true", "type": str, "default": None}
            function = click.option(row.flag, row.key.replace(".", "__"), help=_help(row), **kind)(function)
        if not config:
            return function
        return click.option("--config", metavar="FILE", help="Settings file (TOML).")(function)

    return decorate


def flags(options: dict[str, Any]) -> dict[str, str]:
    """Return the flags that were given, by the key of their setting."""
    return {name.replace("__", "."): value for name, value in options.items() if value is not None}


def read_settings(options: dict[str, Any]) -> Configured:
    """Return the settings that hold with the flags that were given. Raises ConfigurationError."""
    return configure(flags(options))


def _metavar(row: Row) -> str:
    if get_origin(row.type) is not None and row.expected.startswith("one of "):
        return "|".join(row.expected.removeprefix("one of ").split(", "))
    return {int: "NUMBER", float: "NUMBER"}.get(row.type, "TEXT")


def _help(row: Row) -> str:
    default = row.default_text.replace("`", "") or row.default
    text = row.help.replace("`", "")
    return f"{text[0].upper()}{text[1:]}." + (f" [{default}]" if default not in ("", (), False) else "")
