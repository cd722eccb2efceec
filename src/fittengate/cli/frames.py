"""Messages cut out of a stream of bytes as the language server protocol frames them. Pure: ``feed``, then ``close``.

A message is a head of ``Name: value`` lines, an empty line and as many bytes as ``Content-Length`` says (LSP 3.18,
"Base Protocol"). Nothing marks where the next one begins: after a head that is none the stream cannot be read any
further.
"""

import re

MAX_HEAD_BYTES = 4096

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""An editor sends a file whole when it opens it."""

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,12})[ \t]*$", re.IGNORECASE | re.MULTILINE)


class FramingError(Exception):
    """What came is no stream of messages; its text says why."""


class Frames:
    """One stream. After a FramingError nothing more is fed."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._length: int | None = None
        """Of the message whose head was read; None while a head is awaited."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are whole now. Raises FramingError."""
        self._held += data
        found = []
        while self._length is not None or self._read_head():
            length = self._length
            if length is None or len(self._held) < length:
                break
            found.append(bytes(self._held[:length]))
            del self._held[:length]
            self._length = None
        return found

    def close(self) -> None:
        """End the stream. Raises FramingError where it ends in the middle of a message."""
        if self._length is not None or self._held.strip():
            raise FramingError("it ends in the middle of a message")

    def _read_head(self) -> bool:
        end = _HEAD_END.search(self._held, 0, MAX_HEAD_BYTES)
        if end is None:
            if len(self._held) >= MAX_HEAD_BYTES:
                raise FramingError(f"no head ends within {MAX_HEAD_BYTES} bytes")
            return False
        lines = bytes(self._held[: end.start()]).replace(b"\r\n", b"\n")
        length = _LENGTH.search(lines)
        if length is None:
            raise FramingError("a head is without Content-Length")
        if int(length[1]) > MAX_MESSAGE_BYTES:
            raise FramingError(f"a message is larger than {MAX_MESSAGE_BYTES} bytes")
        del self._held[: end.end()]
        self._length = int(length[1])
        return True
