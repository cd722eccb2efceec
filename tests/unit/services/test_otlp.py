"""Spans as bytes of OTLP are what the library's own classes read."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from fittengate.services import otlp

IDS = st.integers(1, 2**64 - 1)
TIMES = st.integers(0, 2**63)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def read(spans):
    resource, scope = Resource().SerializeToString(), InstrumentationScope(name="x").SerializeToString()
    request = ExportTraceServiceRequest.FromString(otlp.request(resource, scope, spans))
    assert len(request.resource_spans) == len(request.resource_spans[0].scope_spans) == 1
    assert request.resource_spans[0].scope_spans[0].scope.name == "x"
    return list(request.resource_spans[0].scope_spans[0].spans)


@given(st.binary(min_size=16, max_size=16), IDS, st.integers(0, 2**64 - 1), TIMES, TIMES, TEXTS)
def test_ids_times_and_name_come_out_as_they_went_in(trace_id, span_id, parent, start, end, name):
    """Any ids, any times, any name; no parent is no field."""
    made = otlp.span(trace_id, span_id, parent, start, end, otlp.named(name, otlp.CLIENT) + otlp.REMOTE + otlp.ERROR)
    (span,) = read([made])
    assert span.trace_id == trace_id
    assert span.span_id == span_id.to_bytes(8, "little")
    assert span.parent_span_id == (parent.to_bytes(8, "little") if parent else b"")
    assert (span.start_time_unix_nano, span.end_time_unix_nano, span.name) == (start, end, name)
    assert (span.kind, span.status.code, span.flags) == (3, 2, 0x301)


@given(TEXTS, st.integers(0, 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.lists(TEXTS, max_size=5))
def test_attributes_come_out_as_they_went_in(text, number, seconds, truth, words):
    """Of every kind that we write, and of any length."""
    fields = [
        otlp.text("text", text),
        otlp.number("number", number),
        otlp.seconds("seconds", seconds),
        otlp.truth("truth", truth),
        otlp.words("words", tuple(words)),
    ]
    (span,) = read([otlp.span(bytes(16), 1, 0, 0, 0, b"".join(fields))])
    found = {one.key: one.value for one in span.attributes}
    assert found["text"].string_value == text
    assert found["number"].int_value == number
    assert found["seconds"].double_value == seconds
    assert found["truth"].bool_value is truth
    assert found["truth"].HasField("bool_value")
    assert [one.string_value for one in found["words"].array_value.values] == words


def test_a_lone_surrogate_in_a_text_breaks_nothing():
    """What UTF-8 cannot write becomes a question mark."""
    (span,) = read([otlp.span(bytes(16), 1, 0, 0, 0, otlp.text("text", "a\ud800b"))])
    assert span.attributes[0].value.string_value == "a?b"


def test_many_spans_are_one_request():
    """They come out in their order."""
    spans = [otlp.span(bytes(16), number, 0, 0, 0, otlp.named(f"n{number}", otlp.INTERNAL)) for number in range(1, 500)]
    assert [span.name for span in read(spans)] == [f"n{number}" for number in range(1, 500)]


@given(st.binary(min_size=16, max_size=16), IDS, IDS, TIMES, TIMES, st.text("abcdefghij", max_size=200))
def test_spans_of_one_name_are_what_others_are(trace_id, span_id, parent, start, end, name):
    """The short way for spans without attributes gives what the long one gives."""
    fields = otlp.named(name, otlp.INTERNAL) + otlp.LOCAL
    (short,) = read([otlp.stage(name)(trace_id, span_id, parent, start, end)])
    (long,) = read([otlp.span(trace_id, span_id, parent, start, end, fields)])
    assert short == long
