"""The short way of a delta gives the same events as the long one."""

import asyncio
from types import SimpleNamespace

import pytest

from fittengate.core.ask import Ask, Sampling
from fittengate.core.conversation import Conversation, Message, Text
from fittengate.core.events import Began, Ended, TextDelta
from fittengate.prompting.render import render
from fittengate.upstream.fitten.reply import ReplyStream
from fittengate.upstream.fitten.tap import Tap


class Sink:
    def __init__(self, *, is_open=True, paused=False, error=None):
        self.open, self.flow, self.error, self.taken = is_open, SimpleNamespace(write_paused=paused), error, []

    def take(self, events, now):
        if self.error is not None:
            raise self.error
        self.taken += events


def made(sink, **sampling):
    """Return a tap on a reply that has begun, and what stands behind it."""
    ask = Ask(Conversation((Message("user", (Text("hi"),)),)), sampling=Sampling(**sampling))
    stream = ReplyStream(ask, render(ask.conversation, ask.tool_use, b"s" * 32), lambda: "id", framed=True)
    assert stream.feed(b'{"delta":"one"}\n', 0.0) == [Began(), TextDelta("one")]
    watch = SimpleNamespace(idle_since=0.0, waiting=True)
    return Tap(stream, watch, asyncio.get_running_loop(), sink), stream, watch


async def test_events_go_to_a_sink_that_is_open_and_the_task_sleeps_on():
    """The watch hears of every byte and goes on waiting; half a line gives nothing and wakes nobody."""
    sink = Sink()
    tap, _, watch = made(sink)
    assert tap(b'{"delta":" two"}\n{"del')
    assert tap(b'ta":" three"}\n')
    assert sink.taken == [TextDelta(" two"), TextDelta(" three")]
    assert tap.left is None
    assert watch.idle_since > 0
    assert watch.waiting


@pytest.mark.parametrize("sink", [Sink(is_open=False), Sink(paused=True)], ids=["shut", "paused"])
async def test_bytes_are_untouched_while_the_sink_takes_nothing(sink):
    """They are read in the ordinary way, as if there were no tap."""
    tap, stream, _ = made(sink)
    assert not tap(b'{"delta":" two"}\n')
    assert tap.left is None
    assert stream.feed(b'{"delta":" two"}\n', 1.0) == [TextDelta(" two")]


async def test_the_end_of_a_reply_is_left_for_the_task():
    """A limit of ours ends the reply: its last words and Ended are taken once, by whoever reads."""
    sink = Sink()
    tap, stream, _ = made(sink, stop=("STOP",))
    assert not tap(b'{"delta":" two STOP three"}\n')
    assert stream.ended
    events = tap.taken()
    assert events[0] == TextDelta(" two ")
    assert type(events[-1]) is Ended
    assert (tap.left, sink.taken) == (None, [])


async def test_a_fault_is_left_for_the_task():
    """A web page in mid-reply: the words before it are not lost, the fault stands."""
    sink = Sink()
    tap, stream, _ = made(sink)
    assert not tap(b'{"delta":" two"}\n<html>\n')
    assert tap.taken() == [TextDelta(" two")]
    assert stream.fault is not None
    assert sink.taken == []


async def test_what_the_sink_raises_is_raised_in_the_task():
    """An error of the writer never reaches the transport's callback."""
    tap, _, _ = made(Sink(error=KeyError("defect")))
    assert not tap(b'{"delta":" two"}\n')
    with pytest.raises(KeyError):
        tap.taken()
