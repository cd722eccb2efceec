"""Measures the gateway against nginx on this machine: ``python bench/run.py``.

Both stand before the same simulated service. What counts is the CPU time of the process itself, as a multiple of what
nginx spends as a plain proxy in the same run; rounds of both alternate, and the lowest of each counts, because noise
only adds.
"""

import argparse
import asyncio
import http.client
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import session
import uvloop
from load import Streams, first_byte, one_by_one, wrk
from measure import SETTLE_SECONDS, Stopwatch, interleaved, resident_bytes
from processes import BenchError, Cores, choose_cores
from report import Figure, Ratio, print_figures, print_ratios, write_json
from targets import CODE, CODE_RESULT, KEY, LIMITS, TOKEN, Stage, Target, gateway_on, stage
from wire import Post, ReplyError, exchange

T = TypeVar("T")

CONNECTIONS = 3
"""Requests that wrk keeps under way. The more there are, the more work a program does each time it wakes, and nginx
gains most by that: a figure means something only together with this one. The budgets were set where nginx spends 25 to
32 µs on a reply: with two connections it spends more than that on a quiet machine, with three less."""

APART_MS = 0.001
"""Between deltas that are to be written one by one."""

DELTAS = 20
PACED_STREAMS = 30
"""Streams at once, none in step with another. The budget was set where nginx spends 20 µs on a delta: so it does with
thirty here. With more of them more deltas are found at each wake, and nginx, of which four fifths are the kernel's work
of waking and being woken, gains most by that; figures for other numbers are in docs/performance.md."""

PACED_MS = 50
MANY_STREAMS = 1000
MANY_MS = 200


class Run(NamedTuple):
    """How this run goes, and what it has found."""

    folder: Path
    cores: Cores
    rounds: int
    seconds: float
    """Length of a round."""
    connections: int
    """Of wrk."""
    ratios: list[Ratio]
    figures: list[Figure]


def whole(run: Run, staged: Stage) -> None:
    """Measure whole replies to a short prompt."""
    run.ratios.append(_by_wrk(run, staged, "whole", "whole reply", 11, 6))


def stream(run: Run, staged: Stage) -> None:
    """Measure streams whose deltas come in a burst."""
    run.ratios.append(_by_wrk(run, staged, "stream", "stream, deltas in a burst", 13, 7))


def large(run: Run, staged: Stage) -> None:
    """Measure whole replies to a prompt of 512 KB."""
    run.ratios.append(_by_wrk(run, staged, "large", "whole reply to a 512 KB prompt", 9, 5))


def call(run: Run, staged: Stage) -> None:
    """Measure streams that are one tool call with an argument of 20 KB."""
    run.ratios.append(_by_wrk(run, staged, "call", "stream, a tool call of 20 KB", 12, None))


def tools(run: Run, staged: Stage) -> None:
    """Measure whole replies to a prompt with 60 tools."""
    run.ratios.append(_by_wrk(run, staged, "tools", "whole reply, 60 tools (48 KB)", 12, None))


def admission(run: Run, staged: Stage) -> None:
    """Measure what a key of the store and a receipt cost: gateways that have them beside one that has neither.

    Once by a key without limits, for which admission is to see that there are none, and once by a key with all of them.
    """
    title = "key, admission, receipt"
    say(f"{title} ({run.connections} connections)")
    with (
        gateway_on(run.folder, run.cores, staged.service, name="bare", STORE_URL="none") as (bare, _),
        gateway_on(run.folder, run.cores, staged.service, name="key", limits=()) as (key, _),
        gateway_on(run.folder, run.cores, staged.service, name="limits", limits=LIMITS) as (limits, _),
    ):
        works = {target.name: _work(run, target, "whole") for target in (staged.nginx, bare, key, limits)}
        best = interleaved(run.rounds, works, say)
    for name, what in (("key", "no limits"), ("limits", "five limits")):
        more = tuple([max(0.0, one - min(best["bare"])) for one in best[name]])
        run.ratios.append(Ratio(f"{title}, {what}", best["nginx"], more, 1, None))


