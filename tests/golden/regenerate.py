"""Golden cases: what every dialect makes of a request and of the events of its reply, byte for byte.

A case is a folder ``tests/golden/<dialect>/<case>/``. Two files are written by a person:

* ``request.json``: the body as a client posts it.
* ``events.json``: the reply, a list of ``[event, field, ...]`` as in ``core/events.py``, such as ``["TextDelta", "Hi"]``.
  Ended takes its reason, then the usage's counts, then the stop sequence. ``["Fault", kind, message]`` may stand last.
  Where a request wants several answers, ``["OfChoice", index, [events]]`` holds the events of one.
  Left out where the request itself is refused.

The others are made from them: ``ask.json`` (what was read), ``whole.json`` and ``stream.sse`` (what is answered), and
``error.http`` (status and body of a fault). To write them anew, run

    python tests/golden/regenerate.py

and read the diff: a golden that changed is a client that sees something else.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from fittengate.core import events as core_events
from fittengate.core.ask import Ask, FillAsk, Several
from fittengate.core.events import Ended, Folds, OfChoice, fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.dialects import DIALECTS
from fittengate.dialects.base import Dialect, Head

Wanted: TypeAlias = Ask | FillAsk | Several
FOLDER = Path(__file__).parent
WRITTEN = {"request.json", "events.json"}
REQUEST_ID = "golden-request"


def cases() -> Iterator[tuple[Dialect, Path]]:
    """Yield every case with the dialect it belongs to."""
    for dialect in DIALECTS:
        for request in sorted((FOLDER / dialect.name).glob("*/request.json")):
            yield dialect, request.parent


def produce(dialect: Dialect, case: Path) -> dict[str, bytes]:
    """Return the made files of a case: name and content."""
    try:
        ask = dialect.read((case / "request.json").read_bytes())
    except Fault as fault:
        return {"error.http": _error(dialect, fault)}
    made = {"ask.json": _pretty(ask)}
    head = head_for(ask)
    events, fault = read_events(case)
    writer = writer_for(dialect, ask, head)
    stream = b"".join(writer.feed([event]) for event in events)
    if fault is None:
        made["stream.sse"] = stream + writer.close()
        made["whole.json"] = _whole(dialect, ask, events, head)
    else:
        made["stream.sse"] = stream + writer.fault(fault)
        made["error.http"] = _error(dialect, fault)
    return made


def writer_for(dialect: Any, ask: Wanted, head: Head) -> Any:
    """Return the writer of what a request asks for."""
    return dialect.choices_writer(ask, head) if isinstance(ask, Several) else dialect.writer(ask, head)


def _whole(dialect: Any, ask: Wanted, events: list[Any], head: Head) -> bytes:
    if not isinstance(ask, Several):
        return dialect.whole(fold(events), ask, head)
    total = Folds(len(ask.asks))
    total.feed(events)
    return dialect.whole_choices(total.replies(), ask, head)


def head_for(ask: Wanted) -> Head:
    """Return the head that every golden reply carries."""
    return Head("0123456789abcdefghijABCD", 1767225600, ask.model or "fitten-code")


def read_events(case: Path) -> tuple[list[Any], Fault | None]:
    """Return the events of a case and the fault that ends it, if one does."""
    return _events(json.loads((case / "events.json").read_bytes()))


def _events(listed: list[Any]) -> tuple[list[Any], Fault | None]:
    events: list[Any] = []
    for name, *fields in listed:
        if name == "Fault":
            return events, Fault(FaultKind(fields[0]), fields[1])
        if name == "OfChoice":
            events.append(OfChoice(fields[0], _events(fields[1])[0]))
            continue
        if name == "Ended":
            reason, counts, *stop = fields
            events.append(Ended(StopReason(reason), Usage(*counts), *stop))
        else:
            events.append(getattr(core_events, name)(*fields))
    return events, None


def _pretty(ask: Wanted) -> bytes:
    return msgspec.json.format(msgspec.json.encode(ask), indent=1) + b"\n"


def _error(dialect: Dialect, fault: Fault) -> bytes:
    return b"%d\n%s" % (dialect.status(fault), dialect.error(fault, REQUEST_ID))


def main() -> None:
    """Write the made files of every case, remove those no longer made, and name what changed."""
    for dialect, case in cases():
        made = produce(dialect, case)
        for old in case.iterdir():
            if old.name not in WRITTEN and old.name not in made:
                old.unlink()
                print(f"removed {old.relative_to(FOLDER)}")
        for name, content in made.items():
            path = case / name
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)
                print(f"wrote {path.relative_to(FOLDER)}")


if __name__ == "__main__":
    main()
