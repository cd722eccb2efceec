"""Servers that are not installed: tests are left out loudly, or fail where that is demanded."""

from types import SimpleNamespace

import pytest

from fakes import servers
from fakes.servers import missing, newest, summary


def test_without_a_server_a_test_is_left_out(monkeypatch):
    """The reason names what is missing and how to get it."""
    monkeypatch.setattr(servers, "REQUIRED", False)
    with pytest.raises(pytest.skip.Exception, match=r"no server: X is not installed .*apt-get install x"):
        missing("X", "x")


def test_where_servers_are_demanded_that_is_a_failure(monkeypatch):
    """What runs before anything lands leaves nothing out."""
    monkeypatch.setattr(servers, "REQUIRED", True)
    with pytest.raises(pytest.fail.Exception, match="demands it"):
        missing("X", "x")


def test_the_summary_names_what_was_left_out():
    """Each test by its name below the reason; tests that were left out for other reasons are not its business."""
    said = []
    reports = [
        SimpleNamespace(nodeid="b", longrepr=("file", 1, "Skipped: no server: X is not installed")),
        SimpleNamespace(nodeid="a", longrepr=("file", 1, "Skipped: no server: X is not installed")),
        SimpleNamespace(nodeid="c", longrepr=("file", 1, "Skipped: not on this system")),
    ]
    summary(reports, said.append)
    assert said == ["NOT TESTED, for X is not installed: 2 tests", "  a", "  b"]


def test_of_several_versions_the_newest_is_taken(tmp_path):
    """By number, not by the alphabet."""
    for version in ("9", "15", "16"):
        (tmp_path / version).mkdir()
    assert newest(f"{str(tmp_path).lstrip('/')}/*") == tmp_path / "16"
    assert newest(f"{str(tmp_path).lstrip('/')}/none/*") is None