def _by_wrk(run: Run, staged: Stage, form: str, title: str, must: float, aim: float | None) -> Ratio:
    say(f"{title} ({run.connections} connections)")
    works = {target.name: _work(run, target, form) for target in (staged.nginx, staged.gateway)}
    best = interleaved(run.rounds, works, say)
    return Ratio(title, best["nginx"], best["gateway"], must, aim)


def _work(run: Run, target: Target, form: str) -> Callable[[], float]:
    """Return what measures a round of wrk: CPU seconds of the target for each reply."""
    post = getattr(target, form)
    sizes = _sizes(post)

    def measure() -> float:
        watch = Stopwatch(target.pid)
        count = wrk(post, run.folder, connections=run.connections, seconds=run.seconds, sizes=sizes)
        time.sleep(SETTLE_SECONDS)
        return watch.spent(count).each

    return measure


def _sizes(post: Post) -> tuple[int, int]:
    """Return the least and the most bytes of a right reply: its text alone, and twice as much as one had just now.

    How many pieces leave together is chance, so there is no one right size.
    """
    reply = exchange(post)
    return reply.body.count(TOKEN.encode()) * len(TOKEN), 2 * reply.size


def first(run: Run, staged: Stage) -> None:
    """Measure how long one client alone waits for the first byte of a streamed reply."""
    title = "first byte, one client at a time"
    say(title)
    works = {t.name: lambda t=t: first_byte(t.stream, run.seconds) for t in (staged.nginx, staged.gateway)}
    best = interleaved(run.rounds, works, say)
    run.ratios.append(Ratio(title, best["nginx"], best["gateway"], 4, 2.5))


def paced(run: Run, staged: Stage) -> None:
    """Measure streams at the pace of a real service, per delta."""
    title = f"stream, deltas {PACED_MS} ms apart, each"
    say(f"{title} ({PACED_STREAMS} streams)")

    async def measure(target: Target) -> float:
        streams = Streams(target.stream, DELTAS)
        try:
            # A reply takes a second: within it all of them begin, so that beginnings are spread evenly.
            await streams.open(PACED_STREAMS, over=DELTAS * PACED_MS / 1000, apart=PACED_MS / 1000)
            before = streams.deltas
            watch = Stopwatch(target.pid)
            await asyncio.sleep(run.seconds + 1)
            spent = watch.spent(streams.deltas - before)
            _check_pace(spent.units, PACED_STREAMS * 1000 / PACED_MS * spent.wall)
        finally:
            streams.close()
        await asyncio.sleep(SETTLE_SECONDS)
        return spent.each

    works = {t.name: lambda t=t: _run(measure(t)) for t in (staged.nginx, staged.gateway)}
    best = interleaved(run.rounds, works, say)
    run.ratios.append(Ratio(title, best["nginx"], best["gateway"], 3.2, 2.3))


def _check_pace(came: int, due: float) -> None:
    if came < due * 0.85:
        raise BenchError(f"only {came} of {due:.0f} deltas came in time: the machine is too busy to measure")


def many(run: Run, staged: Stage) -> None:
    """Measure memory and CPU share of a thousand streams at once; nginx shows what pace the rest can keep."""
    say(f"{MANY_STREAMS} streams at once, a delta every {MANY_MS} ms")

    async def measure(target: Target) -> Crowd:
        streams = Streams(target.stream, 0)
        before = resident_bytes(target.pid)
        try:
            await streams.open(MANY_STREAMS, over=2.5, apart=MANY_MS / 1000)
            await asyncio.sleep(1)
            deltas = streams.deltas
            watch = Stopwatch(target.pid)
            await asyncio.sleep(run.seconds + 1)
            spent = watch.spent(streams.deltas - deltas)
            grown = resident_bytes(target.pid) - before
        finally:
            streams.close()
        return Crowd(grown / MANY_STREAMS, spent.cpu / spent.wall, spent.units / spent.wall)

    proxy, gateway = (_run(measure(target)) for target in (staged.nginx, staged.gateway))
    due = MANY_STREAMS * 1000 / MANY_MS
    say(f"  deltas a second: {proxy.pace:.0f} through nginx, {gateway.pace:.0f} through the gateway, {due:.0f} at best")
    run.figures.append(Figure(f"memory for each of {MANY_STREAMS} streams", gateway.memory / 1000, "KB", 60))
    run.figures.append(
        Figure(f"CPU share, a delta every {MANY_MS} ms (nginx {proxy.share:.0%})", gateway.share * 100, "%", 100)
    )
    run.figures.append(Figure("deltas fewer than through nginx", max(0.0, 1 - gateway.pace / proxy.pace) * 100, "%", 5))


