"""A mixed load for half an hour (``SOAK_MINUTES``): memory, descriptors and waiting times are at the end what they were."""

import asyncio
import itertools
import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from fakes.line import written
from fakes.ways import WAYS, ended_well
from fittengate.simulator import Plan

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
CLIENTS = 24
PAUSE = 0.15
"""Seconds that a client rests on average: some hundred requests a second in all."""

WARM = 0.25
"""The share of the time in which caches fill and the allocator finds its size."""

MEGABYTE = 1024 * 1024


class Sample(NamedTuple):
    """One look at the process."""

    at: float
    memory: float
    descriptors: int
    threads: int
    p99: float


class Load:
    """What the clients did."""

    def __init__(self):
        self.waits = []
        self.kinds = dict.fromkeys(("whole", "streamed", "left", "refused"), 0)
        self.wrong = []
        self.words = itertools.count()


async def client(process, load, chance, until):
    """Ask in every tongue, streamed and whole; leave in mid-reply, or ask for what is refused, now and then."""
    while time.monotonic() < until:
        await asyncio.sleep(chance.expovariate(1 / PAUSE))
        way = chance.choice(WAYS)
        stream = chance.random() < 0.6
        body = way.asked(f"<soak {next(load.words)}>", stream=stream)
        dice = chance.random()
        async with process.line() as one:
            began = time.perf_counter()
            if dice < 0.05:
                await one.send(written("POST", way.path, body[:-2]))
                kind, reply = "refused", await one.reply()
                good = reply.status == 400
            elif dice < 0.1 and stream:
                await one.send(written("POST", way.path, body))
                await asyncio.sleep(chance.uniform(0, 0.04))
                one.leave()
                kind, good = "left", True
            else:
                await one.send(written("POST", way.path, body))
                kind, reply = "streamed" if stream else "whole", await one.reply()
                load.waits.append(time.perf_counter() - began)
                # Reading one in twenty with the vendors' SDKs is enough, and leaves this process time to ask.
                good = reply.status == 200 and reply.complete and (dice < 0.95 or ended_well(way, reply))
        load.kinds[kind] += 1
        if not good:
            load.wrong.append((way.name, reply))


def looked(process, load, began):
    """Return a sample; the waiting times since the one before are used up."""
    pid = process.process.pid
    waits, load.waits = sorted(load.waits), []
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    threads = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Threads:"))
    p99 = waits[len(waits) * 99 // 100] * 1000 if waits else 0.0
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(time.monotonic() - began, process.memory() / MEGABYTE, descriptors, threads, p99)


def slope(samples, field):
    """Return how a field changes in an hour, by the line that fits best."""
    xs, ys = [sample.at / 3600 for sample in samples], [getattr(sample, field) for sample in samples]
    return statistics.linear_regression(xs, ys).slope


def halves(samples, field):
    """Return the medians of the first and the second half."""
    values = [getattr(sample, field) for sample in samples]
    middle = len(values) // 2
    return statistics.median(values[:middle]), statistics.median(values[middle:])


async def test_half_an_hour_leaves_nothing_behind(serve, simulator, record_property):
    """Memory, descriptors, threads and the slowest of a hundred requests do not grow; no reply is wrong; it stops clean."""
    simulator.plan("chat", Plan(text="one two three four five six", interval_ms=5), times=None)
    process = await serve(upstream_max_concurrency=0, log_level="warning")
    await process.ready()
    began = time.monotonic()
    until = began + MINUTES * 60
    load, samples = Load(), []
    clients = [asyncio.create_task(client(process, load, random.Random(n), until)) for n in range(CLIENTS)]
    every = max(2.0, MINUTES * 60 / 90)
    while time.monotonic() < until - every:
        await asyncio.sleep(every)
        samples.append(looked(process, load, began))
    await asyncio.gather(*clients)
    steady = [sample for sample in samples if sample.at > WARM * MINUTES * 60]
    memory, p99 = halves(steady, "memory"), halves(steady, "p99")
    descriptors, threads = halves(steady, "descriptors"), halves(steady, "threads")
    flat = (
        memory[1] - memory[0] < 4
        and descriptors[1] - descriptors[0] <= 4
        and threads[1] - threads[0] <= 1
        and p99[1] < 1.5 * p99[0] + 5
    )
    verdict = (
        f"soak of {MINUTES:g} min, {sum(load.kinds.values())} requests ({json.dumps(load.kinds)}): "
        f"RSS {memory[0]:.1f} -> {memory[1]:.1f} MB ({slope(steady, 'memory'):+.1f} MB/h), "
        f"descriptors {descriptors[0]:g} -> {descriptors[1]:g}, threads {threads[0]:g} -> {threads[1]:g}, "
        f"p99 {p99[0]:.1f} -> {p99[1]:.1f} ms ({slope(steady, 'p99'):+.1f} ms/h), "
        f"{len(load.wrong)} wrong: {'FLAT' if flat and not load.wrong else 'NOT FLAT'}"
    )
    print(f"\nRSS in MB: {' '.join(f'{sample.memory:.1f}' for sample in samples)}\n{verdict}")
    record_property("cases", sum(load.kinds.values()))
    record_property("verdict", verdict)
    assert not load.wrong, load.wrong[:3]
    assert flat, verdict
    await simulator.wait_no_streams()
    process.signal(15)
    assert await process.ended() == 0
    assert "Traceback" not in process.stderr
