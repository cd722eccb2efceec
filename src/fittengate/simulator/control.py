"""The control side: scenarios, plans and the log over HTTP, for tests that run the simulator as a process.

Served to this machine only, and never to a web page; the caller has seen to that.
"""

from typing import TYPE_CHECKING

from fittengate.simulator.plan import Queued
from fittengate.simulator.reply import Reply, Request, json_reply, refusal
from fittengate.simulator.scenario import ScenarioError, parse, read_as

if TYPE_CHECKING:
    from fittengate.simulator.simulator import Simulator


def control(simulator: "Simulator", request: Request) -> Reply:
    """Do what a request asks and return the reply; raises Refused."""
    action = _ACTIONS.get((request.method, request.path))
    if action is None:
        raise refusal(404, "Not Found")
    try:
        return json_reply(action(simulator, request))
    except ScenarioError as error:
        raise refusal(400, str(error)) from error


def _scenario(simulator: "Simulator", request: Request) -> object:
    toml = "toml" in request.headers.get("content-type", "")
    simulator.set_scenario(parse(request.body or b"{}", toml=toml))
    return {}


def _next(simulator: "Simulator", request: Request) -> object:
    many = request.body.lstrip().startswith(b"[")
    queued = read_as(request.body, list[Queued]) if many else [read_as(request.body, Queued)]
    for one in queued:
        simulator.queue(one)
    return {"queued": len(queued)}


def _log(simulator: "Simulator", request: Request) -> object:
    records = simulator.requests(request.query.get("route") or None)
    return {
        "requests": [record.view() for record in records],
        "counters": simulator.counters,
        "held": len(simulator.held),
    }


def _counters(simulator: "Simulator", _request: Request) -> object:
    return simulator.counters


def _reset(simulator: "Simulator", _request: Request) -> object:
    simulator.reset()
    return {}


def _release(simulator: "Simulator", _request: Request) -> object:
    return {"released": simulator.release()}


def _expire(simulator: "Simulator", request: Request) -> object:
    kind = request.query.get("kind")
    if kind not in (None, "access", "refresh"):
        raise ScenarioError("kind must be access or refresh")
    simulator.expire("access" if kind == "access" else "refresh" if kind == "refresh" else None)
    return {}


def _refuse(simulator: "Simulator", request: Request) -> object:
    try:
        seconds = float(request.query.get("seconds", "1"))
    except ValueError as error:
        raise ScenarioError("seconds must be a number") from error
    simulator.refuse(seconds)
    return {}


def _close_idle(simulator: "Simulator", _request: Request) -> object:
    return {"closed": simulator.close_idle()}


_ACTIONS = {
    ("POST", "/_sim/scenario"): _scenario,
    ("POST", "/_sim/next"): _next,
    ("GET", "/_sim/log"): _log,
    ("GET", "/_sim/counters"): _counters,
    ("POST", "/_sim/reset"): _reset,
    ("POST", "/_sim/release"): _release,
    ("POST", "/_sim/expire"): _expire,
    ("POST", "/_sim/refuse"): _refuse,
    ("POST", "/_sim/close-idle"): _close_idle,
}
