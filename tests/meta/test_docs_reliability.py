"""The page of reliability: every test that it names exists, every test of the suite is on it, and its figures are read right."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reliability.md"


def loaded():
    """Return the script that fills the page."""
    spec = importlib.util.spec_from_file_location("reliability", ROOT / "scripts/reliability.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = loaded()


PLACES = tuple(SCRIPT.places())
ROWS = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|") and SCRIPT.SELECTOR.search(line)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[:60])
def test_a_row_names_tests_that_exist_and_has_figures(row):
    """Whatever stands in backticks is a file or a test of today; each row was run and passed, or says that it was not run."""
    for selector in SCRIPT.SELECTOR.findall(row):
        assert any(SCRIPT.matches(selector, place) for place in PLACES), selector
    short, long, result = [cell.strip() for cell in row.strip("|").split("|")][-3:]
    assert result == ("not run" if {short, long} == {SCRIPT.NONE} else "passed")
    assert all(figure == SCRIPT.NONE or figure.replace(",", "").isdigit() for figure in (short, long))


def test_every_promise_and_every_test_of_the_suite_is_on_the_page():
    """P1 to P13 have a row each, and no test of the suite is left out of the second table."""
    assert [f"| P{number} |" for number in range(1, 14)] == [row[: row.index("|", 1) + 1] for row in ROWS[:13]]
    named = [selector for row in ROWS[13:] for selector in SCRIPT.SELECTOR.findall(row)]
    suite = [place for place in PLACES if place.startswith(("tests/chaos/", "tests/fuzz/", "tests/long/"))]
    assert [place for place in suite if not any(SCRIPT.matches(selector, place) for selector in named)] == []


def test_figures_come_from_reports(tmp_path):
    """Cases that a test tells are summed up with those of others, skipped ones left out; a failure anywhere shows."""
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="tests.chaos.test_a" name="test_p1_x[1]"><properties>'
        '<property name="cases" value="1200"/></properties></testcase><testcase classname="tests.chaos.test_a" '
        'name="test_p1_x[2]"/><testcase classname="tests.chaos.test_a" name="test_p1_y"><skipped/></testcase>'
        '<testcase classname="tests.chaos.test_b" name="test_z"><failure/></testcase></testsuite></testsuites>'
    )
    known = [case.place for case in SCRIPT.read(report)]
    page = "| a | `tests/chaos/test_a.py` | | | |\n| b | `test_p1_*` | 5 | 7 | |\n| c | `tests/chaos/test_b.py::test_z` | | | |\n"
    assert SCRIPT.filled(page, SCRIPT.read(report), [], known) == (
        "| a | `tests/chaos/test_a.py` | 1,201 | - | passed |\n"
        "| b | `test_p1_*` | 1,201 | 7 | passed |\n"
        "| c | `tests/chaos/test_b.py::test_z` | 1 | - | failed |\n"
    )
    # A run that lacks one of a row's tests says nothing of the row.
    assert SCRIPT.filled(page, SCRIPT.read(report), [], [*known, "tests/e2e/test_c.py::test_p1_w"]).splitlines()[1] == (
        "| b | `test_p1_*` | 5 | 7 |  |"
    )
