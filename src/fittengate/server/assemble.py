"""Settings to a running gateway: every object is made here, once."""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO, TypeAlias

from msgspec import Struct

from fittengate.core.caller import Allowance
from fittengate.lib.timers import Timers
from fittengate.server.admin import Admin, AdminServices
from fittengate.server.app import App, with_cors
from fittengate.server.configure import SQLITE
from fittengate.server.exchange import Bounds, Exchanges, Services
from fittengate.server.ollama import OllamaModels
from fittengate.server.ollama_door import OllamaDoor
from fittengate.server.pages import Pages
from fittengate.server.probes import Probes
from fittengate.server.request import Receive, Scope, Send
from fittengate.server.tabby import Tabby
from fittengate.server.typing import Typing
from fittengate.services.clock import SystemClock
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
from fittengate.services.queue import Turns
from fittengate.services.redact import Redactor
from fittengate.services.responses import Responses
from fittengate.services.store import Database
from fittengate.services.vault_outage import through_outages
from fittengate.settings import Limits, Settings, Store
from fittengate.upstream.base import TokenVault
from fittengate.upstream.calibrator import SETTLE_SECONDS, Calibrator
from fittengate.upstream.fitten.account import AccountKeeper
from fittengate.upstream.fitten.client import FittenClient, Route
from fittengate.upstream.fitten.service import Chance, FittenService, Rules
from fittengate.upstream.fitten.session import Account
from fittengate.upstream.fitten.watch import Deadlines
from fittengate.upstream.pictures import Pictures

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gateway(Struct, frozen=True):
    """A gateway that runs: what the server and the commands hold on to."""

    app: Application
    ollama: Application
    """What is behind the port without a key."""
    exchanges: Exchanges
    service: FittenService
    log: Log


def open_log(settings: Settings, terminal: TextIO | None) -> Log:
    """Return the log of these settings; ``close`` is owed."""
    log = settings.log
    file = None if log.file in {"", "none"} else Path(log.file)
    known = (*settings.server.api_key, settings.account.password)
    return Log(LogOptions(log.level, log.format == "json", file, log.content), Redactor(known), terminal)


def open_database(store: Store) -> Database | None:
    """Return the database of these settings, which nothing has opened yet; None where there is to be none."""
    path = store.url.removeprefix(SQLITE)
    return None if path in {"", "none"} else Database(Path(path))


def open_ledger(store: Store, database: Database | None, journals: Path | None, log: Log) -> Receipts:
    """Return what keeps receipts; ``close`` is owed. ``journals`` is the directory that they are kept in on their way."""
    if database is None or journals is None:
        return NoLedger()
    return Ledger(journals, secrets.token_hex(8), database, SystemClock(), log.say, store.retention_days)


def open_key_store(store: Store, database: Database | None, random_bytes: Callable[[int], bytes]) -> KeyStore | None:
    """Return what makes and changes keys, ``close`` is owed; None where there is no database."""
    return None if database is None else KeyStore(database, SystemClock(), random_bytes, store.retention_days)


def allowances(limits: Limits) -> tuple[Allowance, Allowance]:
    """Return what a key without limits of its own may use, and what all keys together may."""
    each = {name: getattr(limits, name) for name in LIMITS}
    return Allowance(**each), Allowance(**{name: getattr(limits, f"account_{name}") for name in LIMITS})


def ssl_context(ca_file: str) -> ssl.SSLContext | None:
    """Return a context that trusts ``ca_file`` beside the system's authorities; None without one."""
    if not ca_file:
        return None
    context = ssl.create_default_context()
    context.load_verify_locations(ca_file)
    return context


