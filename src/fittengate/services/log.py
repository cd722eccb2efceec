"""The log: one line for each exchange, and whatever the parts have to say. Never waited for.

Law: taking a line is appending it to a bounded queue and, if the writing thread sleeps, waking it; nothing that happens
to a disk or a terminal comes back to whoever logged. The thread lets lines gather for a tenth of a second, then renders
them without their secrets and writes them together to the file and the terminal. A line is on the disk within 0.3 s,
or it is counted: in :attr:`Log.dropped` when lines came faster than they could be written, in :attr:`Log.unwritten`
when the disk took none.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from msgspec import Struct

from fittengate.core.caller import Receipt
from fittengate.services.logfile import RotatedFile
from fittengate.services.loglines import Exchange, Lines, level_of
from fittengate.services.redact import Redactor

GATHER_SECONDS = 0.1
"""How long lines gather before they are written: a third of the time a reader may wait for one."""

MAX_QUEUED = 10_000
MAX_QUEUED_CONTENT = 500
"""Lines in memory at most; those with prompts and replies are a hundred times as long."""

CHUNK = 64
"""So many lines are rendered at a stretch: writing lets the event loop have the interpreter in between."""

CONTENT_CHARS = 8192
"""So much of a prompt and of a reply is written."""

DETAIL_CHARS = 1000

FILE_BYTES = 10 * 1024 * 1024
FILES_KEPT = 5

CLOSE_SECONDS = 5.0
"""How long closing waits for a disk or a terminal that hangs."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Message: TypeAlias = tuple[float, str, str, Mapping[str, Any]]
"""Time, level, event, further fields."""


class LogOptions(Struct, frozen=True):
    """Where and how lines are written."""

    level: str = "info"
    json: bool = False
    file: Path | None = None
    """None: no file."""
    content: bool = False
    """Write prompts and replies too."""


