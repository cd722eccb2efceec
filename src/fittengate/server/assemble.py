"""Settings to a running gateway: every object is made here, once."""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeAlias
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from fittengate import __version__
from fittengate.core.caller import Allowance
from fittengate.lib.timers import Timers
from fittengate.server.admin import Admin, AdminServices
from fittengate.server.app import App, with_cors
from fittengate.server.configure import SQLITE
from fittengate.server.exchange import Bounds, Exchanges, Services
from fittengate.server.metric_families import Parts, families
from fittengate.server.metrics import Metrics
from fittengate.server.ollama import OllamaModels
from fittengate.server.ollama_door import OllamaDoor
from fittengate.server.pages import Pages
from fittengate.server.probes import Probes, Troubled
from fittengate.server.recorded import Recorded
from fittengate.server.request import Receive, Scope, Send
from fittengate.server.siblings import Siblings
from fittengate.server.tabby import Tabby
from fittengate.server.typing import Typing
from fittengate.services.bundle import Bundler
from fittengate.services.clock import SystemClock
from fittengate.services.exposition import Exposition
from fittengate.services.figures import Figures
from fittengate.services.fleet import Fleet
from fittengate.services.ids import Ids
from fittengate.services.key_rows import LIMITS
from fittengate.services.key_store import KeyStore
from fittengate.services.keyring import Keys
from fittengate.services.keys import StoredKey
from fittengate.services.ledger import Ledger, NoLedger, Receipts
from fittengate.services.limits import LocalLimits
from fittengate.services.log import Log, LogOptions
from fittengate.services.memory import Memory
from fittengate.services.models import ModelNames
from fittengate.services.notes import NoteFile
from fittengate.services.overload import Load, Overload, Sampler
from fittengate.services.queue import Turns
from fittengate.services.recorder import Recorder, RecorderOptions
from fittengate.services.redact import Redactor
from fittengate.services.responses import Responses
from fittengate.services.spans import Origin
from fittengate.services.store import Database
from fittengate.services.store_watch import StoreWatch
from fittengate.services.traces import Collector, Traces
from fittengate.services.vault_outage import through_outages
from fittengate.settings import Limits, Models, Settings, Store
from fittengate.settings import Overload as Full
from fittengate.settings import Recorder as RecorderSettings
from fittengate.upstream.base import TokenVault
from fittengate.upstream.breaker import Breaker
from fittengate.upstream.calibrator import SETTLE_SECONDS, Calibrator
from fittengate.upstream.fitten.account import AccountKeeper
from fittengate.upstream.fitten.client import FittenClient, Route
from fittengate.upstream.fitten.drift import Drift
from fittengate.upstream.fitten.service import PROVIDER, Chance, FittenService, Rules
from fittengate.upstream.fitten.session import Account
from fittengate.upstream.fitten.watch import Deadlines
from fittengate.upstream.pictures import Pictures

DRIFT_FILE = "drift.json"
"""In the state directory: what is not known of the service."""

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gateway(Struct, frozen=True):
    """A gateway that runs: what the server and the commands hold on to."""

    app: Application
    ollama: Application
    """What is behind the port without a key."""
    exchanges: Exchanges
    service: FittenService
    vault: TokenVault
    """Where the account's tokens are: the one that was handed in, or the fleet's."""
    fleet: Fleet | None
    """This gateway's part in its fleet; None where it is alone."""
    log: Log
    exposition: Exposition
    """All metrics; whoever has one more adds it."""


def open_log(settings: Settings, terminal: TextIO | None) -> Log:
    """Return the log of these settings; ``close`` is owed."""
    log = settings.log
    file = None if log.file in {"", "none"} else Path(log.file)
    return Log(LogOptions(log.level, log.format == "json", file, log.content), redactor(settings), terminal)


def open_database(store: Store) -> Database | None:
    """Return the database of these settings, which nothing has opened yet; None where there is to be none."""
    path = store.url.removeprefix(SQLITE)
    if path in {"", "none"}:
        return None
    if store.url.startswith("postgres"):
        # Only here: it takes its time to import.
        from fittengate.services.postgres import PostgresServer

        return Database(PostgresServer(store.url))
    return Database(Path(path))


