"""``fittengate doctor``: looks at everything that a gateway needs, and says what to do about what is wrong."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal, TypeAlias

import click

from fittengate.cli.checks import Finding, disk, keys, port, settings, state_directory
from fittengate.cli.options import SERVICE, read_settings, settings_options
from fittengate.server.configure import ConfigurationError, Configured

Calls: TypeAlias = Literal["all", "account", "none"]
"""What the service is asked: everything, nothing of the model, nothing at all."""

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor")
@settings_options("server.host", "server.port", *SERVICE)
@click.option("--no-chat", is_flag=True, help="Leave out the questions to the model: chat, tools, completion.")
@click.option("--offline", is_flag=True, help="Look at this machine alone; send nothing to the service.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def command(*, no_chat: bool, offline: bool, as_json: bool, **options: Any) -> int:
    """Check settings, disk, store, account, service and port; leave with 1 when something failed. Shows no secrets.

    The service is called about ten times: once for each thing that has to work.
    """
    show = (lambda _finding: None) if as_json else _show
    try:
        configured = read_settings(options)
    except ConfigurationError as error:
        found = [Finding("fail", "settings", problem) for problem in error.problems]
        for finding in found:
            show(finding)
    else:
        calls: Calls = "none" if offline else "account" if no_chat else "all"
        found = asyncio.run(_examine(configured, calls, show))
    failed = any(finding.state == "fail" for finding in found)
    if as_json:
        import msgspec

        lines = [{"state": one.state, "what": one.what, "text": one.text} for one in found]
        click.echo(msgspec.json.format(msgspec.json.encode({"ok": not failed, "findings": lines})))
    return 1 if failed else 0


async def _examine(configured: Configured, calls: Calls, show: Callable[[Finding], None]) -> list[Finding]:
    found: list[Finding] = []
    async with contextlib.aclosing(_findings(configured, calls)) as findings:
        async for finding in findings:
            show(finding)
            found.append(finding)
    return found


async def _findings(configured: Configured, calls: Calls) -> AsyncGenerator[Finding, None]:
    from fittengate.cli.kept_checks import drift, journal, store

    for finding in settings(configured):
        yield finding
    directory = state_directory(configured.state_dir)
    for finding in directory:
        yield finding
    if all(finding.state != "fail" for finding in directory):
        yield disk(configured.state_dir)
        kept = await asyncio.to_thread(store, configured)
        yield kept
        yield journal(configured)
        # A damaged store is moved aside by whoever opens it to use it: here it is to be found as it is.
        sound = kept.state != "fail"
        yield keys(configured) if sound else Finding("warn", "keys", "not counted: see the store")
        for finding in drift(configured):
            yield finding
        async with contextlib.aclosing(_outside(configured, calls)) as findings:
            async for finding in findings:
                yield finding
    yield await asyncio.to_thread(port, configured)


async def _outside(configured: Configured, calls: Calls) -> AsyncGenerator[Finding, None]:
    from fittengate.cli.service_checks import account, reach, service

    usable = reached = True
    async for finding in account(configured):
        yield finding
        usable = usable and finding.state != "fail"
    if calls == "none":
        yield Finding("ok", "service", "left out (--offline)")
        return
    async for finding in reach(configured):
        yield finding
        reached = reached and finding.state != "fail"
    if usable and reached:
        async for finding in service(configured, chat=calls == "all"):
            yield finding
    else:
        yield Finding("warn", "login", "not tried, and neither is what needs it: see what failed above")


def _show(finding: Finding) -> None:
    click.echo(f"{click.style(finding.state.ljust(4), fg=_COLOURS[finding.state])}  {finding.what}: {finding.text}")
