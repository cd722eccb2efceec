"""``/metrics``: what a gateway that runs shows of itself, read by the library that Prometheus' own clients stand on."""

import asyncio
import re

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_plain

from fakes.line import CHAT, KEY, request, written
from fittengate.simulator import Plan


async def scraped(gateway):
    """Return every sample: name and labels, sorted, to value."""
    reply = await gateway.request("GET", "/metrics")
    assert reply.status == 200
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in read_plain(reply.body.decode())
        for sample in family.samples
    }


def of(samples, name, **labels):
    return samples[(f"fittengate_{name}", *sorted(labels.items()))]


async def test_metrics_take_any_key_and_need_one(gateway):
    """Without a key 401, with one the text that Prometheus reads, under its own content type."""
    assert (await gateway.request("GET", "/metrics", key=None)).status == 401
    reply = await gateway.request("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert list(read_plain(reply.body.decode()))


async def test_metrics_speak_openmetrics_to_those_who_take_it(gateway):
    """The answer to such an ``Accept`` is valid OpenMetrics to its last line."""
    await gateway.chat("hello")
    accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n"
    reply = await request(gateway.port, "GET", "/metrics", headers=accept)
    assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in read_openmetrics(reply.body.decode())}
    assert {"fittengate_requests", "fittengate_tokens", "fittengate_first_token_seconds"} <= names


async def test_switched_off_there_are_no_metrics(start):
    """``telemetry.metrics`` false: 404."""
    async with start(telemetry={"metrics": False}) as gateway:
        assert (await gateway.request("GET", "/metrics")).status == 404


async def test_every_metric_has_our_prefix(gateway):
    """No name can be taken for another program's."""
    await gateway.chat("hello", stream=True)
    assert {name.startswith("fittengate_") for name, *_ in await scraped(gateway)} == {True}


async def test_an_exchange_is_counted_with_its_dialect_model_outcome_and_tokens(gateway):
    """One whole answer: one request, one first-token time, one total, and its tokens in both directions."""
    usage = (await gateway.chat("hello")).json["usage"]
    samples = await scraped(gateway)
    here = {"dialect": "openai_chat", "model": "fitten-code"}
    assert of(samples, "requests_total", **here, outcome="complete") == 1
    assert of(samples, "requests_total", **here, outcome="failed") == 0
    assert of(samples, "first_token_seconds_count", **here) == 1
    assert of(samples, "request_seconds_count", **here) == 1
    for direction, name in (("input", "prompt_tokens"), ("output", "completion_tokens")):
        both = [of(samples, "tokens_total", **here, direction=direction, counted=by) for by in ("service", "estimate")]
        assert sum(both) == usage[name]


async def test_gaps_between_pieces_are_measured_on_the_short_way_too(gateway, simulator):
    """A stream of 12 deltas that are 30 ms apart leaves 11 gaps, nearly all of them in the buckets of that length."""
    simulator.plan("chat", Plan(deltas=("word ",) * 12, interval_ms=30))
    await gateway.chat("hello", stream=True)
    samples = await scraped(gateway)
    here = {"dialect": "openai_chat", "model": "fitten-code"}
    assert 9 <= of(samples, "inter_delta_seconds_count", **here) <= 12
    assert 0.25 <= of(samples, "inter_delta_seconds_sum", **here) <= 2
    assert of(samples, "inter_delta_seconds_bucket", **here, le="0.02") <= 3


async def test_a_reply_that_begins_with_a_heartbeat_leaves_no_gap_before_its_first_piece(start, simulator):
    """Headers that went out early are no piece of the reply: what is measured is shorter than the reply."""
    simulator.plan("chat", Plan(deltas=("word ",) * 8, first_ms=400, interval_ms=30))
    async with start(server={"hold_seconds": 0.1, "heartbeat_seconds": 0.1}) as gateway:
        reply = await gateway.chat("hello", stream=True)
        samples = await scraped(gateway)
    assert b": " in reply.body
    here = {"dialect": "openai_chat", "model": "fitten-code"}
    assert 4 <= of(samples, "inter_delta_seconds_count", **here) <= 8
    assert of(samples, "inter_delta_seconds_sum", **here) < 2


async def test_a_fault_is_counted_by_its_kind(gateway):
    """A model that does not exist: a failed request without a model, and a fault of that kind."""
    assert (await gateway.chat("hello", model="no-such-model")).status == 404
    samples = await scraped(gateway)
    assert of(samples, "requests_total", dialect="openai_chat", model="none", outcome="failed") == 1
    assert of(samples, "faults_total", kind="caller_no_model") == 1
    assert of(samples, "faults_total", kind="gateway_broken") == 0


