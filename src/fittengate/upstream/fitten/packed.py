"""A reply with a content coding: none is asked for, but what stands between the service and us may put one on it.

Law: what comes out depends on the bytes and not on how they were cut; a coding that is not known, bytes that are none of
it, and an end before its own end leave a Fault in ``fault``, as any reply that did not end well. So does one read that
unpacks to more than the longest line may have: that is no reply, but a bomb.
"""

import zlib

from fittengate.core.events import Event
from fittengate.upstream.fitten.decoder import MAX_LINE_BYTES, ChatDecoder

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""What can be read (RFC 9110, 8.4.1)."""

_ANY_HEADER = zlib.MAX_WBITS | 32


def decoder_of(coding: str | None, *, framed: bool) -> ChatDecoder:
    """Return what reads a reply whose ``Content-Encoding`` is ``coding``; None where there is no such header."""
    plain = coding is None or coding.strip().lower() in {"", "identity"}
    return ChatDecoder(framed=framed) if coding is None or plain else PackedDecoder(coding, framed=framed)


class PackedDecoder(ChatDecoder):
    """Takes the coding off before the lines are read."""

    def __init__(self, coding: str, *, framed: bool = True) -> None:
        """``coding`` is the value of ``Content-Encoding``, in any case of letters."""
        super().__init__(framed=framed)
        self._inflater = zlib.decompressobj(_ANY_HEADER)
        self._came = False
        if coding.strip().lower() not in CODINGS:
            self._fail("The Fitten service packed its reply in a way that cannot be read.", "unknown content-encoding")

    def feed(self, data: bytes, now: float = 0.0) -> list[Event]:
        """Return the deltas of the lines that ``data`` completes; see :meth:`ChatDecoder.feed`."""
        events: list[Event] = []
        size = 0
        while data and self.fault is None:
            self._came = True
            if self._inflater.eof:
                # gzip may come in several members, one after the other.
                self._inflater = zlib.decompressobj(_ANY_HEADER)
            try:
                plain = self._inflater.decompress(data, MAX_LINE_BYTES)
            except zlib.error:
                self._fail("The Fitten service sent a damaged reply. Try again.", "damaged content coding")
                break
            size += len(plain)
            if size > MAX_LINE_BYTES:
                # One read is some tens of kilobytes, and words do not shrink to a hundredth.
                self._fail("The Fitten service sent a damaged reply. Try again.", "a content coding that swells")
                break
            events += super().feed(plain, now)
            data = self._inflater.unconsumed_tail or self._inflater.unused_data
        return events

    def one(self, data: bytes, now: float) -> str | None:  # noqa: ARG002 - as the plain one has them
        """Return None: packed bytes go through :meth:`feed`."""
        return None

    def close(self) -> list[Event]:
        """Return what the last line held; see :meth:`ChatDecoder.close`."""
        if self._came and not self._inflater.eof:
            self._fail("The Fitten service broke off its reply. Try again.", "cut inside the content coding")
        return super().close()
