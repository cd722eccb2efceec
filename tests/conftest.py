"""What every test may ask for."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from fakes.running import Process, Running, process, running, scenario
from fittengate.simulator import Simulator

# How long one example takes says more of what else the machine does than of the code.
settings.register_profile("fittengate", deadline=None)
settings.load_profile("fittengate")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the collector thousands of tests that live to the end: walking them costs a tenth of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the gateway does."""
    return "asyncio"


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
