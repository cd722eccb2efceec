"""What the rows of the chaos suite may ask for beside the rest."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fakes.chaos import LONG
from fakes.running import process, running
from fittengate.simulator import Simulator


@pytest.fixture
def door(simulator: Simulator, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Give what runs a gateway with other settings, an ``async with`` each: ``upstream={"retries": 0}``.

    In the long form it is a process of its own; in the short one it serves on a socket from this event loop.
    """
    count = iter(range(100))

    @asynccontextmanager
    async def make(**sections: dict[str, Any]) -> AsyncIterator[Any]:
        if not LONG:
            async with running(simulator, **sections) as gateway:
                yield gateway
            return
        flat = {f"{section}_{name}": value for section, names in sections.items() for name, value in names.items()}
        # As in the short form: no queue, and no breaker that would answer in the service's place after so many failures.
        alone = {"upstream_max_concurrency": 0, "upstream_breaker_calls": 0}
        async with process(simulator, tmp_path / f"door-{next(count)}", **{**alone, **flat}) as p:
            yield p

    return make


@pytest.fixture
def cases(record_property: Callable[[str, object], None]) -> Callable[[int], None]:
    """Give what says how many cases a test has tried; ``scripts/reliability.py`` reads it from the run's report."""

    def say(count: int) -> None:
        record_property("cases", count)

    return say
