"""Everything that can go wrong, as one closed list.

A :class:`Fault` is the only exception that crosses floors. Its kind says who is at fault (``caller_``, ``policy_``,
``upstream_``, ``gateway_``) and decides the status; its message is safe to show to the client and says what to do;
its detail is for the log alone. The kinds stand in :data:`KINDS`, each with its status, code and advice on retrying.
"""

from enum import StrEnum
from typing import NamedTuple

from fittengate.core.limits import LimitState


class FaultKind(StrEnum):
    """Who is at fault, and how. The list is closed: add a kind together with its row in :data:`KINDS`."""

    CALLER_BAD_REQUEST = "caller_bad_request"
    """The request can never work as it stands: malformed, ill-typed or out of range."""
    CALLER_UNSUPPORTED = "caller_unsupported"
    """The request asks for what cannot be done or emulated, and ignoring it would change its meaning."""
    CALLER_TOO_LONG = "caller_too_long"
    """The prompt does not fit into the context window."""
    CALLER_NO_KEY = "caller_no_key"
    """No key, a malformed one or a wrong one."""
    CALLER_FORBIDDEN = "caller_forbidden"
    """The key is good, but may not do this."""
    CALLER_NO_ROUTE = "caller_no_route"
    """Nothing answers at this path."""
    CALLER_NO_MODEL = "caller_no_model"
    """The model is neither in the catalogue nor covered by an alias."""
    CALLER_NOT_FOUND = "caller_not_found"
    """The path is right, but the thing it names does not exist."""
    CALLER_WRONG_METHOD = "caller_wrong_method"
    """The path is right, the HTTP method is not."""
    CALLER_BODY_TOO_LARGE = "caller_body_too_large"
    """The body is over ``server.max_body_bytes``."""
    CALLER_CODED = "caller_coded"
    """The body is compressed, or coded in another way that nobody here undoes."""
    CALLER_HEAD_TOO_LARGE = "caller_head_too_large"
    """The request line and headers are over ``server.max_head_bytes``."""
    CALLER_SLOW = "caller_slow"
    """The client stopped in the middle of its request's body, or did not read its answer."""
    CALLER_GONE = "caller_gone"
    """The client went away before the reply ended. Logged and counted; nobody is there to read it."""
    CALLER_SUPERSEDED = "caller_superseded"
    """A newer completion request for the same file took this one's place."""
    POLICY_RATE = "policy_rate"
    """Too many requests or tokens in a short time, by our limits."""
    POLICY_QUOTA = "policy_quota"
    """A day's or a month's allowance is used up, by our limits."""
    UPSTREAM_RATE = "upstream_rate"
    """The service said 429. Passed on, never worked around."""
    UPSTREAM_REFUSED = "upstream_refused"
    """The service understood the request and refused it (4xx other than 401 and 429)."""
    UPSTREAM_BROKEN = "upstream_broken"
    """The service could not be reached, or answered with 5xx, HTML, an error object, nothing, or broke off."""
    UPSTREAM_LATE = "upstream_late"
    """The service did not answer within a deadline."""
    UPSTREAM_DOWN = "upstream_down"
    """The service was out of order so often that for a while it is not asked."""
    UPSTREAM_LOGIN = "upstream_login"
    """There is no account, or the service refuses its credentials."""
    OUTPUT_INVALID = "output_invalid"
    """The model did not produce the structured output that was asked for."""
    GATEWAY_BUSY = "gateway_busy"
    """The queue is full or the wait in it too long, or load is being shed."""
    GATEWAY_DRAINING = "gateway_draining"
    """The gateway is shutting down and takes no new requests."""
    GATEWAY_BROKEN = "gateway_broken"
    """A defect of ours. Details are in the log under the request id."""


class KindRow(NamedTuple):
    """What a kind means on the wire."""

    status: int
    """HTTP status; dialects may have one of their own for a kind (Messages: 529 for busy)."""
    code: str
    """Stable word for programs."""
    retry_after: float | None = None
    """Seconds to wait that are sent when the fault itself knows no better; None sends no ``retry-after``."""
    should_retry: bool | None = None
    """What ``x-should-retry`` says, which the vendors' SDKs obey; None leaves the header out."""


