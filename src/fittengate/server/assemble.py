"""Settings to a running gateway: every object is made here, once."""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TextIO, TypeAlias
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from fittengate import __version__
from fittengate.core.caller import Allowance
from fittengate.lib.timers import Timers
from fittengate.server.admin import Admin, AdminServices, Counted
from fittengate.server.app import App, with_cors
from fittengate.server.background import going_on, learning, sampled, tell_breaker, ticking, tracing
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
from fittengate.services.overload import Load, Overload
from fittengate.services.queue import Turns
from fittengate.services.recorder import Recorder, RecorderOptions
from fittengate.services.redact import Redactor
from fittengate.services.responses import Responses
from fittengate.services.store import Database
from fittengate.services.store_watch import StoreWatch
from fittengate.services.vault_outage import through_outages
from fittengate.settings import Limits, Models, Settings, Store
from fittengate.settings import Overload as Full
from fittengate.settings import Recorder as RecorderSettings
from fittengate.upstream.base import TokenVault
from fittengate.upstream.calibrator import Calibrator
from fittengate.upstream.fitten.account import AccountKeeper
from fittengate.upstream.fitten.client import FittenClient, Route
from fittengate.upstream.fitten.drift import Drift
from fittengate.upstream.fitten.service import Chance, FittenService, Rules
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
    options = LogOptions(level=log.level, json=log.format == "json", file=file, content=log.content)
    return Log(options, redactor(settings), terminal)


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


def open_ledger(
    store: Store, database: Database | None, journals: Path | None, log: Log, clock: SystemClock
) -> Receipts:
    """Return what keeps receipts; ``close`` is owed. ``journals`` is the directory that they are kept in on their way."""
    if database is None or journals is None:
        return NoLedger()
    return Ledger(
        journals,
        name=secrets.token_hex(8),
        database=database,
        clock=clock,
        say=log.say,
        retention_days=store.retention_days,
    )


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
    return KeyStore(
        database,
        clock=SystemClock(),
        random_bytes=random_bytes,
        retention_days=store.retention_days,
        changed=changed,
    )


def allowances(limits: Limits) -> tuple[Allowance, Allowance]:
    """Return what a key without limits of its own may use, and what all keys together may."""
    each = {name: getattr(limits, name) for name in LIMITS}
    return Allowance(**each), Allowance(**{name: getattr(limits, f"account_{name}") for name in LIMITS})


def open_overload(full: Full) -> Overload:
    """Return what knows how full the gateway is, by these bounds."""
    return Overload(
        Load(lag=full.loop_lag, memory=full.memory_bytes, requests=full.open_requests, queue=full.queue_age)
    )


def open_recorder(settings: RecorderSettings) -> Recorder | None:
    """Return what keeps the last exchanges; None where that is off."""
    if not (settings.exchanges and settings.bytes):
        return None
    return Recorder(
        RecorderOptions(exchanges=settings.exchanges, bytes=settings.bytes, artifact_bytes=settings.artifact_bytes)
    )


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
async def connected(settings: Settings, vault: TokenVault) -> AsyncIterator[FittenService]:
    """Make the upstream side alone, for commands that talk to the service; it is closed at the end."""
    async with (
        ticking() as timers,
        _service(settings, vault, SystemClock(), timers, Calibrator(), Drift()) as service,
    ):
        yield service


