"""A PostgreSQL server of our own: made, started and ended by the tests, reached by a socket in its own directory."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from fakes.servers import missing, newest

# What is lost when the machine stops is no concern of a test.
OPTIONS = {
    "listen_addresses": "''",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
}


class Postgres:
    """A server; it runs when it was made."""

    def __init__(self) -> None:
        """Make its directory and start it. Leaves the test out where there is no PostgreSQL."""
        found = newest("usr/lib/postgresql/*/bin/postgres")
        if found is None:
            missing("PostgreSQL", "postgresql")
        self._bin = found.parent
        # A path of a socket has to be short, and the server's user has to get there.
        self._root = Path(tempfile.mkdtemp(prefix="fittengate-pg-", dir="/tmp"))
        self._data = self._root / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        if os.geteuid() == 0:
            os.chown(self._root, *_user())
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        given = [word for name, value in OPTIONS.items() for word in ("-c", f"{name}={value.strip(chr(39))}")]
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, "-k", self._root, *given],
                stdout=log,
                stderr=log,
                cwd=self._root,
                **_as_user(),
            )
        end = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                assert time.monotonic() < end, (self._root / "log").read_text()
                assert self._process.poll() is None, (self._root / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """End it as if its machine had stopped; what it has stays."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)
            self._process = None

    def freeze(self) -> None:
        """Stop every process of it: connections stay open, and nothing answers."""
        for number in self._processes():
            os.kill(number, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for number in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGCONT)

    def close(self) -> None:
        """End it, and delete what it has."""
        self.stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def database(self) -> str:
        """Make an empty database; return its URL."""
        self._count += 1
        name = f"db{self._count}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str) -> str:
        """Return the URL of a database of this name."""
        return f"postgresql://postgres:a-pass-word@/{name}?host={self._root}"

    def _processes(self) -> list[int]:
        if self._process is None:
            return []
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def _run(self, name: str, *arguments: Any) -> None:
        done = subprocess.run(
            [self._bin / name, *arguments], capture_output=True, text=True, cwd=self._root, check=False, **_as_user()
        )
        assert done.returncode == 0, done.stderr


def _user() -> tuple[int, int]:
    """Return user and group of the server where we are root: it refuses to run as that."""
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return entry.pw_uid, entry.pw_gid


def _as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user, group = _user()
    return {"user": user, "group": group, "extra_groups": []}


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, read past the program; none where there is no such table yet."""
    with psycopg.connect(url) as connection:
        try:
            return connection.execute(statement).fetchall()
        except psycopg.errors.UndefinedTable:
            return []
