"""The commands as a user runs them: real processes in front of a simulator in the test's own loop."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from fittengate.simulator import AccountRecord, Plan, Scenario, Simulator

PASSWORD = "a-password-nobody-may-see"
ACCOUNT = {"FITTENGATE_ACCOUNT_USERNAME": "me", "FITTENGATE_ACCOUNT_PASSWORD": PASSWORD}


@pytest.fixture
async def simulator():
    """Run a service that knows the account ``me``."""
    made = Simulator(Scenario(accounts=(AccountRecord(username="me", password=PASSWORD),)))
    await made.start()
    yield made
    await made.stop()


class Here:
    """A home of its own for the commands of one test."""

    def __init__(self, path: Path, base_url: str) -> None:
        self.path = path
        self.state = path / "state"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(path),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "FITTENGATE_SERVER_STATE_DIR": str(self.state),
            "FITTENGATE_SERVER_PORT": "0",
            "FITTENGATE_UPSTREAM_BASE_URL": base_url,
        }

    async def start(self, *arguments, env=None, **streams):
        """Start a command; its streams are pipes unless given."""
        pipe = asyncio.subprocess.PIPE
        streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, **streams}
        environ = {name: value for name, value in {**self.environ, **(env or {})}.items() if value is not None}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fittengate", *arguments, cwd=self.path, env=environ, **streams
        )

    async def run(self, *arguments, env=None, given=None):
        """Run a command to its end; return exit code, standard output and standard error."""
        stdin = asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE
        process = await self.start(*arguments, env=env, stdin=stdin)
        out, err = await process.communicate(None if given is None else given.encode())
        assert b"Traceback" not in out + err
        assert PASSWORD.encode() not in out + err
        return process.returncode, out.decode(), err.decode()

    @contextlib.asynccontextmanager
    async def serving(self, *arguments, env=None, **streams):
        """Run ``serve``; give the process, its port, and what it said up to then."""
        process = await self.start("serve", *arguments, env=env, **streams)
        said = ""
        try:
            while "all paths" not in said:
                line = (await process.stderr.readline()).decode()
                assert line, said
                said += line
            yield process, int(re.search(r"listening on http://[\d.]+:(\d+)", said)[1]), said
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            process._transport.close()


@pytest.fixture
def here(tmp_path, simulator):
    """Give an empty home, in front of the simulator."""
    return Here(tmp_path, simulator.base_url)


class Terminal:
    """A pseudo-terminal with a command on it."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self.shown = b""

    async def start(self, here, *arguments, **options):
        """Start a command with all its streams on the terminal."""
        ends = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave}
        self.process = await here.start(*arguments, start_new_session=True, **ends, **options)
        os.close(self.slave)

    async def until(self, text):
        """Read until the terminal shows ``text``; return all up to there."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        while text.encode() not in self.shown:
            arrived.clear()
            loop.add_reader(self.master, arrived.set)
            try:
                await asyncio.wait_for(arrived.wait(), 10)
            finally:
                loop.remove_reader(self.master)
            self.shown += os.read(self.master, 65536)
        end = self.shown.index(text.encode()) + len(text.encode())
        shown, self.shown = self.shown[:end].decode(), self.shown[end:]
        return shown

    def type(self, text):
        """Press keys."""
        os.write(self.master, text.encode())

    async def end(self):
        """Wait for the command; return its exit code."""
        code = await asyncio.wait_for(self.process.wait(), 10)
        os.close(self.master)
        return code


async def ask(port, method="GET", path="/readyz", key="", body=b""):
    """Send one request; return status, headers and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    raw = await reader.read()
    writer.close()
    head, _, rest = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:]), rest


