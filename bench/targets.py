"""The two programs that are compared, and the simulated service behind both.

nginx passes the service's own chat endpoint on; the gateway is asked in the OpenAI dialect. Each has the request that
its client would send, and a check that the reply is right.
"""

import contextlib
import gzip
import hashlib
import http.client
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from measure import allow_many_files
from processes import BenchError, Cores, Running, free_port, plain_environment, running, wait_for_port
from wire import Post, exchange

KEY = "sk-bench-0123456789abcdef"
TOKEN = " token"
"""The text of every delta; no other part of a reply holds it."""

CODE = "def add(left, right):"
CODE_RESULT = "\n    return left + right"
"""A place in a file and what the service suggests there."""

LIMITS = ("rpm", "tpm", "concurrency", "tokens-per-day", "tokens-per-month")
"""All kinds that a key may have, as options of ``keys create``."""

SHORT_PROMPT = "Write a function that adds two numbers."

_NGINX = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.err error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_max_body_size 64m;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream service {{ server 127.0.0.1:{service}; keepalive 2048; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
    location /stream/ {{
      proxy_pass http://service/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


class Target(NamedTuple):
    """A program under measurement."""

    name: str
    pid: int
    whole: Post
    stream: Post
    large: Post
    """A whole reply to a prompt of 512 KB."""
    call: Post
    """A stream with one tool declared, which the reply calls."""
    tools: Post
    """A whole reply to a short prompt with 60 tools, 48 KB of them."""
    fill: Callable[[str, bool], Post]
    """The completion of a file up to the cursor, streamed or not."""


class Stage(NamedTuple):
    """Everything that runs at one time."""

    nginx: Target
    gateway: Target
    ready_seconds: float
    """From the start of the gateway until it answered."""
    service: int
    """Port of the simulated service."""

    def completions(self) -> int:
        """Return how many completions the service was asked for."""
        connection = http.client.HTTPConnection("127.0.0.1", self.service, timeout=10)
        connection.request("GET", "/_sim/counters")
        count = json.loads(connection.getresponse().read())["completions"]
        connection.close()
        return int(count)


@contextlib.contextmanager
def stage(
    folder: Path,
    cores: Cores,
    *,
    deltas: int,
    interval_ms: float,
    forms: Sequence[str] = (),
    call: bool = False,
    completion: Mapping[str, object] | None = None,
) -> Iterator[Stage]:
    """Run the service, which replies with so many deltas, and both programs before it; check replies of these forms.

    ``call``: the deltas are one tool call of 20 KB. ``completion`` says how code is completed.
    """
    if not allow_many_files(8192):
        raise BenchError("too few open files are allowed; raise the limit with `ulimit -Hn 8192`")
    with contextlib.ExitStack() as stack:
        service, bearer, user = stack.enter_context(
            _service(folder, cores, {"interval_ms": interval_ms, **reply_of(deltas, call=call)}, completion or {})
        )
        proxy = stack.enter_context(_nginx(folder, cores, service, bearer, user))
        gateway, ready = stack.enter_context(gateway_on(folder, cores, service))
        staged = Stage(proxy, gateway, ready, service)
        for form in forms:
            _verify(staged, form, deltas, paced=interval_ms >= 1)
        yield staged


@contextlib.contextmanager
def _service(
    folder: Path, cores: Cores, fast: Mapping[str, object], completion: Mapping[str, object]
) -> Iterator[tuple[int, str, str]]:
    scenario = folder / "scenario.json"
    scenario.write_text(json.dumps({"fast": fast, "completion": completion}))
    command: list[str | Path] = [sys.executable, "-m", "fittengate.simulator", "--port", "0", "--scenario", scenario]
    env = plain_environment(folder)
    with running("simulator", command, folder, core=cores.others, env=env) as program:
        port = _told_port(program)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/codeuser/auth/login", json.dumps({"username": "demo", "password": "demo"}))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        yield port, answer["access_token"], answer["user_info"]["user_id"]


def _told_port(program: Running) -> int:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        program.check()
        words = program.output.read_text()
        if words.endswith("\n") and "listening on " in words:
            return int(words.split("listening on ", 1)[1].split()[0].rpartition(":")[2])
        time.sleep(0.01)
    raise BenchError(f"{program.name} did not say where it listens")


@contextlib.contextmanager
def _nginx(folder: Path, cores: Cores, service: int, bearer: str, user: str) -> Iterator[Target]:
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, service=service, port=port))
    command: list[str | Path] = ["nginx", "-p", folder, "-c", config, "-e", folder / "nginx.err"]
    with running("nginx", command, folder, core=cores.measured, env=plain_environment(folder)) as program:
        wait_for_port(program, port)
        path = f"/codeapi/chat_auth?ft_token={user}"

        def post(path: str, prompt: str) -> Post:
            body = {"inputs": f"<|user|>\n{prompt}\n<|end|>\n<|assistant|>", "ft_token": user, "meta_datas": {}}
            return Post(port, path, {"Authorization": f"Bearer {bearer}"}, json.dumps(body).encode())

        yield Target(
            "nginx",
            program.pid,
            post(path, SHORT_PROMPT),
            post(f"/stream{path}", SHORT_PROMPT),
            post(path, large_prompt()),
            post(f"/stream{path}", SHORT_PROMPT),
            post(path, json.dumps(many_tools()) + SHORT_PROMPT),
            lambda text, _stream: _fill(port, user, bearer, text),
        )


def _fill(port: int, user: str, bearer: str, text: str) -> Post:
    """Return the service's own completion request, as its plugins send it."""
    size = len(text)
    offsets = {"cpos": size, "bcpos": size, "plen": 0, "slen": 0, "bplen": 0, "bslen": 0}
    md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    meta = {"filename": "untitled", "pmd5": "", "nmd5": md5, "diff": text, **offsets}
    body = gzip.compress(json.dumps({"inputs": "", "meta_datas": meta}).encode(), 1)
    headers = {"Authorization": f"Bearer {bearer}", "Content-Encoding": "gzip"}
    return Post(port, f"/codeapi/completion/generate_one_stage_auth/{user}", headers, body)


@contextlib.contextmanager
def gateway_on(
    folder: Path,
    cores: Cores,
    service: int,
    *,
    name: str = "gateway",
    limits: Sequence[str] | None = None,
    **settings: str,
) -> Iterator[tuple[Target, float]]:
    """Run the gateway before a service; yields it and the seconds until it answered.

    ``limits``: what it is asked with is a key of the store that has these limits; None for a key of the settings.
    ``settings`` as in ``STORE_URL="none"``.
    """
    port = free_port()
    state = folder / f"state-{port}"
    state.mkdir(mode=0o700)
    env = plain_environment(folder) | {
        "FITTENGATE_SERVER_PORT": str(port),
        "FITTENGATE_SERVER_API_KEY": KEY,
        "FITTENGATE_SERVER_STATE_DIR": str(state),
        "FITTENGATE_ACCOUNT_USERNAME": "demo",
        "FITTENGATE_ACCOUNT_PASSWORD": "demo",
        "FITTENGATE_UPSTREAM_BASE_URL": f"http://127.0.0.1:{service}",
        "FITTENGATE_UPSTREAM_MODELS_URL": f"http://127.0.0.1:{service}",
        "FITTENGATE_UPSTREAM_MAX_CONCURRENCY": "0",
        "FITTENGATE_LOG_FILE": str(state / "gateway.log"),
        "FITTENGATE_LOG_LEVEL": "info",
        **{f"FITTENGATE_{setting}": value for setting, value in settings.items()},
    }
    command = [*_gateway_command(), "serve"]
    with running(name, command, folder, core=cores.measured, env=env) as program:
        wait_for_port(program, port)
        _wait_alive(program, port)
        ready = time.monotonic() - program.started
        key = KEY if limits is None else _stored_key(env, limits)

        def post(prompt: str, *, stream: bool, **more: object) -> Post:
            body = {"model": "fitten-code", "messages": [{"role": "user", "content": prompt}], "stream": stream, **more}
            return Post(port, "/v1/chat/completions", {"Authorization": f"Bearer {key}"}, json.dumps(body).encode())

        def fill(text: str, stream: bool) -> Post:  # noqa: FBT001 - one shape with nginx's
            body = {"model": "fitten-completion", "prompt": text, "suffix": "", "stream": stream}
            return Post(port, "/v1/completions", {"Authorization": f"Bearer {key}"}, json.dumps(body).encode())

        yield (
            Target(
                name,
                program.pid,
                post(SHORT_PROMPT, stream=False),
                post(SHORT_PROMPT, stream=True),
                post(large_prompt(), stream=False),
                post(SHORT_PROMPT, stream=True, tools=[WRITE_FILE]),
                post(SHORT_PROMPT, stream=False, tools=many_tools()),
                fill,
            ),
            ready,
        )


def _stored_key(env: Mapping[str, str], limits: Sequence[str]) -> str:
    """Return a key whose limits are counted and never reached."""
    options = [word for name in limits for word in (f"--{name}", str(10**9))]
    command = [*_gateway_command(), "keys", "create", "--name", "bench", *options]
    return subprocess.run(command, env=dict(env), capture_output=True, text=True, check=True).stdout.strip()


def _gateway_command() -> list[str]:
    if importlib.util.find_spec("fittengate.__main__"):
        return [sys.executable, "-m", "fittengate"]
    return [str(Path(sys.executable).parent / "fittengate")]


def _wait_alive(program: Running, port: int) -> None:
    program.check()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/livez")
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise BenchError(f"the gateway is not alive: status {status}")


WRITE_FILE = {
    "type": "function",
    "function": {
        "name": "write_file",
        "description": "Write a file.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
            "required": ["path", "content"],
        },
    },
}


def many_tools() -> list[dict[str, object]]:
    """Return 60 tools, 48 KB of definitions, as an agent sends them."""
    names = ("path", "pattern", "replacement", "limit", "offset", "recursive")
    properties = {
        name: {"type": "string", "description": f"The {name} that it is to work with, as named."} for name in names
    }
    return [
        {
            "type": "function",
            "function": {
                "name": f"operation_{number}",
                "description": f"Carries out operation {number} on the files of the project and tells what it changed.",
                "parameters": {"type": "object", "properties": properties, "required": ["path"]},
            },
        }
        for number in range(60)
    ]


def reply_of(deltas: int, *, call: bool) -> dict[str, object]:
    """Return the fixed reply: tokens, or as many pieces of a call whose argument has 20 KB."""
    if not call:
        return {"deltas": deltas, "text": TOKEN}
    lines = f"  print({TOKEN!r}, 'twenty kilobytes of a file')\n"
    content = (lines * (20_000 // len(lines) + 1))[:20_000]
    text = (
        '<tool_calls>\n<invoke name="write_file">\n<parameter name="path">a.py</parameter>\n<parameter name="content">'
        f"{content}</parameter>\n</invoke>\n</tool_calls>"
    )
    size = len(text) // deltas + 1
    return {"pieces": [text[at : at + size] for at in range(0, len(text), size)]}


def _arguments(events: str) -> str:
    """Return the arguments of a streamed call, its pieces joined."""
    parts = []
    for line in events.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                parts += [call["function"]["arguments"] for call in choice["delta"].get("tool_calls", ())]
    return "".join(parts)


def large_prompt() -> str:
    """Return 512 KB of text that reads like code."""
    line = "def add_{0}(left: int, right: int) -> int: return left + right  # the sum of both, number {0}\n"
    lines = "".join(line.format(number) for number in range(6000))
    return lines[: 512 * 1024]


def _verify(staged: Stage, form: str, deltas: int, *, paced: bool) -> None:
    """Ask each program once; raises BenchError for a reply that is not right."""
    for target in (staged.nginx, staged.gateway):
        reply = exchange(getattr(target, form))
        body = reply.body.decode()
        right = reply.status == 200 and body.count(TOKEN) == deltas
        if form == "call":
            # Somewhere in 20 KB the text of a token is there, however it was split.
            told = body if target.name == "nginx" else json.loads(_arguments(body))["content"]
            right = reply.status == 200 and len(told) >= 20_000
        elif target.name == "nginx":
            right = right and body.count(f'{{"delta":"{TOKEN}"}}\n') == deltas and '"usage"' in body
        elif form == "stream":
            # Deltas that came in one packet may leave as one; those that came apart may not.
            right = right and body.endswith("data: [DONE]\n\n")
            right = right and (not paced or body.count(f'"content":"{TOKEN}"') == deltas)
        else:
            right = right and json.loads(body)["choices"][0]["message"]["content"] == TOKEN * deltas
        if not right:
            raise BenchError(f"{target.name}, {form}: not the right reply: {reply.status} {body[:500]}")
