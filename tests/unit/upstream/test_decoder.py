"""The reply decoder, fed whole, byte by byte and at random cuts."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.events import TextDelta, ThoughtDelta
from fittengate.core.faults import FaultKind
from fittengate.upstream.fitten.decoder import MAX_LINE_BYTES, ChatDecoder

USAGE = b'{"usage":{"input_tokens":94,"output_tokens":3,"status":"ok"}}\n'
PADDING = b'{"delta":"\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\n\\n"}\n'


def run(pieces, *, framed=True, now=0.0):
    """Feed all pieces and return what came of them: (text, thought, decoder), adjacent deltas joined."""
    decoder = ChatDecoder(framed=framed)
    events = []
    for piece in pieces:
        events += decoder.feed(piece, now)
    events += decoder.close()
    merged = []
    for event in events:
        assert event.text, "a delta is never empty"
        if merged and merged[-1][0] is type(event):
            merged[-1][1] += event.text
        else:
            merged.append([type(event), event.text])
    return merged, decoder


def said(body, **options):
    """Return the text of a body that must end well however it is cut."""
    whole, decoder = run([body], **options)
    assert decoder.fault is None
    by_byte, other = run([body[i : i + 1] for i in range(len(body))], **options)
    assert by_byte == whole
    assert other.fault is None
    assert (other.input_tokens, other.output_tokens) == (decoder.input_tokens, decoder.output_tokens)
    return "".join(text for kind, text in whole if kind is TextDelta), decoder


def failed(body, **options):
    """Return the fault of a body that must not end well however it is cut."""
    _, decoder = run([body], **options)
    _, other = run([body[i : i + 1] for i in range(len(body))], **options)
    assert decoder.fault is not None
    assert other.fault is not None
    assert other.fault.message == decoder.fault.message
    return decoder.fault


def test_a_reply_by_the_book_gives_its_text_and_its_usage():
    """Deltas, a final empty delta and a usage line are the whole protocol."""
    text, decoder = said(b'{"delta":"Hi"}\n{"delta":" there"}\n{"delta":""}\n' + USAGE)
    assert text == "Hi there"
    assert (decoder.input_tokens, decoder.output_tokens) == (94, 3)
    assert decoder.odd_lines == 0


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ('{"input_tokens":"12","output_tokens":"7"}', (12, 7)),
        ('{"input_tokens":12.0,"output_tokens":7}', (12, 7)),
        ('{"input_tokens":"many","output_tokens":null}', (None, None)),
        ('{"input_tokens":true,"output_tokens":-4}', (None, None)),
        ('{"output_tokens":7}', (None, 7)),
        ('{"input_tokens":1e400,"output_tokens":"99999999999999"}', (None, None)),
        ('{"input_tokens":"\u00b2","output_tokens":"\u0663"}', (None, None)),
    ],
)
def test_usage_is_read_from_numbers_and_digits_and_from_nothing_else(usage, counts):
    """The counts were seen as numbers and as strings."""
    _, decoder = said(b'{"delta":"a"}\n{"usage":' + usage.encode() + b"}\n")
    assert (decoder.input_tokens, decoder.output_tokens) == counts


def test_padding_never_becomes_text_and_leaves_no_line_breaks():
    """NULs and their two line feeds are a keep-alive, at the start and in the middle."""
    text, decoder = said(PADDING + b'{"delta":"a"}\n' + PADDING + b'{"delta":"b"}\n' + USAGE)
    assert text == "ab"
    assert decoder.keepalives == 2


@pytest.mark.parametrize("name", ["delta", "reasoning_delta"])
def test_padding_takes_no_words_with_it(name):
    """Where padding and text share a delta, what is not padding is text, with its own line feeds."""
    parts = ["\0" * 8 + "\n\nHel", "lo\0\0\0\n\n", "\n\nwor\0ld", "\0\0\n", "\0" * 8 + "\n\n\n!"]
    body = b"".join(json.dumps({name: part}).encode() + b"\n" for part in parts)
    merged, decoder = run([body + USAGE])
    assert [text for _, text in merged] == ["Hello\n\nworld\n!"]
    assert decoder.keepalives == 1


def test_a_heartbeat_is_dropped_only_in_silence():
    """The same word is text while the model writes, and a keep-alive after two quiet seconds."""
    decoder = ChatDecoder()
    assert decoder.feed(b'{"delta":"heartbeat..."}\n', 5.0) == []
    assert decoder.feed(b'{"delta":"The "}\n', 10.0) == [TextDelta("The ")]
    assert decoder.feed(b'{"delta":"heartbeat"}\n', 10.5) == [TextDelta("heartbeat")]
    assert decoder.feed(b'{"delta":"heartbeat 12"}\n', 12.5) == []
    assert decoder.feed(b'{"delta":"heartbeats are fine"}\n', 30.0) == [TextDelta("heartbeats are fine")]
    assert decoder.keepalives == 2


def test_a_heartbeat_is_dropped_where_it_would_stand_inside_a_word():
    """A token of the model's that begins a word brings its space; behind a letter only a keep-alive begins so."""
    text, decoder = said(
        b'{"delta":"Hello"}\n{"delta":"heartbeat"}\n{"delta":" world"}\n{"delta":"heartbeat 2"}\n' + USAGE
    )
    assert text == "Hello world"
    assert decoder.keepalives == 2
    kept = b'{"delta":" the"}\n{"delta":" heartbeat"}\n{"delta":" of self."}\n{"delta":"heartbeat"}\n{"delta":"\xe5\xbf\x83"}\n'
    text, decoder = said(
        b'{"delta":"x"}\n' + kept + b'{"delta":"heartbeat"}\n{"delta":"ly"}\n{"delta":"heartbeats"}\n' + USAGE
    )
    assert text == "x the heartbeat of self.heartbeat心heartbeatlyheartbeats"
    decoder = ChatDecoder()
    assert decoder.one(b'{"delta":"Hello"}\n', 1.0) == "Hello"
    assert decoder.feed(b'{"delta":"heartbeat"}\n', 1.0) == []