@asynccontextmanager
async def connected(
    settings: Settings, vault: TokenVault, calibrator: Calibrator | None = None
) -> AsyncIterator[FittenService]:
    """Make the upstream side alone, for commands that talk to the service; it is closed at the end."""
    upstream = settings.upstream
    clock = SystemClock()
    timers = Timers(asyncio.get_running_loop())
    route = Route(upstream.base_url, upstream.models_url, upstream.connect_timeout, upstream.proxy, upstream.user_agent)
    client = FittenClient(route, clock, lambda: ssl_context(upstream.ca_file))
    account = Account(upstream.base_url, settings.account.username, settings.account.password)
    keeper = AccountKeeper(account, vault, client.send, clock)
    deadlines = Deadlines(upstream.first_token_timeout, upstream.idle_timeout, upstream.total_timeout)
    rules = Rules(deadlines, upstream.retries, settings.models.context_window)
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
) -> AsyncIterator[Gateway]:
    """Make the whole gateway on the running loop; its background work is stopped and all closed at the end.

    ``notes`` is the file for what is learned about token counts; None keeps that in memory. ``journals`` is the directory
    where receipts are safe until the store has them; without it, or without a store, nothing is kept of them.
    """
    calibrator = Calibrator(None if notes is None else NoteFile(notes))
    async with (
        through_outages(vault, log.say) as kept,
        connected(settings, kept, calibrator) as service,
        _learning(calibrator, log),
    ):
        ids = Ids(secrets.token_bytes)
        names = ModelNames(service.models, settings.models.aliases)
        pictures = Pictures(user_agent=settings.upstream.user_agent)
        timers = Timers(asyncio.get_running_loop())
        database = open_database(settings.store)
        responses = Responses(database, SystemClock(), log.say, settings.store.retention_days)
        ledger = open_ledger(settings.store, database, journals, log)
        server, upstream = settings.server, settings.upstream
        turns = Turns(upstream.max_concurrency, upstream.queue, upstream.queue_timeout)
        typing = Typing(service, turns, Memory(SystemClock()))
        defaults, account = allowances(settings.limits)
        limits = LocalLimits(account, SystemClock())
        if database is not None:
            limits.survive(database, log.say)
        keys = Keys(server.api_key, stored_keys, defaults, database, SystemClock(), log.say)
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
                ids=ids,
                clock=SystemClock(),
                timers=timers,
                limits=limits,
                bounds=Bounds(server.max_body_bytes, server.hold_seconds, server.heartbeat_seconds),
            )
        )
        window = settings.models.context_window
        probes = Probes(exchanges, service.models, names, service.problem, window, lambda: ledger.problem)
        key_store = open_key_store(settings.store, database, secrets.token_bytes)
        known = AdminServices(key_store, database, limits, defaults, turns, SystemClock(), service.problem)
        ollama = OllamaModels(exchanges, service.models, names, window, server.max_body_bytes)
        tabby = Tabby(exchanges, names, server.max_body_bytes)
        app = App(exchanges, probes, Pages(), Admin(exchanges, known), ids.request_id, ollama, tabby)
        upkeep = asyncio.create_task(service.upkeep())
        try:
            door = OllamaDoor(app, exchanges, (*ollama.gets, *ollama.posts), ids.request_id, defaults)
            yield Gateway(with_cors(app, server.cors_origins), door, exchanges, service, log)
        finally:
            upkeep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await upkeep
            await typing.close()
            timers.close()
            await pictures.close()
            await asyncio.to_thread(keys.close)
            await asyncio.to_thread(limits.close)
            if key_store is not None:
                await asyncio.to_thread(key_store.close)
            await asyncio.to_thread(ledger.close)
            await asyncio.to_thread(responses.close)


@asynccontextmanager
async def _learning(calibrator: Calibrator, log: Log) -> AsyncIterator[None]:
    """Take up what was learned, go on learning in the background, and keep it at the end."""

    def tell(problem: str | None) -> None:
        if problem is not None:
            log.say("warning", "token counts are not kept", error=problem)

    async def settle() -> None:
        told: str | None = None
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            problem = await calibrator.settle()
            if problem != told:
                tell(problem)
            told = problem

    tell(await calibrator.load())
    settling = asyncio.create_task(settle())
    try:
        yield
    finally:
        settling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await settling
        tell(await calibrator.settle())
