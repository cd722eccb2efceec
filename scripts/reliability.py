"""Fill the figures of docs/reliability.md: ``python scripts/reliability.py SHORT [LONG …]``, reports of pytest.

``SHORT`` is what ``pytest --junitxml=SHORT`` wrote of a usual run; the others are of ``make chaos``, which leaves
``build/chaos.xml`` and ``build/soak.xml``. A row names its tests in backticks: a file, ``file::test``, or the beginning
of a test's name with a star. Its last three columns are the cases of the short and of the long form, and the result. A
row is left as it is by a run that lacks some of its tests (the long form has those of the suite alone), so the figures
of one file can be brought up by a run of that file; of a test in several long reports the last one counts. A test that
tries many cases says how many; any other is one.
"""

import ast
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reliability.md"
SUITE = ("tests/chaos/", "tests/fuzz/", "tests/long/")
SELECTOR = re.compile(r"`((?:tests/|test_)[^`]+)`")
NONE = "-"


class Case(NamedTuple):
    """One test of a report."""

    place: str
    """``tests/chaos/test_disk.py::test_name``, without parameters."""
    cases: int
    outcome: str
    verdict: str


def places() -> list[str]:
    """Return every test of the project, as the page and the reports name them."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        names = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        found += [f"{path.relative_to(ROOT).as_posix()}::{name}" for name in names if name.startswith("test_")]
    return found


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


def figures(selectors: list[str], cases: list[Case], known: list[str]) -> tuple[str, set[str]]:
    """Return how many cases the tests of a row tried, and their outcomes; those that were skipped count for nothing.

    Nothing where some of the ``known`` tests that the row means were not run.
    """

    def meant(place: str) -> bool:
        return any(matches(selector, place) for selector in selectors)

    own = [case for case in cases if meant(case.place)]
    if not set(filter(meant, known)) <= {case.place for case in own}:
        return "", set()
    ran = [case for case in own if case.outcome != "skipped"]
    return (f"{sum(case.cases for case in ran):,}" if ran else ""), {case.outcome for case in ran}


def filled(page: str, short: list[Case], long: list[Case], known: list[str]) -> str:
    """Return the page with its figures; ``known`` are the tests that there are."""
    usual = [place for place in known if not place.startswith("tests/long/")]
    suite = [place for place in known if place.startswith(SUITE)]
    lines = page.splitlines()
    for number, line in enumerate(lines):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        selectors = SELECTOR.findall(line)
        if not line.startswith("|") or len(cells) < 4 or not selectors:
            continue
        few, outcome = figures(selectors, short, usual)
        many, later = figures(selectors, long, suite)
        cells[-3] = few or cells[-3] or NONE
        cells[-2] = many or cells[-2] or NONE
        if outcome or later:
            cells[-1] = "failed" if "failed" in outcome | later else "passed"
        elif cells[-3] == cells[-2] == NONE:
            cells[-1] = "not run"
        lines[number] = "| " + " | ".join(cells) + " |"
    text = "\n".join(lines) + "\n"
    for verdict in (case.verdict for case in long if case.verdict):
        text = re.sub(r"(?m)^> .*$", lambda _, verdict=verdict: f"> {verdict}", text)
    return text


def main() -> None:
    """Read the reports and write the page."""
    short, *long = [read(Path(name)) for name in sys.argv[1:]]
    later: list[Case] = []
    for cases in long:
        again = {case.place for case in cases}
        later = [case for case in later if case.place not in again] + cases
    PAGE.write_text(filled(PAGE.read_text("utf-8"), short, later, places()), "utf-8")


if __name__ == "__main__":
    main()