def test_reasoning_stays_apart_from_text():
    """Both names of reasoning are read, also beside a delta in one object, reasoning first."""
    body = b'{"reasoning_delta":"hm"}\n{"thinking_delta":"m"}\n{"delta":"","reasoning_delta":"!"}\n{"delta":"x","reasoning_delta":"y"}\n'
    merged, _ = run([body + USAGE])
    assert merged == [[ThoughtDelta, "hmm!y"], [TextDelta, "x"]]


@pytest.mark.parametrize(
    "odd",
    [b"null", b"12", b"[1,2]", b'"text"', b"not json", b'{"new_field":1}', b'{"delta":12}', b"\x00\x00", b"\xff\xfe"],
)
def test_an_odd_line_in_the_middle_is_dropped_and_counted(odd):
    """One line of no known kind costs nothing but a count."""
    text, decoder = said(b'{"delta":"a"}\n' + odd + b'\n{"delta":"b"}\n' + USAGE)
    assert text == "ab"
    assert decoder.odd_lines == (0 if odd == b"\x00\x00" else 1)


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"delta":"a"}\r\n\r\n{"delta":"b"}\r\n',
        b'\n\n{"delta":"a"}\n\n{"delta":"b"}',
        b'data: {"delta":"a"}\n\ndata: {"delta":"b"}\n\ndata: [DONE]\n\n',
        b': hi\nevent: x\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}]}\n',
        b'{"choices":[{"message":{"content":"ab"}}]}\n',
        b'{"tracedata":"zzz"}\n{"delta":"a"}\n{"delta":"b","finish_reason":null}\n',
        b'{"delta":"a\nb"}\n'.replace(b"\n", b"", 1),
    ],
)
def test_forms_that_careful_clients_allow_for_are_read(body):
    """CRLF, blank lines, a byte order mark, a missing last LF, server-sent events, OpenAI's shape."""
    text, _ = said(body)
    assert text == "ab"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        PADDING + PADDING,
        b'{"delta":""}\n',
        b'{"tracedata":"x"}\n',
        b'{"detail":"Not Found"}',
        b'{"detail":[{"type":"string_type"}]}\n',
        b'{"error":"diff data error"}\n',
        b'{"data":"","status_code":2,"msg":"no"}\n',
        b"<!DOCTYPE html><html><body>502</body></html>",
        b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n",
        b"upstream connect error",
        b'{"delta":"half a li',
        b'{"delta":"a"}\n{"delta":"b',
        b'{"delta":"a"}\n<html>oops</html>\n',
        b'{"delta":"a"}\n' + b"junk\n" * 17,
        b'{"delta":"a"}\n{"detail":"boom"}\n',
    ],
)
def test_what_is_no_reply_is_a_fault_and_never_an_empty_success(body):
    """Empty bodies, error objects, web pages and torn lines end in upstream_broken."""
    assert failed(body).kind is FaultKind.UPSTREAM_BROKEN


@pytest.mark.parametrize(
    "line", [b'{"delta":"b\n', b'{"delta:"b"}\n', b'\xff"delta":"b"}\n', b'{"delta":"b"}{"delta":"c"}\n']
)
def test_a_damaged_piece_of_a_reply_is_not_left_out(line):
    """Without it the rest would pass for the whole reply; junk that holds nothing of one is left out."""
    assert failed(b'{"delta":"a"}\n' + line + b'{"delta":"d"}\n' + USAGE).kind is FaultKind.UPSTREAM_BROKEN
    text, decoder = said(b'{"delta":"a"}\njunk\n{"delta":"d"}\n' + USAGE)
    assert text == "ad"
    assert decoder.odd_lines == 1


