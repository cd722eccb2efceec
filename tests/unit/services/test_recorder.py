"""The flight recorder: what it keeps, and that it never keeps more than it may."""

import random
import sys
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from fittengate.services.recorder import Recorder, RecorderOptions
from fittengate.services.tape import ADVANCE_BYTES, MAX_CALLS, PIECE_BYTES, TAPE_BYTES, Pieces

LARGE = RecorderOptions(exchanges=10, bytes=10_000_000, artifact_bytes=100_000)


def tape_of(recorder, name="one", body=b"{}"):
    tape = recorder.begin(name, "openai_chat", 1.0, 1.0)
    if tape is not None:
        tape.head("POST", "/v1/chat/completions", {b"authorization": b"Bearer x", b"user-agent": b"curl/8"})
        tape.asked(body)
    return tape


def size_of(tape):
    """Return the bytes of all artifacts that a tape holds on to."""
    bodies = [body for body in (tape.received, tape.answer, *(call.body for call in tape.calls)) if body is not None]
    streams = [call.raw for call in tape.calls] + ([] if tape.sent is None else [tape.sent])
    held = sum(len(body.head) + len(body.tail) for body in bodies)
    for stream in streams:
        for parts in (stream._parts, stream._head or []):
            held += sum(len(data) + PIECE_BYTES for data in parts[1::2])
    return held


def test_a_body_that_exists_is_not_copied():
    """Noting costs a reference."""
    body = b"x" * 5000
    assert tape_of(Recorder(LARGE), body=body).received.head is body


def test_of_a_long_body_both_ends_are_kept_and_the_rest_is_let_go():
    """A body of megabytes must not stay in memory because it was recorded."""
    tape = tape_of(Recorder(LARGE), body=b"a" * 3_000_000 + b"z" * 10)
    assert tape.received.size == 3_000_010
    assert (len(tape.received.head), len(tape.received.tail)) == (50_000, 50_000)
    assert tape.received.tail.endswith(b"z" * 10)


def test_no_value_of_a_header_that_may_hold_a_key_is_kept():
    """Keys stand in headers; they would lie in memory for as long as the exchange."""
    tape = tape_of(Recorder(LARGE))
    assert (tape.headers, tape.agent) == ((b"authorization", b"user-agent"), b"curl/8")


def test_a_stream_is_kept_with_its_times():
    """What came when is half of what a report about a slow stream must say."""
    call = tape_of(Recorder(LARGE)).call(1.5, "/codeapi/chat_auth", b"prompt")
    call.replied(1.6, 200)
    call.raw.add(1.7, b"one")
    call.raw.add(1.9, b"three")
    kept = call.raw.kept()
    assert (kept.size, kept.head, kept.tail) == (8, b"onethree", b"")
    assert kept.times == ((1.7, 3), (1.9, 5))


@given(st.lists(st.binary(max_size=3000), max_size=60), st.sampled_from([0, 3, 100, 5000, 40_000]))
def test_a_stream_keeps_its_ends_and_never_more_than_it_may(parts, most):
    """The head is the true beginning, the tail the true end, and the sizes add up."""
    granted = []
    pieces = Pieces(lambda count: granted.append(count) or True, most)
    for at, part in enumerate(parts):
        pieces.add(float(at), part)
    whole, kept = b"".join(parts), pieces.kept()
    assert kept.size == len(whole)
    assert kept.pieces == len(parts)
    assert whole.startswith(kept.head)
    assert whole.endswith(kept.tail)
    assert len(kept.head) + len(kept.tail) <= most
    if len(whole) + len(parts) * PIECE_BYTES <= most:
        assert kept.head == whole
    assert kept.times == tuple(sorted(kept.times))


def test_the_oldest_ended_exchange_makes_room_and_those_under_way_stay():
    """What still runs is what somebody asks about."""
    recorder = Recorder(RecorderOptions(3, 10_000_000, 1000))
    running = tape_of(recorder, "running")
    for number in range(5):
        recorder.end(tape_of(recorder, f"ended-{number}"), None, 2.0)
    assert recorder.find("running") is running
    assert [recorder.find(f"ended-{number}") is not None for number in range(5)] == [False, False, True, True, True]


