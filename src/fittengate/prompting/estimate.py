"""Token counts by rule, and said to be that: the service's tokenizer is not known, and none is fetched at run time.

Characters are counted by kind and weighed. The weights were fitted to two public tokenizers at once, so that they lean
to neither, on English, Chinese and code; ``docs/estimates.md`` says how far off they are. Base64 and other noise come
to more than any of the figures. A long text is judged by samples from all over it, because a prompt may have megabytes
and a count must not cost more than sending it. Pictures are not words: leave them out before counting.
"""

import re
from string import ascii_lowercase, ascii_uppercase
from typing import NamedTuple, TypeAlias

TOKEN_BYTES = 4
"""A token of an answer that is being cut to length: 4 ASCII characters, 1.3 Chinese ones. Counted so, pieces add up."""

SAMPLES = 32
SAMPLE_CHARS = 256
"""A sample is longer than a line, so that columns of a table cannot be hit or missed all the time."""

_SAMPLED_LOW = 0.9
_SAMPLED_HIGH = 1.1
"""What a bound is moved by where it comes from samples, because they may be denser, or less dense, than the rest."""


def _table(*classes: tuple[str, bytes], wide: bytes) -> bytes:
    """Return a table for ``bytes.translate``: a letter for each class of byte, ``.`` for what is left of ASCII."""
    table = bytearray(b"." * 128 + wide)
    for members, name in classes:
        for member in members.encode():
            table[member] = name[0]
    return bytes(table)


_DIGITS, _SPACES = "0123456789", " \t\r\x0b\x0c"
# Letters stand for letters, those of two bytes included: French and Russian words have them. Of a character beyond
# ASCII the first byte counts: it says whether there are two bytes, or three and more.
_INNER = bytes(range(128, 192))
_CLASSES = _table(
    (ascii_lowercase, b"a"),
    (ascii_uppercase, b"A"),
    (_DIGITS, b"0"),
    (_SPACES, b" "),
    ("\n", b"\n"),
    wide=b"#" * 64 + b"v" * 32 + b"#" * 32,
)
_SYMBOLS = bytes(ord("x" if byte == ord(".") else " ") for byte in range(256))
"""Leaves an ``x`` for each symbol and a space for all else."""

# For the least that a text can have: everything beyond ASCII may be a letter, and symbols only part words.
_LETTERS = ascii_lowercase + ascii_uppercase
_LEAST = _table((_LETTERS, b"a"), (_DIGITS, b"0"), wide=b"a" * 128).replace(b".", b" ")
_FOUR_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]{4}")


class _Counts(NamedTuple):
    """How often each kind occurs; or tokens for each of them."""

    small: float
    """Small letters and symbols."""
    capital: float
    word: float
    digit: float
    line: float
    space: float
    symbols: float
    """Runs of symbols, a token each more often than not."""
    two: float
    """Characters of two bytes: accents, Greek, Cyrillic."""
    more: float
    """Characters of three and more: Chinese, Japanese, Korean, typographic marks."""


_Numbers: TypeAlias = tuple[float, float, float, float, float, float, float, float, float]
"""As :class:`_Counts`, made in less time."""

_LIKELY = _Counts(0.125, 0.21, 0.4, 0.6, 0.82, 0.02, 0.8, 0.3, 0.7)
_HIGH = _Counts(0.16, 0.38, 0.5, 0.85, 1, 0.08, 1, 1, 1)


class Sample(NamedTuple):
    """A text, or pieces from all over it and how many times as long the whole is; enough to estimate by, later too."""

    text: str
    scale: float


class Estimates(NamedTuple):
    """Tokens of one text."""

    likely: int
    high: int


def estimate(text: str) -> int:
    """Return the likely number of tokens in ``text``; 0 only for an empty one."""
    return likely_of(sample(text))


def estimate_high(text: str) -> int:
    """Return a number of tokens that prose, code and data do not reach; only base64 and other noise do."""
    return estimates(text).high


def estimates(text: str) -> Estimates:
    """Return both at the price of one."""
    if not text:
        return Estimates(0, 0)
    taken, scale = (text, 1.0) if len(text) <= SAMPLES * SAMPLE_CHARS else sample(text)
    counts = _counted(taken)
    margin = 1 if scale == 1 else _SAMPLED_HIGH
    return Estimates(_tokens(counts, _LIKELY, scale), _tokens(counts, _HIGH, scale * margin))


def likely_of(taken: Sample) -> int:
    """Return :func:`estimate` of the text that the sample was taken from."""
    return _tokens(_counted(taken.text), _LIKELY, taken.scale) if taken.text else 0


def may_exceed(text: str, tokens: int) -> bool:
    """Return whether :func:`estimate_low` can come to more than ``tokens``, at no cost: no character counts twice."""
    return len(text) > tokens


def estimate_low(text: str) -> int:
    """Return a number of tokens that ``text`` has at least.

    Tokenizers of this kind cut a text into words and numbers first and never join two of them, so these are counted,
    and one for every four Chinese, Japanese or Korean characters in a row. For long texts by samples, with a margin.
    """
    taken, scale = sample(text)
    words = b" " + taken.encode("utf-8", "replace").translate(_LEAST)
    count = words.count(b" a") + words.count(b"0a") + words.count(b" 0") + words.count(b"a0")
    if not taken.isascii():
        count += len(_FOUR_WIDE.findall(taken))
    return count if scale == 1 else int(count * scale * _SAMPLED_LOW)


def sample(text: str) -> Sample:
    """Return the text itself if it is short, else pieces from all over it: at most 8 KB of characters."""
    if len(text) <= SAMPLES * SAMPLE_CHARS:
        return Sample(text, 1)
    step = (len(text) - SAMPLE_CHARS) / (SAMPLES - 1)
    starts = [int(number * step) for number in range(SAMPLES)]
    # The space between two samples keeps their words apart and is too little to count.
    return Sample(" ".join([text[at : at + SAMPLE_CHARS] for at in starts]), len(text) / (SAMPLES * SAMPLE_CHARS))


def _tokens(counts: _Numbers, weights: _Numbers, scale: float) -> int:
    # Written out: for a short text a loop takes as long as all the counting.
    small, capital, word, digit, line, space, symbols, two, more = counts
    a, b, c, d, e, f, g, h, i = weights
    weighed = small * a + capital * b + word * c + digit * d + line * e + space * f + symbols * g
    if two or more:
        weighed = weighed + two * h + more * i
    return max(1, round(weighed * scale))


def _counted(text: str) -> _Numbers:
    """Return how often each kind occurs, in the order of :class:`_Counts`."""
    data = text.encode("utf-8", "replace")
    narrow = len(data) == len(text)
    classes = data.translate(_CLASSES) if narrow else data.translate(_CLASSES, _INNER)
    count = classes.count
    capital, digit, line, space = count(b"A"), count(b"0"), count(b"\n"), count(b" ")
    two, more = (0, 0) if narrow else (count(b"v"), count(b"#"))
    small = len(classes) - capital - digit - line - space - two - more
    # In a title each run of letters has one capital: that costs half of looking for a space before a letter.
    titled = classes.title()
    word = titled.count(b"A") + (two and titled.count(b"V"))
    symbols = classes.translate(_SYMBOLS).title().count(b"X")
    return (small, capital, word, digit, line, space, symbols, two, more)
