"""What is known of one exchange so far, and the receipt that it becomes."""

from collections.abc import Callable
from typing import Any

from fittengate.core.caller import Caller, ModelCard, Receipt
from fittengate.core.events import OfChoice, RefusalDelta, TextDelta
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.server.job import Job
from fittengate.server.request import Request
from fittengate.services.limits import Lease
from fittengate.services.shares import CallKind
from fittengate.services.spans import Passage, Trace


class Course:
    """One exchange from its beginning; filled in on its way."""

    __slots__ = (
        "asked",
        "at",
        "authed_at",
        "began",
        "caller",
        "card",
        "fault",
        "first",
        "job",
        "last",
        "lease",
        "now",
        "prompt",
        "read_at",
        "reason",
        "receipt",
        "stream",
        "trace",
        "trace_id",
        "turn_at",
        "usage",
        "words",
    )

    def __init__(self, now: Callable[[], float], at: float) -> None:
        """``now`` is a clock that never goes back, in seconds; ``at`` is the time of day, seconds since the epoch."""
        self.now = now
        self.began = now()
        self.at = at
        self.authed_at = 0.0
        """When it was known who asks; like the other times, by :attr:`now`, and 0 before it has come."""
        self.read_at = 0.0
        """When it was known what is asked, and all was reserved for it."""
        self.turn_at = 0.0
        """When there was a turn at the service."""
        self.last = 0.0
        """When the last events came that did not go the short way."""
        self.asked: str | None = None
        """The model's name as the client wrote it."""
        self.stream = False
        """The answer is to be a stream."""
        self.reason: StopReason | None = None
        """Why the reply ended; None where it has not, or has several ends."""
        self.trace: Trace | None = None
        """Where its spans belong; None where nobody wants them."""
        self.trace_id: str | None = None
        """Of the trace that it belongs to; None where there is none."""
        self.caller: Caller | None = None
        self.card: ModelCard | None = None
        self.job: Job | None = None
        """What is done for it; None before it was known what is asked."""
        self.lease: Lease | None = None
        """What is reserved; None where nothing is limited, or nothing was admitted yet."""
        self.first: float | None = None
        self.usage: Usage | None = None
        self.fault: Fault | None = None
        self.receipt: Receipt | None = None
        """What it came to; once this is here, it stands."""
        self.prompt: str | None = None
        self.words: list[str] | None = None
        """The reply's text so far, where the log is to have it; None where it is not."""

    def heard(self, batch: list[Any]) -> None:
        """Note when the first event came and when the last, and the words if they are wanted."""
        self.last = self.now()
        if self.first is None:
            self.first = self.last
        if self.words is not None:
            for event in batch:
                events = event.events if isinstance(event, OfChoice) else (event,)
                self.words += [one.text for one in events if isinstance(one, TextDelta | RefusalDelta)]

    @property
    def kind(self) -> CallKind:
        """Whose share of the turns its calls come out of."""
        return "completion" if self.card is not None and self.card.section == "completion" else "chat"

    def times(self) -> tuple[float, float]:
        """Return the seconds to the first event, and until now; both are the same before there is one."""
        now = self.now()
        return (now if self.first is None else self.first) - self.began, now - self.began

    def timing(self) -> bytes:
        """Return where the time has gone so far, in milliseconds (W3C Server Timing); 0 for what was not come to.

        ``upstream`` ends with the service's first event and ``stream`` with the last one that is known by now.
        """
        now, began = self.now(), self.began
        authed = self.authed_at or now
        read = self.read_at or now
        turn = self.turn_at or now
        first = self.first or now
        last = self.last or now
        return b"auth;dur=%.2f, queue;dur=%.2f, upstream;dur=%.2f, stream;dur=%.2f, translate;dur=%.2f" % (
            (authed - began) * 1000,
            (turn - read) * 1000,
            (first - turn) * 1000,
            (last - first) * 1000,
            (read - authed + now - last) * 1000,
        )

    def passage(self, trace: Trace, receipt: Receipt) -> Passage:
        """Return the exchange and its times, for its spans."""
        return Passage(
            trace,
            receipt,
            self.began,
            self.authed_at,
            self.read_at,
            self.turn_at,
            self.first or 0.0,
            self.last,
            self.asked,
            self.stream,
            "chat" if self.kind == "chat" else "text_completion",
            self.job is None or self.job.source is None,
            self.reason,
        )

    def made_receipt(self, dialect: str, request: Request, status: int) -> Receipt:
        """Return what it came to; ``dialect`` by name."""
        fault = self.fault
        if fault is None:
            outcome = "complete"
        elif request.gone:
            outcome = "cancelled"
        elif fault.kind is FaultKind.UPSTREAM_LATE:
            outcome = "stalled"
        else:
            outcome = "truncated" if status == 200 else "failed"
        # Where it was asked again, the books have all replies, and the client the one it got.
        usage = None if self.job is None else self.job.spent(self.usage)
        agent: Any = request.headers.get(b"user-agent", b"-").split(b" ", 1)[0][:40]
        return Receipt(
            self.at,
            request.id,
            "-" if self.caller is None else self.caller.name,
            dialect,
            request.method,
            request.path,
            status,
            outcome,
            "" if self.card is None else self.card.id,
            usage,
            None if self.first is None else self.first - self.began,
            self.now() - self.began,
            agent.decode("ascii", "replace"),
            None if fault is None else fault.kind.value,
            None if fault is None else fault.detail or fault.message,
            self.trace_id,
        )
