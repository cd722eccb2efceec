"""A thousand streams and two hundred short calls a second on one core, for a while. Run by ``make chaos``."""

import asyncio
import json
import os
import statistics
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fakes.line import CHAT, ask, written
from fakes.running import PASSWORD, USERNAME, command, environment, start_process

STREAMS = 1000
EVERY_MS = 200
CALLS_A_SECOND = 200
SECONDS = float(os.environ.get("STEADY_SECONDS", "60"))
DIRECT_SECONDS = 10.0

DELTAS = 75
"""Of a reply: so it takes fifteen seconds, and a stream asks again."""

WORD = "steady-word "
MARK = WORD.strip().encode()
LAST = b"0\r\n\r\n"

ADDED_MS = 20.0
GROWN_BYTES = 4 * 1024 * 1024
"""What a run may grow from its first to its last fifth: allocators and ledgers breathe, leaks go on."""


class Stream(asyncio.Protocol):
    """Asks for a slow reply again and again; notes the time between two of its words."""

    def __init__(self, load, request):
        self._load = load
        self._request = request
        self._transport = None
        self._tail = b""
        self._words = 0
        self._last = None

    def connection_made(self, transport):
        self._transport = transport
        self._load.transports.append(transport)
        transport.write(self._request)

    def data_received(self, data):
        now = time.perf_counter()
        load = self._load
        window = self._tail + data
        if not self._words and self._tail == b"" and not window.startswith(b"HTTP/1.1 200 "):
            load.failures.append(window[:200])
        found = window.count(MARK)
        if found:
            if self._last is not None and load.noting:
                load.gaps += [now - self._last] + [0.0] * (found - 1)
            self._words += found
            self._last = now
        if window.endswith(LAST):
            if self._words != DELTAS or (self._load.done is not None and self._load.done not in window):
                load.failures.append(b"%d words: " % self._words + window[-200:])
            load.replies += 1
            self._tail, self._words, self._last = b"", 0, None
            self._transport.write(self._request)
            return
        # A word, or the end of the reply, may be torn: what could be its beginning is looked at again.
        self._tail = window[-40:]
        if MARK in self._tail:
            self._tail = self._tail[self._tail.rindex(MARK) + 1 :]

    def connection_lost(self, _exc):
        if not self._load.closing:
            self._load.failures.append(b"a connection was lost")


class Load:
    """All that is asked, and what came of it."""

    def __init__(self, port, request, done):
        self.transports, self.gaps, self.calls, self.failures = [], [], [], []
        self.replies = 0
        self.noting = self.closing = False
        self.done = done
        """What a whole reply has near its end; None: nothing is looked for."""
        self._port = port
        self._request = request

    async def open(self, over):
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(STREAMS):
            await asyncio.sleep(max(0.0, began + over * number / STREAMS - loop.time()))
            await loop.create_connection(lambda: Stream(self, self._request), "127.0.0.1", self._port)

    async def short_calls(self, line_of, until):
        """Make short calls on forty connections, each at its own moments."""
        loop = asyncio.get_running_loop()
        workers = 40
        data = written("POST", CHAT, json.dumps(ask("repeat: short")).encode())

        async def worker(number):
            due = loop.time() + number / CALLS_A_SECOND
            async with line_of() as one:
                while due < until:
                    await asyncio.sleep(max(0.0, due - loop.time()))
                    began = time.perf_counter()
                    await one.send(data)
                    reply = await one.reply()
                    if reply.status != 200 or reply.text != "short":
                        self.failures.append(reply.body[:200])
                    self.calls.append(time.perf_counter() - began)
                    due += workers / CALLS_A_SECOND

        await asyncio.gather(*(worker(number) for number in range(workers)))

    def close(self):
        self.closing = True
        for transport in self.transports:
            transport.abort()


def quantile(values, share):
    return sorted(values)[int(len(values) * share)]


