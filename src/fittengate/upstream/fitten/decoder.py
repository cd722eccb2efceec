"""The service's reply stream: bytes to deltas. Knows nothing of prompts, tools or clients.

A reply is one JSON object a line (protocol: chat response stream). Law: what the feeds and the close return, joined,
depends on the bytes and not on how they were cut; a reply that did not end well leaves a Fault in ``fault``, after
everything good before it was returned. ``fault`` is looked at after each call: once set, nothing more comes.

Not every line is worth the same trust. Lines that were seen from the service are read by the book; lines that only
careful clients allow for (server-sent events, OpenAI's shape, CRLF, a byte order mark) are read too; a line that was one
of these before it was damaged ends the reply; anything else is dropped and counted, so that a change of the service shows
as a number and not as an outage.
"""

import json
import re
from typing import Any, Literal

import msgspec
from msgspec import Struct

from fittengate.core.events import Event, TextDelta, ThoughtDelta
from fittengate.core.faults import Fault, FaultKind
from fittengate.upstream.fitten.outline import name_of, outline

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Longest line kept: a delta is about one token, an echo of a whole prompt some hundred kilobytes."""

MAX_JUNK_LINES = 16
"""So many lines that are no JSON make a reply garbled; one or two that hold nothing of it are an accident of a proxy."""

QUIET_SECONDS = 2.0
"""Deltas are 10 to 15 ms apart while the model writes: after two silent seconds a heartbeat is a heartbeat.

