"""``fittengate demo``: gateway and simulated service in one process; nothing leaves the machine, nothing is kept."""

import asyncio
import os
import secrets
import shlex
import socket
import tempfile
from pathlib import Path
from typing import Any

import click

from fittengate.cli.options import flags, settings_options
from fittengate.cli.serve import end_quietly, fastest_loop, open_socket, say, shown_address
from fittengate.server.configure import configure
from fittengate.settings import DEFAULT_ALIASES, Account, Log, Models, Server, Settings, Upstream


@click.command("demo")
@settings_options("server.host", "server.port", config=False)
def command(**options: Any) -> None:
    """Run the gateway with a simulated Fitten service behind it: no account is needed.

    The answers come from no model. Say "help" to it, and it tells what it can play.
    """
    from fittengate.services.keys import make_key

    end_quietly()
    key = make_key(secrets.token_bytes)
    given = {**flags(options), "server.api_key": key, "server.state_dir": os.devnull, "log.file": "none"}
    with tempfile.TemporaryDirectory() as empty:
        # Flags are checked as everywhere; neither the environment nor files lying about change what the demo is.
        server = configure(given, {}, Path(empty), Path(empty)).settings.server
    sock = open_socket(server.host, server.port)
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(_demo(sock, server, key))


async def _demo(sock: socket.socket, server: Server, key: str) -> None:
    from fittengate import __version__
    from fittengate.server.assemble import assembled, open_log
    from fittengate.server.run import serve, settle_memory
    from fittengate.services.vault import MemoryVault
    from fittengate.simulator import DEMO_PACE, Scenario, Simulator

    simulator = Simulator(Scenario(pace=DEMO_PACE))
    await simulator.start()
    settings = Settings(
        server=server,
        account=Account(username="demo", password="demo"),  # noqa: S106 - the simulator's own account
        upstream=Upstream(
            base_url=simulator.base_url, models_url=simulator.base_url, user_agent=f"fittengate/{__version__}"
        ),
        models=Models(aliases=dict.fromkeys(DEFAULT_ALIASES, "fitten-code")),
        log=Log(file="none", level="warning"),
    )
    log = open_log(settings, None)
    try:
        async with assembled(settings, MemoryVault(), (), log) as gateway:
            url = f"http://{shown_address(sock)}"
            settle_memory()
            await serve(gateway, settings.server, sock, say, lambda: _greet(url, key))
    finally:
        log.close()
        await simulator.stop()


def _greet(url: str, key: str) -> None:
    say("this is a demo: a simulated service answers, no model and no account")
    click.echo(f"base URL: {url}/v1")
    click.echo(f"key:      {key}")
    click.echo("")
    click.echo("Try it:")
    click.echo("")
    body = '{"model":"fitten-code","stream":true,"messages":[{"role":"user","content":"Show me some markdown."}]}'
    headers = f"-H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
    # The brackets of an IPv6 address are a pattern to some shells.
    click.echo(f"curl -N {shlex.quote(f'{url}/v1/chat/completions')} {headers} -d '{body}'")
