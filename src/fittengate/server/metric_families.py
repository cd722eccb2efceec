"""Every metric, once: its name, labels and help stand here, with where its numbers lie.

``docs/metrics.md`` is made from this table. Nothing is read before somebody scrapes.
"""

from collections.abc import Callable, Iterable
from typing import get_args

from msgspec import Struct

from fittengate.prompting.trouble import Trouble
from fittengate.server.exchange import Exchanges
from fittengate.server.typing import Typing
from fittengate.services.exposition import Family, Sample, each, one
from fittengate.services.figures import NONE, Cell, Durations, Figures
from fittengate.services.fleet import Fleet
from fittengate.services.ledger import Receipts
from fittengate.services.log import Log
from fittengate.services.memory import Memory
from fittengate.services.overload import LEAST_GRADE, Overload
from fittengate.services.queue import Turns
from fittengate.services.responses import Responses
from fittengate.services.traces import Traces
from fittengate.upstream.breaker import Breaker
from fittengate.upstream.fitten.drift import Kind
from fittengate.upstream.fitten.service import FittenService

FAILURES = frozenset({Trouble.UNKNOWN_TOOL, Trouble.UNFIT_VALUE, Trouble.UNWANTED, Trouble.ABORTED})
"""Oddities of calls that were not made good: dropped, cut off, or passed on as they stood. The rest are repairs."""

AGAIN = ("missing", "unfit", "broken", "unwanted", "silent", "invalid")
ASKED = ("mended", "kept", "failed")
FILLED = ("called", "hit", "shared", "superseded")

_BOTH = ("dialect", "model")


class Parts(Struct, frozen=True):
    """What is counted in."""

    figures: Figures
    exchanges: Exchanges
    service: FittenService
    typing: Typing
    memory: Memory
    turns: Turns
    ledger: Receipts
    responses: Responses
    log: Log
    traces: Traces | None
    fleet: Fleet | None
    overload: Overload


def families(parts: Parts, version: str) -> list[Family]:
    """Return all metrics of a gateway made of these parts; ``version`` is its own."""
    return [
        *_exchanges(parts.figures, parts.exchanges),
        *_keys(parts.figures),
        *_upstream(parts.service, parts.turns),
        *_breakers(parts.service),
        *_overload(parts.overload),
        *_tools(parts.service, parts.exchanges),
        *_completion(parts.typing, parts.memory),
        *_house(parts, version),
    ]


def connections(count: Callable[[], int]) -> Family:
    """Return the metric of client connections, which the server counts."""
    return Family("gauge", "client_connections", "Connections of clients", one(count))


def _spread(figures: Figures, read: Callable[[Cell], Durations]) -> list[Sample]:
    """Return a histogram of each dialect and model; where nothing was counted there is none."""
    found = [((dialect, model or NONE), read(cell)) for (dialect, model), cell in figures.cells.items()]
    return [(labels, durations) for labels, durations in found if any(durations.counts)]


def _exchanges(figures: Figures, exchanges: Exchanges) -> Iterable[Family]:
    def outcomes() -> list[Sample]:
        return [
            ((dialect, model or NONE, outcome), count)
            for (dialect, model), cell in figures.cells.items()
            for outcome, count in cell.outcomes.items()
        ]

    def tokens() -> list[Sample]:
        return [
            ((dialect, model or NONE, direction, counted), pair[at])
            for (dialect, model), cell in figures.cells.items()
            for counted, pair in (("service", cell.told), ("estimate", cell.estimated))
            for at, direction in enumerate(("input", "output"))
        ]

    def streams() -> float:
        return sum(request.status != 0 for request in exchanges.running)

    yield Family(
        "counter",
        "requests",
        "Requests that have ended, by dialect, model and outcome: complete, cancelled (the client left), stalled (the "
        "service fell silent), truncated (it failed after the reply had begun) or failed",
        outcomes,
        (*_BOTH, "outcome"),
    )
    yield Family(
        "counter", "faults", "Requests that ended with a fault, by its kind", each(lambda: figures.faults), ("kind",)
    )
    yield Family("gauge", "requests_running", "Requests under way", one(lambda: len(exchanges.running)))
    yield Family("gauge", "streams_open", "Replies whose head is out and whose end is not", one(streams))
    yield Family(
        "histogram",
        "first_token_seconds",
        "From the request to the first event of the answer; only requests that had one",
        lambda: _spread(figures, lambda cell: cell.first),
        _BOTH,
    )
    yield Family(
        "histogram",
        "inter_delta_seconds",
        "Between two pieces of a streamed reply on their way to the client; all of them, to the thousandth of a second",
        lambda: _spread(figures, lambda cell: cell.gaps),
        _BOTH,
    )
    yield Family(
        "histogram",
        "request_seconds",
        "From the request to the end of the answer",
        lambda: _spread(figures, lambda cell: cell.total),
        _BOTH,
    )
    yield Family(
        "counter",
        "tokens",
        "Tokens of prompts (input) and answers (output); counted by the service, or estimate where one count is ours",
        tokens,
        (*_BOTH, "direction", "counted"),
    )
    yield Family("gauge", "draining", "1 while the gateway is shutting down", one(lambda: exchanges.draining))


