"""``fittengate serve``: the gateway."""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from fittengate.cli.failures import CommandError
from fittengate.cli.options import read_settings, settings_options
from fittengate.server.configure import Configured, prepare_state_dir
from fittengate.settings import Server, Settings

if TYPE_CHECKING:
    from fittengate.server.workers import Worker
    from fittengate.services.log import Log
    from fittengate.upstream.base import TokenVault


@click.command("serve")
@settings_options(
    "server.host",
    "server.port",
    "server.state_dir",
    "server.also_ollama",
    "server.workers",
    "upstream.base_url",
    "upstream.models_url",
    "upstream.max_concurrency",
    "log.level",
    "log.format",
    "log.file",
)
@click.option("--new-key", is_flag=True, help="Make another client key, show it, and go on.")
def command(*, new_key: bool, **options: Any) -> None:
    """Run the gateway until it is told to stop.

    Every setting can also be given as an environment variable or in a file; docs/settings.md lists them.
    """
    end_quietly()
    configured = read_settings(options)
    for note in configured.notes:
        say(note)
    prepare_state_dir(configured.state_dir)
    # The port comes first: a start that fails makes no key.
    sock = open_socket(configured.settings.server.host, configured.settings.server.port)
    door = open_door(configured.settings.server)
    show_key(configured, new_key=new_key)
    worker: Worker | None = None
    if (count := configured.settings.server.workers) > 1:
        worker = _forked(count)
        if worker is None:
            return
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(_serve(configured, sock, door, worker))


def _forked(count: int) -> "Worker | None":
    """Return in every worker which one it is; in the parent, None when all have ended."""
    from fittengate.server.workers import Workers, WorkersFailedError

    try:
        return Workers(count, say).run()
    except WorkersFailedError as error:
        # It has said why.
        raise SystemExit(error.code) from error


def _own(settings: Settings, worker: "Worker") -> Settings:
    """Return the settings of one worker: its share of the account's calls, and a log file that nobody else rotates."""
    from fittengate.server.workers import share

    upstream, log = settings.upstream, settings.log
    calls = share(upstream.max_concurrency, worker.number, settings.server.workers)
    file = log.file if log.file in {"", "none"} else str(_numbered(Path(log.file), worker))
    return replace(settings, upstream=replace(upstream, max_concurrency=calls), log=replace(log, file=file))


def _numbered(path: Path, worker: "Worker | None") -> Path:
    """Return the worker's own file: ``name.log`` is the first one's, ``name-2.log`` the second one's."""
    return path.with_name(f"{path.stem}-{worker.number + 1}{path.suffix}") if worker and worker.number else path


def _stop_without(parent: int) -> None:
    """Stop, as if told to, when the parent is gone; ``parent`` can be read from then."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(parent)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(parent, stop)


async def _serve(
    configured: Configured, sock: socket.socket, door: socket.socket | None, worker: "Worker | None" = None
) -> None:
    from fittengate.server.assemble import assembled, open_log
    from fittengate.server.run import serve, settle_memory
    from fittengate.services.keys import stored_keys
    from fittengate.services.vault import FileVault

    settings = configured.settings if worker is None else _own(configured.settings, worker)
    log = open_log(settings, sys.stderr)
    try:
        route_logging(log)
        vault = FileVault(configured.state_dir / "account.json")
        notes = _numbered(configured.state_dir / "tokens.json", worker)
        keys, journals = stored_keys(configured.state_dir), configured.state_dir / "journal"
        siblings = None if worker is None else worker.siblings
        async with assembled(settings, vault, keys, log, notes, journals, siblings) as gateway:
            url = f"{'https' if settings.server.tls_cert else 'http'}://{shown_address(sock)}"
            missing = await account_missing(configured, gateway.vault)

            def ready() -> None:
                if worker is not None:
                    _stop_without(worker.parent)
                    if worker.number or not worker.first:
                        return
                greet(url, missing)
                if door is not None:
                    where = f"http://{shown_address(door)}"
                    say(f"Ollama's clients without a key: {where}, for every program on this machine")

            settle_memory()
            await serve(gateway, settings.server, sock, say, ready, door)
    finally:
        if worker is not None:
            await worker.siblings.close()
        log.close()


async def account_missing(configured: Configured, vault: "TokenVault") -> str | None:
    """Return what to tell a person when there is no account to use; None when there is one."""
    account, base_url = configured.settings.account, configured.settings.upstream.base_url
    if account.username and account.password:
        return None
    tokens = await vault.load()
    how = "run `fittengate login`, or set account.username and account.password"
    if vault.problem is not None:
        return f"{vault.problem}: {how}."
    if tokens is None:
        return f"No Fitten account yet: {how}."
    if tokens.base_url != base_url:
        return f"The stored login belongs to {tokens.base_url}, not to {base_url}: {how}."
    if account.username and tokens.username and tokens.username != account.username:
        return f"The stored login is {tokens.username}'s, not account.username's: {how}."
    return None


def say(line: str) -> None:
    """Tell the person at the terminal, if there is one still."""
    # A pipe that nobody reads any more, a terminal whose window was closed.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"fittengate: {line}\n")
        sys.stderr.flush()


def end_quietly() -> None:
    """Let SIGTERM end the process with code 0 until the server, once it runs, handles the signal by draining."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of handlers
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)


