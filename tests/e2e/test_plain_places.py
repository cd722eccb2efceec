"""The program where nothing is as on a developer's machine: other locales, closed directories, no streams, IPv6."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import sys

import pytest

from fakes.line import ask, events, written
from fakes.running import environment

LIMITED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Makes root heed the modes of files, as everybody else does."""

PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Nowhere/Nothing", "LANG": "xx_YY.GBK"}
"""No locale that knows more than ASCII, and a time zone that there is not."""

needs_modes = pytest.mark.skipif(
    os.name != "posix" or (os.geteuid() == 0 and shutil.which(LIMITED[0]) is None),
    reason="needs setpriv, or not to be root",
)


def ipv6():
    """Tell whether this machine has an IPv6 loopback."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as made:
        made.bind(("::1", 0))
        return True
    return False


class There:
    """A folder with a blank and Chinese characters in its name, and what runs the program in it."""

    def __init__(self, path, simulator) -> None:
        self.path = path / "my files \u4e2d\u6587"
        self.path.mkdir()
        self.state = self.path / ".local/state/fittengate"
        self.environ = {**environment(simulator, self.path, server_state_dir=None, server_port=None), **PLAIN}
        self.environ["HOME"] = str(self.path)
        self.limits = LIMITED if os.geteuid() == 0 and shutil.which(LIMITED[0]) else ()

    async def start(self, *arguments, flags=(), cwd=None, env=(), **streams):
        """Start a command."""
        pipe = asyncio.subprocess.PIPE
        streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, **streams}
        return await asyncio.create_subprocess_exec(
            *self.limits,
            *(sys.executable, *flags, "-m", "fittengate", *arguments),
            cwd=cwd or self.path,
            env={**self.environ, **dict(env)},
            **streams,
        )

    async def run(self, *arguments, **options):
        """Run a command to its end; return its exit code and all that it said."""
        process = await self.start(*arguments, **options)
        out, err = await process.communicate()
        assert b"Traceback" not in out + err
        assert b"defect" not in out + err
        return process.returncode, (out + err).decode()

    @contextlib.asynccontextmanager
    async def serving(self, *arguments, **options):
        """Run ``serve``; give the process, its address, and a list that holds all of its errors in the end."""
        process, said = await self.start("serve", "--port", "0", *arguments, **options), []

        async def read():
            said.extend([line.decode() async for line in process.stderr])

        try:
            while not said or "all paths" not in said[-1]:
                said.append((await process.stderr.readline()).decode())
                assert said[-1], said
            host, port = re.search(r"listening on http://(.+):(\d+)", "".join(said)).groups()
            reading = asyncio.create_task(read())
            yield process, (host.strip("[]"), int(port)), said
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0
            await reading
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@pytest.fixture
def there(tmp_path, simulator):
    """Give an empty home of an odd name, in front of the simulator."""
    return There(tmp_path, simulator)


async def asked(address, number):
    """Ask for a stream or a whole answer, and leave some of them early; return what came."""
    reader, writer = await asyncio.open_connection(*address)
    body = ask("Hello \u4e2d", stream=bool(number % 2))
    writer.write(written("POST", "/v1/chat/completions", json.dumps(body).encode(), headers="Connection: close\r\n"))
    try:
        if number % 5 == 3:
            await reader.read(1 if number % 2 else 0)
            return b""
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.transport.abort()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("flags", [("-X", "dev", "-W", "error", "-bb"), ("-O",)], ids=" ".join)
async def test_a_session_leaves_nothing_unclosed(there, flags):
    """Warnings are errors, and asserts are gone: twenty requests, some left early, and commands beside them work all the same."""
    async with there.serving(flags=flags) as (_, address, said):
        answers = await asyncio.gather(*(asked(address, number) for number in range(20)))
        for number, answer in enumerate(answers):
            if number % 5 != 3:
                assert answer.startswith(b"HTTP/1.1 200")
                assert number % 2 == 0 or events(answer.partition(b"\r\n\r\n")[2])[-1] == "[DONE]"
        for arguments in (["keys", "create", "--name", "one"], ["usage"], ["doctor", "--offline"]):
            code, told = await there.run(*arguments, flags=flags)
            assert (code, "Warning" in told) == (0, False), told
    told = "".join(said)
    assert not re.search(r"Warning|Traceback|defect|Exception ignored|never retrieved", told), told
    assert stat.S_IMODE(there.state.stat().st_mode) == 0o700


async def test_streams_that_are_closed_are_not_missed(there):
    """Neither of the three is there: the gateway runs and stops like any other."""
    port = there.path / "port"
    code = (
        "import socket, sys; from fittengate.server import run; listen = run.listen\n"
        "def told(host, port):\n"
        "    made = listen(host, port)\n"
        f"    open({str(port)!r}, 'w').write(str(made.getsockname()[1]))\n"
        "    return made\n"
        "run.listen = told\n"
        "from fittengate.cli import main; main(['serve', '--port', '0'])\n"
    )
    script = there.path / "script.py"
    script.write_text(code, encoding="utf-8")
    environ = {**there.environ, "PYTHONUTF8": "1"}
    shell = f"exec {shlex.join([sys.executable, str(script)])} <&- >&- 2>&-"
    process = await asyncio.create_subprocess_exec("sh", "-c", shell, cwd=there.path, env=environ)
    try:
        async with asyncio.timeout(20):
            while not port.exists() or not port.read_text():
                await asyncio.sleep(0.02)
        assert (await asked(("127.0.0.1", int(port.read_text())), 0)).startswith(b"HTTP/1.1 200")
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@needs_modes
async def test_a_working_directory_of_somebody_else_is_no_obstacle(there):
    """Whoever begins the program as another user often stands in a directory that this user cannot search."""
    closed = there.path / "closed"
    closed.mkdir()
    (closed / "fittengate.toml").write_text("[server]\nport = 1\n", encoding="utf-8")
    closed.chmod(0)
    try:
        assert (await there.run("keys", "list", cwd=closed))[0] == 0
        code, told = await there.run("keys", "list", "--config", "fittengate.toml", cwd=closed)
        assert (code, "fittengate.toml: cannot be read (permission denied)" in told) == (2, True)
    finally:
        closed.chmod(0o700)


@needs_modes
async def test_a_store_that_may_only_be_read_is_not_called_damaged(there):
    """Nobody is told to move a good file away: the commands say whose turn it is."""
    assert (await there.run("keys", "create", "--name", "one"))[0] == 0
    there.state.chmod(0o500)
    try:
        for arguments in (["store", "check"], ["store", "backup", "copy.db"]):
            code, told = await there.run(*arguments)
            assert code == 1
            assert told.count("\n") == 1
            assert told.endswith("Run this as its owner.\n")
            assert "away" not in told
        code, told = await there.run("serve", "--port", "0")
        assert (code, told.count("\n")) == (2, 1)
        assert "not writable. Set server.state_dir" in told
    finally:
        there.state.chmod(0o700)


@pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_the_gateway_listens_on_ipv6(there, host):
    """With and without brackets; addresses that it says have them."""
    async with there.serving("--host", host) as (_, address, said):
        assert (await asked(address, 0)).startswith(b"HTTP/1.1 200")
    assert f"base URL for OpenAI clients: http://[::1]:{address[1]}/v1\n" in "".join(said)


@pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6")
async def test_the_line_of_the_demo_is_good_for_every_shell(there):
    """Brackets are quoted: to some shells they are a pattern, for which there is no file."""
    process = await there.start("demo", "--host", "::1", "--port", "0", env={"FITTENGATE_SERVER_API_KEY": ""})
    try:
        async with asyncio.timeout(20):
            while not (line := (await process.stdout.readline()).decode()).startswith("curl"):
                assert line
        assert re.match(r"curl -N 'http://\[::1\]:\d+/v1/chat/completions' -H ", line)
    finally:
        process.kill()
        await process.communicate()
