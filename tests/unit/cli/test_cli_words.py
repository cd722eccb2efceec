"""What commands say: errors, times, columns, findings."""

import errno
import ssl
import time

import pytest

from fittengate.cli.account import left
from fittengate.cli.checks import disk, state_directory
from fittengate.cli.failures import CommandError, explain
from fittengate.cli.tables import columns, counted
from fittengate.core.faults import Fault, FaultKind
from fittengate.server.configure import ConfigurationError


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (ConfigurationError(("a: wrong", "b: wrong")), 2, "a: wrong"),
        (Fault(FaultKind.UPSTREAM_BROKEN, "Broken.", detail="secret detail"), 1, "Broken."),
        (CommandError("do this"), 1, "do this"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 1, "No space left on device: /x. Free some space."),
        (TimeoutError("another process has held /x for 60 s"), 1, "another process has held /x"),
        (TimeoutError(), 1, "TimeoutError"),
        (ssl.SSLError(1, "[SSL] PEM lib"), 2, "server.tls_cert"),
        (ZeroDivisionError("x"), 1, "--debug"),
    ],
)
def test_every_error_has_its_line_and_its_code(error, code, part):
    """Bad configuration is 2, everything else 1; a line says what to do, and never the detail for the log."""
    got, lines = explain(error)
    assert got == code
    assert part in lines[0]
    assert "secret" not in "".join(lines)


def test_nobody_is_told_of_a_broken_pipe():
    """Whoever would read it has gone."""
    assert explain(BrokenPipeError()) == (1, [])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(30, "30 s"), (600, "10 min"), (7200, "2 hours"), (3 * 86400, "3 days"), (-5, "over since"), (None, "refuses it")],
)
def test_a_remaining_time_reads_as_people_say_it(seconds, words):
    """The largest unit that is not misleading."""
    now = time.time()
    assert words in left(None if seconds is None else now + seconds, now)


def test_columns_stand_one_below_the_other():
    """The last column has no blanks behind it; numbers may stand at the right."""
    assert columns([("ID", "NAME"), ("a", "b")]) == ["ID  NAME", "a   b"]
    assert columns([("ID", "SUM"), ("a", "1")], right=range(1, 2)) == ["ID  SUM", "a     1"]


def test_columns_hold_where_characters_are_wide_or_take_no_place():
    """Chinese characters take two places, an accent that follows its letter takes none."""
    assert columns([("N", "x"), ("小明的电脑", "x"), ("Andre\u0301", "x")]) == [
        "N           x",
        "小明的电脑  x",
        "Andre\u0301       x",
    ]


def test_nothing_in_a_table_steers_the_terminal():
    """Names that the service gives may hold anything: a row stays a row."""
    assert columns([("a\x1b[2J\nb\x9b1m", "c")]) == ["a[2J b1m  c"]


@pytest.mark.parametrize(("number", "words"), [(0, "0 receipts"), (1, "1 receipt"), (1200, "1,200 receipts")])
def test_a_count_agrees_with_its_noun(number, words):
    """One is no plural."""
    assert counted(number, "receipt") == words


def test_a_state_directory_is_made_and_closed_to_others(tmp_path):
    """Doctor repairs the mode of the directory, and names files that others may read."""
    path = tmp_path / "state"
    assert [finding.state for finding in state_directory(path)] == ["ok"]
    path.chmod(0o755)
    (path / "account.json").write_text("{}")
    (path / "account.json").chmod(0o644)
    findings = state_directory(path)
    assert [finding.state for finding in findings] == ["warn", "warn"]
    assert path.stat().st_mode & 0o777 == 0o700
    assert "account.json" in findings[1].text


def test_a_file_in_the_place_of_the_state_directory_is_a_failure(tmp_path):
    """What to set is named."""
    (tmp_path / "state").write_text("")
    (finding,) = state_directory(tmp_path / "state")
    assert finding.state == "fail"
    assert "server.state_dir" in finding.text


@pytest.mark.parametrize(("free", "state"), [(1024, "fail"), (100 * 1024**2, "warn"), (1024**4, "ok")])
def test_little_space_is_told_before_there_is_none(monkeypatch, tmp_path, free, state):
    """Three steps."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free})())
    assert disk(tmp_path).state == state