def _store_secrets(store: Store) -> tuple[str, ...]:
    if not store.url.startswith("postgres"):
        return ()
    from fittengate.services.postgres import password_of

    return store.url, password_of(store.url)


def open_ledger(store: Store, database: Database | None, journals: Path | None, log: Log) -> Receipts:
    """Return what keeps receipts; ``close`` is owed. ``journals`` is the directory that they are kept in on their way."""
    if database is None or journals is None:
        return NoLedger()
    return Ledger(journals, secrets.token_hex(8), database, SystemClock(), log.say, store.retention_days)


def _nobody() -> None:
    """Tell nobody."""


def open_key_store(
    store: Store,
    database: Database | None,
    random_bytes: Callable[[int], bytes],
    changed: Callable[[], None] = _nobody,
) -> KeyStore | None:
    """Return what makes and changes keys, ``close`` is owed; None where there is no database.

    ``changed`` is called after every change, in whatever thread made it.
    """
    if database is None:
        return None
    return KeyStore(database, SystemClock(), random_bytes, store.retention_days, changed)


def allowances(limits: Limits) -> tuple[Allowance, Allowance]:
    """Return what a key without limits of its own may use, and what all keys together may."""
    each = {name: getattr(limits, name) for name in LIMITS}
    return Allowance(**each), Allowance(**{name: getattr(limits, f"account_{name}") for name in LIMITS})


def open_overload(full: Full) -> Overload:
    """Return what knows how full the gateway is, by these bounds."""
    return Overload(Load(full.loop_lag, full.memory_bytes, full.open_requests, full.queue_age))


def open_recorder(settings: RecorderSettings) -> Recorder | None:
    """Return what keeps the last exchanges; None where that is off."""
    if not (settings.exchanges and settings.bytes):
        return None
    return Recorder(RecorderOptions(settings.exchanges, settings.bytes, settings.artifact_bytes))


def bundler(settings: Settings) -> Bundler:
    """Return what makes files of one exchange."""
    return Bundler(redactor(settings), secrets.token_bytes(32), content=settings.recorder.content)


def redactor(settings: Settings) -> Redactor:
    """Return what takes the secrets of these settings out of texts."""
    given = (*settings.server.api_key, settings.account.password, settings.lsp.key, settings.admin.key)
    # Of "Bearer SECRET" the secret alone, too.
    collector = [form for text in settings.telemetry.otlp_headers.values() for form in (text, text.split(" ")[-1])]
    servers = [urlsplit(url).password or "" for url in (settings.fleet.url, settings.upstream.proxy)]
    servers += [unquote(password) for password in servers]
    return Redactor((*given, *servers, *collector, *_store_secrets(settings.store)))


def ssl_context(ca_file: str) -> ssl.SSLContext | None:
    """Return a context that trusts ``ca_file`` beside the system's authorities; None without one."""
    if not ca_file:
        return None
    context = ssl.create_default_context()
    context.load_verify_locations(ca_file)
    return context


@asynccontextmanager
async def joined(settings: Settings, say: Callable[..., None] = lambda *_, **__: None) -> AsyncIterator[Fleet | None]:
    """Make this process a replica of its fleet, until the end; None where there is no fleet."""
    if not settings.fleet.url:
        yield None
        return
    fleet = Fleet(settings.fleet, secrets.token_hex(8), say)
    try:
        yield fleet
    finally:
        await fleet.close()


@asynccontextmanager
async def shared(settings: Settings, own: TokenVault) -> AsyncIterator[TokenVault]:
    """Give the vault that commands are to use: the fleet's, or without a fleet the machine's ``own``."""
    async with joined(settings) as fleet:
        yield own if fleet is None else fleet.vault(own)


