"""The log: its lines, its secrets, and that nobody waits for it."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from msgspec.structs import replace

from fittengate.core.caller import Receipt
from fittengate.core.faults import FaultKind
from fittengate.core.reply import Usage
from fittengate.services import log as log_module
from fittengate.services.log import GATHER_SECONDS, Log, LogOptions
from fittengate.services.loglines import level_of
from fittengate.services.redact import Redactor

RECEIPT = Receipt(
    at=1_700_000_000.0,
    request_id="req_1",
    caller="key-1",
    dialect="openai_chat",
    method="POST",
    path="/v1/chat/completions",
    status=200,
    outcome="complete",
    model="fitten-code",
    usage=Usage(12, 34),
    first_seconds=0.0123,
    total_seconds=0.5,
    client="OpenAI/Python",
    fault=None,
    detail=None,
)
FAILED = replace(RECEIPT, status=502, outcome="failed", fault="upstream_broken", detail="it broke")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.log"


@pytest.fixture
def made(path):
    logs = []

    def make(terminal=None, secrets=(), **options):
        log = Log(LogOptions(**{"json": True, "file": path} | options), Redactor(secrets), terminal)
        logs.append(log)
        return log

    yield make
    for log in logs:
        log.close()


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_an_exchange_is_one_json_object(made, path):
    """Every field, in this order, whatever happened."""
    log = made()
    log.exchange(RECEIPT)
    log.exchange(replace(FAILED, usage=None, first_seconds=None, model="", caller="-"))
    log.close()
    first, second = lines(path)
    assert list(first.items()) == [
        ("time", "2023-11-14T22:13:20.500Z"),
        ("level", "info"),
        ("event", "exchange"),
        ("request_id", "req_1"),
        ("trace_id", None),
        ("caller", "key-1"),
        ("dialect", "openai_chat"),
        ("method", "POST"),
        ("path", "/v1/chat/completions"),
        ("status", 200),
        ("outcome", "complete"),
        ("model", "fitten-code"),
        ("tokens_in", 12),
        ("tokens_out", 34),
        ("estimated", False),
        ("first_ms", 12.3),
        ("total_ms", 500.0),
        ("client", "OpenAI/Python"),
        ("fault", None),
        ("detail", None),
    ]
    assert list(second) == list(first)
    assert (second["level"], second["fault"], second["detail"]) == ("warning", "upstream_broken", "it broke")
    assert second["tokens_in"] is second["first_ms"] is second["model"] is None


def test_an_exchange_is_one_line_of_text(made, path):
    """The same for people."""
    log = made(json=False)
    log.exchange(RECEIPT)
    log.exchange(replace(FAILED, usage=Usage(1, 2, 0, True), first_seconds=None))
    log.close()
    common = "model=fitten-code caller=key-1 client=OpenAI/Python dialect=openai_chat request=req_1"
    done = f"POST /v1/chat/completions 200 complete 500ms first=12ms tokens=12+34 {common}"
    failed = f"POST /v1/chat/completions 502 failed 500ms first=- tokens=1+2~ {common}"
    assert path.read_text().splitlines() == [
        f"2023-11-14T22:13:20.500Z info    {done}",
        f'2023-11-14T22:13:20.500Z warning {failed} fault=upstream_broken detail="it broke"',
    ]


def test_a_line_says_to_which_trace_its_request_belongs(made, path):
    """In either form, and only where there is a trace."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    log = made(json=False)
    log.exchange(replace(RECEIPT, trace_id=trace))
    log.exchange(RECEIPT)
    log.close()
    first, second = path.read_text().splitlines()
    assert first == f"{second} trace={trace}"
    log = made()
    log.exchange(replace(RECEIPT, trace_id=trace))
    log.close()
    assert f'"trace_id":"{trace}"' in path.read_text()


def test_a_line_is_on_disk_within_three_tenths_of_a_second(made, path):
    """Nobody closes or flushes. The best of five counts: a busy machine only adds."""
    log = made()
    times = []
    for number in range(1, 6):
        start = time.monotonic()
        log.exchange(RECEIPT)
        until(lambda: path.exists() and path.read_bytes().count(b"\n") == number)  # noqa: B023 - called at once
        times.append(time.monotonic() - start)
    assert min(times) < 0.3
    assert GATHER_SECONDS <= 0.15


def test_a_thousand_lines_wake_the_writer_once(made, path, monkeypatch):
    """Taking a line is an append; the thread is woken for the first of a batch only."""
    log = made()
    rings = []
    ring = log._ring
    monkeypatch.setattr(log, "_ring", lambda: (rings.append(1), ring()))
    for _ in range(1000):
        log.exchange(RECEIPT)
    log.close()
    assert len(lines(path)) == 1000
    assert len(rings) <= 1 + 1 + 1, "for the batch, for closing, and one for a batch that a slow machine split"