@asynccontextmanager
async def service(folder):
    """Run the simulated service as a process; give its port."""
    plan = {"deltas": [WORD] * DELTAS, "interval_ms": EVERY_MS}
    held = {"route": "chat", "contains": "steady stream", "times": None, "plan": plan}
    accounts = [{"username": USERNAME, "password": PASSWORD, "user_id": "steady"}]
    (folder / "scenario.json").write_text(json.dumps({"accounts": accounts, "plans": [held], "log_requests": 10}))
    arguments = ["simulate", "--port", "0", "--scenario", str(folder / "scenario.json")]
    process = await asyncio.create_subprocess_exec(
        *command(), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said = (await process.stdout.readline()).decode()
        yield process.pid, int(said.strip().rpartition(":")[2])
    finally:
        process.kill()
        await process.communicate()


class Place:
    """Stands for a simulator where only its address is wanted."""

    def __init__(self, port):
        self.base_url = f"http://127.0.0.1:{port}"


async def gaps_of(load, seconds, line_of=None):
    """Return what the load came to in so many seconds, once all streams are open."""
    try:
        await load.open(over=3)
        await asyncio.sleep(2)
        load.noting = True
        end = asyncio.get_running_loop().time() + seconds
        if line_of is None:
            await asyncio.sleep(seconds)
        else:
            await load.short_calls(line_of, end)
    finally:
        load.close()
    return load.gaps


async def resident(process, found):
    while True:
        found.append(process.memory())
        await asyncio.sleep(0.5)


async def test_a_thousand_streams_and_two_hundred_calls_a_second(tmp_path, record_property, capsys):
    """No failure, no more than 20 ms added to the time between words in 99 of 100, and memory that stays as it is."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("the gateway has to have a core of its own")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores[1]})
    try:
        async with service(tmp_path) as (_, port):
            body = {"inputs": "<|user|>\nsteady stream\n<|end|>\n<|assistant|>", "ft_token": "steady", "meta_datas": {}}
            direct = written("POST", "/codeapi/chat?ft_token=steady", json.dumps(body).encode(), key=None)
            alone = await gaps_of(Load(port, direct, None), DIRECT_SECONDS)
            state = tmp_path / "state"
            settings = {"upstream_max_concurrency": 0, "log_level": "warning"}
            process = await start_process(environment(Place(port), state, **settings), state)
            try:
                process.port = int(await process.says(r"listening on https?://[^\s]+:(\d+)"))
                for task in threads_of(process.process.pid):
                    os.sched_setaffinity(task, {cores[0]})
                await process.ready()
                request = written("POST", CHAT, json.dumps(ask("steady stream", stream=True)).encode())
                load = Load(process.port, request, b"[DONE]")
                sizes = []
                watching = asyncio.create_task(resident(process, sizes))
                used = cpu_seconds(process)
                gaps = await gaps_of(load, SECONDS, process.line)
                used = cpu_seconds(process) - used
                watching.cancel()
            finally:
                await process.kill()
    finally:
        os.sched_setaffinity(0, before)
    # Until all streams are open, and for a while after, memory grows as it must.
    steady = sizes[len(sizes) // 4 :]
    fifth = len(steady) // 5
    grown = statistics.median(steady[-fifth:]) - statistics.median(steady[:fifth])
    added = (quantile(gaps, 0.99) - quantile(alone, 0.99)) * 1000
    figures = {
        "words": len(gaps),
        "replies": load.replies,
        "short calls": len(load.calls),
        "failures": len(load.failures),
        "p99 between words, alone (ms)": round(quantile(alone, 0.99) * 1000, 1),
        "p99 between words (ms)": round(quantile(gaps, 0.99) * 1000, 1),
        "p50 and p99 of short calls (ms)": (
            round(quantile(load.calls, 0.5) * 1000, 1),
            round(quantile(load.calls, 0.99) * 1000, 1),
        ),
        "resident (MB)": round(steady[-1] / 1e6, 1),
        "grown (MB)": round(grown / 1e6, 2),
        "share of its core": round(used / (SECONDS + 5), 2),
    }
    good = not load.failures and added <= ADDED_MS and grown <= GROWN_BYTES
    with capsys.disabled():
        print(f"\nsteady load, {SECONDS:g} s: {'GOOD' if good else 'NOT GOOD'}: {figures}")
    for name, value in figures.items():
        record_property(name, value)
    assert load.failures == []
    assert len(load.calls) >= SECONDS * CALLS_A_SECOND * 0.9
    assert len(gaps) >= SECONDS * STREAMS * 1000 / EVERY_MS * 0.85
    assert added <= ADDED_MS
    assert grown <= GROWN_BYTES


def cpu_seconds(process):
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads_of(pid):
    return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
