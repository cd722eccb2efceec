"""Role tags, and how a text is kept from forming one (P13).

The service reads turns from tags inside the prompt (protocol: prompt format), so a tag in somebody's text would open or
close a turn. Such a tag is broken with a word joiner (U+2060) after its ``<``: a reader sees no difference, and where
the model copies the text, joiner included, the tag is restored. Not only the four known tags are broken but everything
of their form, in any letter case and with DeepSeek's wide bars, because the service may know more of them than we do. A
tag that is already broken gets one joiner more, so restoring gives back exactly what the client wrote.

Laws: ``restore_tags(break_tags(t)) == t`` for every text; ``break_tags(t)`` holds nothing of a tag's form.
"""

import re

JOINER = "\u2060"

ROLES = frozenset({"system", "user", "assistant", "end"})
"""The names in the tags that the service is known to act on; it acts on any letter case for all we know."""

TAG_REST = "[|\uff5c][^<>|\uff5c\n]{0,64}[|\uff5c]>"
"""A tag without its ``<``. The longest special token in use has under 40 characters; no line break is in any."""

_TAG = re.compile(f"<({JOINER}*)(?={TAG_REST})")
_BROKEN = re.compile(f"<{JOINER}({JOINER}*)(?={TAG_REST})")


def break_tags(text: str) -> str:
    """Return ``text`` with one word joiner more after the ``<`` of everything that has a tag's form."""
    # Looking for one character is ten times as fast as looking for two, and most prompts lack one of these.
    if "<" not in text or ("|" not in text and "\uff5c" not in text):
        return text
    return _TAG.sub(f"<{JOINER}\\1", text)


def restore_tags(text: str) -> str:
    """Return ``text`` with one word joiner less in everything that has a broken tag's form."""
    if JOINER not in text:
        return text
    return _BROKEN.sub(r"<\1", text)
