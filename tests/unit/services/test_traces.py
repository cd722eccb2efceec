"""The sender of traces: ids, bounds, and what it does when nobody takes the spans."""

import secrets
import threading

import pytest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from fittengate.core.caller import Receipt
from fittengate.core.reply import StopReason, Usage
from fittengate.services import traces as module
from fittengate.services.spans import Origin, Passage, spans_of
from fittengate.services.traces import Collector, Traces

ORIGIN = Origin("fitten", "service.example", 443, "http")
RECEIPT = Receipt(
    1000.0, "req_1", "me", "openai_chat", "POST", "/v1/chat/completions", 200, "complete", "m", Usage(1, 2), 0.1, 0.5, "c",
    None, None,
)  # fmt: skip
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def said():
    return []


@pytest.fixture
def traces(said, monkeypatch):
    """Give a sender whose collector does not exist; nothing is ever sent."""
    monkeypatch.setattr(module, "_session", lambda collector: pytest.fail("nothing was to be sent"))
    made = Traces(
        Collector("http://127.0.0.1:1", {}, "0"), ORIGIN, secrets.token_bytes, lambda *words, **_: said.append(words)
    )
    yield made
    made._queue.clear()
    made.close()


def passage(traces):
    _, trace = traces.begin(None)
    return Passage(trace, RECEIPT, 5.0, 5.01, 5.02, 5.03, 5.1, 5.4, "gpt-4o", False, "chat", True, StopReason.DONE)


def test_ids_are_new_for_every_request(traces):
    """Of a thousand no two traces and no two spans are the same, and none is zero."""
    made = [traces.begin(None)[1] for _ in range(1000)]
    assert len({one.trace_id for one in made}) == len({one.span_id for one in made}) == 1000
    assert all(len(one.trace_id) == 32 and one.span_id and not one.parent for one in made)


def test_a_clients_trace_is_gone_on_with(traces):
    """Its trace id and its span as parent, an id of our own; without the flag there is the trace's id alone."""
    trace_id, trace = traces.begin(PARENT)
    assert trace_id == trace.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert trace.parent.to_bytes(8, "little").hex() == "b7ad6b7169203331"
    assert trace.span_id != trace.parent
    assert traces.begin(PARENT[:-1] + b"0") == (trace_id, None)


def test_what_finds_the_queue_full_is_counted(traces, monkeypatch):
    """The queue is bounded; nothing is raised."""
    monkeypatch.setattr(module, "MAX_QUEUED", 10)
    traces._awake = True  # nobody takes anything out
    one = passage(traces)
    for _ in range(15):
        traces.end(one)
    assert len(traces._queue) == 10
    assert traces.lost == 5


def test_spans_that_cannot_be_made_are_counted_and_told_once(traces, said, monkeypatch):
    """A defect there ends no request."""
    one = passage(traces)
    monkeypatch.setattr(module, "spans_of", lambda *_: 1 / 0)
    for _ in range(3):
        traces.end(one)
    assert traces.lost == 3
    assert said == [("error", "spans could not be made")]


def test_a_defect_ends_the_sender_and_nothing_else(traces, said, monkeypatch):
    """Whatever goes wrong in the thread is said once; taking exchanges goes on, and so does closing."""
    monkeypatch.setattr(module, "_session", lambda collector: 1 / 0)
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.0)
    traces.end(passage(traces))
    traces._thread.join(10)
    assert said == [("error", "traces have stopped")]
    traces.end(passage(traces))
    traces.close()


def test_a_request_that_was_refused_at_the_door_has_the_spans_it_came_to(traces):
    """Without a caller there is the request and auth; nothing that was not come to."""
    one = passage(traces)
    refused = Passage(one.trace, RECEIPT, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, None, False, "chat", True, None)
    assert len(spans_of(refused, ORIGIN)) == 2
    assert len(spans_of(one, ORIGIN)) == 6


def test_the_thread_is_no_reason_to_stay(traces):
    """A process ends without waiting for a collector."""
    assert traces._thread.daemon
    assert traces._thread in threading.enumerate()


def test_the_environment_may_say_what_the_process_is_called(monkeypatch):
    """OpenTelemetry's own variables go before our words; what they do not say is ours."""
    found = Resource.FromString(module._envelope("1.2")[0])
    assert {one.key: one.value.string_value for one in found.attributes}["service.name"] == "fittengate"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway-east")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    found = Resource.FromString(module._envelope("1.2")[0])
    attributes = {one.key: one.value.string_value for one in found.attributes}
    assert attributes["service.name"] == "gateway-east"
    assert attributes["service.version"] == "1.2"
    assert attributes["deployment.environment.name"] == "test"
