"""The one door: who asks, what they may still use, and the giving back of what was reserved and not used."""

from fittengate.core.ask import Ask
from fittengate.core.caller import Caller, ModelCard, Scope
from fittengate.core.faults import Fault, FaultKind
from fittengate.server.asking import Leases
from fittengate.server.course import Course
from fittengate.server.job import Job
from fittengate.server.request import CALLER, Request
from fittengate.services.keyring import Keys
from fittengate.services.limits import Lease, Limits, Need
from fittengate.services.permission import require_scope
from fittengate.upstream.base import Upstream

_CREDENTIALS = (b"authorization", b"x-api-key")


class Admission:
    """Recognises callers and reserves for them."""

    def __init__(self, keys: Keys, limits: Limits, upstream: Upstream) -> None:
        self._keys = keys
        self._limits = limits
        self._upstream = upstream

    async def caller(self, request: Request) -> Caller:
        """Return who asks. Raises Fault: caller_no_key, caller_bad_request, gateway_busy."""
        known: Caller | None = request.scope.get(CALLER)
        if known is not None:
            return known
        if len(request.headers) != len(request.scope["headers"]):
            _refuse_contradiction(request)
        keys = self._keys
        shown = request.credentials or (None,)
        for credential in shown[:-1]:
            try:
                return keys.known(credential) or await keys.find(credential or "")
            except Fault as fault:
                # Clients that must send a bearer send one that is nobody's beside the key. Of a key that could not be
                # looked up nobody knows whose it is: who asks must not depend on whether the store can be used.
                if fault.kind is not FaultKind.CALLER_NO_KEY:
                    raise
        return keys.known(shown[-1]) or await keys.find(shown[-1] or "")

    async def enter(self, request: Request, scope: Scope | None = None) -> Caller:
        """Return who asks for something that costs no tokens; it counts as a request. None: a key of any scope will do.

        Raises Fault: caller_no_key, caller_bad_request, caller_forbidden, policy_rate, gateway_busy.
        """
        caller = await self.caller(request)
        if scope is not None:
            require_scope(caller, scope)
        limits = self._limits
        if limits.apply_to(caller):
            (await limits.admit(caller, Need(slots=0))).release()
        return caller

    async def admit(self, job: Job, caller: Caller, card: ModelCard, course: Course) -> None:
        """Reserve what a job needs, all of it or nothing, and let it keep to that. Raises Fault."""
        limits = self._limits
        if not limits.count_tokens_of(caller):
            course.lease = await limits.admit(caller, Need())
            return
        first = course.lease = await limits.admit(caller, job.need())

        async def reserve(ask: Ask) -> Lease:
            tokens = self._upstream.estimate(ask, card).input_tokens
            # Where the limit of the first answer is ours, that of the next one follows from what is left by then.
            most = ask.sampling.max_tokens if first.output is None else None
            return await limits.admit(caller, Need(tokens, most, requests=0, slots=0))

        job.take(Leases(first, reserve))


def give_back(lease: Lease, request: Request, course: Course) -> None:
    """Give back what was reserved for a request and not used; what was used is counted, as far as it is known."""
    if course.usage is not None:
        lease.settle(course.usage)
    elif course.job is not None and course.job.owing and (course.first is not None or _broken_off(request, course)):
        # The service was at work for it, and nobody knows how far it came.
        lease.settle(None)
    lease.release()


def _broken_off(request: Request, course: Course) -> bool:
    superseded = course.fault is not None and course.fault.kind is FaultKind.CALLER_SUPERSEDED
    return request.gone or request.evicted or superseded


def _refuse_contradiction(request: Request) -> None:
    """Raise Fault (caller_bad_request) where a header that takes one key (RFC 9110, 11.6.2) came with several.

    Whatever stands before the gateway may have looked at another one of them. A header that was merely doubled is one.
    """
    for name in _CREDENTIALS:
        if len({value for header, value in request.scope["headers"] if header == name}) > 1:
            text = f"The header {name.decode()} came several times, with different values. Send it once."
            raise Fault(FaultKind.CALLER_BAD_REQUEST, text)
