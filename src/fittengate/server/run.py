"""Runs an application on a socket until a signal says stop, then drains.

The laws of draining (P7): not ready first; running replies finish, for ``drain_seconds`` at most; new requests get 503
with ``retry-after`` meanwhile, over connections that still reach us; what is left at the end is told so. A second
signal ends at once: what runs is told so and has its receipt, if that takes no longer than a moment.
"""

import asyncio
import contextlib
import functools
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, cast

import uvicorn

from fittengate.server.assemble import Gateway
from fittengate.server.http import protocol_class
from fittengate.server.metric_families import connections
from fittengate.server.patience import Patience, Sweep, Watched
from fittengate.settings import Server

SEND_BYTES = 128 * 1024
"""So much of an answer the system keeps for a client that reads slowly (Linux takes twice as much). Left to itself it keeps
megabytes for each, which count as the gateway's own memory in a container; and it tells of free room by thirds of them, so
that a slow reader would look like one that does not read at all."""

BESIDE_FILES = 256
"""Descriptors beside the clients' connections: calls to the service, database, journal, log."""

GRACE_SECONDS = 2.0
"""How long connections may take to end once every reply has ended or was told to."""

FORCED_SECONDS = 0.25
"""The same after a second signal: enough for an error and a receipt, and too short to be waited for."""

KEEP_BYTES = 16 * 1024 * 1024
"""Freed memory that is not given back to the system."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt(3)."""

_TICKS = 10
"""Uvicorn's ticks in a second: at every tenth it looks at the clock."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""What a terminal sends when its window is closed; Windows has none."""


class PortInUseError(OSError):
    """Somebody else listens there."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises PortInUseError, OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as failed:
        made = failed.enter_context(socket.socket(family, socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        try:
            made.bind((host.strip("[]"), port))
            made.listen(1024)
        except OSError as error:
            if error.errno in _in_use():
                raise PortInUseError(error.errno, error.strerror) from error
            raise
        made.setblocking(False)
        failed.pop_all()
        return made


def _in_use() -> set[int]:
    import errno

    return {errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)}


class _Server(uvicorn.Server):
    """Uvicorn's server with our way of stopping."""

    def __init__(
        self,
        config: uvicorn.Config,
        gateway: Gateway,
        drain_seconds: float,
        say: Callable[[str], None],
        ready: Callable[[], None],
        door: "tuple[uvicorn.Config, socket.socket] | None",
        patience: Patience,
    ) -> None:
        super().__init__(config)
        self._sweep = Sweep(patience, lambda: cast("set[Watched]", self.server_state.connections))
        self._door = door
        self._ready = ready
        self._gateway = gateway
        self._drain_seconds = drain_seconds
        self._say = say
        self._drained: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals while serving; leave with code 0 instead of raising them again."""
        taken = list(_SIGNALS)
        # Whoever began us under nohup wants us to outlive the terminal.
        if _HANG_UP is not None and signal.getsignal(_HANG_UP) is not signal.SIG_IGN:
            taken.append(_HANG_UP)
        before = {number: signal.signal(number, self.handle_exit) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of handlers
        """Begin to drain; the second time, stop at once."""
        if self._gateway.exchanges.draining:
            self.should_exit = self.force_exit = True
        self._gateway.exchanges.draining = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set if self.should_exit else self._begin_drain)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so only now: whoever sends a signal upon that is understood."""
        await super().startup(sockets)
        if self._door is not None:
            config, sock = self._door
            config.load()
            protocol: Any = config.http_protocol_class
            make = functools.partial(protocol, config, self.server_state, {})
            self.servers.append(await asyncio.get_running_loop().create_server(make, sock=sock))
        self._sweep.start(asyncio.get_running_loop())
        self._ready()

    async def main_loop(self) -> None:
        """Tick once a second, for the date in answers, until told to stop; uvicorn's own ticks ten times as often."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += _TICKS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what listens and every connection, those with an answer under way after it, for two seconds at most.

        As uvicorn does it, but for how soon it sees that nothing is left, and for what becomes of answers that a second
        signal ends.
        """
        self._sweep.stop()
        if self.force_exit:
            self._evict()
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        state, wait = self.server_state, 0.001
        for connection in list(state.connections):
            connection.shutdown()
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        while state.connections or state.tasks:
            grace = FORCED_SECONDS if self.force_exit else GRACE_SECONDS
            if asyncio.get_running_loop().time() >= began + grace:
                for task in state.tasks:
                    task.cancel()
                break
            await asyncio.sleep(wait)
            wait = min(wait * 2, 0.1)

    def _evict(self) -> None:
        """End what still runs, each request once: the second time would break off how it ends."""
        for request in tuple(self._gateway.exchanges.running):
            if not request.evicted:
                request.evict()

    def _begin_drain(self) -> None:
        self._drained = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        exchanges = self._gateway.exchanges
        if exchanges.running:
            count = len(exchanges.running)
            self._say(
                f"Stopping after {count} running {'reply' if count == 1 else 'replies'}; once more to stop at once."
            )
            done = asyncio.Event()
            exchanges.idle = done.set
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._drain_seconds):
                    await done.wait()
            self._evict()
        self.should_exit = True
        self._stop.set()


def _let_open(files: int) -> None:
    """Ask the system for so many descriptors, as far as this user may have them: many begin with 1,024."""
    try:
        import resource
    except ImportError:  # No POSIX system: there is no such limit.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems refuse what they say that they allow; then connections fail one by one, as they would have.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve(
    gateway: Gateway,
    settings: Server,
    sock: socket.socket,
    say: Callable[[str], None],
    ready: Callable[[], None] = lambda: None,
    door: socket.socket | None = None,
) -> None:
    """Serve ``gateway`` on ``sock`` until a signal, and on ``door`` Ollama's paths without a key.

    ``say`` tells the person at the terminal what happens; ``ready`` is called once requests and signals are taken.
    """
    options: dict[str, Any] = {}
    if settings.tls_cert:
        options = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}
    make = functools.partial(
        uvicorn.Config,
        http=protocol_class(settings.max_head_bytes, settings.max_connections, gateway.exchanges.overload),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    if settings.max_connections:
        _let_open(settings.max_connections + BESIDE_FILES)
    patience = Patience(
        settings.head_timeout,
        settings.body_idle_timeout,
        settings.body_timeout,
        settings.write_timeout,
        settings.keep_alive_timeout,
    )
    config = make(gateway.app, **options)
    # Its clients know no HTTPS.
    beside = None if door is None else (make(gateway.ollama), door)
    server = _Server(config, gateway, settings.drain_seconds, say, ready, beside, patience)
    state = server.server_state
    gateway.exposition.add(connections(lambda: len(state.connections)))
    try:
        await server.serve([sock])
    finally:
        if door is not None:
            door.close()


def settle_memory() -> None:
    """Tell the collector that what there is now stays; for a process that does nothing but serve, right before it does.

    Freed memory is kept for the next request, up to KEEP_BYTES of it, where the C library can be told so (glibc).
    """
    if sys.platform == "linux":
        import ctypes

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            # A request of half a megabyte takes and frees some of them: given back to the system each time, every page
            # would be mapped and cleared anew.
            mallopt(_M_TRIM_THRESHOLD, KEEP_BYTES)
            mallopt(_M_MMAP_THRESHOLD, KEEP_BYTES // 4)
    # What was made at start lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    # A request makes some hundred objects and no cycles: looking for them after every 700 costs 2 % for nothing.
    gc.set_threshold(20_000, 20, 20)