KINDS: dict[FaultKind, KindRow] = {
    FaultKind.CALLER_BAD_REQUEST: KindRow(400, "invalid_request"),
    FaultKind.CALLER_UNSUPPORTED: KindRow(400, "unsupported_parameter"),
    FaultKind.CALLER_TOO_LONG: KindRow(400, "context_length_exceeded"),
    # A key does not become right by being sent again, and some agents would do so for more than a minute.
    FaultKind.CALLER_NO_KEY: KindRow(401, "invalid_api_key", None, False),
    FaultKind.CALLER_FORBIDDEN: KindRow(403, "permission_denied", None, False),
    FaultKind.CALLER_NO_ROUTE: KindRow(404, "not_found"),
    FaultKind.CALLER_NO_MODEL: KindRow(404, "model_not_found"),
    FaultKind.CALLER_NOT_FOUND: KindRow(404, "not_found"),
    FaultKind.CALLER_WRONG_METHOD: KindRow(405, "method_not_allowed"),
    FaultKind.CALLER_BODY_TOO_LARGE: KindRow(413, "body_too_large"),
    FaultKind.CALLER_CODED: KindRow(415, "unsupported_content_encoding"),
    FaultKind.CALLER_HEAD_TOO_LARGE: KindRow(431, "head_too_large"),
    FaultKind.CALLER_SLOW: KindRow(408, "request_timeout"),
    FaultKind.CALLER_GONE: KindRow(499, "client_closed_request"),
    FaultKind.CALLER_SUPERSEDED: KindRow(499, "superseded"),
    FaultKind.POLICY_RATE: KindRow(429, "rate_limit_exceeded", 1),
    # Above 60 s agents stop at once instead of trying again and again.
    FaultKind.POLICY_QUOTA: KindRow(429, "insufficient_quota", 61, False),
    FaultKind.UPSTREAM_RATE: KindRow(429, "upstream_rate_limited", 10),
    FaultKind.UPSTREAM_REFUSED: KindRow(502, "upstream_refused", None, False),
    FaultKind.UPSTREAM_BROKEN: KindRow(502, "upstream_error"),
    FaultKind.UPSTREAM_LATE: KindRow(504, "upstream_timeout"),
    FaultKind.UPSTREAM_DOWN: KindRow(503, "upstream_unavailable", 5),
    FaultKind.UPSTREAM_LOGIN: KindRow(503, "account_login_failed", 60, False),
    FaultKind.OUTPUT_INVALID: KindRow(502, "structured_output_failed", None, False),
    FaultKind.GATEWAY_BUSY: KindRow(503, "gateway_busy", 2),
    FaultKind.GATEWAY_DRAINING: KindRow(503, "gateway_draining", 5),
    FaultKind.GATEWAY_BROKEN: KindRow(500, "internal_error"),
}


class Fault(Exception):  # noqa: N818 - most of them are nobody's error
    """Something that ends a request: kind, a message safe for the client, and a detail for the log."""

    def __init__(
        self,
        kind: FaultKind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        detail: str | None = None,
        retry_after: float | None = None,
        numbers: tuple[int, int] | None = None,
        limits: LimitState | None = None,
    ) -> None:
        """Make a fault.

        ``param`` names the place in the request (``messages[0].content[1].text``); None where there is none. ``code``
        replaces the kind's own. ``retry_after`` is in seconds; None means what :data:`KINDS` says.
        ``numbers`` belong to caller_too_long: tokens of the prompt and most tokens that fit; None where unknown.
        ``limits`` belong to policy_rate and policy_quota: where the caller stands.
        """
        super().__init__(message)
        row = KINDS[kind]
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code or row.code
        self.detail = detail
        self.status = row.status
        self.retry_after = row.retry_after if retry_after is None else retry_after
        self.should_retry = row.should_retry
        self.numbers = numbers
        self.limits = limits

    def __repr__(self) -> str:
        """Show the kind and the client's message; never the detail, which may quote an upstream."""
        return f"Fault({self.kind.value}, {self.message!r})"
