"""What one reply shall be like: the values that a test or a scenario file hands to the simulator.

Everything is optional. A plan without fields is the natural reply of the route; each field changes one thing about it.
Times are milliseconds, sizes are bytes.
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct

from fittengate.simulator.calls import Call, Flaw, Form

Count: TypeAlias = Annotated[int, Meta(ge=0)]
Millis: TypeAlias = Annotated[float, Meta(ge=0)]
Status: TypeAlias = Annotated[int, Meta(ge=200, le=599)]
Page: TypeAlias = Literal["500", "502", "503", "504", "portal"]
Ending: TypeAlias = Literal["end", "close", "reset", "stall"]


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One reply. In JSON and TOML the field names are keys and ``raw`` is base64."""

    # What is said instead of the natural reply; nothing is checked and no state changes.
    status: Status | None = None
    """HTTP status. From 300 on the natural work is not done and the body is the usual one of that status."""
    headers: dict[str, str] = {}
    """Response headers to add or replace; an empty value takes the header away."""
    json: Any = UNSET
    """The body, as a JSON value."""
    body: str | None = None
    """The body, as text; empty text is an empty body."""
    page: Page | None = None
    """The body, as an HTML page: a proxy's error page, or the login page of a captive ``portal`` (status 200)."""

    # What is changed in a natural JSON reply, after the work was done.
    set: dict[str, Any] = {}
    """Fields of the reply to add or replace."""
    drop: tuple[str, ...] = ()
    """Fields of the reply to leave out."""

    # What a chat reply consists of; token and request are checked first. Precedence: raw, lines, deltas, text.
    raw: bytes | None = None
    """Exact bytes of the body (on other routes too, there without checks)."""
    lines: tuple[str, ...] | None = None
    """Exact lines of the stream, whatever they hold; nothing is added but line ends."""
    deltas: tuple[str, ...] | None = None
    """Exact text pieces."""
    text: str | None = None
    """Text, cut into token-like pieces."""
    calls: tuple[Call, ...] = ()
    """Tool calls, written behind the text; with them a reply without ``text`` has no other words."""
    call_form: Form = "prompted"
    """How they are written: as the prompt asks, or in a form that models slide into."""
    call_flaws: tuple[Flaw, ...] = ()
    """What is wrong with the way they are written, in order."""
    reasoning: str = ""
    """Text for ``reasoning_delta`` lines ahead of the answer."""
    thinking: str = ""
    """Text for ``thinking_delta`` lines ahead of the answer."""
    reasoning_with_delta: bool = False
    """Put an empty ``delta`` into the same object as each piece of reasoning."""
    tracedata: str | None = None
    """Send a ``tracedata`` line ahead of the answer."""
    mid_lines: tuple[str, ...] = ()
    """Exact lines to put in the middle of the text pieces."""
    final_delta: bool = True
    """End the text with an empty delta, as every logged reply did."""
    usage: Literal["numbers", "strings", "none"] = "numbers"
    """The form of the counts in the ``usage`` line, or no such line."""
    input_tokens: Count | None = None
    """None: estimated."""
    output_tokens: Count | None = None
    """None: the number of text and reasoning pieces."""
    usage_status: str = "success"

    # Keep-alive padding in a chat reply.
    padding: Count = 0
    """Padding deltas (8 NULs and 2 line feeds) before the text."""
    padding_every: Count = 0
    """One more after this many text pieces; 0 means none inside the text."""
    padding_ms: Millis = 0
    """Pause before each."""
    heartbeat: str = ""
    """Text that takes the place of the NULs, for example ``heartbeat``."""

    # How the lines are written.
    ascii: bool = False
    """Write everything beyond ASCII as JSON escapes."""
    line_end: Literal["\n", "\r\n"] = "\n"
    last_line_end: bool = True
    blank_lines: bool = False
    """Put an empty line after each line."""
    bom: bool = False
    """Begin the body with U+FEFF."""
    wrap: Literal["none", "sse", "openai"] = "none"
    """Server-sent events around each line, or a chat-completion chunk of OpenAI's form in each."""

    # Pace. None: that of the scenario.
    delay_ms: Millis = 0
    """Before the status line."""
    first_ms: Millis | None = None
    """Between the head and the first byte of a streamed body."""
    interval_ms: Millis | None = None
    """Between text pieces; 0 sends all of them in one write."""

    # How the body is cut into segments.
    split: Count = 0
    """Size of each piece that is written; 0 means whole."""
    split_at: tuple[Count, ...] = ()
    """Offsets in the body at which to split."""
    split_inside: bool = False
    """Split inside each UTF-8 sequence and each JSON escape."""
    split_ms: Millis = 0
    """Pause between such pieces; 0 means one turn of the event loop."""

    # How HTTP is broken.
    no_reply: Literal["reset", "close", "stall"] | None = None
    """Do this in place of sending a status line."""
    cut: Ending | None = None
    """How the body ends: ``end`` cleanly, ``close`` the connection without a terminating chunk, ``reset`` it, or
    ``stall``: say no more until released. Where: at ``cut_at`` or after ``cut_after``, else after the last byte."""
    cut_at: Count | None = None
    """Bytes of the body before compression that are still sent."""
    cut_after: Count | None = None
    """Text pieces of a chat reply that are still sent."""
    framing: Literal["chunked", "length", "close"] | None = None
    """None: chunked for streams, Content-Length for the rest. ``close``: the body ends with the connection."""
    length_off: int = 0
    """Added to a Content-Length, to make it wrong."""
    gzip: Literal["never", "offered", "always"] = "never"
    """Compress the body: never, if the request offers it, always."""
    keep_alive: bool = True
    """False: say ``Connection: close`` and do it."""

    @property
    def replaces(self) -> bool:
        """Whether the natural work of the route is not to be done at all."""
        error = self.status is not None and self.status >= 300
        return error or self.json is not UNSET or self.body is not None or self.page is not None

    @property
    def scripted(self) -> bool:
        """Whether the content of a chat reply is given."""
        given = (self.raw, self.lines, self.deltas, self.text)
        return bool(self.calls) or any(content is not None for content in given)


class Queued(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan that waits for requests of one route."""

    route: str
    """Name of the route, or ``*`` for any."""
    plan: Plan
    times: Annotated[int, Meta(ge=1)] | None = 1
    """For how many requests; None: for all that follow."""
    contains: str = ""
    """Only requests whose body holds this text."""


NATURAL = Plan()
"""The plan that changes nothing."""

OF_CHAT = frozenset(
    {
        "lines",
        "deltas",
        "text",
        "calls",
        "call_form",
        "call_flaws",
        "reasoning",
        "thinking",
        "reasoning_with_delta",
        "tracedata",
        "mid_lines",
        "final_delta",
        "usage",
        "input_tokens",
        "output_tokens",
        "usage_status",
        "padding",
        "padding_every",
        "padding_ms",
        "heartbeat",
        "ascii",
        "line_end",
        "last_line_end",
        "blank_lines",
        "bom",
        "wrap",
        "first_ms",
        "interval_ms",
        "cut_after",
    }
)
"""Fields that only a chat reply has any use for."""
