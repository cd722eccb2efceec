"""What was said so far, free of any vendor's shape. Reasoning of earlier turns stands apart from text as Thought."""

from typing import Literal, TypeAlias

from msgspec import Struct

Role: TypeAlias = Literal["system", "user", "assistant"]


class Text(Struct, frozen=True, tag=True):
    """Words, exactly as the client sent them."""

    text: str


class Image(Struct, frozen=True, tag=True):
    """A picture: inline as a data URL, or still to be fetched.

    ``where`` is the place in the request, for faults: ``messages[0].content[1].image_url.url``.
    """

    url: str
    where: str


class Thought(Struct, frozen=True, tag=True):
    """Reasoning of an earlier turn that the client sent back."""

    text: str


class ToolCall(Struct, frozen=True, tag=True):
    """A call that the model made: ``arguments`` is JSON text as the client keeps it."""

    id: str
    name: str
    arguments: str


class ToolResult(Struct, frozen=True, tag=True):
    """What a call gave. ``call_id`` is the id of its :class:`ToolCall`."""

    call_id: str
    parts: tuple["Text | Image", ...]
    is_error: bool = False


Part: TypeAlias = Text | Image | Thought | ToolCall | ToolResult


class Message(Struct, frozen=True):
    """One turn. Several of the same role in a row are allowed."""

    role: Role
    parts: tuple[Part, ...]


class ToolSpec(Struct, frozen=True):
    """A tool that the model may call; ``parameters`` is a JSON schema as JSON text."""

    name: str
    description: str
    parameters: bytes


class Conversation(Struct, frozen=True):
    """Everything said so far. System turns keep their place among ``messages``."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
