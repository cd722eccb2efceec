"""Token counts by rule of thumb, and said to be that: the service's tokenizer is not public.

The figures are common knowledge about byte-level tokenizers of the GPT, Qwen and DeepSeek kind: English has 4 to 4.5
characters a token, code about 3.2, JSON under 3, Chinese 1.3 to 1.7. They hold for ordinary text; base64 and other noise
come to more than any of them. A long text is judged by samples from all over it, because a prompt may have megabytes
and a count must not cost more than sending it. Pictures are not words: leave them out before counting.
"""

import re
from string import ascii_letters, whitespace
from typing import NamedTuple

TOKEN_BYTES = 4
"""A token of an answer that is being cut to length: 4 ASCII characters, 1.3 Chinese ones. Counted so, pieces add up."""

SAMPLES = 32
SAMPLE_CHARS = 256
"""A sample is longer than a line, so that columns of a table cannot be hit or missed all the time."""

_SAMPLED_LOW = 0.9
"""What a sampled lower bound is cut down to, because samples may be denser than the rest."""


def _table(letters: bytes, digits: bytes, spaces: bytes, symbols: bytes, wide: bytes) -> bytes:
    """Return a table for ``bytes.translate`` that puts one letter for each class of byte."""
    classes = bytearray(symbols * 128 + wide * 128)
    for members, name in ((ascii_letters, letters), ("0123456789", digits), (whitespace, spaces)):
        for member in members.encode():
            classes[member] = name[0]
    return bytes(classes)


_CLASSES = _table(b"a", b"0", b" ", b".", b"w")
# Everything beyond ASCII may be a letter: a word with an accent must not be taken for two. Symbols only part words.
_WORDS = _table(b"a", b"0", b" ", b" ", b"a")
_FOUR_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]{4}")


class _Weights(NamedTuple):
    """Tokens for each letter, digit, white space, run of symbols, further symbol in it, and byte beyond ASCII."""

    letter: float
    digit: float
    space: float
    symbols: float
    further: float
    wide: float


_LIKELY = _Weights(letter=0.25, digit=0.45, space=0.02, symbols=0.85, further=0.2, wide=0.22)
_HIGH = _Weights(letter=0.4, digit=1, space=0.25, symbols=1, further=1, wide=0.5)


def estimate(text: str) -> int:
    """Return the likely number of tokens in ``text``; 0 only for an empty one."""
    return _weighted(text, _LIKELY)


def estimate_high(text: str) -> int:
    """Return a number of tokens that prose, code and data do not reach; only base64 and other noise do."""
    return _weighted(text, _HIGH)


def may_exceed(text: str, tokens: int) -> bool:
    """Return whether :func:`estimate_low` can come to more than ``tokens``, at no cost: it counts no character twice."""
    return len(text) > tokens


def estimate_low(text: str) -> int:
    """Return a number of tokens that ``text`` has at least.

    Tokenizers of this kind cut a text into words and numbers first and never join two of them, so these are counted,
    and one for every four Chinese, Japanese or Korean characters in a row. For long texts by samples, with a margin.
    """
    sample, scale = _sample(text)
    words = b" " + sample.encode("utf-8", "replace").translate(_WORDS)
    count = words.count(b" a") + words.count(b"0a") + words.count(b" 0") + words.count(b"a0")
    if not sample.isascii():
        count += len(_FOUR_WIDE.findall(sample))
    return count if scale == 1 else int(count * scale * _SAMPLED_LOW)


def _weighted(text: str, weights: _Weights) -> int:
    if not text:
        return 0
    sample, scale = _sample(text)
    classes = b" " + sample.encode("utf-8", "replace").translate(_CLASSES)
    symbols = classes.count(b".")
    runs = symbols and sum(classes.count(start) for start in (b" .", b"a.", b"0.", b"w."))
    tokens = (
        classes.count(b"a") * weights.letter
        + classes.count(b"0") * weights.digit
        + (classes.count(b" ") - 1) * weights.space
        + runs * weights.symbols
        + (symbols - runs) * weights.further
        + (0 if sample.isascii() else classes.count(b"w")) * weights.wide
    )
    return max(1, round(tokens * scale))


def _sample(text: str) -> tuple[str, float]:
    """Return the text itself, or pieces from all over it, and how many times as long the whole is."""
    if len(text) <= SAMPLES * SAMPLE_CHARS:
        return text, 1
    step = (len(text) - SAMPLE_CHARS) / (SAMPLES - 1)
    starts = [int(number * step) for number in range(SAMPLES)]
    # The line break between two samples keeps their words apart and is too little to count.
    return "\n".join([text[at : at + SAMPLE_CHARS] for at in starts]), len(text) / (SAMPLES * SAMPLE_CHARS)
