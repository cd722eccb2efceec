"""A conversation as the one prompt text that the service takes (protocol: prompt format, images).

A turn is its tag, its text and ``<|end|>``, each on lines of their own; the prompt ends with an open ``<|assistant|>``.

- System texts keep their place; none is invented. A conversation that ends with the assistant's own words gets a new
  open turn after them: going on inside them was never seen to work.
- The parts of a message are blocks, so a line break stands between them; messages of one role in a row become one turn
  with a blank line between. Both are done before tags are broken: no tag can be formed across a seam.
- A message without words keeps its turn, because leaving it out would change who spoke last.
- Reasoning of earlier turns is left out, as the vendors leave it out.
- The service reads one picture a turn, from its first line: the newest is sent, each older one leaves a note.
"""

from collections.abc import Iterator
from itertools import groupby

from msgspec import Struct

from fittengate.core.conversation import Conversation, Image, Message, Role, Text, Thought
from fittengate.core.faults import Fault, FaultKind
from fittengate.prompting.tags import break_tags

LEFT_OUT = "[image left out: the service reads one per message]"


class Rendered(Struct, frozen=True):
    """A prompt, and what had to stay out of it."""

    prompt: str
    images_left_out: int
    text: str
    """The prompt without its pictures, whose data is not words: what tokens are counted on."""


def render(conversation: Conversation) -> Rendered:
    """Return the prompt.

    Raises Fault: caller_unsupported for tools, calls and results; gateway_broken for a picture that was not fetched.
    """
    if conversation.tools:
        raise Fault(FaultKind.CALLER_UNSUPPORTED, "Tools are not supported yet: leave them out.", param="tools")
    pieces: list[str] = []
    pictures: set[int] = set()
    left_out = 0
    for role, messages in _turns(conversation):
        images = _images(messages)
        pieces.append(f"<|{role}|>\n")
        if images:
            left_out += len(images) - 1
            pictures.add(len(pieces))
            pieces.append(_picture(images[-1]))
        pieces += (break_tags(_words(messages, len(images))), "\n<|end|>\n")
    pieces.append("<|assistant|>")
    prompt = "".join(pieces)
    text = "".join([piece for at, piece in enumerate(pieces) if at not in pictures]) if pictures else prompt
    return Rendered(prompt, left_out, text)


def newest_images(conversation: Conversation) -> list[Image]:
    """Return the pictures that are sent, one a turn at most: no other needs to be fetched."""
    return [images[-1] for _, messages in _turns(conversation) if (images := _images(messages))]


def images_left_out(conversation: Conversation) -> int:
    """Return how many pictures stay out of the prompt, without making it."""
    images = sum([1 for message in conversation.messages for part in message.parts if type(part) is Image])
    return images - len(newest_images(conversation)) if images > 1 else 0


def _turns(conversation: Conversation) -> Iterator[tuple[Role, list[Message]]]:
    for role, messages in groupby(conversation.messages, lambda message: message.role):
        yield role, list(messages)


def _images(messages: list[Message]) -> list[Image]:
    return [part for message in messages for part in message.parts if isinstance(part, Image)]


def _picture(image: Image) -> str:
    if not image.url.startswith("data:"):
        raise Fault(FaultKind.GATEWAY_BROKEN, "A picture of the request was not fetched.", detail=image.where)
    # A good data URL holds no tag; whether it is a good one was for others to check.
    return break_tags(f"![Base64 Image]({image.url})\n")


def _words(messages: list[Message], images: int) -> str:
    """Return the text of a turn that holds ``images`` pictures, the last of which is sent."""
    said: list[str] = []
    for message in messages:
        blocks: list[str] = []
        for part in message.parts:
            match part:
                case Text(text):
                    blocks.append(text)
                case Image():
                    images -= 1
                    if images:
                        blocks.append(LEFT_OUT)
                case Thought():
                    pass
                case _:
                    text = "Tool calls and their results are not supported yet: leave them out."
                    raise Fault(FaultKind.CALLER_UNSUPPORTED, text, param="messages")
        said.append("\n".join(blocks))
    return "\n\n".join(said)
