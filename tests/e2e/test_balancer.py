"""nginx with the configuration of deploy/, run for real in front of two gateways."""

import asyncio
import os
import shutil
import socket
from contextlib import asynccontextmanager
from pathlib import Path

from fakes.line import KEY, chat, line, request
from fakes.running import running
from fakes.servers import missing
from fittengate.simulator import Plan

CONFIGURATION = Path(__file__).parents[2] / "deploy/nginx.conf"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@asynccontextmanager
async def balancer(directory, ports):
    """Run nginx as deploy/ has it, but for places and ports; give its port."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        missing("nginx", "nginx")
    port = free_port()
    text = CONFIGURATION.read_text()
    (address,) = [line.strip() for line in text.splitlines() if line.strip().startswith("server gateway:")]
    servers = " ".join(address.replace("gateway:5000", f"127.0.0.1:{one}") for one in ports)
    replaced = {
        address: servers,
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "worker_processes auto;": "worker_processes 1;",
        "/tmp/": f"{directory}/",
        "/dev/stdout": f"{directory}/access.log",
        "/dev/stderr": f"{directory}/error.log",
    }
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    (directory / "nginx.conf").write_text(text)
    user = "user root; " if os.geteuid() == 0 else ""
    command = (program, "-p", directory, "-e", "stderr", "-c", directory / "nginx.conf", "-g", f"{user}daemon off;")
    made = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    await request(port, "GET", "/livez", key=None)
                except OSError:
                    assert made.returncode is None
                    await asyncio.sleep(0.02)
                else:
                    break
        yield port
    finally:
        made.terminate()
        await made.wait()


async def test_replies_stream_through_the_balancer_from_several_gateways(simulator, tmp_path):
    """Words arrive as they come, both gateways are used, a client that leaves is noticed, and no key is in the log."""
    async with (
        running(simulator) as one,
        running(simulator) as two,
        balancer(tmp_path, (one.port, two.port)) as port,
    ):
        simulator.plan("chat", Plan(deltas=("alpha", " beta", " gamma"), interval_ms=150))
        async with line(port) as slow:
            await slow.ask("stream", stream=True)
            _, headers = await slow.head()
            arrived = {}
            async for at, data in slow.pieces(headers):
                for word in (b"alpha", b"beta", b"gamma"):
                    if word in data:
                        arrived[word] = at
            assert slow.complete
        times = list(arrived.values())
        assert len(times) == 3
        assert times[1] - times[0] > 0.05
        assert times[2] - times[1] > 0.05
        simulator.plan("chat", Plan(text="a b c d", cut="stall", cut_after=1))
        async with line(port) as leaving:
            await leaving.ask(stream=True)
            await simulator.wait_held()
            left = leaving.leave()
            assert await simulator.wait_closed_by_client() - left < 0.5
        big = b'{"messages":[{"role":"user","content":"' + b"x " * 40_000 + b'"}]}'
        for _ in range(4):
            assert (await request(port, "POST", "/v1/chat/completions", big)).status == 200
    said = (tmp_path / "access.log").read_text() + (tmp_path / "error.log").read_text()
    assert all(f" 127.0.0.1:{used.port}" in said for used in (one, two))
    assert KEY not in said
    assert not any(path.is_file() for path in (tmp_path / "client_body").rglob("*"))


async def test_a_gateway_that_is_gone_is_passed_by(simulator, tmp_path):
    """What cannot be connected to was not asked: the other one answers, and the service is called once for each."""
    async with running(simulator) as one, balancer(tmp_path, (free_port(), one.port)) as port:
        for _ in range(6):
            assert (await chat(port)).status == 200
        assert len(simulator.requests("chat")) == 6
