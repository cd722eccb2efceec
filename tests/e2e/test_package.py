"""The package as others get it: what is in the wheel and in the source archive, and the program as the wheel installs it."""

import asyncio
import contextlib
import os
import shlex
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from fakes.line import request
from fittengate import __version__
from fittengate.services.tables import REVISION

ROOT = Path(__file__).parents[2]


def files(folder: Path) -> set[str]:
    """Return the files of a folder that are of use to others."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, which is to be a good one."""
    made = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert made.returncode == 0, made.stderr
    return made


def built(source: Path, target: Path, *what: str) -> Path:
    """Build packages of a source tree; return where they are."""
    run(sys.executable, "-m", "hatchling", "build", "--directory", target, *what, cwd=source)
    return target


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Give the folder with the wheel and the source archive of this tree."""
    return built(ROOT, tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session")
def wheel(packages):
    """Give the wheel."""
    return packages / f"fittengate-{__version__}-py3-none-any.whl"


class Installed:
    """The program as pip puts it there from the wheel, with an empty home, in a folder that holds nothing."""

    def __init__(self, wheel: Path, place: Path) -> None:
        self.lib, self.home, self.cwd = place / "lib", place / "home", place / "cwd"
        self.home.mkdir()
        self.cwd.mkdir()
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        run(*pip, "--no-deps", "--no-index", "--no-compile", "--target", self.lib, wheel)
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(self.lib)}
        self.command = (sys.executable, str(self.lib / "bin" / "fittengate"))

    def run(self, *arguments: object) -> str:
        """Run a command to its good end; return what it wrote."""
        return run(*self.command, *arguments, env=self.environ, cwd=self.cwd).stdout


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Give the installed program."""
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    """Pages and migrations too, and the mark that the package is typed."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    inside = {name.removeprefix("fittengate/") for name in names if name.startswith("fittengate/")}
    assert inside == files(ROOT / "src/fittengate")
    assert {"py.typed", "server/static/docs.js"} <= inside
    beside = {name for name in names if not name.startswith("fittengate/")}
    about = f"fittengate-{__version__}.dist-info"
    wanted = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    assert beside == {f"{about}/{name}" for name in wanted}


def test_a_wheel_can_be_made_of_the_source_archive(packages, wheel, tmp_path):
    """It is the same, byte by byte; documents and tests are in the archive, what lies about is not."""
    with tarfile.open(packages / f"fittengate-{__version__}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / f"fittengate-{__version__}"
    for folder in ("src", "docs", "tests", "deploy"):
        assert files(source / folder) <= files(ROOT / folder)
        assert len(files(source / folder)) > 10
    top = {path.name for path in source.iterdir()}
    assert {"README.md", "README.zh-CN.md", "LICENSE", "Makefile", "requirements.lock", "requirements-dev.lock"} <= top
    assert not top & {".venv", ".git", ".ci", "build", "config.ini"}
    again = built(source, tmp_path / "again", "--target", "wheel") / wheel.name
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert {name: one.read(name) for name in one.namelist()} == {
            name: other.read(name) for name in other.namelist()
        }


async def test_the_demo_of_an_installed_wheel_answers_its_own_line(installed):
    """The line that is to be pasted gets a whole stream; the pages are those of the source; nothing is left behind."""
    process = await asyncio.create_subprocess_exec(
        *installed.command,
        "demo",
        "--port",
        "0",
        env=installed.environ,
        cwd=installed.cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        line = ""
        async with asyncio.timeout(20):
            while not line.startswith("curl"):
                line = (await process.stdout.readline()).decode()
                assert line
        words = shlex.split(line)
        port = int(words[2].split("/")[2].rpartition(":")[2])
        headers = "".join(f"{words[at + 1]}\r\n" for at, word in enumerate(words) if word == "-H")
        body = words[words.index("-d") + 1].encode()
        reply = await request(port, "POST", "/v1/chat/completions", body, key=None, headers=headers)
        assert reply.status == 200
        assert reply.body.rstrip().endswith(b"data: [DONE]")
        static = ROOT / "src/fittengate/server/static"
        for path, name in (("/", "home.html"), ("/docs", "docs.html"), ("/docs.js", "docs.js")):
            page = await request(port, "GET", path, key=None)
            assert (page.status, page.body) == (200, (static / name).read_bytes())
        assert (await request(port, "GET", "/openapi.json", key=None)).json["info"]["version"] == __version__
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    assert list(installed.home.iterdir()) == list(installed.cwd.iterdir()) == []


def test_commands_of_an_installed_wheel_make_and_migrate_a_store(installed, tmp_path):
    """They run from the wheel itself, make a store, and bring one of the first version up to this one."""
    where = "import fittengate; print(fittengate.__file__)"
    told = run(sys.executable, "-c", where, env=installed.environ, cwd=installed.cwd).stdout
    assert Path(told.strip()).is_relative_to(installed.lib)
    assert installed.run("--version").split()[-1] == __version__
    state = ("--state-dir", tmp_path / "state")
    assert installed.run("keys", "create", "--name", "one", *state).startswith("fg_")
    assert "sound and up to date" in installed.run("store", "check", *state)
    old = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("CREATE TABLE responses (id VARCHAR(64) PRIMARY KEY, created BIGINT, size BIGINT)")
    url = ("--store-url", f"sqlite:///{old}")
    assert f"from revision 0001 to {REVISION}" in installed.run("store", "migrate", *state, *url)
