"""Replies that came packed."""

import gzip
import zlib

import pytest

from fittengate.core.events import TextDelta
from fittengate.upstream.fitten.decoder import MAX_LINE_BYTES, ChatDecoder
from fittengate.upstream.fitten.packed import PackedDecoder, decoder_of

BODY = '{"delta":"Grüße"}\n{"delta":" 你好"}\n{"delta":""}\n{"usage":{"input_tokens":9,"output_tokens":2}}\n'.encode()


def streamed(body):
    """Return a body as a proxy packs it that sends each line at once."""
    packer = zlib.compressobj(wbits=31)
    return (
        b"".join(packer.compress(line) + packer.flush(zlib.Z_SYNC_FLUSH) for line in body.splitlines(True))
        + packer.flush()
    )


def run(decoder, pieces):
    """Feed all pieces; return the text."""
    events = [event for piece in pieces for event in decoder.feed(piece, 0.0)] + decoder.close()
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("GZIP ", streamed(BODY)),
        ("x-gzip", gzip.compress(BODY[:30], mtime=0) + gzip.compress(BODY[30:], mtime=0)),
        ("deflate", zlib.compress(BODY)),
    ],
)
def test_a_packed_reply_is_read_however_it_was_cut(coding, body):
    """The text and the usage are those of the plain reply."""
    for size in (1, 3, len(body)):
        decoder = decoder_of(coding, framed=True)
        assert run(decoder, [body[at : at + size] for at in range(0, len(body), size)]) == "Grüße 你好"
        assert (decoder.fault, decoder.input_tokens, decoder.output_tokens) == (None, 9, 2)


def test_a_packed_reply_comes_line_by_line():
    """Text is not held back until the end."""
    body = streamed(BODY)
    decoder = PackedDecoder("gzip")
    seen = [bool(decoder.feed(body[at : at + 1], 0.0)) for at in range(len(body))]
    assert seen.index(True) < len(body) / 2
    assert decoder.one(b'{"delta":"x"}\n', 0.0) is None


def test_a_packed_reply_that_was_cut_is_no_whole_one():
    """P1: HTTP may have come to its end, the coding has not."""
    body = gzip.compress(BODY, mtime=0)
    for end in range(1, len(body)):
        decoder = PackedDecoder("gzip", framed=True)
        run(decoder, [body[:end]])
        assert decoder.fault is not None, end


@pytest.mark.parametrize(("coding", "body"), [("br", b"x"), ("gzip", BODY), ("gzip, br", gzip.compress(BODY, mtime=0))])
def test_what_cannot_be_unpacked_is_a_fault(coding, body):
    """No rubbish becomes text."""
    decoder = decoder_of(coding, framed=True)
    assert run(decoder, [body]) == ""
    assert decoder.fault is not None


@pytest.mark.parametrize("line", [b"x", b'{"delta":"x"}\n', b"\n"])
def test_a_bomb_is_given_up(line):
    """Memory stays bounded however well it packs: one endless line, and a million short ones."""
    decoder = PackedDecoder("gzip")
    came = decoder.feed(gzip.compress(line * (MAX_LINE_BYTES * 3 // len(line))), 0.0)
    assert len(came) * len(line) <= MAX_LINE_BYTES
    assert decoder.fault is not None


def test_nothing_is_unpacked_where_nothing_was_packed():
    """No coding, and the one that is none."""
    for coding in (None, "", "identity"):
        assert type(decoder_of(coding, framed=True)) is ChatDecoder


@pytest.mark.parametrize("coding", [None, "identity", " ", "gzip"])
def test_p1_a_reply_without_a_length_needs_a_sign_of_its_end_whatever_its_coding(coding):
    """P1: a cut looks like an end where the connection's close is the only one."""
    for framed in (True, False):
        decoder = decoder_of(coding, framed=framed)
        line = b'{"delta":"a"}\n'
        assert run(decoder, [gzip.compress(line) if coding == "gzip" else line]) == "a"
        assert (decoder.fault is None) is framed
