"""The clock jumps, and the service's login is out of order for an hour: requests go on as far as tokens reach."""

import asyncio
import contextlib
import os
import shutil
import time
from pathlib import Path

import pytest

from fakes.chaos import spread
from fakes.ledger import until_rows
from fakes.line import events
from fakes.running import environment, running, start_process
from fittengate.services.clock import SystemClock
from fittengate.simulator import Plan, Simulator

HOUR, DAY, YEAR = 3600.0, 86_400.0, 365 * 86_400.0
JUMPS = spread([DAY, -DAY, HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 1.0, -1.0], 4)
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
NO_LIBRARY = "Debian's package faketime is not installed"


class Moved:
    """How far the gateway's clocks are ahead of the machine's."""

    def __init__(self):
        self.wall = 0.0
        self.steady = 0.0
        self.asked = 0

    def pass_by(self, seconds):
        """Let time go on, for both clocks."""
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def moved(monkeypatch):
    """Give what moves the gateway's clock; the simulated service keeps the machine's."""
    made = Moved()

    def now(_clock):
        made.asked += 1
        return time.time() + made.wall

    monkeypatch.setattr(SystemClock, "now", now)
    monkeypatch.setattr(SystemClock, "monotonic", lambda _clock: time.monotonic() + made.steady)
    return made


async def test_p4_a_login_outage_of_an_hour(simulator, moved, cases):
    """Tokens die and nothing renews them for an hour: few calls, clear errors with a time to wait; then all is well."""
    count = 0
    async with running(simulator, upstream={"retries": 0}) as gateway:
        assert (await gateway.chat("before")).status == 200
        simulator.reset()
        for route in ("login", "refresh", "refresh_refresh"):
            simulator.plan(route, Plan(status=503), times=None)
        simulator.expire("access")
        for _ in range(360):
            moved.pass_by(10)
            for reply in await asyncio.gather(gateway.chat("during"), gateway.chat("during", stream=True)):
                assert reply.status in {502, 503}
                assert reply.error["message"]
                assert reply.status == 502 or int(reply.headers["retry-after"]) >= 1
                count += 1
        asked = simulator.counters.requests
        # Back-off ends at half a minute: an hour has 120 of them, each with a refresh and a login.
        assert asked["login"] <= 130
        assert asked["refresh"] + asked["refresh_refresh"] <= 130
        assert asked["chat"] <= 4, "what has no token is not sent"
        simulator.reset()
        moved.pass_by(31)
        assert (await gateway.chat("after")).status == 200
        assert simulator.counters.requests["login"] + simulator.counters.requests["refresh"] == 1
    assert moved.asked
    cases(count)


async def test_p4_an_outage_while_the_token_is_good_is_not_noticed(simulator, moved):
    """Renewal fails for the whole second half of a token's life: every request in it is answered."""
    async with running(simulator, upstream={"retries": 0}) as gateway:
        assert (await gateway.chat("before")).status == 200
        for route in ("login", "refresh", "refresh_refresh"):
            simulator.plan(route, Plan(no_reply="close"), times=None)
        for _ in range(20):
            moved.pass_by(HOUR)
            assert (await gateway.chat("during")).status == 200


async def test_the_clock_jumps_in_mid_stream_and_between_requests(simulator, moved, tmp_path, cases):
    """A stream under way ends well, the next requests work, limits lock nobody out, and every receipt is kept."""
    store = {"url": f"sqlite:///{tmp_path / 'ledger.db'}", "retention_days": 0}
    limits = {"rpm": 100}
    async with running(simulator, journals=tmp_path / "journal", store=store, limits=limits) as gateway:
        for jump in JUMPS:
            simulator.reset()
            simulator.plan("chat", Plan(text="one two three four", cut="stall", cut_after=2))
            async with gateway.line() as one:
                await one.ask("under way", stream=True)
                await simulator.wait_held()
                moved.wall += jump
                simulator.release()
                assert events((await one.reply()).body)[-1] == "[DONE]"
            for stream in (True, False):
                assert (await gateway.chat("after", stream=stream)).status == 200
            moved.wall -= jump
            for stream in (True, False):
                assert (await gateway.chat("back again", stream=stream)).status == 200
            assert (await gateway.request("GET", "/readyz")).status == 200
        await until_rows(tmp_path / "ledger.db", lambda found: len(found) == 5 * len(JUMPS))
    cases(len(JUMPS))


@pytest.mark.skipif(not LIBRARIES or shutil.which("faketime") is None, reason=NO_LIBRARY)
async def test_the_clock_of_the_whole_process_jumps(simulator: Simulator, tmp_path):
    """A day on, two days back, under a process that knows nothing of it: requests work and nothing is logged as a defect."""
    state, moment = tmp_path / "state", tmp_path / "moment"
    moment.write_text("+0")
    environ = environment(simulator, state) | {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(moment),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PATH": os.environ["PATH"],
    }
    process = await start_process(environ, state)
    try:
        process.port = int(await process.says(r"listening on http://[^\s]+:(\d+)"))
        dates = set()
        for jump in ("+0", "+1d", "-1d", "+3650d", "+0"):
            moment.write_text(jump)
            for stream in (True, False):
                reply = await process.chat("hello", stream=stream)
                assert reply.status == 200
                assert reply.complete
            made = (await process.chat("hello")).json["created"]
            dates.add(round((made - time.time()) / DAY))
        assert {0, 1, -1, 3650} <= dates
        process.signal(15)
        assert await process.ended() == 0
        assert "Traceback" not in process.stderr
    finally:
        with contextlib.suppress(ProcessLookupError):
            await process.kill()
