"""How a line of the log looks: as JSON for programs, as text for people. No line holds a secret or a second line."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fittengate.core.caller import Receipt
from fittengate.core.faults import FaultKind

MAX_CACHED = 512
"""Paths, clients and callers come again and again; so many of them are cleaned once only."""

CACHED_CHARS = 200

Exchange = tuple[Receipt, str | None, str | None]
"""An exchange with its prompt and its reply; None where they are not to be written."""

_encode = msgspec.json.Encoder().encode

# Everything that could end a line, begin a colour or turn the direction of what follows.
_UNSEEN = [*range(0x80, 0xA0), 0x7F, 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _UNSEEN}
_TEXT_ESCAPES = {code: f"\\x{code:02x}" for code in range(0x20)} | _JSON_ESCAPES
_TEXT_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord("\\"): "\\\\"}


def level_of(receipt: Receipt) -> str:
    """Return the level of an exchange: what a client did wrong is everyday business, a defect is an error."""
    if receipt.fault == FaultKind.GATEWAY_BROKEN:
        return "error"
    if receipt.fault is None or receipt.fault.startswith(("caller_", "policy_")):
        return "info"
    return "warning"


class Lines:
    """Makes lines. Belongs to one thread: it remembers what it has cleaned, and the current second."""

    def __init__(self, redact: Callable[[str], str], *, as_json: bool) -> None:
        self._redact = redact
        self._json = as_json
        self._escapes = _JSON_ESCAPES if as_json else _TEXT_ESCAPES
        self._cleaned: dict[str, str] = {}
        self._second = -1
        self._stamp = ""

    def exchange(self, exchange: Exchange) -> bytes:
        """Return the line of an exchange, at the time when it ended."""
        receipt, prompt, reply = exchange
        usage, first, often, once = receipt.usage, receipt.first_seconds, self._often, self._clean
        fields: dict[str, Any] = {
            "time": self._time(receipt.at + receipt.total_seconds),
            "level": level_of(receipt),
            "event": "exchange",
            "request_id": once(receipt.request_id, secret=False),
            "trace_id": receipt.trace_id,
            "caller": often(receipt.caller),
            "dialect": often(receipt.dialect),
            "method": often(receipt.method),
            "path": often(receipt.path),
            "status": receipt.status,
            "outcome": receipt.outcome,
            "model": often(receipt.model) or None,
            "tokens_in": None if usage is None else usage.input_tokens,
            "tokens_out": None if usage is None else usage.output_tokens,
            "estimated": None if usage is None else usage.estimated,
            "first_ms": None if first is None else round(first * 1000, 1),
            "total_ms": round(receipt.total_seconds * 1000, 1),
            "client": often(receipt.client),
            "fault": receipt.fault,
            "detail": None if receipt.detail is None else once(receipt.detail),
        }
        if prompt is not None:
            fields["prompt"] = once(prompt)
        if reply is not None:
            fields["reply"] = once(reply)
        if self._json:
            return _encode(fields) + b"\n"
        return self._text(receipt, fields)

    def _text(self, receipt: Receipt, fields: Mapping[str, Any]) -> bytes:
        usage, first = receipt.usage, receipt.first_seconds
        tokens = "-" if usage is None else f"{usage.input_tokens}+{usage.output_tokens}{'~' if usage.estimated else ''}"
        began = "-" if first is None else f"{first * 1000:.0f}ms"
        line = (
            f"{fields['time']} {fields['level']:<7} {fields['method']} {_quoted(fields['path'])} {receipt.status}"
            f" {receipt.outcome} {receipt.total_seconds * 1000:.0f}ms first={began} tokens={tokens}"
            f" model={fields['model'] or '-'} caller={fields['caller']} client={_quoted(fields['client'])}"
            f" dialect={fields['dialect']} request={fields['request_id']}"
        )
        if receipt.trace_id is not None:
            line += f" trace={receipt.trace_id}"
        for name in ("fault", "detail", "prompt", "reply"):
            if text := fields.get(name):
                line += f" {name}={_quoted(text)}"
        return f"{line}\n".encode()

    def message(self, at: float, level: str, event: str, fields: Mapping[str, Any]) -> bytes:
        """Return a line of any other kind; fields that are None are left out."""
        clean = {name: self._clean(str(value)) for name, value in fields.items() if value is not None}
        stamp, event = self._time(at), self._clean(event)
        if self._json:
            return _encode({"time": stamp, "level": level, "event": event} | clean) + b"\n"
        words = "".join(f" {name}={_quoted(value)}" for name, value in clean.items())
        return f"{stamp} {level:<7} {event}{words}\n".encode()

    def _time(self, at: float) -> str:
        """Return the time in UTC with milliseconds (RFC 3339)."""
        thousandths = int(at * 1000)
        second = thousandths // 1000
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{thousandths % 1000:03d}Z"

    def _often(self, text: str) -> str:
        clean = self._cleaned.get(text)
        if clean is None:
            clean = self._clean(text)
            if len(self._cleaned) < MAX_CACHED and len(text) <= CACHED_CHARS:
                self._cleaned[text] = clean
        return clean

    def _clean(self, text: str, *, secret: bool = True) -> str:
        """Return ``text`` without secrets and control characters. ``secret=False``: it is known to hold none."""
        if secret:
            text = self._redact(text)
        if text.isascii():
            if text.isprintable() and (self._json or "\\" not in text):
                return text
        else:
            # A lone surrogate cannot be written at all.
            text = text.encode("utf-8", "backslashreplace").decode()
        return text.translate(self._escapes)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"' if " " in text or '"' in text or not text else text
