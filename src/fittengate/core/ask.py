"""What a client wants, in our own words: the value a dialect reads from the wire and an upstream answers."""

from typing import Literal

from msgspec import Struct

from fittengate.core.conversation import Conversation


class Sampling(Struct, frozen=True):
    """How the answer is to be cut. The service has no such switches: both are emulated in the stream."""

    max_tokens: int | None = None
    """Most tokens of answer and reasoning together; None means no limit, 0 (code completion only) no answer."""
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


class ReplyFormat(Struct, frozen=True):
    """The form that the answer's text must have: one JSON value."""

    name: str | None = None
    """What the client calls the form; None where it has no name."""
    description: str = ""
    schema: bytes | None = None
    """A JSON schema as JSON text; None means any JSON object."""
    strict: bool = False
    """Text that does not fit is a fault; otherwise the best that came is handed over."""
    where: str = ""
    """The place of ``schema`` in the request, for faults: ``response_format.json_schema.schema``."""


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
    reply_format: ReplyFormat | None = None
    """None means free text."""


COMPLETION = "fitten-completion"
"""Id of the model that stands for code completion; whoever names it wants that."""


class FillAsk(Struct, frozen=True):
    """A place in a file that is to be filled in, and wishes: code completion, where no conversation is wanted."""

    prefix: str
    """What stands before the cursor."""
    suffix: str = ""
    """What stands after it; the answer is inserted between the two, and nothing of either is replaced."""
    file_name: str = ""
    """Name or path of the file as the client gave it; empty where it gave none."""
    language: str = ""
    """The language as editors name it (``python``); empty where unknown. Counts where there is no file name."""
    model: str | None = None
    """The name as the client wrote it; None means the default one."""
    sampling: Sampling = Sampling()
    wishes: Wishes = Wishes()
    ignored: tuple[str, ...] = ()
    """Parameters that were read but cannot be honoured, for ``x-fittengate-ignored``."""


class Several(Struct, frozen=True):
    """A request for several answers in one reply, its choices; all are of one model and have the same wishes."""

    asks: tuple[Ask | FillAsk, ...]
    """One for each choice, in order; never empty."""

    @property
    def model(self) -> str | None:
        """The name as the client wrote it; None means the default model."""
        return self.asks[0].model

    @property
    def wishes(self) -> Wishes:
        """How the reply is to be handed over."""
        return self.asks[0].wishes

    @property
    def ignored(self) -> tuple[str, ...]:
        """Parameters that were read but cannot be honoured."""
        return self.asks[0].ignored