async def test_an_account_is_signed_in_shown_used_and_forgotten(here, simulator):
    """login, whoami, models, chat, logout: tokens are kept for their owner alone, the password nowhere."""
    code, _, err = await here.run("login", env=ACCOUNT)
    assert (code, simulator.counters.logins) == (0, 1)
    assert "signed in" in err
    assert here.state.stat().st_mode & 0o777 == 0o700
    files = list(here.state.iterdir())
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    assert not any(PASSWORD in file.read_text() for file in files)
    stored = json.loads((here.state / "account.json").read_text())
    whoami, models, as_json, chat, piped = await asyncio.gather(
        here.run("whoami"),
        here.run("models"),
        here.run("models", "--json"),
        here.run("chat", "Say", "it"),
        here.run("chat", "--system", "Be brief.", "-m", "deepseek-r1", "echo turns", given="please think"),
    )
    assert whoami[0] == 0
    assert "user           me" in whoami[1]
    assert stored["user_id"] in whoami[1]
    assert here.environ["FITTENGATE_UPSTREAM_BASE_URL"] in whoami[1]
    assert "good for 29 days" in whoami[1]
    assert stored["access"] not in whoami[1]
    assert stored["refresh"] not in whoami[1]
    assert re.search(r"^deepseek-v3 +DeepSeek V3 +S2$", models[1], re.MULTILINE)
    assert {"id": "deepseek-r1", "display_name": "DeepSeek R1", "selection": "S3"} in json.loads(as_json[1])
    assert chat[:1] + chat[2:] == (0, "")
    assert chat[1].endswith("The last thing you said: Say it\n")
    # Reasoning is left out of a pipe; nothing but the answer is in it.
    assert piped[:1] + piped[2:] == (0, "")
    assert piped[1].startswith("1. system: Be brief.\n2. user: echo turns\n\nplease think\n")
    assert "The user asked me to think" not in piped[1]
    assert simulator.counters.logins == 1
    assert (await here.run("logout"))[0] == 0
    gone = await here.run("whoami")
    assert gone[:2] == (1, "")
    assert "fittengate login" in gone[2]
    again = await here.run("logout")
    assert again[0] == 0
    assert "no login" in again[2]


async def test_a_wrong_password_is_one_line_and_changes_nothing(here, simulator):
    """Exit code 1; the stored login stays; what was refused is shown by doctor."""
    await here.run("login", env=ACCOUNT)
    before = (here.state / "account.json").read_text()
    wrong = {**ACCOUNT, "FITTENGATE_ACCOUNT_PASSWORD": "wrong"}
    code, out, err = await here.run("login", env=wrong)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "refused the user name or the password" in err
    assert (here.state / "account.json").read_text() == before
    (here.state / "account.json").unlink()
    code, out, _ = await here.run("doctor", env=wrong)
    assert code == 1
    assert re.search(r"^fail  account: .*not tried again before \d{4}-", out, re.MULTILINE)
    assert simulator.counters.failed_logins == 1


async def test_a_refresh_token_comes_through_standard_input_alone(here, simulator):
    """It is tried before it is kept; on the command line it is refused, for others could see it there."""
    await here.run("login", env=ACCOUNT)
    token = json.loads((here.state / "account.json").read_text())["refresh"]
    await here.run("logout")
    shown, nonsense, nothing, good = await asyncio.gather(
        here.run("login", "--refresh-token", token),
        here.run("login", "--refresh-token", "-", given="abc\n"),
        here.run("login", "--refresh-token", "-", given=""),
        here.run("login", "--refresh-token", "-", given=token + "\n"),
    )
    assert shown[0] == 2
    assert token not in shown[2]
    assert nonsense[0] == nothing[0] == 1
    assert good[0] == 0
    assert simulator.counters.refreshes == 1
    assert (await here.run("chat", "hi"))[0] == 0
    simulator.expire("refresh")
    refused = await here.run("login", "--refresh-token", "-", given=token)
    assert refused[0] == 1
    assert "does not accept this refresh token" in refused[2]