def test_of_two_exchanges_of_one_id_the_newer_is_found():
    """Clients choose the id, and try again with the same one."""
    recorder = Recorder(LARGE)
    recorder.end(tape_of(recorder), None, 2.0)
    newer = recorder.begin("one", "openai_chat", 5.0, 5.0)
    assert recorder.find("one") is newer


def test_a_piece_takes_up_no_more_than_is_counted_for_it():
    """The bound on memory is about memory, not about payload."""
    pieces = Pieces(lambda _count: True, 10**9)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(5000):
            pieces.add(number + 0.5, b"%030d" % number)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= pieces._size
    assert taken > pieces._size * 0.6


def test_where_nothing_can_go_an_exchange_is_counted_and_not_kept():
    """The bound holds for exchanges under way too."""
    recorder = Recorder(RecorderOptions(10, 2 * (TAPE_BYTES + ADVANCE_BYTES), 1000))
    tapes = [tape_of(recorder, str(number), b"") for number in range(3)]
    assert [tape is not None for tape in tapes] == [True, True, False]
    assert recorder.missed == 1
    recorder.end(tapes[0], None, 2.0)
    assert tape_of(recorder, "next", b"") is not None
    assert recorder.find("0") is None


def test_a_tape_that_was_dropped_takes_what_still_comes_and_keeps_nothing():
    """A heartbeat may be on its way, and connections hold on to the tape of whoever opened them."""
    recorder = Recorder(RecorderOptions(0, 10_000_000, 1000))
    tape = tape_of(recorder, body=b"x" * 500)
    sent, call = tape.streaming(), tape.call(1.0, "/x", b"y" * 500)
    recorder.end(tape, None, 2.0)
    sent.add(3.0, b"late" * 100)
    call.raw.add(3.0, b"late" * 1000)
    assert tape.call(3.0, "/x", b"") is None
    tape.answered(200, b"z" * 900)
    assert (recorder.used, size_of(tape)) == (0, 0)


def test_a_tape_that_was_dropped_is_freed_without_the_cycle_collector():
    """It runs seldom: megabytes would wait for it."""
    recorder = Recorder(RecorderOptions(0, 10_000_000, 1000))
    tape = tape_of(recorder)
    tape.streaming()
    tape.call(1.0, "/x", b"y")
    recorder.end(tape, None, 2.0)
    count = sys.getrefcount(tape)
    del recorder
    assert count == 2


def test_calls_of_one_exchange_are_bounded():
    """Several answers, each asked again and tried again, are many."""
    tape = tape_of(Recorder(LARGE))
    made = [tape.call(1.0, "/x", b"y") for _ in range(MAX_CALLS + 3)]
    assert [call is None for call in made] == [False] * MAX_CALLS + [True] * 3


@given(st.integers(0, 10**9), st.integers(20_000, 200_000), st.sampled_from([500, 5000, 60_000]))
def test_all_tapes_together_never_hold_more_than_they_may(seed, most, artifact):
    """However many run and end, whatever they hold: the bound is kept at every step, and the books are true."""
    dice = random.Random(seed)
    recorder = Recorder(RecorderOptions(8, most, artifact))
    running = []
    for _ in range(120):
        choice = dice.random()
        if choice < 0.35:
            if (tape := tape_of(recorder, str(seed), b"b" * dice.randrange(20_000))) is not None:
                running.append((tape, tape.streaming(), tape.call(1.0, "/x", b"c" * dice.randrange(9000))))
        elif running and choice < 0.55:
            recorder.end(running.pop(dice.randrange(len(running)))[0], None, 2.0)
        elif running:
            _, sent, call = dice.choice(running)
            sent.add(3.0, b"s" * dice.randrange(4000))
            if call is not None:
                call.raw.add(3.0, b"r" * dice.randrange(4000))
        tapes = recorder.newest()
        assert recorder.used == sum(tape.taken for tape in tapes) <= most
        assert all(size_of(tape) <= tape.taken for tape in tapes)
