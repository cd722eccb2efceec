"""A conversation as the one prompt text that the service takes (protocol: prompt format, images).

A turn is its tag, its text and ``<|end|>``, each on lines of their own; the prompt ends with an open ``<|assistant|>``.

- System texts keep their place; none is invented, except one at the start where there are tools, or the reply is to
  have a form: their sections end it. A conversation that ends with the assistant's own words gets a new open turn after
  them: going on inside them was never seen to work.
- The parts of a message are blocks, so a line break stands between them; messages of one role in a row become one turn
  with a blank line between. Both are done before tags are broken: no tag can be formed across a seam.
- A message without words keeps its turn, because leaving it out would change who spoke last.
- Reasoning of earlier turns is left out, as the vendors leave it out.
- Calls end the turn that makes them, in the form that the model is told to use; results begin the next one, in the
  order of the calls (``history.py``).
- The service reads one picture a turn, from its first line: the newest is sent, each older one leaves a note.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from fittengate.core.ask import ReplyFormat, ToolUse
from fittengate.core.conversation import Conversation, Image, Message, Role, Text, Thought, ToolResult
from fittengate.core.faults import Fault, FaultKind
from fittengate.prompting import form
from fittengate.prompting.history import LEFT_OUT, CallHistory
from fittengate.prompting.syntax import Tags
from fittengate.prompting.tags import break_tags
from fittengate.prompting.tools import instructions, reminder, tags_for

__all__ = ["LEFT_OUT", "Rendered", "images_left_out", "newest_images", "render"]

_PLAIN = Tags()
_AUTO = ToolUse()


class Rendered(Struct, frozen=True):
    """A prompt, and what had to stay out of it."""

    prompt: str
    images_left_out: int
    text: str
    """The prompt without its pictures, whose data is not words: what tokens are counted on."""
    tags: Tags = _PLAIN
    """The tags that calls have in this prompt, and are to be read by."""


def render(
    conversation: Conversation,
    tool_use: ToolUse = _AUTO,
    secret: bytes = b"",
    reply_format: ReplyFormat | None = None,
) -> Rendered:
    """Return the prompt; ``secret`` decides the tags' suffix where one is needed (``tools.tags_for``).

    Raises Fault: gateway_broken for a picture that was not fetched.
    """
    pieces: list[str] = []
    pictures: set[int] = set()
    left_out = 0
    tags, section, reminded = _PLAIN, "", 0
    if conversation.tools:
        tags = tags_for(conversation, secret)
        section = instructions(conversation.tools, tool_use, tags)
    if reply_format is not None:
        section = "\n\n".join(filter(None, [section, form.instructions(reply_format, tools=bool(section))]))
    history: CallHistory | None = None
    for role, messages in _turns(conversation):
        images = _images(messages)
        if section and not pieces and role != "system":
            pieces += ("<|system|>\n", break_tags(section), "\n<|end|>\n")
            section = ""
        pieces.append(f"<|{role}|>\n")
        if images:
            left_out += len(images) - 1
            pictures.add(len(pieces))
            pieces.append(_picture(images[-1]))
        words = _words(messages, len(images)) if history is None else None
        if words is None:
            history = history or CallHistory(tags, conversation.tools)
            words = history.words(messages, len(images))
        if section:
            words = f"{words}\n\n{section}" if words else section
            section = ""
        if role == "user":
            reminded = len(pieces)
        pieces += (break_tags(words), "\n<|end|>\n")
    if reply_format is not None:
        _remind(pieces, reminded, form.reminder(tools=bool(conversation.tools) and tool_use.choice != "none"))
    if conversation.tools:
        _remind(pieces, reminded, reminder(conversation.tools, tool_use, tags))
    pieces.append("<|assistant|>")
    prompt = "".join(pieces)
    text = "".join([piece for at, piece in enumerate(pieces) if at not in pictures]) if pictures else prompt
    return Rendered(prompt, left_out, text, tags)


def _remind(pieces: list[str], place: int, line: str) -> None:
    """Put a line at the end of the words at ``place``, those of the last user turn; 0 means that there is none."""
    if place:
        words = pieces[place]
        # Broken once more, the words would get a second joiner; so the line is joined where no tag can be formed.
        pieces[place] = f"{words}\n\n{break_tags(line)}" if words else break_tags(line)


def newest_images(conversation: Conversation) -> list[Image]:
    """Return the pictures that are sent, one a turn at most: no other needs to be fetched."""
    return [images[-1] for _, messages in _turns(conversation) if (images := _images(messages))]


def images_left_out(conversation: Conversation) -> int:
    """Return how many pictures stay out of the prompt, without making it."""
    images = len(_images(conversation.messages))
    return images - len(newest_images(conversation)) if images > 1 else 0


def _turns(conversation: Conversation) -> Iterator[tuple[Role, list[Message]]]:
    for role, messages in groupby(conversation.messages, lambda message: message.role):
        yield role, list(messages)


def _images(messages: Sequence[Message]) -> list[Image]:
    """Return the pictures of the messages, those in results of calls too, in order."""
    images: list[Image] = []
    for message in messages:
        for part in message.parts:
            kind = type(part)
            if kind is Image:
                images.append(part)  # type: ignore[arg-type]
            elif kind is ToolResult:
                images += [inner for inner in part.parts if isinstance(inner, Image)]  # type: ignore[union-attr]
    return images


def _picture(image: Image) -> str:
    if not image.url.startswith("data:"):
        raise Fault(FaultKind.GATEWAY_BROKEN, "A picture of the request was not fetched.", detail=image.where)
    # A good data URL holds no tag; whether it is a good one was for others to check.
    return break_tags(f"![Base64 Image]({image.url})\n")


def _words(messages: list[Message], images: int) -> str | None:
    """Return the text of a turn that holds ``images`` pictures, the last of which is sent; None if it has calls."""
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
                    return None
        said.append("\n".join(blocks))
    return "\n\n".join(said)