async def test_login_on_a_terminal_asks_and_shows_no_password(here):
    """What is typed as password does not appear, and no file in the working directory may say where it goes."""
    terminal = Terminal()
    await terminal.start(here, "login")
    await terminal.until("phone: ")
    terminal.type("me\n")
    await terminal.until("Password: ")
    terminal.type(f"{PASSWORD}\n")
    shown = await terminal.until("signed in to")
    assert PASSWORD not in shown
    assert await terminal.end() == 0
    (here.path / "fittengate.toml").write_text('[upstream]\nbase_url = "http://127.0.0.1:9"\n')
    led = {"FITTENGATE_UPSTREAM_BASE_URL": None}
    by_token = await here.run("login", "--refresh-token", "-", given="abc", env=led)
    terminal = Terminal()
    await terminal.start(here, "login", "--username", "me", env=led)
    assert "./fittengate.toml: upstream.base_url" in await terminal.until("--config ./fittengate.toml")
    assert (by_token[0], await terminal.end()) == (2, 2)
    nobody_there = await here.run("login", "--username", "me")
    assert nobody_there[0] == 1
    assert "no terminal" in nobody_there[2]


async def test_chat_on_a_terminal_keeps_the_conversation(here, simulator):
    """Ctrl-C stops the answer and not the program; reasoning is dim; Ctrl-D leaves."""
    await here.run("login", env=ACCOUNT)
    terminal = Terminal()
    await terminal.start(here, "chat")
    await terminal.until("> ")
    simulator.plan("chat", Plan(reasoning="Hm", text="word1 word2", cut="stall", cut_after=1))
    terminal.type("first\n")
    shown = await terminal.until("word")
    assert "\x1b[2mH" in shown
    await simulator.wait_held()
    terminal.process.send_signal(signal.SIGINT)
    await terminal.until("stopped")
    await terminal.until("> ")
    terminal.type("echo turns\n")
    shown = await terminal.until("3. user: echo turns")
    assert "1. user: first" in shown
    assert "2. assistant: word" in shown
    await terminal.until("> ")
    simulator.plan("chat", Plan(status=400))
    terminal.type("refuse\n")
    await terminal.until("refused the request")
    await terminal.until("> ")
    terminal.type("\x04")
    assert await terminal.end() == 0


async def test_doctor_finds_nothing_wrong_where_nothing_is(here, simulator):
    """Every check is a line; ``--no-chat`` asks the model nothing; a running gateway is recognised."""
    await here.run("login", env=ACCOUNT)
    async with here.serving(env=ACCOUNT) as (_, port, _said):
        async with asyncio.timeout(10):
            while (await ask(port))[0] != 200:
                await asyncio.sleep(0.02)
        (code, out, err), (quiet, short, _) = await asyncio.gather(
            here.run("doctor", "--port", str(port)), here.run("doctor", "--no-chat")
        )
    assert (code, err) == (0, ""), out
    assert [line[:4].strip() for line in out.splitlines()] == ["ok"] * len(out.splitlines())
    names = [re.match(r"ok +([a-z ]+): ", line)[1] for line in out.splitlines()]
    expected = "settings/state directory/disk/store/journal/keys/protocol/account/name/connection/service/clock"
    expected += "/login/refresh/models/chat/tools/completion/port"
    assert "/".join(names) == expected
    assert "is ready" in out
    assert "--no-chat" in short
    assert quiet == 0
    # One for chat, two for a tool and what it gave; the second run asks the model nothing.
    assert simulator.counters.requests["chat"] == 3
    assert "\x1b" not in out


async def test_doctor_says_what_is_wrong(here, simulator):
    """A damaged login, a clock that is off, and a port that another program holds; settings that cannot be read."""
    await here.run("login", env=ACCOUNT)
    (here.state / "account.json").write_text("{")
    simulator.plan("unknown", Plan(status=404, headers={"Date": "Sun, 09 Sep 2001 01:46:40 GMT"}), times=None)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = str(held.getsockname()[1])
        (code, out, _), (bad, wrong, _) = await asyncio.gather(
            here.run("doctor", "--port", port), here.run("doctor", "--port", "x")
        )
    assert code == 1
    assert re.search(r"^fail  account: .*damaged.*fittengate login", out, re.MULTILINE)
    assert re.search(r"^warn  clock: this machine is \d+ s ahead of the service", out, re.MULTILINE)
    assert re.search(r"^fail  port: .*--port", out, re.MULTILINE)
    assert bad == 1
    assert wrong.startswith("fail  settings: --port: server.port: expected")


