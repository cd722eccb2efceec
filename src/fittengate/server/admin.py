"""The JSON API for administration: keys, usage, limits in force, the account's state. Wants a key with the scope ``admin``.

Law: a key is in the answer that made it and in no other; nothing here shows a hash or a token.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias, TypeVar, get_args
from urllib.parse import parse_qs, unquote

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from fittengate.core.caller import Allowance, Caller, Lane
from fittengate.core.faults import Fault, FaultKind
from fittengate.lib.clock import Clock
from fittengate.server.exchange import Exchanges
from fittengate.server.recorded import Recorded
from fittengate.server.request import JSON, Request
from fittengate.services.key_rows import KeyRefusedError, KeyRow, NoKeyError, shown
from fittengate.services.key_store import DAY_SECONDS, KeyStore, KeyWish
from fittengate.services.queue import Turns
from fittengate.services.receipt_rows import By, UsageRow, usage
from fittengate.services.store import Database, RowRefusedError, StoreDownError

KEYS = "/admin/api/keys"
KEY = f"{KEYS}/{{name}}"
ROTATE = f"{KEY}/rotate"
LIMITS = "/admin/api/limits"
ACCOUNT = "/admin/api/account"
USAGE = "/admin/api/usage"
EXCHANGES = "/admin/api/exchanges"
EXCHANGE = f"{EXCHANGES}/{{id}}"

ADMIN_METHODS: Mapping[str, tuple[str, ...]] = {
    KEYS: ("GET", "HEAD", "POST"),
    KEY: ("GET", "HEAD", "DELETE"),
    ROTATE: ("POST",),
    LIMITS: ("GET", "HEAD"),
    ACCOUNT: ("GET", "HEAD"),
    USAGE: ("GET", "HEAD"),
    EXCHANGES: ("GET", "HEAD"),
    EXCHANGE: ("GET", "HEAD"),
}
"""Every path, and the methods that it takes."""

BYS: tuple[By, ...] = get_args(By)

PAGE = 50
MAX_PAGE = 200
"""Keys of a page, unless the caller says how many, and at most."""

MAX_BODY_BYTES = 65_536
"""No wish for a key is longer."""

GRACE_SECONDS = float(DAY_SECONDS)
"""How long a replaced key works, unless the caller says."""

STORE_DOWN_SECONDS = 5.0

_encode = msgspec.json.Encoder().encode

Target: TypeAlias = tuple[str, str]
"""A path of the table, and the name in it, if there is one."""

T = TypeVar("T")


class _Create(Struct, forbid_unknown_fields=True):
    """The body that asks for a key."""

    name: str
    scopes: tuple[str, ...] = ("chat", "completion")
    models: tuple[str, ...] = ()
    lane: Lane = "interactive"
    expires_in: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None


class _Rotate(Struct, forbid_unknown_fields=True):
    """The body that asks for a key in the place of another."""

    grace: float = GRACE_SECONDS


class Counted(Protocol):
    """Limits, as far as they are shown."""

    account: Allowance
    """What all keys together may use."""

    def used(self, owner: str | None) -> dict[str, int]:
        """Return what counts against each limit of an owner; None means all keys together."""
        ...


class AdminServices(Struct, frozen=True):
    """What administration looks at."""

    store: KeyStore | None
    """None where there is no store."""
    database: Database | None
    """Where receipts are; None where there is no store."""
    limits: Counted
    defaults: Allowance
    turns: Turns
    clock: Clock
    account_problem: Callable[[], str | None]
    """Why the account cannot be used now; None when it can."""
    say: Callable[..., None]
    """The log's ``say``: who changed which key is written down."""
    recorded: Recorded
    drift: Callable[[], dict[str, Any]]
    """What the service did that is not known of it."""


def admin_path(path: str) -> Target | None:
    """Return what a path of the API means; None for every other path.

    ``path`` is as it was sent, percent-encoded: the name in it is decoded here, for it may hold a slash.
    """
    if path in (KEYS, LIMITS, ACCOUNT, USAGE, EXCHANGES):
        return path, ""
    if path.startswith(f"{EXCHANGES}/"):
        return EXCHANGE, unquote(path[len(EXCHANGES) + 1 :])
    if not path.startswith(f"{KEYS}/"):
        return None
    name, _, rest = path[len(KEYS) + 1 :].partition("/")
    name = unquote(name)
    return {"": (KEY, name), "rotate": (ROTATE, name)}.get(rest) if name else None


