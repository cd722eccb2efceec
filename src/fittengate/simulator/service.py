"""What the routes work on: the scenario, the accounts, the texts of completion, the counters."""

from collections.abc import Callable
from typing import TypeAlias

from fittengate.lib.clock import Clock
from fittengate.simulator.accounts import Accounts, Random
from fittengate.simulator.completion import Completions
from fittengate.simulator.log import Log
from fittengate.simulator.plan import Plan
from fittengate.simulator.reply import Reply, Request
from fittengate.simulator.scenario import Scenario


class Service:
    """The state behind all routes; one for each simulator."""

    def __init__(self, scenario: Scenario, clock: Clock, random: Random) -> None:
        self.clock = clock
        self.random = random
        self.log = Log(scenario.log_requests, scenario.log_bytes)
        self.accounts = Accounts(scenario, clock, random)
        self.completions = Completions(scenario.completion, clock, random)
        self.polls: dict[str, int] = {}
        """How often each third-party sign-in was asked for, by client token."""
        self.scenario = scenario

    def take(self, scenario: Scenario) -> None:
        """Behave as this scenario says from now on; tokens and texts of before stay good."""
        self.scenario = scenario
        self.accounts.take(scenario)
        self.completions.rules = scenario.completion
        self.log.resize(scenario.log_requests, scenario.log_bytes)


Handler: TypeAlias = Callable[[Service, Request, Plan], Reply]
"""Does the natural work of a route; raises Refused."""
