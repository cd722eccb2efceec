"""The simulator as one object: start it in any event loop, plan replies, look at what was asked."""

import asyncio
import random as random_module
import time

import msgspec
from msgspec import structs

from fittengate.lib.clock import Clock
from fittengate.simulator import control, routes
from fittengate.simulator.accounts import Random
from fittengate.simulator.changes import changed
from fittengate.simulator.fast import FastReply
from fittengate.simulator.jwt import Kind
from fittengate.simulator.log import Counters, Record, fingerprint
from fittengate.simulator.plan import NATURAL, OF_CHAT, Plan, Queued
from fittengate.simulator.reply import Refused, Reply, Request, usual
from fittengate.simulator.scenario import Scenario, ScenarioError
from fittengate.simulator.sending import Sending
from fittengate.simulator.server import Connection
from fittengate.simulator.service import Service
from fittengate.simulator.times import Times
from fittengate.simulator.wire import Outgoing, prepare

_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, content-encoding, x-api-version",
}


class _MachineClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class _Pending:
    """A queued plan and for how many requests it is still good."""

    def __init__(self, queued: Queued) -> None:
        self.queued = queued
        self.left = queued.times


class Simulator:
    """A Fitten service on a port of this machine.

    Without arguments it knows the account ``demo`` with the password ``demo`` and answers at full speed. Law: a plan
    that was queued goes before the scenario's lasting plan, which goes before the natural reply; among queued plans
    the oldest that fits is taken.
    """

    def __init__(
        self, scenario: Scenario | None = None, *, clock: Clock | None = None, random: Random | None = None
    ) -> None:
        scenario = scenario or Scenario()
        self.clock = clock or _MachineClock()
        self.times = Times()
        self.connections: set[Connection] = set()
        self.held: set[Sending] = set()
        self.service = Service(scenario, self.clock, random or random_module.Random())
        self.log = self.service.log
        self.port = 0
        """The port that is listened on; 0 before the first start."""
        self._host = "127.0.0.1"
        self._pending: list[_Pending] = []
        self._server: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None
        check(scenario)
        self._set(scenario)

    # Life

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen, and return the port; 0 asks for any free one. Raises OSError where the port cannot be had.

        May be called again after ``stop``: accounts, plans and the log are kept.
        """
        self._host = host
        self._server = await asyncio.get_running_loop().create_server(lambda: Connection(self), host, port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.log.changed()
        return self.port

    async def stop(self) -> None:
        """Refuse new connections and drop the open ones."""
        self.refuse()
        for connection in list(self.connections):
            connection.abort()
        # Aborted connections tell of their end in the next turn.
        await asyncio.sleep(0)

    def refuse(self, seconds: float | None = None) -> None:
        """Refuse new connections for so long, or until started again; open ones go on."""
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        if self._server is not None:
            self._server.close()
            self._server = None
        if seconds is not None:
            self._reopening = asyncio.get_running_loop().create_task(self._reopen(seconds))

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._reopening = None
        await self.start(self._host, self.port)

    @property
    def listening(self) -> bool:
        """Whether new connections are taken."""
        return self._server is not None

    @property
    def base_url(self) -> str:
        """Where the service is."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    # Steering

    @property
    def scenario(self) -> Scenario:
        """How the service behaves."""
        return self.service.scenario

    def set_scenario(self, scenario: Scenario) -> None:
        """Behave as this scenario says from now on; queued plans are dropped, tokens stay good.

        Raises ScenarioError for what no scenario may say.
        """
        check(scenario)
        self.service.take(scenario)
        self._set(scenario)

    def plan(self, route: str, plan: Plan, *, times: int | None = 1, contains: str = "") -> None:
        """Queue a plan for the next requests of a route (``*``: of any).

        ``times`` None means all that follow; ``contains`` is a text that the request's body must hold. Raises
        ScenarioError for an unknown route or a value that no plan may have.
        """
        self.queue(Queued(route=route, plan=plan, times=times, contains=contains))

    def queue(self, queued: Queued) -> None:
        """Queue a plan; raises ScenarioError for an unknown route or a value that no plan may have."""
        _check_plan(queued.route, queued.plan)
        try:
            msgspec.convert(msgspec.to_builtins(queued), Queued)
        except msgspec.ValidationError as error:
            raise ScenarioError(str(error)) from error
        self._pending.append(_Pending(queued))

    def release(self) -> int:
        """Let all stalled replies go on; return how many there were."""
        held = list(self.held)
        for sending in held:
            sending.release()
        return len(held)

    def reset(self) -> None:
        """Drop queued plans, records and counters, and let stalled replies go on."""
        self._pending.clear()
        self.log.clear()
        self.release()

    def expire(self, kind: Kind | None = None) -> None:
        """Make all tokens that were issued so far stale: of one kind, or of both."""
        self.service.accounts.withdraw(kind)

    def close_idle(self) -> int:
        """Close the connections on which nothing is being answered; return how many there were."""
        idle = [connection for connection in self.connections if connection.idle]
        for connection in idle:
            connection.abort()
        return len(idle)

    # Looking

    @property
    def counters(self) -> Counters:
        """Numbers of what happened; a new object after a reset."""
        return self.log.counters

    def requests(self, route: str | None = None) -> list[Record]:
        """Return the records of a route, or of all, oldest first."""
        return self.log.records(route)

    async def wait_requests(self, route: str, count: int = 1, seconds: float = 5) -> list[Record]:
        """Return the records of a route once there are ``count``; raises TimeoutError."""
        await self.log.wait(lambda: self.counters.requests[route] >= count, seconds)
        return self.requests(route)

    async def wait_held(self, count: int = 1, seconds: float = 5) -> None:
        """Return once ``count`` replies are stalled; raises TimeoutError."""
        await self.log.wait(lambda: len(self.held) >= count, seconds)

    async def wait_closed_by_client(self, count: int = 1, seconds: float = 5) -> float:
        """Return when, by the monotonic clock, the newest of ``count`` clients left a reply; raises TimeoutError."""
        await self.log.wait(lambda: self.counters.closed_by_client >= count, seconds)
        return self.counters.closed_times[-1]

    async def wait_no_streams(self, seconds: float = 5) -> None:
        """Return once no chat reply is under way; raises TimeoutError."""
        await self.log.wait(lambda: self.counters.open_streams == 0, seconds)

    # Called by connections

    @property
    def fast(self) -> FastReply | None:
        """The fixed reply; None unless it answers chat requests now."""
        return None if self._pending else self._fast

    def knows(self, authorization: bytes) -> bool:
        """Whether a header was checked before and still counts."""
        return self.service.accounts.counts(authorization)

    def control(self, request: Request) -> Reply:
        """Return the reply of the control side."""
        return control.control(self, request)

    def answer(self, request: Request, size: int) -> tuple[Outgoing, Record]:
        """Return the reply to a request of ``size`` bytes, and its record."""
        route, refused = None, None
        try:
            route = routes.find(request.method, request.path)
        except Refused as error:
            refused = error.reply
        preflight = request.method == "OPTIONS" and "origin" in request.headers
        name = "preflight" if preflight else route.name if route else "unknown"
        record = Record(
            route=name,
            method=request.method,
            path=request.path,
            query_string=request.query_string,
            headers=_without_secret(request.headers),
            body=request.body,
            body_size=size,
            at=self.clock.now(),
            arrived=self.clock.monotonic(),
            problems=request.problems,
        )
        self.log.add(record)
        plan = self._take_plan(name, request.body)
        if preflight:
            reply = Reply(status=200 if self.scenario.cors else 405)
        else:
            reply = refused or self._natural(route, request, plan)
        out = prepare(
            self._with_cors(request, changed(reply, plan, self.scenario.tokens.expired_detail)),
            plan,
            gzip_offered="gzip" in request.headers.get("accept-encoding", ""),
        )
        return out, record

    def _natural(self, route: routes.Route | None, request: Request, plan: Plan) -> Reply:
        if plan.replaces or route is None or (plan.raw is not None and route.name != "chat"):
            return usual(404, "") if route is None else Reply()
        try:
            return route.handler(self.service, request, plan)
        except Refused as error:
            return error.reply

    def _with_cors(self, request: Request, reply: Reply) -> Reply:
        if "origin" not in request.headers or not self.scenario.cors:
            return reply
        return structs.replace(reply, headers=reply.headers | _CORS)

    def _take_plan(self, name: str, body: bytes) -> Plan:
        for pending in self._pending:
            queued = pending.queued
            if queued.route in (name, "*") and queued.contains.encode() in body:
                if pending.left is not None:
                    pending.left -= 1
                    if not pending.left:
                        self._pending.remove(pending)
                return queued.plan
        plan = self.scenario.defaults.get(name, NATURAL)
        fast = self.scenario.fast
        if plan is NATURAL and fast is not None and name == "chat":
            return Plan(deltas=fast.pieces or (fast.text,) * fast.deltas, interval_ms=fast.interval_ms)
        return plan

    def _set(self, scenario: Scenario) -> None:
        self._pending = [_Pending(queued) for queued in scenario.plans]
        # A lasting plan for chat needs the long way.
        self._fast = FastReply(scenario.fast) if scenario.fast and "chat" not in scenario.defaults else None