async def test_names_of_models_that_clients_make_up_become_no_labels(gateway):
    """A thousand names that mean the same model, or none, leave two values of the label."""
    for number in range(50):
        await gateway.chat("hello", model=f"gpt-{number}")
        await gateway.chat("hello", model=f"made-up-{number}")
    models = {dict(labels).get("model") for _, *labels in await scraped(gateway)}
    assert models == {None, "none", "fitten-code"}


async def test_names_of_keys_are_shown_only_where_that_is_asked_for(start):
    """By default no key is named; with ``telemetry.key_labels`` requests and tokens are told by key."""
    async with start() as gateway:
        await gateway.chat("hello")
        assert not [name for name, *_ in await scraped(gateway) if name.startswith("fittengate_key_")]
    async with start(telemetry={"key_labels": True}) as gateway:
        await gateway.chat("hello")
        samples = await scraped(gateway)
        named = [dict(labels)["key"] for name, *labels in samples if name == "fittengate_key_requests_total"]
        assert len(named) == 1
        assert of(samples, "key_requests_total", key=named[0]) == 1
        assert of(samples, "key_tokens_total", key=named[0], direction="output") > 0
        assert KEY not in str(samples)


async def test_what_runs_now_is_shown(gateway, simulator):
    """While a stream is open: one request, one stream, one call of kind chat, one used connection to the service."""
    async with gateway.line() as line:
        simulator.plan("chat", Plan(deltas=("word ",) * 400, interval_ms=50))
        body = b'{"model":"fitten-code","stream":true,"messages":[{"role":"user","content":"hello"}]}'
        await line.send(written("POST", CHAT, body))
        async with asyncio.timeout(10):
            while True:
                samples = await scraped(gateway)
                # What was needed before, such as the list of models, may not have given its connection back yet.
                if of(samples, "streams_open") == of(samples, "upstream_connections", state="used") == 1:
                    break
        assert of(samples, "requests_running") == 1
        assert of(samples, "turns_running", kind="chat") == 1
        assert of(samples, "client_connections") >= 1
        assert of(samples, "account_ready") == 1
        assert of(samples, "session_calls_total", kind="login") == 1
        assert of(samples, "session_renewals_total", outcome="done") == 1
    samples = await scraped(gateway)
    assert of(samples, "process_resident_memory_bytes") > 1_000_000
    assert of(samples, "process_open_fds") > 3


async def test_the_lag_of_the_event_loop_is_sampled(gateway):
    """An idle gateway has samples of it, without a request."""
    async with asyncio.timeout(5):
        while of(await scraped(gateway), "event_loop_lag_seconds_count") < 1:
            await asyncio.sleep(0.05)


TIMING = re.compile(
    r"auth;dur=(\d+\.\d\d), queue;dur=(\d+\.\d\d), upstream;dur=(\d+\.\d\d), stream;dur=(\d+\.\d\d), translate;dur=(\d+\.\d\d)"
)


@pytest.mark.parametrize("stream", [False, True])
async def test_every_reply_says_where_its_time_went(gateway, stream):
    """``Server-Timing`` of an answer: key, queue, the service's first event, and translation, in milliseconds."""
    reply = await gateway.chat("hello", stream=stream)
    times = [float(text) for text in TIMING.fullmatch(reply.headers["server-timing"]).groups()]
    assert times[2] > 0
    assert sum(times) < 10_000


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/livez", None, 200),
        ("GET", "/v1/models", KEY, 200),
        ("GET", "/nothing", None, 404),
        ("GET", "/v1/models", None, 401),
        ("GET", CHAT, KEY, 405),
    ],
)
async def test_replies_that_are_no_exchange_say_how_long_they_took(gateway, method, path, key, status):
    """Probes, lists, and errors of routing."""
    reply = await gateway.request(method, path, key=key)
    assert reply.status == status
    assert re.fullmatch(r"total;dur=\d+\.\d\d", reply.headers["server-timing"])


async def test_a_refused_request_says_where_its_time_went(gateway):
    """A 401 and a 404 of a model carry the same header as an answer."""
    for reply in (
        await gateway.chat("hello", model="no-such-model"),
        await gateway.request("POST", CHAT, b"{}", key=None),
    ):
        assert TIMING.fullmatch(reply.headers["server-timing"])