@asynccontextmanager
async def connected(
    settings: Settings, vault: TokenVault, calibrator: Calibrator | None = None, drift: Drift | None = None
) -> AsyncIterator[FittenService]:
    """Make the upstream side alone, for commands that talk to the service; it is closed at the end."""
    upstream = settings.upstream
    clock = SystemClock()
    timers = Timers(asyncio.get_running_loop())
    route = Route(upstream.base_url, upstream.models_url, upstream.connect_timeout, upstream.proxy, upstream.user_agent)
    client = FittenClient(route, clock, lambda: ssl_context(upstream.ca_file), drift)
    account = Account(upstream.base_url, settings.account.username, settings.account.password)
    keeper = AccountKeeper(account, vault, client.send, clock)
    deadlines = Deadlines(upstream.first_token_timeout, upstream.idle_timeout, upstream.total_timeout)
    window = settings.models.context_window
    rules = Rules(deadlines, upstream.retries, window, upstream.breaker_calls, upstream.breaker_pause)
    chance = Chance(secrets.SystemRandom().random, Ids(secrets.token_bytes).tail, secrets.token_bytes(32))
    try:
        yield FittenService(client, keeper, timers, rules, chance, calibrator or Calibrator())
    finally:
        await keeper.close()
        timers.close()
        await client.close()


@asynccontextmanager
async def assembled(
    settings: Settings,
    vault: TokenVault,
    stored_keys: tuple[StoredKey, ...],
    log: Log,
    notes: Path | None = None,
    journals: Path | None = None,
    siblings: Siblings | None = None,
) -> AsyncIterator[Gateway]:
    """Make the whole gateway on the running loop; its background work is stopped and all closed at the end.

    ``notes`` is the file for what is learned about token counts, and what is not known of the service is kept beside
    it; None keeps both in memory. ``journals`` is the directory where receipts are safe until the store has them;
    without it, or without a store, nothing is kept of them. ``siblings`` are the other workers, if there are any.
    """
    calibrator = Calibrator(None if notes is None else NoteFile(notes))
    drift = Drift(None if notes is None else NoteFile(notes.with_name(DRIFT_FILE)))
    async with (
        joined(settings, log.say) as fleet,
        through_outages(vault if fleet is None else fleet.vault(vault), log.say) as sound,
        connected(settings, sound, calibrator, drift) as service,
        _learning(calibrator, drift, log),
        _tracing(settings, log) as traces,
    ):
        for breaker in (service.chat_breaker, service.completion_breaker):
            breaker.changed = partial(_tell_breaker, log)
        ids = Ids(secrets.token_bytes)
        names = ModelNames(service.models, settings.models.aliases)
        pictures = Pictures(user_agent=settings.upstream.user_agent)
        timers = Timers(asyncio.get_running_loop())
        database = open_database(settings.store)
        responses = Responses(database, SystemClock(), log.say, settings.store.retention_days)
        ledger = open_ledger(settings.store, database, journals, log)
        server, upstream = settings.server, settings.upstream
        turns = Turns(upstream.max_concurrency, upstream.queue, upstream.queue_timeout)
        memory = Memory(SystemClock())
        typing = Typing(service, turns, memory)
        figures = Figures(by_key=settings.telemetry.key_labels)
        defaults, account = allowances(settings.limits)
        local = LocalLimits(account, SystemClock())
        if database is not None:
            local.survive(database, log.say)
        limits = local if fleet is None else fleet.limits(local)
        keys = Keys(server.api_key, stored_keys, defaults, database, SystemClock(), log.say)
        if fleet is not None:
            fleet.listen(keys.look)
        overload = open_overload(settings.overload)
        exchanges = Exchanges(
            Services(
                upstream=service,
                models=names,
                keys=keys,
                turns=turns,
                typing=typing,
                pictures=pictures,
                responses=responses,
                ledger=ledger,
                log=log,
                figures=figures,
                ids=ids,
                clock=SystemClock(),
                timers=timers,
                limits=limits,
                overload=overload,
                bounds=Bounds(server.max_body_bytes, server.hold_seconds, server.heartbeat_seconds),
                traces=traces,
                recorder=open_recorder(settings.recorder),
            )
        )
        window = settings.models.context_window or Models().context_window
        probes = Probes(exchanges, service.models, names, service.problem, window, _parts(ledger, database, fleet))
        tell = _nobody if fleet is None else fleet.tell
        key_store = open_key_store(settings.store, database, secrets.token_bytes, tell)
        known = AdminServices(
            key_store,
            database,
            limits,
            defaults,
            turns,
            SystemClock(),
            service.problem,
            log.say,
            Recorded(exchanges.recorder, lambda: bundler(settings), siblings),
            drift.told,
        )
        ollama = OllamaModels(exchanges, service.models, names, window, server.max_body_bytes)
        tabby = Tabby(exchanges, names, server.max_body_bytes)
        counted = Parts(
            figures, exchanges, service, typing, memory, turns, ledger, responses, log, traces, fleet, overload
        )
        exposition = Exposition(families(counted, __version__))
        metrics = Metrics(exchanges, exposition, on=settings.telemetry.metrics)
        app = App(exchanges, probes, Pages(), Admin(exchanges, known), ids.request_id, ollama, tabby, metrics)
        door = OllamaDoor(app, exchanges, (*ollama.gets, *ollama.posts), ids.request_id, defaults)
        gate = with_cors(app, server.cors_origins)
        try:
            async with _going_on(service.upkeep()), _sampled(overload, exchanges, log):
                yield Gateway(gate, door, exchanges, service, service.keeper.vault, fleet, log, exposition)
        finally:
            await typing.close()
            timers.close()
            await pictures.close()
            for part in (keys, local, key_store, ledger, responses):
                if part is not None:
                    await asyncio.to_thread(part.close)