def test_text_before_an_error_is_still_delivered():
    """What was good before the fault is returned first."""
    merged, decoder = run([b'{"delta":"a"}\n{"error":"x"}\n{"delta":"never"}\n'])
    assert merged == [[TextDelta, "a"]]
    assert decoder.fault is not None


def test_a_usage_line_alone_is_an_empty_but_clean_reply():
    """A model may have nothing to say; the usage line proves that it ended."""
    text, _ = said(b'{"delta":""}\n' + USAGE)
    assert text == ""


@pytest.mark.parametrize(
    ("body", "clean"),
    [
        (b'{"delta":"a"}\n', False),
        (b'{"delta":"a"}\n{"delta":""}\n', True),
        (b'{"delta":"a"}\n' + USAGE, True),
        (b'data: {"delta":"a"}\n\ndata: [DONE]\n', True),
        (b'{"delta":"","reasoning_delta":""}\n{"delta":"a"}\n', False),
        (b'{"delta":""}\n{"reasoning_delta":"a"}\n', False),
        (b'{"delta":"","reasoning_delta":"a"}\n', False),
        (b'{"delta":"a","finish_reason":"stop"}\n', True),
        (b'{"delta":"a","finish_reason":null}\n', False),
        (b'{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n', True),
        (b'{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n', False),
    ],
)
def test_an_unframed_body_needs_a_sign_of_its_end(body, clean):
    """Where the connection's close is the only end that HTTP gives, a cut looks like an end."""
    _, decoder = run([body], framed=False)
    assert (decoder.fault is None) is clean


def test_the_short_way_of_a_delta_forgets_nothing_that_the_long_one_knows():
    """Half a character and half a line wait for their other half; text behind an empty delta is not the end (P1, P2)."""
    decoder = ChatDecoder(framed=False)
    assert decoder.feed(b'{"delta":"a\\ud83d"}\n', 0.0) == [TextDelta("a")]
    assert decoder.one(b'{"delta":"b"}\n', 0.0) is None
    assert decoder.feed(b'{"delta":"\\ude00"}\n{"delta":""}\n', 0.0) == [TextDelta("\U0001f600")]
    assert decoder.one(b'{"delta":"c"}\n', 0.0) == "c"
    assert decoder.close() == []
    assert decoder.fault is not None
    decoder = ChatDecoder()
    assert decoder.feed(b'{"delta"', 0.0) == []
    assert decoder.one(b'{"delta":"b"}\n', 0.0) is None
    decoder = ChatDecoder()
    assert decoder.one(b'{"delta":"a"}\n', 0.0) == "a"
    assert decoder.close() == []
    assert decoder.fault is None, "something was said"


@pytest.mark.parametrize(
    "line",
    [
        *(b'{"delta":"a","reasoning_delta":"b"}', b'{"delta":"a","thinking_delta":"b"}', b'{"delta":""}', b"{}"),
        *(b'{"delta":"a\\u0000"}', b'{"reasoning_delta":"a"}', USAGE[:-1], b'{"delta":"a",' + USAGE[1:-1]),
        *(b'{"delta":"heartbeat"}', b'{"delta":"a","x":1}', b'{"delta":"a"}\n{"delta":"b"}', b"no line", b"\xff"),
    ],
)
def test_what_is_more_than_an_ordinary_delta_does_not_go_the_short_way(line):
    """Reasoning, counts, padding and all that is odd would be lost there."""
    assert ChatDecoder().one(line + b"\n", 0.0) is None


def test_usage_is_known_by_either_name():
    """The service's own words for it, and those of the API that others copy."""
    body = b'{"delta":"a"}\n{"usage":{"prompt_tokens":5,"completion_tokens":6},"id":1}\n'
    _, decoder = said(body)
    assert (decoder.input_tokens, decoder.output_tokens) == (5, 6)


def test_reasoning_alone_is_a_reply():
    """So is half a character: the model said something, and HTTP says that it is all."""
    merged, decoder = run([b'{"reasoning_delta":"hm"}\n'])
    assert (merged, decoder.fault) == ([[ThoughtDelta, "hm"]], None)
    merged, decoder = run([b'{"delta":"\\ud83d"}\n'])
    assert (merged, decoder.fault) == ([[TextDelta, "\ufffd"]], None)


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (b'{"error":"x"}\n', True),
        (b'{"detail":"x"}\n', True),
        (b'{"status_code":2,"msg":"x"}\n', True),
        (b"<html>\n", False),
        (b'{"del', False),
    ],
)
def test_an_error_object_is_the_service_s_answer_and_anything_else_an_accident(body, refused):
    """What looks after a service that is out of order counts accidents alone."""
    decoder = run([body])[1]
    assert decoder.fault is not None
    assert decoder.refused is refused


