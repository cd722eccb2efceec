"""What the server may rely on in every dialect. A new one is found by itself; it needs a reader and goldens."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.readers import READERS
from contract.replies import disorderly_replies, replies
from contract.sdk_models import PIECES, WHOLE, hold_to_its_types, pieces_of
from fittengate.core.ask import Ask, FillAsk, Several
from fittengate.core.events import Began, Ended, OfChoice, TextDelta, ThoughtDelta, fold
from fittengate.core.faults import KINDS, Fault, FaultKind
from fittengate.core.reply import StopReason, Usage, usage_of_all
from fittengate.dialects import DIALECTS
from fittengate.dialects._openai_tools import FunctionsAsk
from fittengate.dialects.llama_infill import InfillAsk
from golden.regenerate import FOLDER, head_for

FOR_ALL = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BROKEN = Fault(FaultKind.UPSTREAM_BROKEN, "The service broke off.", detail="secret detail")


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request):
    return request.param


@pytest.fixture
def reader(dialect):
    return READERS[dialect.name]


def _requests(dialect):
    return [path.read_bytes() for path in sorted((FOLDER / dialect.name).glob("*/request.json"))]


def _asks(dialect):
    """Return what the golden requests of a dialect ask for, those that are refused or want several answers left out.

    So are chat requests with functions of the older form, which are answered with one call at most, and it has no id; and
    those that want parts of the answer alone.
    """
    asks = [ask for ask in _all_asks(dialect) if not isinstance(ask, Several | FunctionsAsk)]
    return [ask for ask in asks if not (isinstance(ask, InfillAsk) and ask.fields)]


def _all_asks(dialect):
    found = []
    for body in _requests(dialect):
        try:
            found.append(dialect.read(body))
        except Fault:
            continue
    return found


def _write(dialect, ask, events):
    writer = dialect.writer(ask, head_for(ask))
    return writer.feed(events) + writer.close()


def test_paths_are_unique():
    """No two dialects answer at one path, and every path is absolute without a slash at its end."""
    paths = [path for dialect in DIALECTS for path in dialect.paths]
    assert len(paths) == len(set(paths))
    assert all(path.startswith("/") and not path.endswith("/") for path in paths)
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)


@FOR_ALL
@given(data=st.data())
def test_a_streamed_reply_says_what_the_whole_one_says(dialect, reader, data):
    """Text, reasoning, calls and finish are the same to the client, streamed or not; usage too, where it was asked."""
    ask = data.draw(st.sampled_from(_asks(dialect)))
    events = data.draw(replies(getattr(reader, "tools", True)))
    streamed = reader.stream(_write(dialect, ask, events))
    whole = reader.whole(dialect.whole(fold(events), ask, head_for(ask)))
    assert (streamed.usage is not None) >= ask.wishes.include_usage
    assert streamed._replace(usage=whole.usage) == whole
    assert streamed.usage in {None, whole.usage}


@FOR_ALL
@given(data=st.data())
def test_a_reply_carries_its_content_and_one_id(dialect, reader, data):
    """What the events say is what the client reads, under one id that holds the head's, if the format has ids."""
    ask = data.draw(st.sampled_from(_asks(dialect)))
    events = data.draw(replies(getattr(reader, "tools", True)))
    reply = fold(events)
    answer = reader.stream(_write(dialect, ask, events))
    assert answer.text == reply.text
    assert answer.thought == (reply.thought if ask.wishes.show_thoughts else "")
    assert answer.calls == tuple((call.id, call.name, call.arguments) for call in reply.calls)
    assert len(answer.ids) == getattr(reader, "ids", True)
    assert all(head_for(ask).id in told for told in answer.ids)


@settings(FOR_ALL, max_examples=80)
@given(data=st.data())
def test_every_piece_of_a_reply_is_what_the_sdk_declares(dialect, data):
    """Whole or streamed, in whatever order things come, each object has the very types of the vendor's SDK."""
    ask = data.draw(st.sampled_from(_asks(dialect)))
    chat = isinstance(ask, Ask)
    names = [tool.name for tool in ask.conversation.tools] if chat else []
    refusable = chat and ask.reply_format is not None
    events = data.draw(disorderly_replies([*names, "unheard-of"] if names else [], refusable=refusable))
    hold_to_its_types(dialect.name, WHOLE, dialect.whole(fold(events), ask, head_for(ask)))
    for piece in pieces_of(_write(dialect, ask, events)):
        hold_to_its_types(dialect.name, PIECES, piece)