def greet(url: str, missing: str | None = None) -> None:
    """Say where each kind of client finds the gateway, and what is missing."""
    say(f"listening on {url}")
    say(f"base URL for OpenAI clients: {url}/v1")
    say(f"base URL for Anthropic clients: {url}")
    say(f"all paths: {url}/docs")
    if missing is not None:
        say(missing)


def show_key(configured: Configured, *, new_key: bool) -> None:
    """Show a key that was made just now: on a terminal, else in a private file."""
    from fittengate.services.keys import ensure_first_key, store_new_key, write_first_key

    directory = configured.state_dir
    if new_key:
        key: str | None = store_new_key(directory, secrets.token_bytes)
    elif _store_has_keys(configured):
        return
    else:
        key = ensure_first_key(directory, configured.settings.server.api_key, secrets.token_bytes)
    if key is None:
        return
    if sys.stderr.isatty():
        say(f"your key, shown only this once: {key}")
    else:
        say(f"a key was made; it is in {write_first_key(directory, key)}")


def _store_has_keys(configured: Configured) -> bool:
    """Tell whether `fittengate keys create` has made keys: then none is to be made at the first start."""
    from fittengate.server.assemble import open_database
    from fittengate.services.key_rows import listed
    from fittengate.services.keys import BUNDLE_KEY, stored_keys
    from fittengate.services.store import StoreDownError

    database = open_database(configured.settings.store)
    if configured.settings.server.api_key or database is None or not database.there:
        return False
    if any(not key.moved for key in stored_keys(configured.state_dir)):
        return False
    try:
        with database.begin() as connection:
            rows = [row for row in listed(connection) if row.name != BUNDLE_KEY]
    except StoreDownError as error:
        # There may be keys in it: one more would be shown to whoever happens to start the gateway.
        say(f"the store cannot be used ({error}); keys in it will work when it can, and no first key is made")
        return True
    finally:
        database.close()
    if rows and not any(row.works(time.time()) for row in rows):
        say("no key works any more; `fittengate keys create --name NAME` makes one")
    return bool(rows)


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises CommandError with what to do."""
    from fittengate.server.run import PortInUseError, listen

    try:
        return listen(host, port)
    except PortInUseError:
        mac = " On macOS, AirPlay Receiver holds port 5000." if sys.platform == "darwin" and port == 5000 else ""
        raise CommandError(f"port {port} is in use. Choose another one with --port.{mac}") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise CommandError(f"cannot listen on {host}:{port} ({reason}). Check --host and --port.") from None


def open_door(server: Server) -> socket.socket | None:
    """Return the listening socket of Ollama's clients, None if it is not wanted. Raises CommandError."""
    from fittengate.server.ollama_door import HOST
    from fittengate.server.run import PortInUseError, listen

    if not server.also_ollama:
        return None
    try:
        return listen(HOST, server.ollama_port)
    except PortInUseError:
        other = "Stop the Ollama that runs here, or leave --also-ollama out, or set server.ollama_port."
        raise CommandError(f"port {server.ollama_port} is in use. {other}") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        text = f"cannot listen on {HOST}:{server.ollama_port} ({reason}). Check server.ollama_port."
        raise CommandError(text) from None


def shown_address(sock: socket.socket) -> str:
    """Return host and port of a socket as a URL has them."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes an event loop; None means asyncio's own, where there is no uvloop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def route_logging(log: "Log") -> None:
    """Let the libraries' own words come out in our log, until it is closed."""
    log.adopt()
    # Uvicorn says at level info what our own lines say better.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
