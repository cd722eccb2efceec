"""Fill the figures of docs/reliability.md from runs: ``python scripts/reliability.py SHORT [LONG …]``, reports of pytest.

``SHORT`` is what ``pytest --junitxml=SHORT`` wrote of a usual run; the others are of ``make chaos``, which leaves
``build/chaos.xml`` and ``build/soak.xml``. A row names its tests in backticks: a file, ``file::test``, or the beginning
of a test's name with a star. Its last three columns are the cases of the short and of the long form, and the result; a
figure for which a run has no test stays as it is. A test that tries many cases says how many; any other is one.
"""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[1] / "docs/reliability.md"
SELECTOR = re.compile(r"`((?:tests/|test_)[^`]+)`")
NONE = "–"


class Case(NamedTuple):
    """One test of a report."""

    place: str
    """``tests/chaos/test_disk.py::test_name``, without parameters."""
    cases: int
    outcome: str
    verdict: str


def read(path: Path) -> list[Case]:
    """Return the tests of a report."""
    found = []
    for case in ET.parse(path).iter("testcase"):
        name = case.get("name", "").partition("[")[0]
        file = case.get("classname", "").replace(".", "/") + ".py"
        told = {one.get("name"): one.get("value") or "" for one in case.iter("property")}
        outcome = "passed"
        for tag in ("skipped", "failure", "error"):
            if case.find(tag) is not None:
                outcome = "skipped" if tag == "skipped" else "failed"
        found.append(Case(f"{file}::{name}", int(told.get("cases") or 1), outcome, told.get("verdict", "")))
    return found


def matches(selector: str, place: str) -> bool:
    """Tell whether a selector of the page means a test."""
    if selector.startswith("tests/"):
        return place == selector or place.startswith(f"{selector}::")
    return place.partition("::")[2].startswith(selector.rstrip("*"))


def figures(selectors: list[str], cases: list[Case]) -> tuple[str, set[str]]:
    """Return how many cases the tests of a row tried, and their outcomes; tests that were skipped count for nothing."""
    own = [case for case in cases if any(matches(selector, case.place) for selector in selectors)]
    ran = [case for case in own if case.outcome != "skipped"]
    return (f"{sum(case.cases for case in ran):,}" if ran else ""), {case.outcome for case in ran}


def filled(page: str, short: list[Case], long: list[Case]) -> str:
    """Return the page with its figures."""
    lines = page.splitlines()
    for number, line in enumerate(lines):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        selectors = SELECTOR.findall(line)
        if not line.startswith("|") or len(cells) < 4 or not selectors:
            continue
        few, outcome = figures(selectors, short)
        many, later = figures(selectors, long)
        cells[-3] = few or cells[-3] or NONE
        cells[-2] = many or cells[-2] or NONE
        if outcome or later:
            cells[-1] = "failed" if "failed" in outcome | later else "passed"
        lines[number] = "| " + " | ".join(cells) + " |"
    text = "\n".join(lines) + "\n"
    for verdict in (case.verdict for case in long if case.verdict):
        text = re.sub(r"(?m)^> .*$", lambda _, verdict=verdict: f"> {verdict}", text)
    return text


def main() -> None:
    """Read the reports and write the page."""
    short, *long = [read(Path(name)) for name in sys.argv[1:]]
    PAGE.write_text(filled(PAGE.read_text("utf-8"), short, [case for cases in long for case in cases]), "utf-8")


if __name__ == "__main__":
    main()
