"""Traces: what a collector gets of the way of a request."""

import asyncio
import json
import time

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from fakes.collector import collector
from fakes.line import CHAT, KEY, ask, request
from fittengate.simulator import Plan

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SERVER, CLIENT, INTERNAL = 2, 3, 1


async def chat(gateway, header="", **fields):
    return await request(gateway.port, "POST", CHAT, json.dumps(ask(**fields)).encode(), headers=header)


def by_name(spans):
    return {span.name: span for span in spans}


@pytest.mark.parametrize("stream", [False, True])
async def test_the_way_of_a_request_is_a_tree_of_spans(start, simulator, stream):
    """Below the request's span: auth, read, queue, the call to the service, and what came of it, in order and in its time."""
    simulator.plan("chat", Plan(deltas=("Hel", "lo"), first_ms=30))
    before = time.time_ns()
    async with collector() as seen, start(telemetry={"otlp_endpoint": seen.url}) as gateway:
        assert (await chat(gateway, stream=stream)).status == 200
        spans = by_name(await seen.until(1))
    last = "stream" if stream else "translate"
    assert set(spans) == {"POST /v1/chat/completions", "auth", "read", "queue", "chat fitten-code", last}
    root = spans["POST /v1/chat/completions"]
    assert (root.kind, root.parent) == (SERVER, "")
    assert before - 10**9 < root.start < root.end < time.time_ns() + 10**9
    call = spans["chat fitten-code"]
    assert call.kind == CLIENT
    assert call.end - call.start >= 25_000_000
    for span in spans.values():
        assert span.trace_id == root.trace_id
        assert root.start <= span.start <= span.end <= root.end
        if span is not root:
            assert span.parent == root.id
    assert len({span.id for span in spans.values()}) == len(spans)
    order = [spans[name].start for name in ("auth", "read", "queue", "chat fitten-code", last)]
    assert order == sorted(order)