@FOR_ALL
@given(data=st.data())
def test_batches_do_not_matter(dialect, reader, data):
    """The same events give the same bytes, however many are fed at a time."""
    ask = data.draw(st.sampled_from(_asks(dialect)))
    events = data.draw(replies(getattr(reader, "tools", True)))
    writer = dialect.writer(ask, head_for(ask))
    written, rest = b"", events
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        written, rest = written + writer.feed(rest[:size]), rest[size:]
    assert written + writer.close() == _write(dialect, ask, events)


@FOR_ALL
@given(data=st.data())
def test_several_answers_are_told_apart(dialect, reader, data):
    """Streamed in any order or whole, each answer is what it would be alone, under its index; the usage is of all."""
    asked = [asks for asks in _all_asks(dialect) if isinstance(asks, Several)]
    if not asked:
        return
    asks = data.draw(st.sampled_from(asked))
    answers = [data.draw(replies(getattr(reader, "tools", True))) for _ in asks.asks]
    usage = usage_of_all(events[-1].usage for events in answers)
    order = data.draw(st.permutations([index for index, events in enumerate(answers) for _ in events]))
    waiting = [list(events) for events in answers]
    mixed = [OfChoice(index, [waiting[index].pop(0)]) for index in order]
    writer = dialect.choices_writer(asks, head_for(asks))
    with pytest.raises(ValueError, match="not ended"):
        writer.close()
    streamed = writer.feed(mixed) + writer.feed([Ended(StopReason.DONE, usage)]) + writer.close()
    whole = dialect.whole_choices([fold(events) for events in answers], asks, head_for(asks))
    alone = [
        reader.whole(dialect.whole(fold(events), ask, head_for(ask)))
        for ask, events in zip(asks.asks, answers, strict=True)
    ]
    told = (usage.input_tokens, usage.output_tokens, usage.input_tokens + usage.output_tokens)
    assert reader.choices(whole) == [answer._replace(usage=told) for answer in alone]
    expected = told if asks.wishes.include_usage else None
    assert reader.streamed_choices(streamed) == [answer._replace(usage=expected) for answer in alone]


def test_a_reply_of_several_answers_that_breaks_has_no_terminator(dialect, reader):
    """P1: one that broke ends all of them in an error."""
    for asks in _all_asks(dialect):
        if isinstance(asks, Several):
            writer = dialect.choices_writer(asks, head_for(asks))
            written = writer.feed([OfChoice(0, [Began(), TextDelta("half")])]) + writer.fault(BROKEN)
            assert reader.terminator not in written
            with pytest.raises(ConnectionError, match=r"The service broke off\."):
                reader.stream(written)
            with pytest.raises(ValueError, match="not ended"):
                writer.close()


def test_began_alone_writes_nothing(dialect):
    """Began promises the client nothing, so a fault after it can still have its true status."""
    for ask in _asks(dialect):
        assert dialect.writer(ask, head_for(ask)).feed([Began()]) == b""


@FOR_ALL
@given(data=st.data())
def test_a_broken_reply_ends_in_an_error_and_no_terminator(dialect, reader, data):
    """P1: wherever a reply breaks, its client reads an error, never a clean end, and close() refuses from then on."""
    ask = data.draw(st.sampled_from(_asks(dialect)))
    # Words that look like a terminator are not what is looked for.
    events = data.draw(replies(getattr(reader, "tools", True)).filter(lambda events: "DONE" not in repr(events)))
    writer = dialect.writer(ask, head_for(ask))
    written = writer.feed(events[: data.draw(st.integers(0, len(events)))]) + writer.fault(BROKEN)
    assert reader.terminator not in written
    assert b"secret detail" not in written
    with pytest.raises(ConnectionError, match=r"The service broke off\."):
        reader.stream(written)
    with pytest.raises(ValueError, match="not ended"):
        writer.close()