async def test_doctor_stops_where_the_service_cannot_be_reached(here, simulator):
    """Login, models and chat are not tried where there is no way."""
    await here.run("login", env=ACCOUNT)
    await simulator.stop()
    code, out, _ = await here.run("doctor")
    assert code == 1
    assert re.search(r"^fail  service: .*no connection", out, re.MULTILINE)
    assert re.search(r"^warn  login: not tried", out, re.MULTILINE)


async def test_bad_usage_and_bad_settings_leave_with_2_and_name_everything(here, tmp_path):
    """The table's own words, all of them at once; a command that is none; a scenario that is none."""
    (tmp_path / "scenario.json").write_text('{"nonsense": 1}')
    (tmp_path / "bad.pem").write_text("no certificate")
    serve, demo, unknown, scenario, pem, nothing = await asyncio.gather(
        here.run("serve", "--port", "x", "--max-concurrency", "-1"),
        here.run("demo", "--port", "70000", "--host", ""),
        here.run("sevre"),
        here.run("simulate", "--port", "0", "--scenario", "scenario.json"),
        here.run("models", env={**ACCOUNT, "FITTENGATE_UPSTREAM_CA_FILE": "bad.pem"}),
        here.run("chat", given="  \n"),
    )
    assert [result[0] for result in (serve, demo, unknown, scenario, pem, nothing)] == [2] * 6
    assert "--port: server.port: expected a whole number from 0 to 65535, not 'x'" in serve[2]
    assert "--max-concurrency: upstream.max_concurrency" in serve[2]
    assert "server.port" in demo[2]
    assert "server.host" in demo[2]
    assert "--scenario: " in scenario[2]
    assert "nonsense" in scenario[2]
    assert "upstream.ca_file" in pem[2]


async def test_the_simulator_takes_no_nonsense_for_an_address(here):
    """An empty host would be every address of the machine; what cannot be listened on is one line."""
    empty, large, words, nowhere = await asyncio.gather(
        here.run("simulate", "--host", "", "--port", "0"),
        here.run("simulate", "--port", "70000"),
        here.run("simulate", "--port", "5x"),
        here.run("simulate", "--host", "192.0.2.1", "--port", "0"),
    )
    assert [result[0] for result in (empty, large, words, nowhere)] == [2, 2, 2, 1]
    assert "--host: expected an address" in empty[2]
    assert all("--port: expected a whole number from 0 to 65535" in result[2] for result in (large, words))
    assert "Check --host and --port." in nowhere[2]
    assert all(len(result[2].splitlines()) == 1 for result in (empty, large, words, nowhere))


