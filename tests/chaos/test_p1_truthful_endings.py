"""P1: a clean terminator is sent only after the upstream ended cleanly. Proven by breaking it off at every byte."""

import asyncio
import json
from typing import Any

import pytest

from fakes.line import Reply, chunks, events, finish_reasons, streamed_text
from fittengate.simulator import Plan

TEXT = "Hi, 你好 😀!"
LINES = (
    '{"delta":"Hi, "}',
    '{"delta":"你好"}',
    '{"delta":" 😀!"}',
    '{"delta":""}',
    '{"usage":{"input_tokens":9,"output_tokens":3,"status":"success"}}',
)
RECORDED = "".join(f"{line}\n" for line in LINES).encode()
PATIENT = {"retries": 0}


def is_clean(body: bytes) -> bool:
    """Tell whether a streamed body claims a good end."""
    return events(body)[-1:] == ["[DONE]"]


def assert_broken(reply: Reply, said: str = TEXT) -> None:
    """Hold a reply to the truth: it broke off, it says so, and nothing but the beginning of ``said`` came before."""
    if reply.status != 200:
        assert reply.status in {502, 504}
        assert reply.error["code"] in {"upstream_error", "upstream_timeout"}
        return
    assert reply.complete, "an error frame ends the response as HTTP says"
    assert "[DONE]" not in reply.body.decode()
    assert finish_reasons(reply.body) == []
    assert "error" in chunks(reply.body)[-1]
    assert said.startswith(streamed_text(reply.body))


async def both(gateway: Any, simulator: Any, plan: Plan, name: str) -> tuple[Reply, Reply]:
    """Ask streamed and whole for a reply that breaks as planned."""
    simulator.plan("chat", plan, times=2, contains=name)
    return await asyncio.gather(gateway.chat(name, stream=True), gateway.chat(name))


@pytest.mark.parametrize("cut", ["close", "reset"])
async def test_p1_a_reply_cut_at_any_byte_is_an_error(start, simulator, cut):
    """Wherever the service's connection breaks, the stream has no terminator and the whole answer is a 502."""
    async with start(upstream=PATIENT) as gateway:
        for first in range(0, len(RECORDED) + 1, 24):
            places = range(first, min(first + 24, len(RECORDED) + 1))
            replies = await asyncio.gather(
                *(both(gateway, simulator, Plan(raw=RECORDED, cut=cut, cut_at=at), f"<{at}>") for at in places)
            )
            for streamed, whole in replies:
                assert_broken(streamed)
                assert whole.status == 502
                assert whole.error["code"] == "upstream_error"
        assert gateway.running == 0


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_p1_a_body_that_stops_anywhere_ends_well_only_if_it_was_one(start, simulator, framing):
    """A body that HTTP calls complete, or cannot call anything, is believed only as far as its lines prove it."""
    usage_at = RECORDED.index(b'{"usage"')
    last_delta_at = RECORDED.index(b'{"delta":""}')

    def ended_well(at: int) -> bool:
        body = RECORDED[:at]
        if framing == "close":
            # Only the usage line, or at least the empty delta before it, tells an end from a cut.
            return at in (last_delta_at + 12, usage_at) or at >= len(RECORDED) - 1
        whole_lines = body.endswith((b"}\n", b"}")) and body.count(b"{") == body.count(b"}")
        return bool(body) and whole_lines

    async with start(upstream=PATIENT) as gateway:
        for first in range(0, len(RECORDED) + 1, 24):
            places = range(first, min(first + 24, len(RECORDED) + 1))
            plans = {at: Plan(raw=RECORDED, cut="end", cut_at=at, framing=framing) for at in places}
            replies = await asyncio.gather(*(both(gateway, simulator, plans[at], f"<{at}>") for at in places))
            for at, (streamed, whole) in zip(places, replies, strict=True):
                if ended_well(at):
                    assert is_clean(streamed.body), at
                    assert finish_reasons(streamed.body) == ["stop"]
                    assert whole.status == 200
                    assert whole.text == streamed.text
                else:
                    assert_broken(streamed)
                    assert whole.status == 502, at


@pytest.mark.parametrize("off", [1, 40, -1, -30])
async def test_p1_a_wrong_content_length_is_no_end(start, simulator, off):
    """A body longer or shorter than HTTP announced is broken."""
    async with start(upstream=PATIENT) as gateway:
        plan = Plan(raw=RECORDED.rstrip(b"\n") + b"\n", framing="length", length_off=off, keep_alive=False)
        streamed, whole = await both(gateway, simulator, plan, "wrong length")
        if off == -1:
            # Only the line break after the last object is missing: the reply itself is whole.
            assert is_clean(streamed.body)
            return
        assert_broken(streamed)
        assert whole.status == 502


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_p1_a_connection_that_breaks_before_the_headers_is_a_502(start, simulator, how):
    """Nothing was promised yet, so the true status can still be told, streamed or not."""
    async with start(upstream=PATIENT) as gateway:
        for reply in await both(gateway, simulator, Plan(no_reply=how), "no head"):
            assert reply.status == 502
            assert reply.error["type"] == "server_error"


