"""Limits against a model that keeps every use in a list."""

from hypothesis import settings

from fakes.limits_model import LimitsModel
from fittengate.services.limits import LocalLimits


class LimitsMachine(LimitsModel):
    """Limits of one process."""

    grows = True

    def start(self):
        self.limits = LocalLimits(self.account, self.clock)

    def reserve(self, caller, need):
        return self.limits.admit_now(caller, need)

    def counted(self, name):
        meter = self.limits._all if name is None else self.limits._meters.get(name)
        return None if meter is None else (meter.running, meter.days.of.get(self.clock.now() // 86_400, 0))


TestLimits = LimitsMachine.TestCase
TestLimits.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
