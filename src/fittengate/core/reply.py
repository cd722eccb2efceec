"""A whole answer: what the events of a reply come to when folded."""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct


class StopReason(StrEnum):
    """Why a reply ended cleanly. An unclean end is a Fault, not a reason."""

    DONE = "done"
    """The model had no more to say."""
    STOP_SEQUENCE = "stop_sequence"
    """A stop sequence of the request was met and cut off; see :attr:`Reply.stop_sequence`."""
    LENGTH = "length"
    """The request's token limit was reached."""
    TOOL_CALLS = "tool_calls"
    """The model wants tools called."""


class Usage(Struct, frozen=True):
    """Token counts of one upstream call. ``estimated`` says that at least one count is ours, not the service's."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0
    estimated: bool = False


def usage_of_all(usages: Iterable[Usage]) -> Usage:
    """Return what several calls cost together."""
    total = Usage(0, 0)
    for one in usages:
        total = Usage(
            total.input_tokens + one.input_tokens,
            total.output_tokens + one.output_tokens,
            total.reasoning_tokens + one.reasoning_tokens,
            estimated=total.estimated or one.estimated,
        )
    return total


class ReplyCall(Struct, frozen=True):
    """One finished tool call; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str
    at: int = 0
    """So many characters of the reply's text came before it."""


class Reply(Struct, frozen=True):
    """A whole answer."""

    text: str
    thought: str
    calls: tuple[ReplyCall, ...]
    reason: StopReason
    usage: Usage
    stop_sequence: str | None = None
    refusal: str = ""
    """Words that came in place of the JSON that was asked for; then ``text`` is empty."""
    call_cut_off: bool = False
    """A further call was cut off in its middle; it is not among the calls."""
