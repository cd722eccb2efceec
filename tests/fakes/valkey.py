"""A private Valkey or Redis of a test: in memory, on a free port of this machine, gone with the test."""

import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fakes.certificates import Certificate
from fakes.servers import missing

PROGRAMS = ("valkey-server", "redis-server")

PASSWORD = "pass-word-of-the-fleet"


def program() -> str:
    """Return the program; without one the test is left out, or fails where it may not be."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        missing(" or ".join(PROGRAMS), "redis-server")
    return found


class Valkey:
    """A server that can be stopped, held and started again on the same port; what it had is gone then."""

    def __init__(self, tls: Certificate | None = None) -> None:
        self._program = program()
        self._tls = tls
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.url = f"{'redis' if tls is None else 'rediss'}://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words: dict[str, Any] = {
            "--port": self.port,
            "--bind": "127.0.0.1",
            "--requirepass": PASSWORD,
            "--save": "",
            "--appendonly": "no",
            "--daemonize": "no",
        }
        if self._tls is not None:
            cert, key = self._tls
            words |= {"--port": 0, "--tls-port": self.port, "--tls-cert-file": cert, "--tls-key-file": key}
            words |= {"--tls-ca-cert-file": cert, "--tls-auth-clients": "optional"}
        line = [self._program, *(str(part) for pair in words.items() for part in pair)]
        self._process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        until = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < until, "the server did not start"
            assert self._process.poll() is None, "the server ended"
            time.sleep(0.01)

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hold(self) -> None:
        """Let it take connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: Any) -> Any:
        """Send a command; return the answer."""
        import redis

        with redis.Redis.from_url(self.url) as client:
            return client.execute_command(*words)

    def calls(self, command: str) -> int:
        """Return how often a command was sent."""
        return int(self.ask("INFO", "commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


@contextmanager
def valkey(tls: Certificate | None = None) -> Iterator[Valkey]:
    """Run a server; ``tls``: one that is spoken to in TLS alone, and shows this."""
    one = Valkey(tls)
    try:
        yield one
    finally:
        one.stop()


def name() -> str:
    """Return a name for a fleet that nobody else has."""
    return secrets.token_hex(4)
