"""Servers that tests start: those that cannot be had are left out loudly, or, where that is demanded, a failure.

``FITTENGATE_REQUIRE_SERVERS=1`` demands it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

VARIABLE = "FITTENGATE_REQUIRE_SERVERS"

REQUIRED = os.environ.get(VARIABLE, "") == "1"

REASON = "no server: "
"""What the reason of a test begins with that was left out for want of one."""


def missing(what: str, package: str) -> NoReturn:
    """Leave the test out, or fail it, because ``what`` is not installed; ``package`` is Debian's name for it."""
    text = f"{what} is not installed (on Debian: apt-get install {package})"
    if REQUIRED:
        pytest.fail(f"{text}, and {VARIABLE}=1 demands it", pytrace=False)
    pytest.skip(f"{REASON}{text}")


def summary(skipped: list[Any], write: Callable[[str], None]) -> None:
    """Write which tests were left out for want of a server; ``skipped`` are pytest's reports."""
    found: dict[str, list[str]] = {}
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith(REASON):
            found.setdefault(reason.removeprefix(REASON), []).append(report.nodeid)
    for reason, names in found.items():
        write(f"NOT TESTED, for {reason}: {len(names)} tests")
        for name in sorted(names):
            write(f"  {name}")


def newest(pattern: str) -> Path | None:
    """Return the last of the directories that fit a pattern below the root, by the number in it; None where none is."""
    found = sorted(
        Path("/").glob(pattern), key=lambda path: [int(part) if part.isdigit() else -1 for part in path.parts]
    )
    return found[-1] if found else None
