"""What a gateway does beside requests: it learns, measures its load, sends spans, and tells when something changes."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from fittengate import __version__
from fittengate.lib.timers import Timers
from fittengate.server.exchange import Exchanges
from fittengate.services.overload import Overload, Sampler
from fittengate.services.spans import Origin
from fittengate.services.traces import Collector, Traces
from fittengate.settings import Settings
from fittengate.upstream.breaker import Breaker
from fittengate.upstream.calibrator import SETTLE_SECONDS, Calibrator
from fittengate.upstream.fitten.drift import Drift
from fittengate.upstream.fitten.service import PROVIDER

Say: TypeAlias = Callable[..., None]
"""The log's ``say``."""


@asynccontextmanager
async def ticking() -> AsyncIterator[Timers]:
    """Give the timers of the running loop."""
    timers = Timers(asyncio.get_running_loop())
    try:
        yield timers
    finally:
        timers.close()


@asynccontextmanager
async def going_on(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do something in the background meanwhile."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def sampled(overload: Overload, exchanges: Exchanges, say: Say) -> AsyncIterator[None]:
    """Measure the load of these exchanges meanwhile."""
    loop = asyncio.get_running_loop()

    def found() -> tuple[int, float]:
        return len(exchanges.running), exchanges.turns.oldest(loop.time())

    sampler = Sampler(overload, found, partial(_tell_overload, say))
    sampler.start(loop)
    try:
        yield
    finally:
        sampler.stop()


@asynccontextmanager
async def tracing(settings: Settings, say: Say) -> AsyncIterator[Traces | None]:
    """Send spans to the collector of these settings; None where there is none."""
    telemetry = settings.telemetry
    if not telemetry.otlp_endpoint:
        yield None
        return
    service = urlsplit(settings.upstream.base_url)
    port = service.port or (443 if service.scheme == "https" else 80)
    origin = Origin(PROVIDER, service.hostname or "", port, "https" if settings.server.tls_cert else "http")
    collector = Collector(telemetry.otlp_endpoint, telemetry.otlp_headers, __version__)
    traces = Traces(collector, origin, secrets.token_bytes, say)
    try:
        yield traces
    finally:
        await asyncio.to_thread(traces.close)


@asynccontextmanager
async def learning(
    calibrator: Calibrator, drift: Drift, say: Say, seconds: float = SETTLE_SECONDS
) -> AsyncIterator[None]:
    """Take up what was learned, go on learning in the background every so many seconds, and keep it at the end."""
    tell_counts = told_once(say, "token counts are not kept")
    tell_drift = told_once(say, "what is not known of the service is not kept")

    async def settle() -> None:
        for one in drift.news():
            say("warning", "the service sent something that is not known of it", kind=one.kind, sample=one.sample)
        tell_drift(await drift.settle())
        tell_counts(await calibrator.settle())

    async def go_on() -> None:
        while True:
            await asyncio.sleep(seconds)
            await settle()

    tell_counts(await calibrator.load())
    tell_drift(await drift.load())
    try:
        async with going_on(go_on()):
            yield
    finally:
        await settle()


def told_once(say: Say, text: str) -> Callable[[str | None], None]:
    """Return what warns of a problem, None for none, but not of the same one again before it was gone."""
    told: str | None = None

    def tell(problem: str | None) -> None:
        nonlocal told
        if problem is not None and problem != told:
            say("warning", text, error=problem)
        told = problem

    return tell


def tell_breaker(say: Say, breaker: Breaker) -> None:
    """Say how a breaker stands now."""
    words = {"open": "is left alone", "probing": "is tried", "closed": "is back"}
    level = "info" if breaker.state == "closed" else "warning" if breaker.state == "open" else "debug"
    say(level, f"the service's {breaker.what} {words[breaker.state]}", retry_after=round(breaker.retry_after, 1))


def _tell_overload(say: Say, overload: Overload) -> None:
    say("warning" if overload.grade else "info", "overload", grade=overload.grade, cause=overload.cause or None)