def test_a_character_escaped_in_two_deltas_is_put_together():
    """JSON may escape a character beyond the BMP as two halves, and the halves may come apart."""
    text, _ = said(b'{"delta":"a\\ud83d"}\n{"delta":"\\ude00b"}\n' + USAGE)
    assert text == "a😀b"
    for character, first, second in (("\U00010000", b"d800", b"dc00"), ("\U0010ffff", b"dbff", b"dfff")):
        assert said(b'{"delta":"\\u%b"}\n{"delta":"\\u%b"}\n' % (first, second) + USAGE)[0] == character
    text, _ = said(b'{"delta":"a\\ud83d"}\n{"delta":"b"}\n' + USAGE)
    assert text == "a\ufffdb"
    text, _ = said(b'{"delta":"a\\ud83d"}\n' + USAGE)
    assert text == "a\ufffd"


def test_a_character_escaped_in_two_pieces_of_reasoning_is_put_together():
    """As in text; a half that stays alone is U+FFFD."""
    body = b'{"reasoning_delta":"a\\ud83d"}\n{"delta":""}\n{"thinking_delta":"\\ude00b\\ud83d"}\n{"delta":"x"}\n'
    merged, _ = run([body + USAGE])
    assert merged == [[ThoughtDelta, "a😀b"], [TextDelta, "x"], [ThoughtDelta, "\ufffd"]]
    merged, _ = run([b'{"reasoning_delta":"\\ud83d"}\n{"reasoning_delta":"\\ude00"}\n'])
    assert merged == [[ThoughtDelta, "😀"]]


def test_an_endless_line_is_given_up():
    """The memory that one line may take is bounded."""
    decoder = ChatDecoder()
    for _ in range(MAX_LINE_BYTES // 65536 + 1):
        decoder.feed(b"x" * 65536)
    assert decoder.fault is not None


def test_a_depth_bomb_in_a_line_is_an_odd_line():
    """Deep nesting neither crashes nor ends the reply."""
    text, _ = said(b'{"delta":"a"}\n' + b"[" * 20000 + b"\n" + USAGE)
    assert text == "a"


LINES = st.one_of(
    st.text(max_size=8).map(
        lambda t: json.dumps({"delta": t}, ensure_ascii=len(t) % 2 == 0).encode("utf-8", "replace")
    ),
    st.text(max_size=8).map(lambda t: json.dumps({"reasoning_delta": t}).encode()),
    st.sampled_from([PADDING.strip(), USAGE.strip(), b"null", b"", b"junk", b'{"x":1}', b'{"delta":"heartbeat."}']),
    st.sampled_from([b'{"detail":"x"}', b"<html>", b'data: {"delta":"s"}', b"\xff\xfe", b'{"delta":"\\ud83d"}']),
)


@given(st.lists(LINES, max_size=8), st.booleans(), st.randoms(use_true_random=False), st.booleans())
def test_cuts_do_not_matter(lines, newline, dice, framed):
    """P2: the same bytes cut anywhere give the same deltas, counts and fault."""
    body = b"\n".join(lines) + (b"\n" if newline else b"")
    whole, first = run([body], framed=framed)
    pieces, start = [], 0
    while start < len(body):
        end = min(len(body), start + dice.choice([1, 2, 3, 7, 50]))
        pieces.append(body[start:end])
        start = end
    cut, second = run(pieces, framed=framed)
    assert cut == whole
    assert (second.fault is None) == (first.fault is None)
    if first.fault is not None:
        assert second.fault.message == first.fault.message
    assert second.odd_lines == first.odd_lines


@given(st.binary(max_size=300))
def test_any_bytes_end_in_deltas_or_a_fault(body):
    """No bytes make the decoder raise; without a word or a mark of its end, what came is a fault."""
    merged, decoder = run([body])
    ended = any(mark in body for mark in (b"DONE", b"usage", b"finish_reason"))
    assert decoder.fault is not None or merged or ended


def test_time_grows_no_faster_than_the_bytes():
    """A line that comes byte by byte is not read again from its start for each byte."""
    dice = random.Random(1)
    body = b'{"delta":"' + bytes(dice.choices(b"abc ", k=300_000)) + b'"}\n' + USAGE
    decoder = ChatDecoder()
    events = [event for i in range(len(body)) for event in decoder.feed(body[i : i + 1])]
    assert sum(len(event.text) for event in events) == 300_000