def test_an_idle_log_sleeps(made, path):
    """With nothing to write the thread waits for its bell, and for no clock."""
    log = made()
    log.exchange(RECEIPT)
    until(path.exists)
    waits = []
    log._closing = type("Counting", (threading.Event,), {"wait": lambda self, timeout=None: waits.append(timeout)})()
    time.sleep(2.5 * GATHER_SECONDS)
    assert waits == []


def test_p6_lines_that_come_too_fast_are_counted_and_told(made, path, monkeypatch):
    """P6: the queue is bounded; what did not fit is named in the next line."""
    monkeypatch.setattr(log_module, "MAX_QUEUED", 200)
    monkeypatch.setattr(log_module, "GATHER_SECONDS", 60)
    log = made()
    for _ in range(215):
        log.exchange(RECEIPT)
    assert log.dropped == 15
    log.close()
    told, *rest = lines(path)
    assert told["event"].startswith("15 lines were left out")
    assert [line["event"] for line in rest] == ["exchange"] * 200


def test_p10_secrets_are_hidden_wherever_they_turn_up(made, path):
    """P10: in an exchange, in a message, in an error, in a library's line, in content; in both forms."""
    for form in (True, False):
        log = made(json=form, content=True, secrets=["hunter2"])
        log.exchange(
            replace(FAILED, path="/v1/hunter2", detail="Bearer abc.def", client="hunter2"), "p hunter2", "me@x.example"
        )
        log.say("info", "login hunter2", user="me@x.example", url="https://x/?ft_token=64f0")
        log.defect("req_1", ValueError("password=swordfish"))
        log.emit(logging.LogRecord("aiohttp", 40, "f", 1, "with %s", ("hunter2",), None))
        log.close()
    text = path.read_text()
    assert len(text.splitlines()) == 8
    for secret in ("hunter2", "abc.def", "me@x.example", "64f0", "swordfish"):
        assert secret not in text


def test_content_is_written_only_when_asked_for(made, path):
    """P10: prompts and replies stay out unless log.content is on; then they are cut."""
    log = made()
    assert not log.content
    log.exchange(RECEIPT, "the prompt", "the reply")
    log.close()
    assert "the prompt" not in path.read_text()
    log = made(content=True)
    assert log.content
    log.exchange(RECEIPT, "ä" * 10_000, "line one\nline two")
    log.close()
    line = lines(path)[1]
    assert line["prompt"] == "ä" * 8192
    assert line["reply"] == "line one\nline two"


@pytest.mark.parametrize("form", [True, False])
def test_nobody_forges_a_line(made, path, form):
    """Line ends, colours, directions and lone surrogates are escaped in either form."""
    evil = "/a\n2023-11-14T22:13:20.500Z info forged\r\x1b[31m\x7f\x85\x9b\u2028\u202e\u2066\ud800\\n"
    log = made(json=form)
    log.exchange(replace(FAILED, path=evil, detail=evil, client=evil, request_id=evil))
    log.say("info", evil, field=evil)
    log.close()
    text = path.read_bytes().decode()
    assert text.count("\n") == 2
    assert len(text.splitlines()) == 2
    assert re.fullmatch(r"[ -~\n]*", text)
    if form:
        assert lines(path)[0]["path"].startswith("/a\n2023")


@pytest.mark.parametrize(
    ("level", "seen"),
    [("debug", "dicwbe"), ("info", "icwbe"), ("warning", "wbe"), ("error", "be")],
)
def test_the_level_decides_what_is_written(made, path, level, seen):
    """What clients do wrong is everyday business, the service's failures are warnings, defects are errors."""
    log = made(level=level)
    log.say("debug", "d")
    log.exchange(replace(RECEIPT, client="i"))
    log.exchange(replace(FAILED, fault=FaultKind.CALLER_GONE, client="c"))
    log.exchange(replace(FAILED, client="w"))
    log.exchange(replace(FAILED, fault=FaultKind.GATEWAY_BROKEN, client="b"))
    log.say("error", "e")
    log.close()
    assert "".join(line.get("client", line["event"]) for line in lines(path)) == seen


def test_a_defect_tells_where_but_not_what_was_at_hand(made, path):
    """A Unicode error knows the whole prompt; the log gets its kind, its place and its cause."""

    def fails():
        try:
            "my private prompt \ud800".encode()
        except UnicodeEncodeError as error:
            raise RuntimeError("rendering failed") from error

    log = made()
    try:
        fails()
    except RuntimeError as error:
        log.defect("req_9", error)
    log.close()
    (line,) = lines(path)
    assert line["event"] == "defect"
    assert line["request_id"] == "req_9"
    assert line["error"].startswith("RuntimeError: rendering failed <- UnicodeEncodeError: ")
    assert "test_log.py:" in line["where"]
    assert ":fails" in line["where"]
    assert "private prompt" not in path.read_text()