class Crowd(NamedTuple):
    """What many streams cost."""

    memory: float
    """Bytes for each."""
    share: float
    """Of a core."""
    pace: float
    """Deltas a second, in all."""


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def idle(run: Run, staged: Stage) -> None:
    """Measure the memory of a gateway that has answered a few requests, and how long it took to answer."""
    run.figures.append(Figure("resident memory when idle", resident_bytes(staged.gateway.pid) / 1e6, "MB", 80))
    run.figures.append(Figure("start of `serve` to first answer", staged.ready_seconds, "s", 1))


def fill(run: Run, staged: Stage) -> None:
    """Measure how long one client alone waits for the first byte of a streamed code completion."""
    title = "completion, first byte, one client"
    say(title)
    # Every file is another one, or the gateway would remember it.
    numbers = itertools.count()

    def work(target: Target) -> Callable[[], float]:
        def post(_number: int) -> Post:
            return target.fill(f"# file {next(numbers)}\n{CODE}", True)

        return lambda: one_by_one(post, run.seconds, CODE_RESULT.strip().encode(), first=True)

    best = interleaved(run.rounds, {t.name: work(t) for t in (staged.nginx, staged.gateway)}, say)
    run.ratios.append(Ratio(title, best["nginx"], best["gateway"], 4, None))


def typed(run: Run, staged: Stage) -> None:
    """Measure the answer to somebody who types what was predicted, beside nginx's round trip to the service."""
    title = "completion, typed as predicted"
    say(title)
    left = len(CODE_RESULT) - 5

    def work(target: Target) -> Callable[[], float]:
        def post(number: int) -> Post:
            return target.fill(CODE + CODE_RESULT[: number % left], False)

        # Beside the gateway stands the plain request: the service itself does not know what it has predicted.
        asked = post if target.name == "gateway" else lambda _number: target.fill(CODE, False)
        return lambda: one_by_one(asked, run.seconds, b"right", first=False)

    exchange(staged.gateway.fill(CODE, False))
    before = staged.completions()
    work(staged.gateway)()
    if (calls := staged.completions() - before) > 0:
        raise BenchError(f"{calls} calls to the service for what was typed as predicted")
    best = interleaved(run.rounds, {t.name: work(t) for t in (staged.nginx, staged.gateway)}, say)
    run.ratios.append(Ratio(title, best["nginx"], best["gateway"], 1, None))


def keys(run: Run, staged: Stage) -> None:
    """Count the calls for a recorded typing session, and look at every insertion."""
    moments = SESSION.moments
    say(f"typing session, {len(moments)} keystrokes")
    judge = session.Judge()
    before = staged.completions()
    connection = http.client.HTTPConnection("127.0.0.1", staged.gateway.whole.port, timeout=10)
    for moment in moments:
        body = json.dumps({"model": "fitten-completion", "prompt": moment.before, "suffix": moment.after})
        connection.request("POST", "/v1/completions", body.encode(), {"Authorization": f"Bearer {KEY}"})
        reply = connection.getresponse()
        said = reply.read()
        if reply.status != 200:
            raise BenchError(f"not the right reply: {reply.status} {said[:200]!r}")
        text = json.loads(said)["choices"][0]["text"]
        judge.hear(moment, text, remembered=reply.headers["x-fittengate-memory"] == "hit")
    connection.close()
    share = (staged.completions() - before) / len(moments) * 100
    run.figures.append(Figure(f"calls for {len(moments)} keystrokes", share, "%", 35))
    run.figures.append(Figure("wrong insertions among them", len(judge.wrong), "", 0))


