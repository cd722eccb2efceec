"""The header of W3C Trace Context, read strictly."""

import pytest

from fittengate.lib.traceparent import Parent, read_traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def test_the_example_of_the_recommendation_is_read():
    """Trace id, span id and the flag that says whether it is kept."""
    header = f"00-{TRACE}-{SPAN}-01".encode()
    assert read_traceparent(header) == Parent(TRACE, bytes.fromhex(SPAN), True)
    assert read_traceparent(header[:-1] + b"0") == Parent(TRACE, bytes.fromhex(SPAN), False)


def test_flags_that_are_not_known_are_passed_over():
    """Only the last bit counts."""
    assert read_traceparent(f"00-{TRACE}-{SPAN}-fe".encode()).sampled is False
    assert read_traceparent(f"00-{TRACE}-{SPAN}-ff".encode()).sampled is True


def test_a_version_to_come_is_read_as_far_as_it_is_known():
    """More may follow behind a dash."""
    assert read_traceparent(f"cc-{TRACE}-{SPAN}-01-what-will-be".encode()).trace_id == TRACE
    assert read_traceparent(f"cc-{TRACE}-{SPAN}-01".encode()).trace_id == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-011",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}g-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_what_is_not_well_formed_is_no_trace(header):
    """Nothing is guessed: the request begins a trace of its own."""
    assert read_traceparent(header.encode()) is None