def test_a_reply_that_has_not_ended_cannot_be_closed(dialect):
    """P1: a terminator needs Ended, and there is only one of it."""
    ask = _asks(dialect)[0]
    writer = dialect.writer(ask, head_for(ask))
    writer.feed([Began(), TextDelta("half")])
    with pytest.raises(ValueError, match="not ended"):
        writer.close()
    writer.feed([Ended(StopReason.DONE, Usage(1, 1))])
    writer.close()
    with pytest.raises(ValueError, match="not ended"):
        writer.close()


def test_a_fault_after_the_end_leaves_nothing_to_close(dialect, reader):
    """P1: a reply that breaks between its last event and its terminator is broken."""
    ask = _asks(dialect)[0]
    writer = dialect.writer(ask, head_for(ask))
    written = writer.feed([Began(), TextDelta("all"), Ended(StopReason.DONE, Usage(1, 1))]) + writer.fault(BROKEN)
    assert reader.terminator not in written
    with pytest.raises(ValueError, match="not ended"):
        writer.close()


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_has_the_shape_of_the_dialect(dialect, reader, kind):
    """Each kind becomes an error body that clients of the dialect read: the message, and nothing of the detail."""
    fault = Fault(kind, "What went wrong, in words: 你好 \u2028.", param="a[0].b", detail="secret detail")
    status = dialect.status(fault)
    assert 400 <= status <= 599
    assert status // 100 == KINDS[kind].status // 100
    body = dialect.error(fault, "req-1")
    assert reader.error(status, body).startswith(fault.message)
    assert b"secret detail" not in body


def test_a_fault_of_our_own_names_the_request(dialect):
    """The log is searched by request id, and most clients show nothing of an answer but its message."""
    assert b"req-1" in dialect.error(Fault(FaultKind.GATEWAY_BROKEN, "Ours."), "req-1")


def test_half_characters_crash_no_writer(dialect, reader):
    """Half of a surrogate pair, which no upstream should give, comes out as something valid."""
    ask = _asks(dialect)[0]
    usage = Usage(1, 1)
    events = [Began(), ThoughtDelta("a\ud800"), TextDelta("\udfffb"), Ended(StopReason.DONE, usage)]
    assert "b" in reader.stream(_write(dialect, ask, events)).text
    assert "b" in reader.whole(dialect.whole(fold(events), ask, head_for(ask))).text
    assert reader.error(400, dialect.error(Fault(FaultKind.CALLER_BAD_REQUEST, "\ud83d", param="\udfff"), "r"))


@FOR_ALL
@given(body=st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(dialect, body):
    """P11: a body of any bytes becomes an Ask or a fault of the caller, nothing else."""
    _read(dialect, body)


@settings(FOR_ALL, max_examples=80)
@given(data=st.data())
def test_damaged_requests_are_read_or_refused(dialect, data):
    """P11: a good request with bytes taken out, put in or turned over becomes an Ask or a fault of the caller."""
    body = data.draw(st.sampled_from(_requests(dialect)))
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 20)))
    _read(dialect, body[:start] + data.draw(st.binary(max_size=8)) + body[end:])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"{",
        b"{}",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 10_000 + b"}",
        b'{"\xff": 1}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\\ud800"}',
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_hostile_bodies_are_refused_at_once(dialect, body):
    """P11: depth bombs, bytes that are not UTF-8 or not JSON, and bodies that are no object are the caller's fault."""
    with pytest.raises(Fault) as caught:
        dialect.read(body)
    assert caught.value.kind is FaultKind.CALLER_BAD_REQUEST
    json.loads(dialect.error(caught.value, "r"))


def _read(dialect, body):
    fault = None
    try:
        ask = dialect.read(body)
    except Fault as found:
        fault = found
    if fault is not None:
        assert fault.kind in {FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED}
        json.loads(dialect.error(fault, "r"))
        return
    assert isinstance(ask, Ask | FillAsk | Several)
    assert all(name.isascii() and name.isprintable() and len(name) <= 100 for name in ask.ignored)
    assert len(ask.ignored) <= 32
