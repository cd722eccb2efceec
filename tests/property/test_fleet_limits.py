"""The limits of a fleet, on a real server, against the model that those of one process are held against."""

import asyncio

import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from fakes.limits_model import LimitsModel
from fakes.line import until
from fakes.valkey import name, valkey
from fittengate.services.fleet_limits import FleetLimits
from fittengate.services.fleet_script import program
from fittengate.services.limits import LocalLimits
from fittengate.services.valkey import Valkey, script

CLOCK = "{redis.call('GET', 'clock:s'), redis.call('GET', 'clock:us')}"
"""The server's time as the tests have it."""

PROGRAM = script(program(CLOCK))

PATIENCE = 30.0
"""Seconds for the server to answer."""


@pytest.fixture(scope="module")
def server():
    """Run a server for all examples; each has a fleet of its own there."""
    with valkey() as one:
        yield one


def machine_on(server):  # noqa: C901 - a machine is a class
    """Return the machine, on this server."""

    class FleetMachine(LimitsModel):
        """Two replicas, which are asked in turn."""

        jumps = False
        grows = True

        def start(self):
            self.loop = asyncio.new_event_loop()
            self.prefix = name()
            self.asked = 0
            self.loop.run_until_complete(self._start())

        async def _start(self):
            self.valkeys = [Valkey(server.url, lambda *_, **__: None) for _ in range(2)]
            for one in self.valkeys:
                # A machine that stands still for a while is no outage here.
                one.seconds = PATIENCE
            self.replicas = [
                FleetLimits(LocalLimits(self.account, self.clock), one, self.prefix, str(number), 0.3, print, PROGRAM)
                for number, one in enumerate(self.valkeys)
            ]
            for replica in self.replicas:
                # Time is the model's: nobody is to be heard of by the machine's.
                replica._timer.cancel()
            await self._set_clock()

        async def _set_clock(self):
            ms = round(self.clock.now() * 1000)
            await self.valkeys[0].command("MSET", "clock:s", ms // 1000, "clock:us", ms % 1000 * 1000)

        def reserve(self, caller, need):
            self.asked += 1
            return self.loop.run_until_complete(self.replicas[self.asked % 2].admit(caller, need))

        def told(self):
            self.loop.run_until_complete(self._told())

        async def _told(self):
            for replica in self.replicas:
                replica._bell.set()
                await until(lambda replica=replica: not replica._pending() and not replica._sending, PATIENCE, 0)

        def passed(self):
            self.loop.run_until_complete(self._wait())

        async def _wait(self):
            await self._set_clock()
            for replica in self.replicas:
                # However long was waited, nobody is taken for dead.
                replica._beats_now()
            await self._told()

        def counted(self, name):
            raw = self.loop.run_until_complete(
                self.valkeys[0].command("GET", f"{self.prefix}:meter:{'*' if name is None else name}")
            )
            if raw is None:
                return None
            meter = msgspec.msgpack.decode(raw, strict=False)
            days = meter["days"] if isinstance(meter["days"], dict) else {}
            running = meter["running"] if isinstance(meter["running"], dict) else {}
            return sum(running.values()), days.get(self.clock.now() // 86_400, 0)

        def teardown(self):
            if hasattr(self, "loop"):
                self.loop.run_until_complete(self._end())
                self.loop.close()

        async def _end(self):
            for replica in self.replicas:
                await replica.close()
            for one in self.valkeys:
                await one.close()

    return FleetMachine


def test_replicas_together_keep_limits_as_one_process_does(server):
    """Any order of admissions on two replicas, settlements, ends and passing time; nothing is lost on the way."""
    run_state_machine_as_test(
        machine_on(server), settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
    )