async def test_p1_a_service_that_cannot_be_reached_is_a_502(start, simulator):
    """A refused connection is told with its true status."""
    async with start(upstream=PATIENT) as gateway:
        assert (await gateway.chat("first")).status == 200
        await simulator.stop()
        for stream in (True, False):
            reply = await gateway.chat("second", stream=stream)
            assert reply.status == 502
            assert "cannot be reached" in reply.error["message"]


async def test_p1_a_stall_in_mid_reply_ends_in_an_error(start, simulator):
    """After ``idle_timeout`` the gateway gives up aloud: an error frame in a stream, a 504 for a whole answer."""
    async with start(upstream={**PATIENT, "idle_timeout": 0.3}) as gateway:
        plan = Plan(text="one two three four", cut="stall", cut_after=2)
        streamed, whole = await both(gateway, simulator, plan, "stall")
        assert_broken(streamed, "one two three four")
        assert streamed_text(streamed.body) == "one two"
        assert chunks(streamed.body)[-1]["error"]["code"] == "upstream_timeout"
        assert whole.status == 504
        await simulator.wait_closed_by_client(2)


async def test_p1_no_first_word_in_time_is_a_504(start, simulator):
    """Keep-alives are life but no word: ``first_token_timeout`` ends them, with the true status."""
    async with start(upstream={**PATIENT, "first_token_timeout": 0.3, "idle_timeout": 5}) as gateway:
        plan = Plan(padding=200, padding_ms=20, text="late")
        for reply in await both(gateway, simulator, plan, "late"):
            assert reply.status == 504
            assert "first_token_timeout" in reply.error["message"]


async def test_p1_an_endless_reply_ends_in_an_error(start, simulator):
    """``total_timeout`` ends a reply that never does."""
    async with start(upstream={**PATIENT, "total_timeout": 0.4}) as gateway:
        streamed, whole = await both(gateway, simulator, Plan(deltas=("a",) * 500, interval_ms=10), "endless")
        assert_broken(streamed, "a" * 500)
        assert whole.status == 504


async def test_p1_an_error_object_in_mid_stream_is_an_error(start, simulator):
    """What came before it is delivered, and the end is told as what it is."""
    lines = (LINES[0], '{"detail":"the model has left"}', *LINES[1:])
    async with start(upstream=PATIENT) as gateway:
        streamed, whole = await both(gateway, simulator, Plan(lines=lines), "error object")
        assert_broken(streamed)
        assert streamed_text(streamed.body) == "Hi, "
        assert whole.status == 502
        assert "the model has left" not in streamed.body.decode() + whole.body.decode()


@pytest.mark.parametrize(
    "plan",
    [
        Plan(page="portal"),
        Plan(page="502", status=200),
        Plan(body=""),
        Plan(json={}),
        Plan(json=[]),
        Plan(json="ok"),
        Plan(json=None),
        Plan(json={"error": "overloaded"}),
        Plan(json={"status_code": 2, "msg": "no", "data": ""}),
        Plan(body="\n\n\n"),
        Plan(lines=('{"delta":""}',)),
        Plan(raw=b"\x00\xff\xfe garbage"),
        Plan(json={"choices": []}),
        Plan(json={"choices": "many"}),
        Plan(json={"delta": 5}),
        Plan(json={"delta": None}),
    ],
    ids=lambda plan: str(plan)[5:50],
)
async def test_p1_a_200_that_holds_no_reply_is_a_502(start, simulator, plan):
    """HTML, an error object, nothing, or anything else that is no reply is not passed off as an empty answer."""
    async with start(upstream=PATIENT) as gateway:
        for reply in await both(gateway, simulator, plan, "no reply"):
            assert reply.status == 502
            assert reply.error["code"] == "upstream_error"
        assert (await gateway.chat("the next one")).status == 200


@pytest.mark.parametrize("status", [500, 502, 503, 504, 403, 404, 418, 301])
async def test_p1_an_error_status_is_a_502(start, simulator, status):
    """No status of the service but 200 can become a reply."""
    async with start(upstream=PATIENT) as gateway:
        for reply in await both(gateway, simulator, Plan(status=status), "status"):
            assert reply.status == 502


async def test_p1_a_reply_that_we_cut_ends_well_and_closes_the_service(gateway, simulator):
    """An end of our own making (a stop sequence, the length) is a clean one; usage is ours, the upstream is left."""
    plan = Plan(deltas=("one ", "two ", "three ") * 50, interval_ms=10)
    for fields, reason in (({"stop": "three"}, "stop"), ({"max_tokens": 3}, "length")):
        simulator.reset()
        simulator.plan("chat", plan)
        options = {"include_usage": True}
        reply = await gateway.chat("cut", stream=True, stream_options=options, **fields)
        assert is_clean(reply.body)
        assert finish_reasons(reply.body) == [reason]
        assert chunks(reply.body)[-1]["usage"]["completion_tokens"] > 0
        await simulator.wait_closed_by_client()
        assert simulator.requests("chat")[0].outcome == "left"


async def test_p1_the_recorded_reply_uncut_ends_well(gateway, simulator):
    """The control: unbroken, the same bytes are a good reply in both forms."""
    streamed, whole = await both(gateway, simulator, Plan(raw=RECORDED), "whole")
    assert is_clean(streamed.body)
    assert streamed.text == whole.text == TEXT
    assert json.loads(events(streamed.body)[-2])["choices"][0]["finish_reason"] == "stop"
    assert whole.json["usage"]["prompt_tokens"] == 9
