"""What every test may ask for."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from fakes.postgres import Postgres
from fakes.running import Process, Running, process, running, scenario
from fakes.servers import VARIABLE, summary
from fittengate.simulator import Simulator

# How long one example takes says more of what else the machine does than of the code.
settings.register_profile("fittengate", deadline=None, max_examples=60)
settings.load_profile("fittengate")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the collector thousands of tests that live to the end: walking them costs a tenth of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the gateway does."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _environment() -> None:
    """Take out of the environment what is for the tests: to a gateway it would be a setting that it does not know."""
    os.environ.pop(VARIABLE, None)


@pytest.fixture(scope="session", autouse=True)
def _signals() -> None:
    """Take the signals of a terminal as they are taken on one: what runs behind ``&`` or ``nohup``, and its children, ignore them."""
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Run a simulated Fitten service on a free port; it knows the account that the gateways here use."""
    made = Simulator(scenario())
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@pytest.fixture
async def gateway(simulator: Simulator) -> AsyncIterator[Running]:
    """Run the gateway with its usual settings, in this event loop, in front of ``simulator``."""
    async with running(simulator) as made:
        yield made


@pytest.fixture
def start(simulator: Simulator) -> Callable[..., AbstractAsyncContextManager[Running]]:
    """Give what runs a gateway with other settings, an ``async with`` each: ``upstream={"retries": 0}``."""

    def make(**options: Any) -> AbstractAsyncContextManager[Running]:
        return running(simulator, **options)

    return make


@pytest.fixture
async def serve(simulator: Simulator, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Give what starts ``fittengate serve`` as a process, awaited: ``server_drain_seconds=1``. All end with the test."""
    async with AsyncExitStack() as stack:

        async def make(*arguments: str, state: str = "state", **settings: Any) -> Process:
            return await stack.enter_async_context(process(simulator, tmp_path / state, *arguments, **settings))

        yield make


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Run a PostgreSQL server as long as the tests of this process."""
    made = Postgres()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def postgres(postgres_server: Postgres) -> str:
    """Give the URL of an empty PostgreSQL database."""
    return postgres_server.database()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly which tests were left out for want of a server."""
    summary(terminalreporter.stats.get("skipped", []), lambda line: terminalreporter.write_line(line, red=True))
