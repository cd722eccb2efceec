"""Messages of the language server protocol are cut out of bytes however those come."""

import pytest

from fittengate.cli.frames import MAX_HEAD_BYTES, MAX_MESSAGE_BYTES, Frames, FramingError

STREAM = b"Content-Length: 2\r\n\r\n{}content-length:3\nX: y\n\n[1]Content-Length: 0\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, len(STREAM)])
def test_messages_are_the_same_however_the_bytes_are_split(step):
    """Byte by byte, in pieces, or all at once."""
    frames = Frames()
    found = [one for at in range(0, len(STREAM), step) for one in frames.feed(STREAM[at : at + step])]
    assert found == [b"{}", b"[1]", b""]
    frames.close()


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Type: x\r\n\r\n",
        b"Content-Length: +2\r\n\r\n",
        b"Content-Length: %d\r\n\r\n" % (MAX_MESSAGE_BYTES + 1),
        b"x" * MAX_HEAD_BYTES,
    ],
)
def test_what_is_no_head_is_refused(data):
    """So is a message that is larger than any file, before it is held."""
    with pytest.raises(FramingError):
        Frames().feed(data)


@pytest.mark.parametrize("data", [b"Content", b"Content-Length: 2\r\n\r\n{"])
def test_an_end_in_the_middle_is_told(data):
    """Of a head or of a message."""
    frames = Frames()
    assert frames.feed(data) == []
    with pytest.raises(FramingError, match="middle"):
        frames.close()
