"""Token counts by rule of thumb, and said to be that: the service's tokenizer is not public.

The figures are common knowledge about tokenizers of this generation: English prose has about four characters a token,
code three, Chinese one to two characters. They are kept on bytes because a byte count is what Python gives for nearly
nothing: ASCII has one byte a character, Chinese three.
"""

_BYTES_PER_TOKEN = 3.6
"""Likely value for ASCII: between prose and code."""

_BYTES_PER_TOKEN_WIDE = 3.4
"""Likely value for what is not ASCII: 1.1 Chinese characters a token."""

_MOST_BYTES_PER_TOKEN = 6.0
"""Prose of long words comes to hardly more; used where an estimate must not be too high."""

_MOST_BYTES_PER_TOKEN_REPEATED = 64
"""Runs of one character (indentation, rules) are packed by the dozen into a token."""


def estimate(text: str) -> int:
    """Return the likely number of tokens in ``text``; 0 only for an empty one."""
    if not text:
        return 0
    if text.isascii():
        return 1 + int(len(text) / _BYTES_PER_TOKEN)
    size = len(text.encode("utf-8", "replace"))
    wide = (size - len(text)) * 1.5
    return 1 + int(max(0.0, size - wide) / _BYTES_PER_TOKEN + wide / _BYTES_PER_TOKEN_WIDE)


def estimate_low(text: str) -> int:
    """Return a number of tokens that ``text`` has at least: white space in runs counts for next to nothing."""
    dense = sum(map(len, text.split())) + text.count("\n") // 8
    words = text if text.isascii() else ""
    if words:
        return int(dense / _MOST_BYTES_PER_TOKEN)
    size = len(text.encode("utf-8", "replace"))
    wide = (size - len(text)) * 1.5
    return int(max(0.0, dense - wide / 3) / _MOST_BYTES_PER_TOKEN + wide / _MOST_BYTES_PER_TOKEN)
