"""Floor 3d: a faithful Fitten service for demos, tests and benchmarks. Shares no reading of the wire with clients."""

from fittengate.simulator.log import Counters, Record, fingerprint
from fittengate.simulator.plan import Plan, Queued
from fittengate.simulator.process import run
from fittengate.simulator.scenario import (
    DEMO_PACE,
    AccountRecord,
    Completion,
    Fast,
    Model,
    Models,
    Pace,
    Scenario,
    ScenarioError,
    SignIn,
    Tokens,
    load,
)
from fittengate.simulator.simulator import Simulator

__all__ = [
    "DEMO_PACE",
    "AccountRecord",
    "Completion",
    "Counters",
    "Fast",
    "Model",
    "Models",
    "Pace",
    "Plan",
    "Queued",
    "Record",
    "Scenario",
    "ScenarioError",
    "SignIn",
    "Simulator",
    "Tokens",
    "fingerprint",
    "load",
    "run",
]
