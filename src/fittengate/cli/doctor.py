"""``fittengate doctor``: looks at everything that a gateway needs, and says what to do about what is wrong."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import click

from fittengate.cli.checks import Finding, disk, keys, port, settings, state_directory
from fittengate.cli.options import SERVICE, read_settings, settings_options
from fittengate.server.configure import ConfigurationError, Configured

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor", short_help="Check settings, disk, account and service, and say what to do.")
@settings_options("server.host", "server.port", *SERVICE)
@click.option("--no-chat", is_flag=True, help="Leave out the one short question to the model.")
def command(*, no_chat: bool, **options: Any) -> int:
    """Check settings, disk, account, service and port; leave with 1 when something failed. Shows no secrets."""
    try:
        configured = read_settings(options)
    except ConfigurationError as error:
        for problem in error.problems:
            _show(Finding("fail", "settings", problem))
        return 1
    return asyncio.run(_examine(configured, chat=not no_chat))


async def _examine(configured: Configured, *, chat: bool) -> int:
    failed = False
    async with contextlib.aclosing(_findings(configured, chat=chat)) as findings:
        async for finding in findings:
            _show(finding)
            failed = failed or finding.state == "fail"
    return 1 if failed else 0


async def _findings(configured: Configured, *, chat: bool) -> AsyncGenerator[Finding, None]:
    from fittengate.cli.service_checks import account, reach, service

    for finding in settings(configured):
        yield finding
    directory = state_directory(configured.state_dir)
    for finding in directory:
        yield finding
    if all(finding.state != "fail" for finding in directory):
        yield disk(configured.state_dir)
        yield keys(configured)
        usable = True
        async for finding in account(configured):
            yield finding
            usable = usable and finding.state != "fail"
        reached = True
        async for finding in reach(configured):
            yield finding
            reached = reached and finding.state != "fail"
        if usable and reached:
            async for finding in service(configured, chat=chat):
                yield finding
        else:
            yield Finding("warn", "login", "not tried, and neither are models and chat: see what failed above")
    yield await asyncio.to_thread(port, configured)


def _show(finding: Finding) -> None:
    click.echo(f"{click.style(finding.state.ljust(4), fg=_COLOURS[finding.state])}  {finding.what}: {finding.text}")