When the service sends one is not known, nor in what words it goes on (protocol: chat response stream).
"""

MAX_STRANGE = 8
"""So many unknown things of one reply are told; how many lines there were is counted in any case."""

KNOWN_FIELDS = frozenset({"delta", "reasoning_delta", "thinking_delta", "usage", "tracedata", "finish_reason"})
"""Fields of a line that were seen, or are allowed for (protocol: chat response stream)."""

_PADDING = re.compile(r"\0+\n{0,2}")
_HEARTBEAT = re.compile(r"heartbeat[\W\d_]*\Z")


class _Usage(Struct, gc=False):
    """The counts of a healthy reply's last line; ``status`` and whatever else stands there is nobody's business."""

    input_tokens: int | str | float
    output_tokens: int | str | float


class _Line(Struct, gc=False, forbid_unknown_fields=True):
    """The lines of a healthy reply. Anything else takes the slow way through :meth:`ChatDecoder._odd_line`."""

    delta: str | None = None
    reasoning_delta: str | None = None
    thinking_delta: str | None = None
    usage: _Usage | None = None


_read_line = msgspec.json.Decoder(_Line).decode


class ChatDecoder:
    """Bytes of one reply in, deltas out."""

    def __init__(self, *, framed: bool = True) -> None:
        """Start at the first byte. ``framed`` says that HTTP itself tells a complete body from one cut short."""
        self.fault: Fault | None = None
        self.input_tokens: int | None = None
        """From the usage line; None until it came, or where it held no sane number."""
        self.output_tokens: int | None = None
        self.odd_lines = 0
        """Lines that were no JSON object, or an object of no known kind: signs of a changed service."""
        self.strange: list[tuple[Literal["line", "field"], str]] = []
        """What was not known, the first few, by structure alone."""
        self.keepalives = 0
        self.length_stop = False
        """A finish reason said that the service itself cut the reply for its length."""
        self.refused = False
        """The fault is an answer and not an accident: the service read the request and said no."""
        self._framed = framed
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._junk = 0
        self._spoke = False
        self._finished = False
        self._last_delta_empty = False
        self._last_text = ""
        self._last_text_at: float | None = None
        self._half = ""
        self._half_thought = ""
        self._sample = ""

    def feed(self, data: bytes, now: float = 0.0) -> list[Event]:
        """Return the deltas of the lines that ``data`` completes. ``now`` is monotonic, in seconds."""
        if self.fault is not None:
            return []
        lines = data.split(b"\n")
        if len(lines) == 1:
            self._keep(data)
            return []
        if self._tail:
            self._tail.append(lines[0])
            lines[0] = b"".join(self._tail)
            self._tail = []
            self._tail_bytes = 0
        rest = lines.pop()
        events = self._lines(lines, now)
        if rest:
            self._keep(rest)
        return events

    def one(self, data: bytes, now: float) -> str | None:
        """Return the text of ``data`` where it is one line with an ordinary delta, else None.

        Law: after None, and also after a text, :meth:`feed` with the same bytes gives what it would have given without
        this call. It exists because a slow reply comes so, and little code is fast code when it runs seldom.
        """
        if self._tail or self._half or data.find(b"\n") != len(data) - 1:
            return None
        try:
            read = _read_line(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        text = read.delta
        if not text or text[0] == "h" or "\0" in text or read.reasoning_delta or read.thinking_delta or read.usage:
            return None
        self._spoke = True
        self._last_text = text
        self._last_text_at = now
        self._last_delta_empty = False
        return text

    def close(self) -> list[Event]:
        """Return what the last line held, and decide in ``fault`` whether the reply had a clean end."""
        if self.fault is not None:
            return []
        events: list[Event] = []
        rest = b"".join(self._tail)
        self._tail = []
        if rest.strip():
            junk = self._junk
            events = self._lines([rest], self._last_text_at or 0.0)
            if self._junk > junk and not self._finished:
                self._fail("The Fitten service broke off in the middle of a line. Try again.", "cut inside a line")
        if self._half_thought:
            events.append(ThoughtDelta("\ufffd"))
        if self._half:
            events.append(TextDelta("\ufffd"))
            self._spoke = True
        self._half = self._half_thought = ""
        if not self._spoke and not self._finished:
            what = "no reply" if not self._sample else f"no reply, but: {self._sample}"
            self._fail("The Fitten service answered with nothing. Try again.", what)
        elif not self._framed and not self._finished and not self._last_delta_empty:
            self._fail("The Fitten service broke off its reply. Try again.", "connection closed before the end")
        return events

    def _keep(self, data: bytes) -> None:
        if self.fault is not None:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        if self._tail_bytes > MAX_LINE_BYTES:
            self._tail = []
            self._fail("The Fitten service sent an endless line.", f"a line of over {MAX_LINE_BYTES} bytes")

    def _lines(self, lines: list[bytes], now: float) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            try:
                read = _read_line(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                if line and not line.isspace():
                    self._odd_line(line, now, events)
                    if self.fault is not None:
                        break
                continue
            thought = read.reasoning_delta or read.thinking_delta
            if thought:
                self._thought(thought, events)
            text = read.delta
            if text:
                if "\0" in text or self._half or (text[0] == "h" and self._is_heartbeat(text, now)):
                    self._careful_text(text, now, events)
                else:
                    events.append(TextDelta(text))
                    self._spoke = True
                    self._last_text = text
                    self._last_text_at = now
                    self._last_delta_empty = False
            elif text is not None and not thought:
                self._last_delta_empty = True
            if read.usage is not None:
                self._finished = True
                self.input_tokens = _count(read.usage.input_tokens)
                self.output_tokens = _count(read.usage.output_tokens)
        return events

    def _is_heartbeat(self, text: str, now: float) -> bool:
        if _HEARTBEAT.match(text) is None:
            return False
        before = self._last_text[-1:]
        # Inside a word: a token of the model's that begins one brings its space.
        inside = before.isascii() and before.isalnum()
        return inside or self._last_text_at is None or now - self._last_text_at >= QUIET_SECONDS

    def _careful_text(self, text: str, now: float, events: list[Event]) -> None:
        """Take a text that may be a keep-alive, or hold half of a character that JSON escaped as two."""
        text = _unpadded(text)
        if not text or self._is_heartbeat(text, now):
            self.keepalives += 1
            return
        text, self._half = _whole(self._half + text)
        if text:
            events.append(TextDelta(text))
            self._spoke = True
            self._last_text = text
            self._last_text_at = now
            self._last_delta_empty = False

    def _thought(self, text: str, events: list[Event]) -> None:
        text = _unpadded(text)
        if not text:
            self.keepalives += 1
            return
        self._spoke = True
        self._last_delta_empty = False
        text, self._half_thought = _whole(self._half_thought + text)
        if text:
            events.append(ThoughtDelta(text))

    def _odd_line(self, line: bytes, now: float, events: list[Event]) -> None:
        """Read a line that is not one of a healthy reply's deltas."""
        text = line.decode("utf-8", "replace").lstrip("\ufeff").strip().strip("\0")
        if text.startswith("data:"):
            text = text[5:].strip()
            if text == "[DONE]":
                self._finished = True
                return
        elif text.startswith((":", "event:", "id:", "retry:")):
            return
        if not text:
            return
        try:
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            self._no_json(text)
            return
        if not isinstance(value, dict):
            self._unknown(text)
            return
        self._object(value, text, now, events)

    def _no_json(self, text: str) -> None:
        self._unknown(text)
        self._junk += 1
        low = text[:20].lower()
        if low.startswith(("<!doctype", "<html", "<head", "<body", "</")):
            self._fail("The Fitten service answered with a web page instead of a reply. Try again.", self._sample)
        elif (text[0] == "{" or 'delta"' in text) and not self._finished:
            # A piece of the reply, damaged: without it the rest would pass for the whole.
            self._fail("The Fitten service sent a damaged line. Try again.", self._sample)
        elif self._junk > MAX_JUNK_LINES:
            self._fail("The Fitten service sent what is no reply.", self._sample)

    def _unknown(self, text: str) -> None:
        self.odd_lines += 1
        # A change of the service shows in every line; the first ones tell it.
        if self.odd_lines <= MAX_STRANGE:
            sample = outline(text)
            self._sample = self._sample or sample
            self._odd("line", sample)

    def _object(self, value: dict[str, Any], text: str, now: float, events: list[Event]) -> None:
        if _is_error(value):
            self.refused = True
            self._fail("The Fitten service answered with an error. Details are in the gateway's log.", outline(text))
            return
        known = self._native_shape(value, now, events)
        if isinstance(value.get("choices"), list):
            known = self._openai_shape(value, now, events)
        if "finish_reason" in value:
            self._finish_reason(value["finish_reason"])
        usage = value.get("usage")
        if isinstance(usage, dict):
            known = True
            self._finished = True
            self.input_tokens = _count(usage.get("input_tokens", usage.get("prompt_tokens")))
            self.output_tokens = _count(usage.get("output_tokens", usage.get("completion_tokens")))
        elif "tracedata" in value:
            known = True
        if not known:
            self._unknown(text)
        elif "choices" not in value:
            for name in value.keys() - KNOWN_FIELDS:
                self._odd("field", f"chat line: {name_of(name)}")

    def _odd(self, kind: Literal["line", "field"], sample: str) -> None:
        if len(self.strange) < MAX_STRANGE and (kind, sample) not in self.strange:
            self.strange.append((kind, sample))

    def _native_shape(self, value: dict[str, Any], now: float, events: list[Event]) -> bool:
        known = False
        for key in ("reasoning_delta", "thinking_delta"):
            if isinstance(value.get(key), str):
                known = True
                if value[key]:
                    self._thought(value[key], events)
        delta = value.get("delta")
        if isinstance(delta, str):
            known = True
            if delta:
                self._careful_text(delta, now, events)
            else:
                self._last_delta_empty = True
        return known

    def _openai_shape(self, value: dict[str, Any], now: float, events: list[Event]) -> bool:
        for choice in value["choices"]:
            if not isinstance(choice, dict):
                return False
            self._finish_reason(choice.get("finish_reason"))
            for holder in (choice.get("delta"), choice.get("message")):
                if not isinstance(holder, dict):
                    continue
                for key in ("reasoning_content", "reasoning"):
                    if isinstance(holder.get(key), str) and holder[key]:
                        self._thought(holder[key], events)
                if isinstance(holder.get("content"), str) and holder["content"]:
                    self._careful_text(holder["content"], now, events)
        return True

    def _finish_reason(self, reason: object) -> None:
        if isinstance(reason, str):
            self._finished = True
            self.length_stop = reason == "length"

    def _fail(self, message: str, detail: str) -> None:
        """Note what went wrong first; what goes wrong after that is a consequence."""
        self.fault = self.fault or Fault(FaultKind.UPSTREAM_BROKEN, message, detail=detail[:2000])


def _unpadded(text: str) -> str:
    """Return what is left of a text without keep-alive padding: nothing, where that is no more than white space."""
    if "\0" not in text:
        return text
    text = _PADDING.sub("", text)
    return "" if text.isspace() else text


def _whole(text: str) -> tuple[str, str]:
    """Return a text with its characters put together, and the half of one at its end, which JSON escaped as two."""
    half = ""
    if "\ud800" <= text[-1] <= "\udbff":
        text, half = text[:-1], text[-1]
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), half


def _is_error(value: dict[str, Any]) -> bool:
    """Tell an error object that came with status 200 (protocol: HTTP errors on chat; also as login errors look)."""
    if value.get("error") or value.get("detail"):
        return True
    return isinstance(value.get("status_code"), int) and value["status_code"] != 0 and "msg" in value


def _count(value: object) -> int | None:
    """Return a token count that came as a number or as digits in a string; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.strip().isdigit() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return int(value)