def test_libraries_speak_in_the_same_form(made, path):
    """Once adopted, the standard library's logging ends here; closing puts back what was before."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    log = made()
    log.adopt()
    logging.getLogger("uvicorn.error").warning("port %d in use", 5000)
    logging.getLogger("x").info("bad %d", "arguments")
    logging.getLogger("x").debug("not wanted")
    try:
        raise ValueError("inner")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    log.close()
    assert (root.level, root.handlers) == before
    first, second, third = lines(path)
    assert (first["level"], first["event"], first["logger"]) == ("warning", "port 5000 in use", "uvicorn.error")
    assert second["event"] == "bad %d"
    assert (third["level"], third["error"]) == ("error", "ValueError: inner")


def test_a_disk_that_fails_costs_lines_and_no_request(made, path):
    """It is said once on the terminal; what is missing is counted, and told in the file when it works again."""
    terminal = io.StringIO()
    log = made(terminal, file=path.parent / "later" / "x.log", json=False)
    log.exchange(RECEIPT)
    until(lambda: log.unwritten == 1)
    log.exchange(RECEIPT)
    until(lambda: log.unwritten == 2)
    (path.parent / "later").mkdir()
    log.exchange(RECEIPT)
    written = path.parent / "later" / "x.log"
    until(lambda: written.exists() and "POST" in written.read_text())
    log.exchange(RECEIPT)
    log.close()
    shown = terminal.getvalue()
    assert shown.count("cannot be written") == 1
    assert "No such file" in shown
    assert shown.count("POST") == 4
    told, *lines_after = written.read_text().splitlines()
    assert "2 lines are missing here" in told
    assert [line.count("POST") for line in lines_after] == [1, 1]


def test_a_terminal_that_was_closed_does_not_end_the_log(made, path):
    """The file goes on."""
    terminal = io.StringIO()
    terminal.close()
    log = made(terminal)
    log.exchange(RECEIPT)
    log.close()
    assert len(lines(path)) == 1


def test_the_terminal_shows_what_the_file_gets(made, path):
    """The same lines in the same form; without a file the terminal alone."""
    terminal = io.StringIO()
    log = made(terminal)
    log.exchange(RECEIPT)
    log.close()
    assert terminal.getvalue() == path.read_text()
    other = io.StringIO()
    log = made(other, file=None)
    log.exchange(RECEIPT)
    log.close()
    assert other.getvalue() == terminal.getvalue()
    assert len(lines(path)) == 1


def test_a_line_that_cannot_be_rendered_does_not_end_the_log(made, path):
    """A defect in one line is told in its place, and the next one is written."""
    log = made()
    log.exchange(replace(RECEIPT, at=float("nan")))
    log.exchange(RECEIPT)
    log.close()
    first, second = lines(path)
    assert first["event"] == "a line could not be written: ValueError"
    assert second["event"] == "exchange"


def test_lines_of_many_threads_all_arrive(made, path):
    """Two that ring at once wake the writer once, and nothing is lost."""
    log = made()

    def write(name):
        for number in range(300):
            log.say("info", f"{name}{number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert {line["event"] for line in lines(path)} == {f"{name}{number}" for name in "abcd" for number in range(300)}
    assert log.dropped == log.unwritten == 0


def test_closing_writes_what_is_left_and_may_be_repeated(made, path):
    """Without waiting for the tenth of a second."""
    log = made()
    log.exchange(RECEIPT)
    log.close()
    log.close()
    assert len(lines(path)) == 1
    assert not log._thread.is_alive()


def test_only_repeated_texts_are_remembered_and_only_some(made, path):
    """P6: a client that asks for a million paths does not fill the memory."""
    log = made()
    for number in range(2000):
        log.exchange(replace(RECEIPT, path=f"/{number}"))
    log.exchange(replace(RECEIPT, path="/" + "x" * 5000))
    log.close()
    assert len(lines(path)) == 2001
    assert len(log._lines._cleaned) <= 512


def test_the_process_s_end_writes_what_is_left(tmp_path):
    """A program that forgets to close still has its lines."""
    code = (
        "import sys; from pathlib import Path; from fittengate.services.log import *\n"
        "Log(LogOptions(file=Path(sys.argv[1])), Redactor(), None).say('info', 'last words')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.log")], check=True, env=dict(os.environ), capture_output=True
    )
    assert done.stderr == b""
    assert "last words" in (tmp_path / "x.log").read_text()


@pytest.mark.parametrize(
    ("fault", "level"),
    [
        (None, "info"),
        ("caller_bad_request", "info"),
        ("policy_rate", "info"),
        ("policy_quota", "info"),
        ("upstream_broken", "warning"),
        ("gateway_broken", "error"),
    ],
)
def test_a_line_is_as_loud_as_what_happened_is_unusual(fault, level):
    """A client that is over its limit is everyday business; a service that fails is not."""
    assert level_of(replace(RECEIPT, fault=fault)) == level