class Section(NamedTuple):
    """Works that share a stage."""

    deltas: int
    interval_ms: float
    forms: tuple[str, ...]
    """Of replies that are checked first."""
    works: dict[str, Callable[[Run, Stage], None]]
    call: bool = False
    completion: dict[str, object] | None = None
    """How the service completes code."""


SESSION = session.load()

SECTIONS = (
    Section(
        DELTAS,
        0,
        ("whole", "stream", "large", "tools"),
        {
            "idle": idle,
            "whole": whole,
            "stream": stream,
            "large": large,
            "tools": tools,
            "first": first,
            "admission": admission,
        },
    ),
    Section(DELTAS, 0, ("call",), {"call": call}, call=True),
    Section(DELTAS, PACED_MS, ("stream",), {"paced": paced}),
    # The service knows the file that is typed, but says nothing early in a line and is wrong about every other one.
    Section(
        DELTAS,
        0,
        (),
        {"fill": fill, "typed": typed, "keys": keys},
        completion={"files": SESSION.files, "silent_chars": 3, "wrong_lines": 2},
    ),
    # Long enough that no stream ends while it is looked at.
    Section(100, MANY_MS, (), {"many": many}),
)
NAMES = [name for section in SECTIONS for name in section.works]


def say(line: str) -> None:
    """Tell how it goes; the tables alone are on standard output."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure the gateway against nginx as a plain proxy.")
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 21), metavar="N", help="rounds (default 5)")
    parser.add_argument(
        "--connections",
        type=int,
        default=CONNECTIONS,
        choices=range(1, 257),
        metavar="N",
        help="requests under way at a time (default %(default)s)",
    )
    parser.add_argument("--only", default=",".join(NAMES), help="comma separated: " + " ".join(NAMES))
    parser.add_argument("--apart", action="store_true", help="the service writes the deltas of a burst one by one")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args()
    wanted = set(given.only.split(","))
    if unknown := wanted - set(NAMES):
        parser.error(f"--only knows {', '.join(NAMES)}; not {', '.join(sorted(unknown))}")
    if not hasattr(os, "sched_setaffinity"):
        say("The benchmark reads /proc and pins processes to cores: it needs Linux.")
        return 1
    if not (shutil.which("nginx") and shutil.which("wrk")):
        say("nginx or wrk is missing: apt-get install nginx wrk")
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cores = choose_cores()
    if cores.shared:
        say("Only one core: everything shares it, so times are less steady.")
    os.sched_setaffinity(0, cores.others)
    with tempfile.TemporaryDirectory(prefix="fittengate-bench-") as name:
        rounds, seconds = (2, 1.0) if given.quick else (given.rounds, 2.0)
        run = Run(Path(name), cores, rounds, seconds, given.connections, [], [])
        try:
            _measure(run, wanted, apart=given.apart)
        except KeyboardInterrupt:
            say("Interrupted; everything was stopped.")
            return 130
        except (BenchError, ReplyError, OSError) as error:
            say(f"Cannot measure: {error}")
            return 1
    if run.ratios:
        print_ratios(run.ratios)
    if run.figures:
        print_figures(run.figures)
    if given.json:
        write_json(
            given.json,
            run.ratios,
            run.figures,
            {"rounds": rounds, "seconds": seconds, "connections": given.connections, "apart": given.apart},
        )
    return 0


def _measure(run: Run, wanted: set[str], *, apart: bool) -> None:
    for number, section in enumerate(SECTIONS):
        works = [work for name, work in section.works.items() if name in wanted]
        if not works:
            continue
        folder = run.folder / str(number)
        folder.mkdir()
        interval_ms = section.interval_ms or (APART_MS if apart else 0)
        with stage(
            folder,
            run.cores,
            deltas=section.deltas,
            interval_ms=interval_ms,
            forms=section.forms,
            call=section.call,
            completion=section.completion,
        ) as staged:
            for work in works:
                work(run._replace(folder=folder), staged)


if __name__ == "__main__":
    sys.exit(main())
