"""From reply and plan to steps on the wire, without a socket."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.simulator import Plan
from fittengate.simulator.reply import Piece, Reply
from fittengate.simulator.wire import TURN, prepare

BODY = 'a{"delta":"é\\u4f60"}\n你好\n'.encode()


def streamed(*parts, cut_at=None):
    return Reply(pieces=[Piece(0, part) for part in parts], content_type="application/x-ndjson", cut_at=cut_at)


def joined(out):
    return b"".join(step.data or b"" for step in out.steps)


pieces = st.lists(st.builds(Piece, st.sampled_from([0.0, 0.01]), st.binary(max_size=20)), max_size=6)


@given(pieces, st.integers(0, 7), st.lists(st.integers(0, 60), max_size=4), st.booleans(), st.booleans())
def test_splitting_and_compressing_change_no_byte(parts, size, places, inside, gzip):
    """However it is split, the joined steps are the body."""
    plan = Plan(split=size, split_at=tuple(places), split_inside=inside, gzip="always" if gzip else "never")
    sent = joined(prepare(Reply(pieces=parts), plan))
    assert (zlib.decompress(sent, wbits=31) if gzip else sent) == b"".join(p.data for p in parts)


@given(pieces, st.integers(0, 140), st.sampled_from(["end", "close", "reset"]))
def test_a_cut_sends_exactly_so_many_bytes(parts, at, ending):
    """Or all there are."""
    out = prepare(Reply(pieces=parts), Plan(cut=ending, cut_at=at))
    assert joined(out) == b"".join(p.data for p in parts)[:at]
    assert out.ending == ending


@given(pieces, st.integers(0, 140))
def test_a_stall_keeps_the_rest_for_later(parts, at):
    """One wait at the place, nothing lost."""
    out = prepare(Reply(pieces=parts), Plan(cut="stall", cut_at=at))
    waits = [index for index, step in enumerate(out.steps) if step.data is None]
    assert len(waits) == 1
    body = b"".join(p.data for p in parts)
    assert b"".join(step.data for step in out.steps[: waits[0]]) == body[:at]
    assert joined(out) == body
    assert out.ending == "end"


def test_one_byte_a_segment():
    """Each is a step of its own with a pause before it."""
    out = prepare(streamed(BODY), Plan(split=1))
    assert [step.data for step in out.steps[1:]] == [bytes([byte]) for byte in BODY]
    assert {step.delay for step in out.steps[2:]} == {TURN}


def test_splitting_inside_tears_characters_and_escapes():
    """No piece ends where a sequence ends, at each of those places."""
    parts = [step.data for step in prepare(streamed(BODY), Plan(split_inside=True)).steps[1:]]
    assert parts == [
        b'a{"delta":"\xc3',
        b"\xa9\\",
        b"u4f",
        b'60"}\n\xe4',
        b"\xbd\xa0\xe5",
        b"\xa5\xbd\n",
    ]


def test_framing_is_chunked_for_streams_and_a_length_for_the_rest():
    """As nginx does it."""
    assert b"transfer-encoding: chunked" in prepare(streamed(b"x"), Plan()).head(b"")
    assert b"content-length: 1" in prepare(Reply(body=b"x"), Plan()).head(b"")
    assert prepare(streamed(b"xyz"), Plan()).framed(b"xyz") == b"3\r\nxyz\r\n"


def test_the_length_can_be_wrong_either_way():
    """Nobody checks it."""
    assert prepare(Reply(body=b"xyz"), Plan(length_off=4)).length == 7
    assert prepare(Reply(body=b"xyz"), Plan(length_off=-2)).length == 1
    assert prepare(Reply(body=b"xyz"), Plan(length_off=-9)).length == 0
    assert prepare(Reply(body=b"xyz"), Plan(cut="close", cut_at=1)).length == 3
    assert prepare(Reply(body=b"xyz"), Plan(cut="end", cut_at=1)).length == 1


def test_headers_are_added_replaced_and_removed():
    """Names in any case; empty removes."""
    head = prepare(Reply(), Plan(headers={"Content-Type": "text/html", "Retry-After": "7"})).head(b"")
    assert b"content-type: text/html\r\n" in head
    assert b"retry-after: 7\r\n" in head
    assert b"content-type" not in prepare(Reply(), Plan(headers={"content-type": ""})).head(b"")


@pytest.mark.parametrize(
    ("offered", "wish", "packed"),
    [(True, "offered", True), (False, "offered", False), (False, "always", True), (True, "never", False)],
)
def test_compression_follows_the_offer(offered, wish, packed):
    """Never, if offered, always."""
    out = prepare(Reply(body=b"x" * 100), Plan(gzip=wish), gzip_offered=offered)
    assert (out.headers.get("content-encoding") == "gzip") is packed
    assert out.length == len(joined(out))


def test_a_cut_compressed_body_is_not_finished():
    """The client can unpack what came and sees that more was to come."""
    unpacker = zlib.decompressobj(wbits=31)
    assert (
        unpacker.decompress(joined(prepare(streamed(b"abc", b"def"), Plan(gzip="always", cut="close", cut_at=4))))
        == b"abcd"
    )
    assert not unpacker.eof
