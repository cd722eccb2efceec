"""What is fuzzed, and the laws that every input is held to. Each target takes any bytes, and raises when a law is broken.

The first byte says how the rest is cut into pieces; what comes out must not depend on it.
"""

import json
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from fakes.call_cases import CASES, TOOLS
from fittengate.core.ask import ToolUse
from fittengate.core.events import Event, TextDelta, ThoughtDelta, ToolClosed, ToolDelta, ToolOpened
from fittengate.core.faults import Fault, FaultKind
from fittengate.dialects._fim_markers import FORMS, read_marked
from fittengate.prompting.reader import Reader
from fittengate.prompting.syntax import Tags
from fittengate.upstream.fitten.decoder import ChatDecoder


class BrokenLawError(AssertionError):
    """An input for which a law does not hold."""


def hold(law: str, *, held: bool) -> None:
    """Raise unless a law is held."""
    if not held:
        raise BrokenLawError(law)


def pieces(data: Any, how: int) -> Iterator[Any]:
    """Yield what was given in pieces, none of them empty."""
    step = how % 7 + 1
    for at in range(0, len(data), step):
        yield data[at : at + step]


def merged(events: list[Event]) -> list[Any]:
    """Return events with adjacent deltas of one sort joined."""
    out: list[Any] = []
    for kind, group in groupby(events, type):
        together: list[Any] = list(group)
        if kind in (TextDelta, ThoughtDelta):
            out.append((kind, "".join(one.text for one in together)))
        elif kind is ToolDelta:
            out.append((kind, "".join(one.fragment for one in together)))
        else:
            out += together
    return out


def decoder(data: bytes) -> None:
    """Decode the service's bytes: however they are cut, the same deltas and the same end; a fault is one of the service's."""
    if not data:
        return
    how, body = data[0], data[1:]
    for framed in (True, False):
        outcomes = []
        for parts in ([body] if body else [], pieces(body, how)):
            one = ChatDecoder(framed=framed)
            events: list[Event] = []
            for part in parts:
                events += one.feed(part)
            events += one.close()
            kind = None if one.fault is None else one.fault.kind
            hold("a fault of the service is one", held=kind in {None, FaultKind.UPSTREAM_BROKEN})
            hold("text is text", held=all(type(event) in (TextDelta, ThoughtDelta) and event.text for event in events))
            outcomes.append((merged(events), kind, one.input_tokens, one.output_tokens, one.length_stop))
        hold("cuts do not matter", held=outcomes[0] == outcomes[1])
        hold("a good end has something to say", held=outcomes[0][1] is not None or bool(body.strip()))


def reader(data: bytes) -> None:
    """Read a model's answer: however it is cut, the same text and calls; a call that is closed has arguments that are JSON."""
    if not data:
        return
    how, text = data[0], data[1:].decode("utf-8", "replace")
    tags = Tags("k7") if how & 128 else Tags()
    outcomes = []
    for parts in ([text] if text else [], pieces(text, how)):
        ids = iter(range(1_000_000))
        one = Reader(TOOLS, ToolUse(parallel=not how & 64), lambda ids=ids: f"{next(ids):024}", tags)
        events: list[Event] = []
        for part in parts:
            events += one.feed([TextDelta(part)])
        events += one.close()
        outcomes.append((merged(events), one.calls, one.ended))
    hold("cuts do not matter", held=outcomes[0] == outcomes[1])
    opened, arguments, closed = False, "", 0
    for event in outcomes[0][0]:
        if isinstance(event, ToolOpened):
            hold("one call at a time", held=not opened)
            opened, arguments = True, ""
        elif isinstance(event, tuple) and event[0] is ToolDelta:
            hold("arguments belong to a call", held=opened)
            arguments += event[1]
        elif isinstance(event, ToolClosed):
            hold("arguments are an object", held=isinstance(json.loads(arguments), dict))
            opened, closed = False, closed + 1
        elif not isinstance(event, tuple):
            opened = False
    hold("calls are counted", held=closed == outcomes[0][1])


def markers(data: bytes) -> None:
    """Read a prompt with a cursor, or refuse it; what is read is part of the prompt, and less than all of it."""
    prompt = data.decode("utf-8", "replace")
    try:
        found = read_marked(prompt, "prompt")
    except Fault as fault:
        hold("it is the caller's fault", held=fault.kind is FaultKind.CALLER_BAD_REQUEST and fault.param == "prompt")
        return
    if found is not None:
        hold("nothing is made up", held=found.prefix in prompt and found.suffix in prompt and found.file_name in prompt)
        hold("nothing is there twice", held=len(found.prefix) + len(found.suffix) < len(prompt))


_LINES = (
    '{"delta":"Hi, 你好 😀"}\n{"delta":""}\n{"usage":{"input_tokens":9,"output_tokens":"3"}}\n',
    '{"reasoning_delta":"hm"}\n{"thinking_delta":"\\ud83d"}\n{"delta":"\\ud83d"}\n{"delta":"\\ude00"}\n',
    '{"tracedata":{}}\n\0\0\0\n{"delta":"\\u0000heartbeat"}\n{"delta":"heartbeat 1"}\n',
    'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"length"}]}\r\n\r\ndata: [DONE]\n',
    '\ufeff{"delta":"a"}{"delta":"b"}\n<html>\n{"error":"no"}\n{"detail":"x"}\n{"status_code":2,"msg":"m"}\n',
)
SEEDS: dict[str, list[bytes]] = {
    "decoder": [b"\x00" + line.encode() for line in _LINES],
    "reader": [bytes([number % 256]) + case.answer.encode() for number, case in enumerate(CASES)],
    "markers": [form.format(prefix="def f(", suffix=")\n").encode() for form in FORMS]
    + [b"<|repo_name|>r<|file_sep|>a.py\n<|fim_prefix|>x<|fim_suffix|>y<|fim_middle|>"],
}
"""Where the fuzzer begins."""

TARGETS: dict[str, Callable[[bytes], None]] = {"decoder": decoder, "reader": reader, "markers": markers}
