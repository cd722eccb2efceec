"""What a fault adds to the headers of an answer."""

import pytest

from fittengate.core.faults import KINDS, Fault, FaultKind
from fittengate.server.faults import as_fault, headers_of


def test_a_wrong_method_names_those_that_are_taken():
    """RFC 9110, 15.5.6: a 405 has ``Allow``; no other fault shows its detail."""
    wrong = Fault(FaultKind.CALLER_WRONG_METHOD, "No.", detail="GET, HEAD")
    assert (b"allow", b"GET, HEAD") in headers_of(wrong)
    other = Fault(FaultKind.CALLER_NO_ROUTE, "No.", detail="GET, HEAD")
    assert b"allow" not in dict(headers_of(other))


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_says_whether_and_when_to_try_again(kind):
    """429 and 503 always say when; whole seconds, rounded up; what its row leaves open is not said."""
    row, found = KINDS[kind], dict(headers_of(Fault(kind, "No.")))
    assert (b"retry-after" in found) is (row.retry_after is not None)
    assert row.retry_after is not None or row.status not in (429, 503)
    said = None if row.should_retry is None else b"true" if row.should_retry else b"false"
    assert found.get(b"x-should-retry") == said
    assert found.get(b"accept-encoding") == (b"identity" if kind is FaultKind.CALLER_CODED else None)
    assert b"allow" not in found
    for seconds, told in ((0.0, b"0"), (0.1, b"1"), (7.0, b"7"), (7.01, b"8"), (-3.0, b"0")):
        assert dict(headers_of(Fault(kind, "No.", retry_after=seconds)))[b"retry-after"] == told


def test_advice_to_try_again_is_said_as_well_as_advice_against_it():
    """No row says so today; the header has two values all the same."""
    fault = Fault(FaultKind.GATEWAY_BUSY, "No.")
    fault.should_retry = True
    assert dict(headers_of(fault))[b"x-should-retry"] == b"true"


def test_p10_an_error_that_nobody_expected_says_nothing_of_itself_to_the_client():
    """P10: what it is stands in the detail, for the log; a fault stays what it is."""
    made = as_fault(ValueError("the secret " + "x" * 5000))
    assert made.kind is FaultKind.GATEWAY_BROKEN
    assert "secret" not in made.message
    assert made.detail.startswith("ValueError: the secret")
    assert len(made.detail) == 1000
    assert as_fault(made) is made
