"""P1 without sockets, at every byte in every run: the service's bytes through the whole chain into each dialect's."""

import re

import pytest

from contract.readers import READERS
from fakes.ways import WAYS, recorded
from fittengate.core.events import Ended, TextDelta, fold
from fittengate.dialects import DIALECTS
from fittengate.prompting.render import Rendered
from fittengate.upstream.fitten.reply import ReplyStream
from golden.regenerate import head_for

BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
LONGEST = 150
"""Characters of a call that comes out as text where its tags were hit, and of a character hit in its middle."""

CHATS = pytest.mark.parametrize("way", [way for way in WAYS if way.route == "chat"], ids=lambda way: way.name)


def passed(way, data, *, framed):
    """Return what a client gets of these bytes, the events of it, and the fault that broke it off, if one did."""
    dialect = BY_NAME[way.dialect]
    ask = dialect.read(way.asked("x", stream=True))
    ids = (f"{number:024}" for number in range(100))
    stream = ReplyStream(ask, Rendered("", 0, ""), ids.__next__, framed=framed, count=lambda text: 5)
    events = stream.feed(data, 0.0)
    if not stream.ended and stream.fault is None:
        events = events + stream.close()
    writer = dialect.writer(ask, head_for(ask))
    written = writer.feed(events)
    written += writer.close() if stream.fault is None else writer.fault(stream.fault)
    return written, events, stream.fault


def said(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@CHATS
def test_p1_a_body_without_a_length_that_ends_at_any_byte(way, cases):
    """Only the last lines prove an end; before them each dialect writes an error, and no half of a call is a call."""
    body = recorded(way)
    proof = body.index(b'{"delta":""}') + len(b'{"delta":""}')
    terminator = READERS[way.dialect].terminator
    whole = passed(way, body, framed=False)
    assert terminator in whole[0]
    for at in range(len(body)):
        written, events, fault = passed(way, body[:at], framed=False)
        assert (fault is None) <= (at >= proof), at
        assert (terminator in written) == (fault is None), at
        assert said(whole[1]).startswith(said(events)) or way.tools, at
        assert fault is None or not any(isinstance(event, Ended) for event in events), at
    cases(len(body))


@CHATS
def test_p1_any_byte_turned_to_rubbish(way, cases):
    """One byte that is no UTF-8, anywhere: an error, or a reply with all its text but for that byte; never a crash."""
    body = recorded(way)
    terminator = READERS[way.dialect].terminator
    whole = fold(passed(way, body, framed=True)[1])
    # Where a name is hit the line is of a kind that nobody knows, as new ones of the service will be: it is left out.
    names = [found.span(1) for found in re.finditer(rb'[{,]"([a-z_]+)":', body)]
    for at in range(len(body)):
        written, events, fault = passed(way, body[:at] + b"\xff" + body[at + 1 :], framed=True)
        assert (terminator in written) == (fault is None), at
        if fault is None and not any(start <= at < end for start, end in names):
            reply = fold(events)
            assert abs(len(reply.text) - len(whole.text)) <= LONGEST, at
            assert len(reply.calls) == len(whole.calls) or len(reply.text) > len(whole.text), at
            for call in reply.calls:
                assert "path" in call.arguments or "content" in call.arguments, at
    cases(len(body))
