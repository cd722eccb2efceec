"""Any exception as a Fault, and what a Fault adds to the headers of an answer."""

from fittengate.core.faults import Fault, FaultKind
from fittengate.server.request import Headers


def as_fault(error: Exception) -> Fault:
    """Return the fault that an exception is; one that nobody expected is a defect of ours and says nothing more."""
    if isinstance(error, Fault):
        return error
    message = "The gateway made a mistake. It is in its log under this request id."
    return Fault(FaultKind.GATEWAY_BROKEN, message, detail=f"{type(error).__name__}: {error}"[:1000])


def headers_of(fault: Fault) -> Headers:
    """Return the headers that tell clients whether, when and how to try again."""
    found: Headers = []
    if fault.kind is FaultKind.CALLER_WRONG_METHOD and fault.detail:
        # A 405 must name what would be taken (RFC 9110, 15.5.6); whoever raises it has it in the detail.
        found.append((b"allow", fault.detail.encode("ascii")))
    if fault.kind is FaultKind.CALLER_CODED:
        # What would be taken (RFC 9110, 12.5.3).
        found.append((b"accept-encoding", b"identity"))
    if fault.retry_after is not None:
        # Whole seconds (RFC 9110, 10.2.3), rounded up: coming back too early earns another refusal.
        found.append((b"retry-after", b"%d" % max(0, -int(-fault.retry_after // 1))))
    if fault.should_retry is not None:
        found.append((b"x-should-retry", b"true" if fault.should_retry else b"false"))
    return found