async def test_a_port_in_use_is_one_line_that_names_the_flag(here):
    """Exit code 1, and no key is made by a start that failed."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = str(held.getsockname()[1])
        results = await asyncio.gather(
            here.run("serve", "--port", port), here.run("demo", "--port", port), here.run("simulate", "--port", port)
        )
    for code, out, err in results:
        assert (code, out) == (1, "")
        assert len(err.splitlines()) == 1
        assert f"port {port} is in use. Choose another one with --port." in err
    assert not (here.state / "first-key").exists()


async def test_serve_without_an_account_starts_and_says_so_in_every_answer(here):
    """Not ready, 503 with a minute to wait, and the command that helps; the key is in a private file; SIGTERM is 0."""
    begun = time.monotonic()
    async with here.serving() as (process, port, said):
        status, _, body = await ask(port)
        took = time.monotonic() - begun
        assert status == 503
        assert "No Fitten account yet" in (await process.stderr.readline()).decode()
        path = here.state / "first-key"
        assert path.stat().st_mode & 0o777 == 0o600
        key = path.read_text().strip()
        assert key not in said
        question = json.dumps({"model": "fitten-code", "messages": [{"role": "user", "content": "hi"}]}).encode()
        status, headers, body = await ask(port, "POST", "/v1/chat/completions", key, question)
        assert status == 503
        assert int(headers["retry-after"]) >= 60
        assert headers["x-should-retry"] == "false"
        error = json.loads(body)["error"]
        assert error["code"] == "account_login_failed"
        assert "fittengate login" in error["message"]
        status, _, body = await ask(port)
        assert status == 503
        assert b"fittengate login" in body
        # Somebody signs in beside the running gateway: the next question but one second is answered.
        assert (await here.run("login", env=ACCOUNT))[0] == 0
        for _ in range(100):
            status, *_ = await ask(port, "POST", "/v1/chat/completions", key, question)
            if status == 200:
                break
            await asyncio.sleep(0.05)
        assert status == 200
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    # Three times the promise, for a machine that does other things too.
    assert took < 3


async def test_a_bundle_takes_nobody_the_first_key(here):
    """Where nobody answers no key is made for it, and the one that is made is no client's: a first key is made yet."""
    code, _, err = await here.run("bundle", "req_1", env={"FITTENGATE_SERVER_PORT": "9"})
    assert (code, "no gateway answers" in err) == (1, True)
    assert "no keys yet" in (await here.run("keys", "list", "--all"))[2]
    async with here.serving(env={"FITTENGATE_SERVER_API_KEY": "a-key-of-the-settings"}) as (_, port, _):
        code, _, err = await here.run("bundle", "req_1", env={"FITTENGATE_SERVER_PORT": str(port)})
        assert (code, "No exchange of this id" in err) == (1, True)
    assert "fittengate bundle" in (await here.run("keys", "list", "--all"))[1]
    assert "none yet" in (await here.run("doctor", "--offline"))[1]
    async with here.serving() as (_, _, said):
        assert "a key was made" in said


async def test_a_start_with_nothing_but_ended_keys_says_so(here):
    """No key is made behind the back of whoever revoked them all."""
    assert (await here.run("keys", "create", "--name", "laptop"))[0] == 0
    assert (await here.run("keys", "revoke", "laptop"))[0] == 0
    assert "none that works" in (await here.run("doctor", "--offline"))[1]
    async with here.serving() as (_, _, said):
        assert "no key works any more" in said
        assert "a key was made" not in said


async def test_the_first_key_is_shown_once_on_a_terminal(here):
    """Then never again, and ``--new-key`` makes another."""
    keys = []
    for arguments in ([], [], ["--new-key"]):
        terminal = Terminal()
        await terminal.start(here, "serve", *arguments)
        shown = await terminal.until("all paths")
        keys.append(re.findall(r"shown only this once: (fg_\S+)", shown))
        terminal.process.send_signal(signal.SIGTERM)
        assert await terminal.end() == 0
    assert [len(found) for found in keys] == [1, 0, 1]
    assert keys[0] != keys[2]
    assert not (here.state / "first-key").exists()


async def test_sigterm_before_the_gateway_listens_is_a_clean_end_too(here):
    """The handler is there before the slow imports are."""
    fifo = here.path / "settings.toml"
    os.mkfifo(fifo)
    process = await here.start("serve", "--config", "settings.toml")
    # The command reads its settings from the pipe, and waits there.
    writer = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    os.close(writer)
    assert (process.returncode, err) == (0, b"")


async def test_a_reader_that_leaves_is_not_complained_about(here, simulator):
    """A broken pipe is quiet, and so is Ctrl-C."""
    await here.run("login", env=ACCOUNT)
    reader, writer = os.pipe()
    os.close(reader)
    simulator.plan("chat", Plan(text="hello", cut="stall", cut_after=1), times=1)
    stopped = await here.start("chat", "hi")
    await simulator.wait_held()
    closed = await here.start("chat", "hi", stdout=writer)
    os.close(writer)
    _, err = await closed.communicate()
    assert (closed.returncode, err) == (1, b"")
    stopped.send_signal(signal.SIGINT)
    out, err = await stopped.communicate()
    # The line that the terminal showed ^C on is ended.
    assert (stopped.returncode, out, err) == (130, b"hello\n", b"\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")