@asynccontextmanager
async def _service(
    settings: Settings, vault: TokenVault, clock: SystemClock, timers: Timers, calibrator: Calibrator, drift: Drift
) -> AsyncIterator[FittenService]:
    """Make the upstream side; it is closed at the end."""
    upstream, account = settings.upstream, settings.account
    client = FittenClient(
        Route(
            base_url=upstream.base_url,
            models_url=upstream.models_url,
            connect_timeout=upstream.connect_timeout,
            proxy=upstream.proxy,
            user_agent=upstream.user_agent,
        ),
        clock,
        ssl_context=lambda: ssl_context(upstream.ca_file),
        drift=drift,
    )
    keeper = AccountKeeper(
        Account(base_url=upstream.base_url, username=account.username, password=account.password),
        vault=vault,
        send=client.send,
        clock=clock,
    )
    deadlines = Deadlines(first=upstream.first_token_timeout, idle=upstream.idle_timeout, total=upstream.total_timeout)
    rules = Rules(
        deadlines,
        retries=upstream.retries,
        context_window=settings.models.context_window,
        breaker_calls=upstream.breaker_calls,
        breaker_pause=upstream.breaker_pause,
    )
    chance = Chance(
        dice=secrets.SystemRandom().random,
        make_id=Ids(secrets.token_bytes).tail,
        secret=secrets.token_bytes(32),
    )
    try:
        yield FittenService(client, keeper, timers, rules, chance, calibrator)
    finally:
        await keeper.close()
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
    clock, say = SystemClock(), log.say
    calibrator = Calibrator(None if notes is None else NoteFile(notes))
    drift = Drift(None if notes is None else NoteFile(notes.with_name(DRIFT_FILE)))
    async with (
        joined(settings, say) as fleet,
        through_outages(vault if fleet is None else fleet.vault(vault), say) as sound,
        ticking() as timers,
        _service(settings, sound, clock, timers, calibrator, drift) as service,
        learning(calibrator, drift, say),
        tracing(settings, say) as traces,
    ):
        upstream, store = settings.upstream, settings.store
        defaults, account = allowances(settings.limits)

        # The service.
        for breaker in (service.chat_breaker, service.completion_breaker):
            breaker.changed = partial(tell_breaker, say)
        names = ModelNames(service.models, settings.models.aliases)
        pictures = Pictures(user_agent=upstream.user_agent)
        turns = Turns(upstream.max_concurrency, queue=upstream.queue, queue_timeout=upstream.queue_timeout)
        memory = Memory(clock)
        typing = Typing(service, turns, memory)

        # What is kept.
        database = open_database(store)
        responses = Responses(database, clock, say, store.retention_days)
        ledger = open_ledger(store, database, journals, log, clock)
        key_store = open_key_store(store, database, secrets.token_bytes, _nobody if fleet is None else fleet.tell)

        # Who may do what.
        server = settings.server
        keys = Keys(server.api_key, stored_keys, defaults=defaults, database=database, clock=clock, say=say)
        if fleet is not None:
            fleet.listen(keys.look)
        local = LocalLimits(account, clock)
        if database is not None:
            local.survive(database, say)
        limits = local if fleet is None else fleet.limits(local)
        overload = open_overload(settings.overload)

        services = Services(
            upstream=service,
            models=names,
            keys=keys,
            turns=turns,
            typing=typing,
            pictures=pictures,
            responses=responses,
            ledger=ledger,
            log=log,
            figures=Figures(by_key=settings.telemetry.key_labels),
            ids=Ids(secrets.token_bytes),
            clock=clock,
            timers=timers,
            limits=limits,
            overload=overload,
            bounds=Bounds(
                max_body_bytes=server.max_body_bytes,
                hold_seconds=server.hold_seconds,
                heartbeat_seconds=server.heartbeat_seconds,
            ),
            traces=traces,
            recorder=open_recorder(settings.recorder),
        )
        beside = _Beside(
            service=service,
            memory=memory,
            database=database,
            key_store=key_store,
            fleet=fleet,
            limits=limits,
            defaults=defaults,
            drift=drift,
            siblings=siblings,
        )
        gateway = _gateway(settings, services, beside)
        try:
            async with going_on(service.upkeep()), sampled(overload, gateway.exchanges, say):
                yield gateway
        finally:
            await typing.close()
            await pictures.close()
            for part in (keys, local, key_store, ledger, responses):
                if part is not None:
                    await asyncio.to_thread(part.close)


class _Beside(Struct, frozen=True):
    """What requests do not need, but administration, metrics and probes do."""

    service: FittenService
    memory: Memory
    database: Database | None
    key_store: KeyStore | None
    fleet: Fleet | None
    limits: Counted
    defaults: Allowance
    """What a key without limits of its own may use."""
    drift: Drift
    siblings: Siblings | None
    """The other workers; None without any."""


def _gateway(settings: Settings, services: Services, beside: _Beside) -> Gateway:
    """Make all that is asked: requests, administration, metrics, probes, and the doors to them."""
    server, window = settings.server, settings.models.context_window or Models().context_window
    service, fleet = beside.service, beside.fleet
    names, ids = services.models, services.ids
    exchanges = Exchanges(services)

    troubled: dict[str, Troubled] = {
        "ledger": services.ledger,
        "store": StoreWatch(beside.database, services.clock),
    }
    if fleet is not None:
        troubled["fleet"] = fleet
    probes = Probes(
        exchanges,
        models=service.models,
        names=names,
        account_problem=service.problem,
        context_window=window,
        parts=troubled,
    )
    administered = AdminServices(
        store=beside.key_store,
        database=beside.database,
        limits=beside.limits,
        defaults=beside.defaults,
        turns=services.turns,
        clock=services.clock,
        account_problem=service.problem,
        say=services.log.say,
        recorded=Recorded(services.recorder, lambda: bundler(settings), beside.siblings),
        drift=beside.drift.told,
    )
    counted = Parts(
        figures=services.figures,
        exchanges=exchanges,
        service=service,
        typing=services.typing,
        memory=beside.memory,
        turns=services.turns,
        ledger=services.ledger,
        responses=services.responses,
        log=services.log,
        traces=services.traces,
        fleet=fleet,
        overload=services.overload,
    )
    exposition = Exposition(families(counted, __version__))
    metrics = Metrics(exchanges, exposition, on=settings.telemetry.metrics)

    ollama = OllamaModels(
        exchanges,
        models=service.models,
        names=names,
        context_window=window,
        max_body_bytes=server.max_body_bytes,
    )
    tabby = Tabby(exchanges, names, server.max_body_bytes)
    app = App(exchanges, probes, Pages(), Admin(exchanges, administered), ids.request_id, ollama, tabby, metrics)
    door = OllamaDoor(
        app,
        exchanges,
        paths=(*ollama.gets, *ollama.posts),
        make_id=ids.request_id,
        allowance=beside.defaults,
    )
    return Gateway(
        app=with_cors(app, server.cors_origins),
        ollama=door,
        exchanges=exchanges,
        service=service,
        vault=service.keeper.vault,
        fleet=fleet,
        log=services.log,
        exposition=exposition,
    )
