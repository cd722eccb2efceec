"""``fittengate demo``: gateway and simulated service in one process; nothing leaves the machine, nothing is kept."""

import asyncio
import secrets
import socket
from typing import Any

import click

from fittengate.cli.options import settings_options
from fittengate.cli.serve import fastest_loop, open_socket, say, shown_address


@click.command("demo", short_help="Try it without an account.")
@settings_options("server.host", "server.port")
def command(config: str | None, **options: Any) -> None:
    """Run the gateway with a simulated Fitten service behind it: no account is needed.

    The answers come from no model. Say "help" to the demo to see what it can play.
    """
    if config is not None:
        raise click.UsageError("The demo takes no settings file: it has an account of its own.")
    host = options["server__host"] or "127.0.0.1"
    sock = open_socket(host, _port(options["server__port"]))
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(_demo(sock))


def _port(text: str | None) -> int:
    if text is None:
        return 5000
    if not text.isdigit() or int(text) > 65535:
        raise click.UsageError(f"--port is a number from 0 to 65535, not {text!r}.")
    return int(text)


async def _demo(sock: socket.socket) -> None:
    from fittengate import __version__
    from fittengate.server.assemble import assembled, open_log
    from fittengate.server.run import serve
    from fittengate.services.keys import make_key
    from fittengate.services.vault import MemoryVault
    from fittengate.settings import DEFAULT_ALIASES, Account, Log, Models, Server, Settings, Upstream
    from fittengate.simulator import DEMO_PACE, Scenario, Simulator

    simulator = Simulator(Scenario(pace=DEMO_PACE))
    await simulator.start()
    key = make_key(secrets.token_bytes)
    settings = Settings(
        server=Server(api_key=(key,)),
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
            _greet(f"http://{shown_address(sock)}", key)
            await serve(gateway, settings.server, sock, say)
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
    click.echo(
        f"curl -N {url}/v1/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'"
    )