async def test_an_output_that_takes_nothing_is_one_line(here):
    """A full disk is told in one line with exit code 1; streams that are closed are no defect of the program."""
    full = os.open("/dev/full", os.O_WRONLY)
    process = await here.start("models", "--help", stdout=full)
    os.close(full)
    _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (1, "fittengate: No space left on device. Free some space.\n")
    shell = ["sh", "-c", f'exec "{sys.executable}" -m fittengate "$@" <&- >&- 2>"{here.path}/err"', "sh"]
    for arguments in (["keys", "list"], ["usage"], ["login", "--refresh-token", "-"]):
        closed = await asyncio.create_subprocess_exec(*shell, *arguments, cwd=here.path, env=here.environ)
        code = await closed.wait()
        said = (here.path / "err").read_text()
        assert "defect" not in said
        assert code == (1 if arguments[0] == "login" else 0)


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
async def test_a_terminal_gets_colours_unless_it_wants_none(here, environ, coloured):
    """``NO_COLOR`` and a dumb terminal are heeded by every command."""
    import pty

    ours, theirs = pty.openpty()
    process = await here.start("doctor", "--offline", env=environ, stdout=theirs)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):
        while data := await asyncio.to_thread(os.read, ours, 65536):
            said += data
    os.close(ours)
    await process.wait()
    assert b"settings" in said
    assert (b"\x1b[" in said) is coloured


async def test_a_traceback_is_shown_only_when_it_is_asked_for(here):
    """``--debug`` and FITTENGATE_DEBUG show where an error came from."""
    plain, flag, variable = await asyncio.gather(
        here.run("models"),
        here.start("--debug", "models"),
        here.start("models", env={"FITTENGATE_DEBUG": "1"}),
    )
    assert len(plain[2].splitlines()) == 1
    for process in (flag, variable):
        _, err = await process.communicate()
        assert process.returncode == 1
        assert b"Traceback" in err


async def test_help_comes_at_once(here):
    """No library of the server or the client is loaded for it, and the best of three takes well under a second."""
    heavy = {"aiohttp", "uvicorn", "starlette", "rich", "httptools", "uvloop", "filelock", "ssl", "asyncio"}
    code = (
        "import sys; from fittengate.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: print(*sys.modules)"
    )

    async def loaded(*arguments):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *arguments, stdout=pipe)
        out, _ = await process.communicate()
        return heavy & set(out.decode().splitlines()[-1].split())

    assert await loaded("--help") == set()
    assert await loaded("serve", "--help") <= {"asyncio", "ssl"}
    assert await loaded("doctor", "--help") <= {"asyncio", "ssl"}
    assert await loaded("bundle", "--help") <= {"asyncio", "ssl"}
    times = []
    for _ in range(3):
        begun = time.monotonic()
        assert (await here.run("--help"))[0] == 0
        times.append(time.monotonic() - begun)
    assert min(times) < 0.6


@pytest.mark.parametrize(
    "name", ["demo", "serve", "login", "logout", "whoami", "models", "chat", "doctor", "bundle", "simulate"]
)
def test_every_command_has_help(name):
    """The first line says what it does."""
    from click.testing import CliRunner

    from fittengate.cli import COMMANDS, commands

    assert name in COMMANDS
    result = CliRunner().invoke(commands, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: commands {name}")


async def test_a_stale_login_is_renewed_by_the_command_that_needs_it(here, simulator):
    """And what came is saved for the next one."""
    await here.run("login", env=ACCOUNT)
    simulator.expire("access")
    for _ in range(2):
        assert (await here.run("whoami"))[0] == 0
    assert simulator.counters.refreshes == 1
    assert simulator.counters.logins == 1
