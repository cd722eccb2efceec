"""What a client wants, in our own words: the value a dialect reads from the wire and an upstream answers."""

from typing import Literal

from msgspec import Struct

from fittengate.core.conversation import Conversation


class Sampling(Struct, frozen=True):
    """How the answer is to be cut. The service has no such switches: both are emulated in the stream."""

    max_tokens: int | None = None
    """Most tokens of answer and reasoning together; None means no limit."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these in its visible text; never holds an empty string."""


class Wishes(Struct, frozen=True):
    """How the answer is to be handed over."""

    stream: bool = False
    include_usage: bool = False
    """A streamed answer ends with its usage."""
    show_thoughts: bool = True
    """The client wants to see the reasoning."""


class ToolUse(Struct, frozen=True):
    """Whether and how the conversation's tools are to be called."""

    choice: Literal["auto", "none", "required", "named"] = "auto"
    name: str | None = None
    """The one tool to call where ``choice`` is named; None otherwise."""
    parallel: bool = True
    """More than one call in a reply is welcome."""


class Ask(Struct, frozen=True):
    """A conversation, the model that is to go on with it, and wishes."""

    conversation: Conversation
    model: str | None = None
    """The name as the client wrote it; None means the default model."""
    sampling: Sampling = Sampling()
    wishes: Wishes = Wishes()
    tool_use: ToolUse = ToolUse()
    ignored: tuple[str, ...] = ()
    """Parameters that were read but cannot be honoured, for ``x-fittengate-ignored``."""