def _keys(figures: Figures) -> Iterable[Family]:
    def requests() -> list[Sample]:
        return [((name,), cell.requests) for name, cell in (figures.keys or {}).items()]

    def tokens() -> list[Sample]:
        return [
            ((name, direction), cell.tokens[at])
            for name, cell in (figures.keys or {}).items()
            for at, direction in enumerate(("input", "output"))
        ]

    yield Family(
        "counter",
        "key_requests",
        "Requests that have ended, by key; only with telemetry.key_labels",
        requests,
        ("key",),
    )
    yield Family("counter", "key_tokens", "Tokens by key; only with telemetry.key_labels", tokens, ("key", "direction"))


def _upstream(service: FittenService, turns: Turns) -> Iterable[Family]:
    def connections() -> dict[str, float]:
        used, idle = service.connections()
        return {"used": used, "idle": idle}

    yield Family(
        "gauge",
        "queue_waiting",
        "Requests that wait for a turn at the service, by lane",
        each(lambda: turns.waiting_lanes),
        ("lane",),
    )
    yield Family(
        "gauge",
        "turns_running",
        "Calls to the service under way, by kind",
        each(lambda: turns.running_kinds),
        ("kind",),
    )
    yield Family(
        "gauge",
        "upstream_connections",
        "Connections to the service for chat and completion",
        each(connections),
        ("state",),
    )
    yield Family(
        "counter", "upstream_retries", "Further tries before the first word of an answer", one(lambda: service.retried)
    )
    yield Family(
        "counter",
        "upstream_odd_lines",
        "Lines of the service that are of no known kind: signs that it has changed",
        one(lambda: service.odd_lines),
    )
    yield Family(
        "counter",
        "upstream_drift",
        "Unknown things that the service sent, by kind; `fittengate doctor` shows samples",
        each(lambda: {kind: service.drift.counts[kind] for kind in get_args(Kind)}),
        ("kind",),
    )
    yield Family(
        "gauge",
        "account_ready",
        "1 when the account can be used, 0 when a request would be refused",
        one(lambda: service.problem() is None),
    )
    yield Family(
        "counter",
        "session_renewals",
        "Renewals of the account's session, by what became of them",
        each(lambda: service.keeper.renewals),
        ("outcome",),
    )
    yield Family(
        "counter",
        "session_calls",
        "What was sent to the service for renewals: refresh or login",
        each(lambda: service.keeper.sent),
        ("kind",),
    )


def _breakers(service: FittenService) -> Iterable[Family]:
    def both() -> tuple[Breaker, ...]:
        return service.chat_breaker, service.completion_breaker

    yield Family(
        "gauge",
        "breaker_state",
        "0 while calls of a kind go to the service, 1 while one is tried, 2 while it is left alone, for it is out of order",
        each(lambda: {one.what: ("closed", "probing", "open").index(one.state) for one in both()}),
        ("kind",),
    )
    yield Family(
        "counter",
        "breaker_opened",
        "So often the service was found out of order, by kind of call",
        each(lambda: {one.what: one.opened for one in both()}),
        ("kind",),
    )
    yield Family(
        "counter",
        "breaker_refused",
        "Calls that were not made, because the service was left alone",
        each(lambda: {one.what: one.refused for one in both()}),
        ("kind",),
    )


def _overload(overload: Overload) -> Iterable[Family]:
    yield Family(
        "gauge",
        "overload_grade",
        "0 fine, 1 connections are closed after an answer, 2 no background requests, 3 no interactive ones, 4 none at all",
        one(lambda: overload.grade),
    )
    yield Family(
        "counter",
        "overload_shed",
        "Requests that were turned away because the gateway was full, by lane",
        each(lambda: {lane: overload.shed[lane] for lane in LEAST_GRADE}),
        ("lane",),
    )


