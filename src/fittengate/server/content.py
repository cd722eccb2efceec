"""What was said, as text for the log; only used where ``log.content`` asks for it."""

from fittengate.core.conversation import Conversation, Text


def said(conversation: Conversation) -> str:
    """Return who said what, a line for each message, pictures and calls by their kind."""
    lines = []
    for message in conversation.messages:
        parts = (part.text if isinstance(part, Text) else f"[{type(part).__name__.lower()}]" for part in message.parts)
        lines.append(f"{message.role}: {' '.join(parts)}")
    return "\n".join(lines)