@asynccontextmanager
async def _going_on(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do something in the background meanwhile."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _parts(ledger: Receipts, database: Database | None, fleet: Fleet | None) -> dict[str, Troubled]:
    """Return what readiness tells of although replies go on without it."""
    parts: dict[str, Troubled] = {"ledger": ledger, "store": StoreWatch(database, SystemClock())}
    return parts if fleet is None else {**parts, "fleet": fleet}


@asynccontextmanager
async def _sampled(overload: Overload, exchanges: Exchanges, log: Log) -> AsyncIterator[None]:
    """Measure the load of these exchanges meanwhile."""
    loop = asyncio.get_running_loop()

    def found() -> tuple[int, float]:
        return len(exchanges.running), exchanges.turns.oldest(loop.time())

    sampler = Sampler(overload, found, partial(_tell_overload, log))
    sampler.start(loop)
    try:
        yield
    finally:
        sampler.stop()


def _tell_overload(log: Log, overload: Overload) -> None:
    log.say("warning" if overload.grade else "info", "overload", grade=overload.grade, cause=overload.cause or None)


def _tell_breaker(log: Log, breaker: Breaker) -> None:
    words = {"open": "is left alone", "probing": "is tried", "closed": "is back"}
    level = "info" if breaker.state == "closed" else "warning" if breaker.state == "open" else "debug"
    log.say(level, f"the service's {breaker.what} {words[breaker.state]}", retry_after=round(breaker.retry_after, 1))


@asynccontextmanager
async def _tracing(settings: Settings, log: Log) -> AsyncIterator[Traces | None]:
    """Send spans to the collector of these settings; None where there is none."""
    telemetry = settings.telemetry
    if not telemetry.otlp_endpoint:
        yield None
        return
    service = urlsplit(settings.upstream.base_url)
    port = service.port or (443 if service.scheme == "https" else 80)
    origin = Origin(PROVIDER, service.hostname or "", port, "https" if settings.server.tls_cert else "http")
    collector = Collector(telemetry.otlp_endpoint, telemetry.otlp_headers, __version__)
    traces = Traces(collector, origin, secrets.token_bytes, log.say)
    try:
        yield traces
    finally:
        await asyncio.to_thread(traces.close)


@asynccontextmanager
async def _learning(calibrator: Calibrator, drift: Drift, log: Log) -> AsyncIterator[None]:
    """Take up what was learned, go on learning in the background, and keep it at the end."""

    def tell(problem: str | None) -> None:
        if problem is not None:
            log.say("warning", "token counts are not kept", error=problem)

    async def settle() -> None:
        told: str | None = None
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            await strange()
            problem = await calibrator.settle()
            if problem != told:
                tell(problem)
            told = problem

    async def strange() -> None:
        for one in drift.news():
            log.say("warning", "the service sent something that is not known of it", kind=one.kind, sample=one.sample)
        # Where it cannot be kept, it is still counted and was said.
        await drift.settle()

    tell(await calibrator.load())
    await drift.load()
    try:
        async with _going_on(settle()):
            yield
    finally:
        await strange()
        tell(await calibrator.settle())
