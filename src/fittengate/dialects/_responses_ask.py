"""What a Responses request asks for, and what its answer has to repeat of it."""

from typing import Literal

from msgspec import Struct

from fittengate.core.ask import Ask


class ToolForm(Struct, frozen=True):
    """How a call of one tool is written, for calls come in more forms than the model knows of."""

    spoken: str
    """The tool's name in the conversation, unique in it: ``namespace.name`` where it has a namespace."""
    kind: Literal["function", "custom", "search", "builtin"]
    """A custom tool's argument is raw text; a search is the client's own for tools; the vendor built others in."""
    name: str
    namespace: str | None = None


class ResponsesAsk(Ask, frozen=True, kw_only=True):
    """An Ask, and what only the writer of its answer looks at."""

    echo: bytes
    """The fields that every response object repeats, as JSON without its braces."""
    forms: tuple[ToolForm, ...] = ()
    summarised: bool = False
    """Reasoning is handed over as a summary: the client asked for one, and there is nothing shorter."""
    sealed: bool = False
    """Reasoning carries ``encrypted_content``."""
    keep: bool = True
    """The response is to be kept, so that it can be fetched and gone on with."""
    previous: str | None = None
    """The response that this one goes on with; None where it begins a conversation."""
    given: bytes = b""
    """This request's own input items as JSON; empty where the response is not kept."""
