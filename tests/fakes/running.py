"""The assembled gateway in front of a simulator: in the test's own event loop, or as a process of its own."""

import asyncio
import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fakes.line import KEY, Line, Reply, chat, line, request
from fittengate.core.account import Tokens
from fittengate.server.assemble import Gateway, assembled, open_log
from fittengate.server.run import listen, serve
from fittengate.services.vault import MemoryVault
from fittengate.settings import (
    DEFAULT_ALIASES,
    Account,
    Fleet,
    Limits,
    Log,
    Models,
    Overload,
    Recorder,
    Server,
    Settings,
    Store,
    Telemetry,
    Upstream,
)
from fittengate.simulator import Scenario, Simulator

PASSWORD = "pass-word-of-the-test-account"
USERNAME = "test-account"


def scenario(**fields: Any) -> Scenario:
    """Return a scenario with the account that the gateways here use."""
    accounts = ({"username": USERNAME, "password": PASSWORD},)
    import msgspec

    return msgspec.convert({"accounts": accounts, **fields}, Scenario)


def settings_for(simulator: Simulator, **sections: Mapping[str, Any]) -> Settings:
    """Return settings for a gateway in front of ``simulator``; each section may name what shall differ."""
    url = simulator.base_url
    upstream = {
        "base_url": url,
        "models_url": url,
        "user_agent": "fittengate/test",
        "max_concurrency": 0,
        "breaker_calls": 0,
    }
    return Settings(
        server=Server(**{"api_key": (KEY,), **sections.get("server", {})}),
        account=Account(**{"username": USERNAME, "password": PASSWORD, **sections.get("account", {})}),
        upstream=Upstream(**{**upstream, **sections.get("upstream", {})}),
        store=Store(**sections.get("store", {})),
        fleet=Fleet(**sections.get("fleet", {})),
        limits=Limits(**sections.get("limits", {})),
        overload=Overload(**sections.get("overload", {})),
        models=Models(**{"aliases": dict.fromkeys(DEFAULT_ALIASES, "fitten-code"), **sections.get("models", {})}),
        log=Log(**{"file": "none", **sections.get("log", {})}),
        telemetry=Telemetry(**sections.get("telemetry", {})),
        recorder=Recorder(**sections.get("recorder", {})),
    )


class Running:
    """A gateway that serves on a port of this machine."""

    def __init__(self, port: int, gateway: Gateway, vault: MemoryVault, terminal: io.StringIO) -> None:
        self.port = port
        self.gateway = gateway
        self.vault = vault
        self.terminal = terminal
        """What the log shows."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> int:
        """Requests under way."""
        return len(self.gateway.exchanges.running)

    @property
    def turns(self) -> Any:
        return self.gateway.exchanges._services.turns

    async def chat(self, content: Any = "Hello", **fields: Any) -> Reply:
        return await chat(self.port, content, **fields)

    async def request(self, method: str, path: str, body: bytes = b"", **options: Any) -> Reply:
        return await request(self.port, method, path, body, **options)

    def line(self, receive_buffer: int = 0) -> Any:
        return line(self.port, receive_buffer)


@asynccontextmanager
async def running(
    simulator: Simulator, tokens: Tokens | None = None, journals: Path | None = None, **sections: Mapping[str, Any]
) -> AsyncIterator[Running]:
    """Run a gateway in this event loop, by the code that ``serve`` runs; with ``journals`` it has a ledger."""
    settings = settings_for(simulator, **sections)
    terminal = io.StringIO()
    log = open_log(settings, terminal)
    vault = MemoryVault(tokens)
    sock = listen("127.0.0.1", 0)
    try:
        async with assembled(settings, vault, (), log, None, journals) as gateway:
            served = asyncio.create_task(serve(gateway, settings.server, sock, lambda _line: None))
            try:
                yield Running(sock.getsockname()[1], gateway, vault, terminal)
            finally:
                await _stop(served)
    finally:
        sock.close()
        log.close()


async def _stop(served: "asyncio.Task[None]") -> None:
    # The same two signals that a person in a hurry sends; while ``serve`` runs they are its own.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        await asyncio.sleep(0)
    if not served.done():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    await served


class Process:
    """``fittengate serve`` as a process; reads its standard error all the time."""

    def __init__(self, process: asyncio.subprocess.Process, state_dir: Path) -> None:
        self.process = process
        self.state_dir = state_dir
        self.port = 0
        self.said: list[str] = []
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def stderr(self) -> str:
        return "".join(self.said)

    async def chat(self, content: Any = "Hello", **fields: Any) -> Reply:
        return await chat(self.port, content, **fields)

    async def request(self, method: str, path: str, body: bytes = b"", **options: Any) -> Reply:
        return await request(self.port, method, path, body, **options)

    def line(self, receive_buffer: int = 0) -> contextlib.AbstractAsyncContextManager[Line]:
        return line(self.port, receive_buffer)

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, seconds: float = 10.0) -> int:
        """Wait for its end and return its exit code; all that it said is read by then."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await self._reading
        return code

    async def says(self, pattern: str, seconds: float = 10.0) -> str:
        """Wait for a line that holds ``pattern``; return its first group or the match."""
        async with asyncio.timeout(seconds):
            while True:
                self._news.clear()
                if found := re.search(pattern, self.stderr):
                    return found[found.lastindex or 0]
                if self._reading.done():
                    raise AssertionError(f"it ended without saying {pattern!r}: {self.stderr}")
                await self._news.wait()

    async def ready(self) -> None:
        """Wait until it would answer requests."""
        async with asyncio.timeout(10):
            while (await self.request("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """End it at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for data in self.process.stderr:
            self.said.append(data.decode())
            self._news.set()
        self._news.set()


def environment(simulator: Simulator, state_dir: Path, **settings: Any) -> dict[str, str]:
    """Return the environment of a gateway process; ``server_port=1`` becomes ``FITTENGATE_SERVER_PORT``."""
    url = simulator.base_url
    given = {
        "server_port": 0,
        "server_state_dir": state_dir,
        "server_api_key": KEY,
        "account_username": USERNAME,
        "account_password": PASSWORD,
        "upstream_base_url": url,
        "upstream_models_url": url,
        **settings,
    }
    environ = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    environ["HOME"] = str(state_dir.parent)
    for name, value in given.items():
        if value is not None:
            environ[f"FITTENGATE_{name.upper()}"] = str(value)
    return environ


def command() -> list[str]:
    """Return what starts the program: the console script beside this Python."""
    return [str(Path(sys.executable).with_name("fittengate"))]


async def run_command(environ: Mapping[str, str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command in a folder to its end; return exit code, standard output and standard error."""
    made = await asyncio.create_subprocess_exec(
        *command(),
        *arguments,
        env=dict(environ),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await made.communicate()
    assert made.returncode is not None
    return made.returncode, out.decode(), err.decode()


async def start_process(environ: Mapping[str, str], state_dir: Path, *arguments: str) -> Process:
    """Start ``fittengate serve`` without waiting for anything."""
    made = await asyncio.create_subprocess_exec(
        *command(),
        "serve",
        *arguments,
        env=dict(environ),
        cwd=state_dir.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    return Process(made, state_dir)


@asynccontextmanager
async def process(simulator: Simulator, state_dir: Path, *arguments: str, **settings: Any) -> AsyncIterator[Process]:
    """Run ``fittengate serve``; it listens when the block begins and is gone when it ends."""
    one = await start_process(environment(simulator, state_dir, **settings), state_dir, *arguments)
    try:
        one.port = int(await one.says(r"listening on https?://[^\s]+:(\d+)"))
        yield one
    finally:
        await one.kill()
