"""Role tags and how a text is kept from forming one (P13).

The service reads turns from tags in the prompt (protocol: prompt format), so a client's text that contains one would
open or close a turn. Such a text is broken by a word joiner (U+2060) after the ``<``, which says nothing to a reader;
whatever the model copies is restored. Not only the four known tags are broken but everything of their form, because the
service may know more of them.

Laws: ``restore_tags(break_tags(t)) == t`` for every text; a broken text contains nothing of a tag's form.
"""

import re

JOINER = "\u2060"

ROLE_TAGS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")

ROLE_TAG = re.compile(r"<\|(?:system|user|assistant|end)\|>", re.IGNORECASE | re.ASCII)
"""A tag that the service acts on."""

_TAG_BODY = r"[^<>|\n]{0,64}\|>"
_FORM = re.compile(f"<({JOINER}*)(?=\\|{_TAG_BODY})")
_BROKEN = re.compile(f"<{JOINER}({JOINER}*)(?=\\|{_TAG_BODY})")


def break_tags(text: str) -> str:
    """Return ``text`` with one word joiner after the ``<`` of everything that looks like a tag."""
    if "|>" not in text:
        return text
    return _FORM.sub(f"<{JOINER}\\1", text)


def restore_tags(text: str) -> str:
    """Return ``text`` with one word joiner less in everything that looks like a broken tag."""
    if JOINER not in text:
        return text
    return _BROKEN.sub(r"<\1", text)
