"""A conversation as the one prompt text that the service takes (protocol: prompt format, images).

Each turn is a tag, its text and ``<|end|>``; the prompt ends with an open ``<|assistant|>``. Turns of one role in a row
become one, with a blank line between, because the service answers turns, not messages. The parts of one message are
joined by a line break before tags are broken, so that none can be formed across a seam. An empty message keeps its
turn: leaving it out would change who speaks next. Reasoning of earlier turns is left out, as the vendors do.
"""

from itertools import groupby

from msgspec import Struct

from fittengate.core.conversation import Conversation, Image, Message, Text, Thought
from fittengate.core.faults import Fault, FaultKind
from fittengate.prompting.tags import break_tags

LEFT_OUT = "[image left out: the service reads one per message]"


class Rendered(Struct, frozen=True):
    """A prompt, and how many pictures did not fit into it."""

    prompt: str
    images_left_out: int


def render(conversation: Conversation) -> Rendered:
    """Return the prompt. Raises Fault (caller_unsupported) for tool calls and results."""
    lines: list[str] = []
    left_out = 0
    for role, group in groupby(conversation.messages, _role):
        text, left = _turn(list(group))
        left_out += left
        lines.append(f"<|{role}|>\n{text}\n<|end|>\n")
    lines.append("<|assistant|>")
    return Rendered("".join(lines), left_out)


def newest_images(conversation: Conversation) -> set[Image]:
    """Return the one picture of each turn that is sent; all others are left out."""
    found: set[Image] = set()
    for _, group in groupby(conversation.messages, _role):
        images = [part for message in group for part in message.parts if isinstance(part, Image)]
        found.update(images[-1:])
    return found


def _role(message: Message) -> str:
    return message.role


def _turn(messages: list[Message]) -> tuple[str, int]:
    if len(messages) == 1 and len(messages[0].parts) == 1:
        only = messages[0].parts[0]
        if isinstance(only, Text):
            return break_tags(only.text), 0
    images = [part for message in messages for part in message.parts if isinstance(part, Image)]
    newest = images[-1] if images else None
    text = "\n\n".join("\n".join(_words(message, newest)) for message in messages)
    text = break_tags(text)
    if newest is None:
        return text, 0
    if not newest.url.startswith("data:image/"):
        raise Fault(FaultKind.GATEWAY_BROKEN, "A picture was not fetched.", detail=newest.where)
    # The picture's line is ours: a data URL that was checked holds no tag.
    return f"![Base64 Image]({newest.url})\n{text}", len(images) - 1


def _words(message: Message, newest: Image | None) -> list[str]:
    words: list[str] = []
    for part in message.parts:
        match part:
            case Text(text):
                words.append(text)
            case Image():
                if part is not newest:
                    words.append(LEFT_OUT)
            case Thought():
                pass
            case _:
                raise Fault(FaultKind.CALLER_UNSUPPORTED, "Tool calls are not supported yet.", param="messages")
    return words