class Log(logging.Handler):
    """Takes lines. It is a handler of the standard library's logging too, so that libraries speak in the same form."""

    def __init__(self, options: LogOptions, redact: Redactor, terminal: TextIO | None) -> None:
        """Start the writing thread. ``terminal`` is where lines are shown, None for nowhere."""
        super().__init__(_LEVELS[options.level])
        self.content = options.content
        """Whether :meth:`exchange` wants prompt and reply."""
        self.dropped = 0
        """Lines that found the queue full."""
        self.unwritten = 0
        """Lines that the file did not take."""
        self._lines = Lines(redact, as_json=options.json)
        self._file = None if options.file is None else RotatedFile(options.file, FILE_BYTES, FILES_KEPT)
        self._terminal = terminal
        self._queue: deque[Receipt | Exchange | Message] = deque()
        self._bound = MAX_QUEUED_CONTENT if options.content else MAX_QUEUED
        self._everything = self.level <= _LEVELS["info"]
        self._told = 0
        self._failed = 0
        self._awake = False
        self._bell = threading.Lock()
        self._bell.acquire()
        self._closing = threading.Event()
        self._adopted: tuple[int, list[logging.Handler]] | None = None
        self._thread = threading.Thread(target=self._run, name="fittengate-log", daemon=True)
        self._thread.start()

    def exchange(self, receipt: Receipt, prompt: str | None = None, reply: str | None = None) -> None:
        """Write the line of an exchange; prompt and reply only where :attr:`content` asks for them."""
        if self._everything or receipt.fault is not None:
            if self.content:
                cut = slice(CONTENT_CHARS)
                self._put((receipt, None if prompt is None else prompt[cut], None if reply is None else reply[cut]))
            else:
                self._put(receipt)

    def say(self, level: str, event: str, **fields: Any) -> None:
        """Write one line of another kind: what happened in a word or a sentence, and fields; None is left out."""
        if _LEVELS[level] >= self.level:
            self._put((time.time(), level, event, fields))

    def defect(self, request_id: str | None, error: BaseException) -> None:
        """Write down an error that nobody expected, and where it came from; the values at hand are not shown."""
        self.say("error", "defect", request_id=request_id, error=_described(error), where=_places(error))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of the standard library's logging. Never raises."""
        level = "debug" if record.levelno < logging.INFO else "info"
        if record.levelno >= logging.WARNING:
            level = "warning" if record.levelno < logging.ERROR else "error"
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):
            text = str(record.msg)
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= {"error": _described(record.exc_info[1]), "where": _places(record.exc_info[1])}
        self._put((record.created, level, text[:DETAIL_CHARS], fields))

    def adopt(self) -> None:
        """Let all of the standard library's logging end here, in place of what was set up before; until closed."""
        root = logging.getLogger()
        self._adopted = (root.level, root.handlers)
        root.handlers = [self]
        # What libraries say at level debug is for their own authors.
        root.setLevel(max(self.level, logging.INFO))

    def close(self) -> None:
        """Write what is left and stop. May be called twice."""
        if self._adopted is not None:
            root = logging.getLogger()
            root.setLevel(self._adopted[0])
            root.handlers = self._adopted[1]
            self._adopted = None
        super().close()
        self._closing.set()
        self._ring()
        self._thread.join(CLOSE_SECONDS)

    def _put(self, line: Receipt | Exchange | Message) -> None:
        if len(self._queue) >= self._bound:
            self.dropped += 1
            return
        self._queue.append(line)
        if not self._awake:
            self._awake = True
            self._ring()

    def _ring(self) -> None:
        # Two threads may ring at once; one ring is enough. A bare lock is the cheapest bell there is.
        with contextlib.suppress(RuntimeError):
            self._bell.release()

    def _run(self) -> None:
        closing = False
        while not closing:
            self._bell.acquire()
            self._closing.wait(GATHER_SECONDS)
            closing = self._closing.is_set()
            # In this order: a line that comes after the first look at an empty queue rings again.
            self._awake = False
            while self._queue:
                self._write_chunk()
        if self._file is not None:
            self._file.close()

    def _write_chunk(self) -> None:
        lines: list[bytes] = []
        if self.dropped > self._told:
            count, self._told = self.dropped - self._told, self.dropped
            text = f"{count} lines were left out: they came faster than they could be written"
            lines.append(self._lines.message(time.time(), "warning", text, {}))
        while self._queue and len(lines) < CHUNK:
            lines.append(self._rendered(self._queue.popleft()))
        lines = [line for line in lines if line]
        if not lines:
            return
        data = b"".join(lines)
        if self._file is not None:
            self._write_file(self._file, data, len(lines))
        self._show(data)

    def _rendered(self, line: Receipt | Exchange | Message) -> bytes:
        """Return the line, empty where its level is not wanted."""
        try:
            if not isinstance(line, tuple):
                line = (line, None, None)
            if len(line) == 4:
                return self._lines.message(*line)
            wanted = self._everything or _LEVELS[level_of(line[0])] >= self.level
            return self._lines.exchange(line) if wanted else b""
        except Exception as error:  # noqa: BLE001 - one line that cannot be written must not end the log
            text = f"a line could not be written: {type(error).__name__}"
            return self._lines.message(time.time(), "error", text, {"where": _places(error)})

    def _write_file(self, file: RotatedFile, data: bytes, count: int) -> None:
        try:
            if self._failed:
                text = f"{self._failed} lines are missing here: the file could not be written"
                file.write(self._lines.message(time.time(), "warning", text, {}))
                self._failed = 0
            file.write(data)
        except OSError as error:
            if not self._failed:
                text = f"the log file cannot be written ({error.strerror or type(error).__name__}); lines are lost"
                self._show(self._lines.message(time.time(), "error", text, {"file": error.filename}))
            self._failed += count
            self.unwritten += count

    def _show(self, data: bytes) -> None:
        # A terminal that was closed must not end the log.
        with contextlib.suppress(OSError, ValueError):
            if self._terminal is not None:
                self._terminal.write(data.decode())
                self._terminal.flush()


def _described(error: BaseException) -> str:
    """Return an error and its causes in words. Not by ``repr``: that of a Unicode error holds the whole text."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < 4:
        parts.append(f"{type(cause).__name__}: {cause}"[:300])
        cause = cause.__cause__ or cause.__context__
    return " <- ".join(parts)


def _places(error: BaseException) -> str:
    """Return where an error came from: the last places of its traceback, outermost first."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{Path(code.co_filename).name}:{trace.tb_lineno}:{code.co_name}")
        trace = trace.tb_next
    return " ".join(places[-12:])