def _without_secret(headers: dict[str, str]) -> dict[str, str]:
    if "authorization" not in headers:
        return headers
    scheme, _, token = headers["authorization"].partition(" ")
    return headers | {"authorization": f"{scheme} {fingerprint(token)}"}


def check(scenario: Scenario) -> None:
    """Raise ScenarioError for what the fields alone do not show to be wrong."""
    for route, plan in (*scenario.defaults.items(), *((queued.route, queued.plan) for queued in scenario.plans)):
        _check_plan(route, plan)
    names = [name for one in scenario.accounts for name in {one.username, one.email, one.phone} if name]
    names += ["demo"] * scenario.demo_account
    for name in names:
        if names.count(name) > 1:
            raise ScenarioError(f"accounts: {name!r} names two of them (demo is one, unless demo_account is false)")


def _check_plan(route: str, plan: Plan) -> None:
    known = routes.NAMES | {"*"}
    if route not in known:
        raise ScenarioError(f"there is no route {route!r}; the routes are: {', '.join(sorted(known))}")
    if route in {"chat", "*"}:
        return
    useless = [
        name for name in plan.__struct_fields__ if name in OF_CHAT and getattr(plan, name) != getattr(NATURAL, name)
    ]
    if useless:
        raise ScenarioError(f"a plan for {route} has no use for {', '.join(useless)}: chat replies have those")
