"""What the flight recorder has, as administration shows it: the list of exchanges, and one of them as files."""

import asyncio
from collections.abc import Callable
from typing import Any

from fittengate.core.faults import Fault, FaultKind
from fittengate.services.bundle import Bundler, frozen
from fittengate.services.recorder import Recorder
from fittengate.services.tape import Tape


class Recorded:
    """Shows what was recorded."""

    def __init__(self, recorder: Recorder | None, bundler: Callable[[], Bundler]) -> None:
        """Show nothing yet. ``recorder`` is None where it is off; ``bundler`` makes one with a key of its own."""
        self._recorder = recorder
        self._bundler = bundler

    def listed(self) -> dict[str, Any]:
        """Return all exchanges, the newest first. Raises Fault (caller_unsupported) where the recorder is off."""
        recorder = self._on()
        data = [_line(tape) for tape in recorder.newest()]
        return {"object": "list", "data": data, "bytes": recorder.used, "missed": recorder.missed}

    async def files(self, request_id: str) -> dict[str, Any]:
        """Return an exchange as files by name. Raises Fault (caller_not_found, caller_unsupported)."""
        tape = self._on().find(request_id)
        if tape is None:
            text = "No exchange of this id is kept: it is unknown, too old, or was answered by another process."
            raise Fault(FaultKind.CALLER_NOT_FOUND, text, param="id")
        one, bundler = frozen(tape), self._bundler()
        # Megabytes of text may have to be gone through.
        return {"object": "bundle", "id": request_id, "files": await asyncio.to_thread(bundler.files, one)}

    def _on(self) -> Recorder:
        if self._recorder is None:
            raise Fault(FaultKind.CALLER_UNSUPPORTED, "The flight recorder is off (recorder.exchanges is 0).")
        return self._recorder


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
