"""What the flight recorder has, as administration shows it: the list of exchanges, and one of them as files.

Workers of one gateway have a recorder each. Whichever is asked asks the others too, so it does not matter who answered
the exchange and who is asked for it.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from fittengate.core.faults import Fault, FaultKind
from fittengate.server.siblings import Siblings
from fittengate.services.bundle import Bundler, frozen
from fittengate.services.recorder import Recorder
from fittengate.services.tape import Tape

T = TypeVar("T")

_LIST = b"list"
_FILES = b"files "
"""What a question begins with; the id follows."""


class _Listed(Struct):
    """What one worker has."""

    data: list[dict[str, Any]]
    bytes: int
    missed: int


class _Found(Struct):
    """One exchange of one worker."""

    at: float
    files: dict[str, str]


class Recorded:
    """Shows what was recorded."""

    def __init__(
        self, recorder: Recorder | None, bundler: Callable[[], Bundler], siblings: Siblings | None = None
    ) -> None:
        """Show nothing yet. ``recorder`` is None where it is off; ``bundler`` makes one with a key of its own."""
        self._recorder = recorder
        self._bundler = bundler
        self._siblings = siblings
        if siblings is not None:
            siblings.answer(self._told)

    async def listed(self) -> dict[str, Any]:
        """Return all exchanges, the newest first. Raises Fault (caller_unsupported) where the recorder is off."""
        parts, _ = await self._all(_own_list(self._on()), _LIST, _Listed)
        data = sorted((line for part in parts for line in part.data), key=lambda line: -float(line["at"]))
        used, missed = sum(part.bytes for part in parts), sum(part.missed for part in parts)
        return {"object": "list", "data": data, "bytes": used, "missed": missed}

    async def files(self, request_id: str) -> dict[str, Any]:
        """Return an exchange as files by name. Raises Fault (caller_not_found, caller_unsupported)."""
        own = await self._own_files(self._on(), request_id)
        found, silent = await self._all(own, _FILES + request_id.encode(), _Found)
        if not found:
            text = "No exchange of this id is kept: it is unknown, too old, or was answered by another gateway."
            if silent:
                text = f"{text} {silent} of this gateway's workers did not say: try again."
            raise Fault(FaultKind.CALLER_NOT_FOUND, text, param="id")
        newest = max(found, key=lambda one: one.at)
        return {"object": "bundle", "id": request_id, "files": newest.files}

    async def _all(self, own: T | None, question: bytes, kind: type[T]) -> tuple[list[T], int]:
        """Return what this worker and the others know, and how many did not say."""
        answers = [] if self._siblings is None else await self._siblings.ask(question)
        known = [msgspec.json.decode(answer, type=kind) for answer in answers if answer]
        return ([] if own is None else [own]) + known, answers.count(None)

    async def _told(self, question: bytes) -> bytes:
        """Return what this worker knows, for another one; nothing where it knows nothing."""
        recorder = self._recorder
        if recorder is None:
            return b""
        if question == _LIST:
            return msgspec.json.encode(_own_list(recorder))
        own = await self._own_files(recorder, question.removeprefix(_FILES).decode("utf-8", "replace"))
        return b"" if own is None else msgspec.json.encode(own)

    async def _own_files(self, recorder: Recorder, request_id: str) -> _Found | None:
        tape = recorder.find(request_id)
        if tape is None:
            return None
        one, bundler = frozen(tape), self._bundler()
        # Megabytes of text may have to be gone through.
        return _Found(tape.at, await asyncio.to_thread(bundler.files, one))

    def _on(self) -> Recorder:
        if self._recorder is None:
            raise Fault(FaultKind.CALLER_UNSUPPORTED, "The flight recorder is off (recorder.exchanges is 0).")
        return self._recorder


def _own_list(recorder: Recorder) -> _Listed:
    return _Listed([_line(tape) for tape in recorder.newest()], recorder.used, recorder.missed)


def _line(tape: Tape) -> dict[str, Any]:
    receipt = tape.receipt
    return {
        "id": tape.id,
        "at": tape.at,
        "dialect": tape.dialect,
        "path": tape.path,
        "status": tape.status,
        "running": tape.ended is None,
        "outcome": None if receipt is None else receipt.outcome,
        "model": None if receipt is None else receipt.model,
        "bytes": tape.taken,
    }
