"""What was said, as text for the log; only used where ``log.content`` asks for it."""

from fittengate.core.ask import Ask, FillAsk, Several
from fittengate.core.conversation import Text


def prompt_text(ask: Ask | FillAsk | Several) -> str:
    """Return who said what, a line for each message, pictures and calls by their kind; of a file, what is around the cursor."""
    if isinstance(ask, Several):
        # The same question asked several times is one text.
        return "\n".join(dict.fromkeys([prompt_text(one) for one in ask.asks]))
    if isinstance(ask, FillAsk):
        return f"before: {ask.prefix}\nafter: {ask.suffix}"
    lines = []
    for message in ask.conversation.messages:
        parts = (part.text if isinstance(part, Text) else f"[{type(part).__name__.lower()}]" for part in message.parts)
        lines.append(f"{message.role}: {' '.join(parts)}")
    return "\n".join(lines)