async def test_the_call_speaks_the_conventions_for_generative_ai(start):
    """Names are those of the installed conventions; the values are those of the answer; nothing of its text is there."""
    async with collector() as seen, start(telemetry={"otlp_endpoint": seen.url + "/"}) as gateway:
        reply = await chat(gateway, content="repeat: the-words-of-the-answer", model="gpt-4o")
        spans = by_name(await seen.until(1))
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    found = spans["chat gpt-4o"].attributes
    assert {name for name in found if name.startswith("gen_ai.")} <= known
    usage = reply.json["usage"]
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == "fitten"
    assert found["gen_ai.request.model"] == "gpt-4o"
    assert found["gen_ai.response.model"] == "fitten-code"
    assert found["gen_ai.request.stream"] is False
    assert found["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert found["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert found["gen_ai.response.finish_reasons"] == ["stop"]
    assert found["server.address"] == "127.0.0.1"
    whole = spans["POST /v1/chat/completions"].attributes
    assert whole["http.response.status_code"] == 200
    assert whole["http.request.method"] == "POST"
    assert whole["fittengate.request_id"] == reply.headers["x-request-id"]
    assert seen.resource["service.name"] == "fittengate"
    assert b"the-words-of-the-answer" not in seen.raw
    assert KEY.encode() not in seen.raw


async def test_a_code_completion_is_a_text_completion(start):
    """The call has the other operation's name; an answer out of memory has no call at all."""
    body = json.dumps({"prompt": "def add(a, b):\n    ", "suffix": "\n"}).encode()
    async with collector() as seen, start(telemetry={"otlp_endpoint": seen.url}) as gateway:
        for _ in range(2):
            assert (await gateway.request("POST", "/v1/completions", body)).status == 200
        spans = await seen.until(2)
    calls = [span for span in spans if span.kind == CLIENT]
    assert [call.attributes["gen_ai.operation.name"] for call in calls] == ["text_completion"]


async def test_a_clients_trace_goes_on(start):
    """The request's span is a child of the client's, in its trace, and the log's line has the trace's id."""
    async with collector() as seen, start(telemetry={"otlp_endpoint": seen.url}, log={"format": "json"}) as gateway:
        await chat(gateway, f"traceparent: {PARENT}\r\n")
        spans = await seen.until(1)
        root = next(span for span in spans if span.kind == SERVER)
        assert {span.trace_id for span in spans} == {"0af7651916cd43dd8448eb211c80319c"}
        assert root.parent == "b7ad6b7169203331"
        async with asyncio.timeout(5):
            while '"trace_id":"0af7651916cd43dd8448eb211c80319c"' not in gateway.terminal.getvalue():
                await asyncio.sleep(0.02)


async def test_a_trace_that_its_client_does_not_keep_is_not_sent(start):
    """Flag 00: no spans, but the id is in the log all the same. The next request, without a header, is sent."""
    async with collector() as seen, start(telemetry={"otlp_endpoint": seen.url}) as gateway:
        await chat(gateway, f"traceparent: {PARENT[:-2]}00\r\n")
        await chat(gateway)
        spans = await seen.until(1)
        assert len([span for span in spans if span.kind == SERVER]) == 1
        assert "0af7651916cd43dd8448eb211c80319c" not in {span.trace_id for span in spans}
        assert "trace=0af7651916cd43dd8448eb211c80319c" in gateway.terminal.getvalue()


async def test_a_malformed_header_begins_a_trace_of_its_own(start):
    """Nothing of it is taken over."""
    async with collector() as seen, start(telemetry={"otlp_endpoint": seen.url}) as gateway:
        assert (await chat(gateway, f"traceparent: {PARENT.upper()}\r\n")).status == 200
        root = next(span for span in await seen.until(1) if span.kind == SERVER)
    assert root.parent == ""
    assert root.trace_id != "0af7651916cd43dd8448eb211c80319c"


async def test_without_a_collector_a_clients_trace_is_in_the_log(gateway):
    """Tracing off: the line still says to which trace the request belongs."""
    await chat(gateway, f"traceparent: {PARENT}\r\n")
    async with asyncio.timeout(5):
        while "trace=0af7651916cd43dd8448eb211c80319c" not in gateway.terminal.getvalue():
            await asyncio.sleep(0.02)


async def test_a_fault_is_on_the_spans(start, simulator):
    """A broken service: the request and the call have failed, and say why. A wrong key: only the request has, and it is no error of ours."""
    simulator.plan("chat", Plan(status=500))
    async with collector() as seen, start(telemetry={"otlp_endpoint": seen.url}, upstream={"retries": 0}) as gateway:
        assert (await chat(gateway)).status == 502
        assert (await request(gateway.port, "POST", CHAT, b"{}", key=None)).status == 401
        spans = await seen.until(2)
    failed = [span for span in spans if span.failed]
    assert {span.name for span in failed} == {"POST /v1/chat/completions", "chat fitten-code"}
    assert {span.attributes["error.type"] for span in failed} == {"upstream_broken"}
    refused = next(span for span in spans if span.attributes.get("error.type") == "caller_no_key")
    assert refused.attributes["http.response.status_code"] == 401
    assert not refused.failed


async def test_a_call_that_fell_silent_lasts_until_it_was_given_up(start, simulator):
    """The call's span ends with the fault and not with the last word, and nothing was translated."""
    simulator.plan("chat", Plan(deltas=("Hel", "lo"), cut="stall", cut_after=1))
    async with (
        collector() as seen,
        start(telemetry={"otlp_endpoint": seen.url}, upstream={"idle_timeout": 0.3, "retries": 0}) as gateway,
    ):
        assert (await chat(gateway)).status == 504
        spans = by_name(await seen.until(1))
    call = spans["chat fitten-code"]
    assert call.end == spans["POST /v1/chat/completions"].end
    assert call.end - call.start >= 250_000_000
    assert call.attributes["error.type"] == "upstream_late"
    assert "translate" not in spans


async def test_a_collector_that_is_away_hurts_nobody(start):
    """Requests go on; it is said once; what was not sent is sent when the collector is back."""
    async with collector() as first:
        port = int(first.url.rpartition(":")[2])
    async with start(telemetry={"otlp_endpoint": f"http://127.0.0.1:{port}"}) as gateway:
        for _ in range(3):
            assert (await chat(gateway)).status == 200
        async with asyncio.timeout(10):
            while "spans cannot be sent" not in gateway.terminal.getvalue():
                await asyncio.sleep(0.02)
        assert (await chat(gateway)).status == 200
        async with collector(port) as seen:
            await seen.until(4)
        assert gateway.terminal.getvalue().count("spans cannot be sent") == 1


async def test_a_collector_that_refuses_loses_its_spans_and_they_are_counted(start):
    """A 400 is not tried again."""
    async with collector() as seen, start(telemetry={"otlp_endpoint": seen.url}) as gateway:
        seen.status = 400
        await chat(gateway)
        async with asyncio.timeout(10):
            while b'traces_total{outcome="lost"} 1.0' not in (await gateway.request("GET", "/metrics")).body:
                await asyncio.sleep(0.05)
        assert seen.posts == 1


async def test_headers_for_the_collector_are_sent_and_stay_out_of_the_log(start):
    """``telemetry.otlp_headers`` goes there and nowhere else."""
    telemetry = {"otlp_headers": {"authorization": "Bearer collector-secret-77"}}
    async with collector() as seen, start(telemetry={"otlp_endpoint": seen.url, **telemetry}) as gateway:
        await chat(gateway)
        await seen.until(1)
        assert seen.headers["authorization"] == "Bearer collector-secret-77"
        gateway.gateway.log.say("info", "said", text="it has collector-secret-77 in it")
    assert "it has [redacted] in it" in gateway.terminal.getvalue()
    assert "collector-secret-77" not in gateway.terminal.getvalue()


async def test_what_is_left_is_sent_when_the_gateway_ends(start):
    """A request right before the end is with the collector afterwards."""
    async with collector() as seen:
        async with start(telemetry={"otlp_endpoint": seen.url}) as gateway:
            await chat(gateway)
        assert [span for span in seen.spans if span.kind == SERVER]