def _tools(service: FittenService, exchanges: Exchanges) -> Iterable[Family]:
    def troubles(*, failures: bool) -> dict[str, float]:
        return {kind.value: service.troubles[kind] for kind in Trouble if (kind in FAILURES) is failures}

    yield Family("counter", "tool_calls", "Calls of tools that models made and completed", one(lambda: service.calls))
    yield Family(
        "counter",
        "tool_call_repairs",
        "Oddities of calls that were made good, by kind",
        each(lambda: troubles(failures=False)),
        ("kind",),
    )
    yield Family(
        "counter",
        "tool_call_failures",
        "Calls that were dropped, cut off, or passed on as they stood, by kind",
        each(lambda: troubles(failures=True)),
        ("kind",),
    )
    yield Family(
        "counter",
        "asked_again",
        "Further calls for one request, by reason: a call of a tool or JSON was not as the request wants it",
        each(lambda: {why: exchanges.asked.again[why] for why in AGAIN}),
        ("reason",),
    )
    yield Family(
        "counter",
        "asked_again_replies",
        "Replies that took more than one call, by what came of it",
        each(lambda: {outcome: exchanges.asked.outcomes[outcome] for outcome in ASKED}),
        ("outcome",),
    )


def _completion(typing: Typing, memory: Memory) -> Iterable[Family]:
    yield Family(
        "counter",
        "completions",
        "Code completions: called (the service was asked), hit (known already), shared (an equal one was under way); and "
        "superseded: calls that a newer request ended",
        each(lambda: {what: typing.counts[what] for what in FILLED}),
        ("source",),
    )
    yield Family("gauge", "completions_remembered", "Code completions in memory", one(lambda: len(memory)))
    yield Family("gauge", "completions_remembered_bytes", "What they take", one(lambda: memory.size))


def _house(parts: Parts, version: str) -> Iterable[Family]:
    ledger, responses, log = parts.ledger, parts.responses, parts.log
    traces, fleet = parts.traces, parts.fleet

    def receipts() -> dict[str, float]:
        depth, memory = ledger.depth
        return {"disk": depth - memory, "memory": memory}

    yield Family(
        "gauge",
        "journal_records",
        "Receipts on their way to the store, by where they are; those in memory would not outlive the process",
        each(receipts),
        ("place",),
    )
    yield Family("counter", "receipts_lost", "Receipts that were not kept", one(lambda: ledger.lost))
    yield Family("gauge", "store_down", "1 while the store takes no receipts", one(lambda: ledger.store_problem))
    yield Family(
        "gauge",
        "fleet_alone",
        "1 while the server that a fleet shares cannot be used, and this gateway goes on by itself",
        one(lambda: fleet is not None and fleet.problem is not None),
    )
    yield Family(
        "counter",
        "fleet_outages",
        "How often the server that a fleet shares was given up",
        one(lambda: 0 if fleet is None else fleet.valkey.outages),
    )
    yield Family(
        "counter",
        "fleet_judged_alone",
        "Requests that were judged, without that server, by this gateway's own share of the limits",
        one(lambda: 0 if fleet is None else fleet.alone),
    )
    yield Family(
        "counter", "responses_lost", "Responses that should have been kept and were not", one(lambda: responses.lost)
    )
    yield Family(
        "counter",
        "log_lines_lost",
        "Lines that the log lost: too_many came at once, or the file took none (unwritten)",
        each(lambda: {"too_many": log.dropped, "unwritten": log.unwritten}),
        ("reason",),
    )
    yield Family(
        "gauge",
        "recorder_bytes",
        "What the flight recorder holds",
        one(lambda: 0 if parts.exchanges.recorder is None else parts.exchanges.recorder.used),
    )
    yield Family(
        "counter",
        "recorder_missed",
        "Requests that the flight recorder had no room for",
        one(lambda: 0 if parts.exchanges.recorder is None else parts.exchanges.recorder.missed),
    )
    yield Family(
        "counter",
        "traces",
        "Exchanges whose spans were sent to the collector, and those whose were lost",
        each(lambda: {} if traces is None else {"sent": traces.sent, "lost": traces.lost}),
        ("outcome",),
    )
    yield Family(
        "histogram",
        "event_loop_lag_seconds",
        "How late the event loop is; looked at four times a second",
        lambda: [((), parts.overload.lags)],
    )
    yield Family("gauge", "build_info", "1; the label says which version runs", lambda: [((version,), 1)], ("version",))