class Admin:
    """Answers the API."""

    def __init__(self, exchanges: Exchanges, services: AdminServices) -> None:
        self._exchanges = exchanges
        self._services = services

    async def answer(self, request: Request, target: Target) -> None:
        """Answer one request; its method is one of the path's. Raises Fault."""
        caller = await self._exchanges.enter(request, "admin")
        path, name = target
        status = 200
        match path, request.method:
            case (_, "POST") if path == KEYS:
                wish = await _read(request, _Create)
                fields = asdict(wish)
                lasts = fields.pop("expires_in")
                status, body = 201, await self._make(lambda store: store.create(KeyWish(lasts=lasts, **fields)))
                self._note("created", body, caller, request)
            case (_, "POST"):
                grace = (await _read(request, _Rotate)).grace
                status, body = 201, await self._make(lambda store: store.rotate(name, grace))
                self._note("rotated", body, caller, request)
            case (_, "DELETE"):
                body = {"revoked": [self._key(row) for row in await self._stored(lambda store: store.revoke(name))]}
                for key in body["revoked"]:
                    self._note("revoked", key, caller, request)
            case _ if path == KEYS:
                body = self._page(await self._stored(lambda store: store.listed()), request)
            case _ if path == KEY:
                body = self._key(await self._stored(lambda store: store.find(name)))
            case _ if path == LIMITS:
                body = self._limits()
            case _ if path == USAGE:
                body = await self._usage(request)
            case _ if path == EXCHANGES:
                body = await self._services.recorded.listed()
            case _ if path == EXCHANGE:
                body = await self._services.recorded.files(name)
            case _:
                body = self._account()
        await request.respond(status, [JSON], _encode(body))

    def _note(self, what: str, key: Mapping[str, Any], caller: Caller, request: Request) -> None:
        """Write into the log who did what to which key; of a key that was rotated, the new one."""
        said = {"key": key["name"], "prefix": key["prefix"], "by": caller.name, "request_id": request.id}
        self._services.say("info", f"a key was {what}", **said)

    def _limits(self) -> dict[str, Any]:
        limits = self._services.limits
        account = {"limits": asdict(limits.account), "used": limits.used(None)}
        return {"defaults": asdict(self._services.defaults), "account": account}

    async def _usage(self, request: Request) -> dict[str, Any]:
        query = _query(request)
        by, since, key = query.get("by", "day"), query.get("since"), query.get("key")
        if by not in BYS:
            raise Fault(FaultKind.CALLER_BAD_REQUEST, f"by must be one of {', '.join(BYS)}.", param="by")
        moment = None if since is None else _moment(since)
        database = self._services.database

        def read() -> list[UsageRow]:
            if database is None or not database.there:
                return []
            with database.begin() as connection:
                return usage(connection, by, moment, key)

        try:
            rows = await asyncio.to_thread(read)
        except RowRefusedError:
            # It cannot be written as the name of a key, so there is none.
            rows = []
        except StoreDownError as error:
            raise _store_down("receipts", error) from error
        return {"object": "list", "data": [asdict(row) for row in rows]}

    def _account(self) -> dict[str, Any]:
        problem, turns = self._services.account_problem(), self._services.turns
        calls = {"running": turns.running, "waiting": turns.waiting}
        return {"ready": problem is None, "problem": problem, "calls": calls, "drift": self._services.drift()}

    def _page(self, rows: list[KeyRow], request: Request) -> dict[str, Any]:
        query = _query(request)
        limit, after = query.get("limit", str(PAGE)), query.get("after", "")
        if not limit.isascii() or not limit.isdigit() or len(limit) > 4 or not 1 <= int(limit) <= MAX_PAGE:
            raise Fault(FaultKind.CALLER_BAD_REQUEST, f"limit must be from 1 to {MAX_PAGE}.", param="limit")
        begin = 0
        if after:
            places = [place for place, row in enumerate(rows) if row.prefix == after]
            if not places:
                raise Fault(
                    FaultKind.CALLER_BAD_REQUEST, "after must be the prefix of a key in the list.", param="after"
                )
            begin = places[-1] + 1
        page = rows[begin : begin + int(limit)]
        more = begin + len(page) < len(rows)
        data = [self._key(row) for row in page]
        return {"object": "list", "data": data, "has_more": more, "last_id": page[-1].prefix if page else None}

    def _key(self, row: KeyRow) -> dict[str, Any]:
        return {**shown(row, self._services.clock.now()), "used": self._services.limits.used(row.owner)}

    async def _make(self, make: Callable[[KeyStore], tuple[str, KeyRow]]) -> dict[str, Any]:
        key, row = await self._stored(make)
        return {"key": key, **self._key(row)}

    async def _stored(self, use: Callable[[KeyStore], T]) -> T:
        """Do something with the store, in a thread. Raises Fault."""
        store = self._services.store
        if store is None:
            text = "There is no store to keep keys in: store.url is none."
            raise Fault(FaultKind.CALLER_UNSUPPORTED, text)
        try:
            return await asyncio.to_thread(use, store)
        except NoKeyError as error:
            raise Fault(FaultKind.CALLER_NOT_FOUND, str(error), param="name") from error
        except KeyRefusedError as error:
            raise Fault(FaultKind.CALLER_BAD_REQUEST, str(error)) from error
        except StoreDownError as error:
            raise _store_down("keys", error) from error


def _store_down(what: str, error: StoreDownError) -> Fault:
    text = f"The store of {what} cannot be used now. Try again in a moment."
    return Fault(FaultKind.GATEWAY_BUSY, text, detail=str(error), retry_after=STORE_DOWN_SECONDS)


def _query(request: Request) -> dict[str, str]:
    """Return the parameters of the URL; of one that is given several times, the last."""
    query = request.scope.get("query_string", b"").decode("ascii", "replace")
    return {name: values[-1] for name, values in parse_qs(query).items()}


def _moment(text: str) -> float:
    """Return a date or a time, by UTC unless it says otherwise, in seconds since the epoch. Raises Fault."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        text = "since must be a date or a time, as 2026-01-31."
        raise Fault(FaultKind.CALLER_BAD_REQUEST, text, param="since") from None


async def _read(request: Request, form: type[T]) -> T:
    """Return the body as a record; one without any fields may be empty. Raises Fault (caller_bad_request)."""
    body = await request.body(MAX_BODY_BYTES)
    try:
        return msgspec.json.decode(body or b"{}", type=form)
    except (ValueError, RecursionError) as error:
        raise Fault(FaultKind.CALLER_BAD_REQUEST, f"The body is not what is wanted: {error}.") from error
