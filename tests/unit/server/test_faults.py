"""What a fault adds to the headers of an answer."""

from fittengate.core.faults import Fault, FaultKind
from fittengate.server.faults import headers_of


def test_a_wrong_method_names_those_that_are_taken():
    """RFC 9110, 15.5.6: a 405 has ``Allow``; no other fault shows its detail."""
    wrong = Fault(FaultKind.CALLER_WRONG_METHOD, "No.", detail="GET, HEAD")
    assert (b"allow", b"GET, HEAD") in headers_of(wrong)
    other = Fault(FaultKind.CALLER_NO_ROUTE, "No.", detail="GET, HEAD")
    assert b"allow" not in dict(headers_of(other))
