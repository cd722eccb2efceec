"""Token estimates, held to what is commonly known of tokenizers."""

import json
from pathlib import Path

import pytest

from fittengate.prompting.estimate import (
    SAMPLE_CHARS,
    SAMPLES,
    estimate,
    estimate_high,
    estimate_low,
    estimates,
    likely_of,
    may_exceed,
    sample,
)

TEXTS = Path(__file__).parents[2] / "samples"
COUNTS = json.loads((TEXTS / "counts.json").read_text(encoding="utf-8"))
"""Tokens of each sample by two public tokenizers; scripts/estimates.py counts them anew."""

MEAN_ERROR = 0.10
WORST_ERROR = 0.16
"""Chinese is the worst: one of the tokenizers makes a third more tokens of it than the other."""

PROSE = (
    "Nobody had told the gardener that the gate would be locked, so he stood there for a while, looked at the sky, and "
    "decided to walk around the old wall. It took him twenty minutes; when he came back, the rain had begun. "
)
CODE = """    for index, (name, value) in enumerate(self._rows.items()):
        if value is None or not self.check(name, value[0]):
            raise ValueError(f"row {index}: {name!r} has no value")
        total += value[0] * 2
"""
DATA = '{"id":12,"name":"alpha","tags":["x","y"],"score":0.75,"ok":true,"next":null},'
CHINESE = "今天下午我们去公园散步,看到了很多花,也遇到了几位老朋友,大家都很高兴。"
RUSSIAN = "Сегодня мы пошли гулять в парк и встретили там старых друзей, все были очень рады. "

# Characters a token: the widest range that the tokenizers of GPT-4 and later, Qwen and DeepSeek are known to give.
KNOWN = {PROSE: (3.9, 5.0), CODE: (2.9, 4.2), DATA: (2.3, 3.3), CHINESE: (1.1, 1.9), RUSSIAN: (2.0, 3.8)}


def texts():
    """Return name and text of each sample."""
    return [(path.stem, path.read_text(encoding="utf-8")) for path in sorted(TEXTS.glob("*.txt"))]


@pytest.mark.parametrize("times", [1, 500, 20_000])
@pytest.mark.parametrize("text", KNOWN)
def test_the_likely_count_is_in_the_known_range_and_the_others_are_around_it(text, times):
    """For texts that are counted and for texts that are sampled."""
    size = len(text) * times
    fewest, most = KNOWN[text]
    whole = text * times
    assert size / most * 0.9 <= estimate(whole) <= size / fewest * 1.1
    # Never above what the most generous tokenizer gives, never below the least generous one.
    assert 0 < estimate_low(whole) <= size / most
    assert estimate_high(whole) >= size / fewest


@pytest.mark.parametrize("tokenizer", ["o200k_base", "deepseek"])
def test_estimates_are_close_to_what_public_tokenizers_count(tokenizer):
    """Of English, Chinese, five programming languages and JSON: a tenth off in the mean, a sixth at worst."""
    errors = {name: abs(estimate(text) / COUNTS[name][tokenizer] - 1) for name, text in texts()}
    assert len(errors) == 10
    assert sum(errors.values()) / len(errors) <= MEAN_ERROR
    assert max(errors.values()) <= WORST_ERROR, errors


@pytest.mark.parametrize("times", [1, 40])
def test_the_bounds_are_around_every_true_count(times):
    """For texts that are counted and for texts that are sampled, a line break between the copies."""
    for name, text in texts():
        long = "\n".join([text] * times)
        counts = [count * times for count in COUNTS[name].values()]
        assert estimate_low(long) <= min(counts), name
        assert max(counts) <= estimate_high(long) <= 1.6 * max(counts), name


def test_a_sample_of_a_long_text_stands_for_it():
    """What was taken is small, and comes to the same estimate later."""
    text = CODE * 4000
    taken = sample(text)
    assert len(taken.text) < SAMPLES * (SAMPLE_CHARS + 1)
    assert likely_of(taken) == estimate(text) == estimates(text).likely
    assert estimates(text).high == estimate_high(text)
    assert likely_of(sample("")) == 0


def test_only_an_empty_text_has_no_tokens():
    """A single space is sent, so it counts."""
    assert estimate("") == estimate_high("") == estimate_low("") == 0
    assert estimate(" ") == estimate("x") == 1
    assert estimate("\ud800") == 1


@pytest.mark.parametrize("text", [" " * 100_000, "=" * 100_000, "\n" * 100_000, "a" * 100_000, "—" * 100_000])
def test_what_tokenizers_pack_by_the_dozen_counts_for_nothing_in_the_low_estimate(text):
    """Runs of one character may be a token for a hundred of them."""
    assert estimate_low(text) < 1000


def test_words_with_accents_and_words_of_letters_and_digits_are_not_taken_for_many():
    """One word is one token at least and perhaps no more; letters and digits are always parted."""
    assert estimate_low("déjà") == 1
    assert estimate_low("中文") == 1
    assert estimate_low("utf8") == 2
    assert estimate_low("a b, c") == 3


def test_a_long_text_is_judged_by_all_of_it():
    """Half white space, wherever it stands, halves the count."""
    words, space = PROSE * 2000, " " * (len(PROSE) * 2000)
    for text in (words + space, space + words):
        assert estimate_low(text) == pytest.approx(estimate_low(words), rel=0.1)
        assert estimate(text) == pytest.approx(estimate(words), rel=0.12)


def test_a_table_is_not_judged_by_one_of_its_columns():
    """A sample is longer than a row, so rows of any length give about the same."""
    for width in (60, 64, 100, 128):
        row = "word " * 4
        text = (row + " " * (width - len(row) - 1) + "\n") * 10_000
        assert estimate_low(text) <= 4 * 10_000


def test_counting_is_skipped_only_where_it_could_not_matter():
    """The low estimate never comes to more than one a character."""
    text = "a1" * 50
    assert estimate_low(text) == 100
    assert not may_exceed(text, 100)
    assert may_exceed(text, 99)
    assert len(text) < SAMPLES * SAMPLE_CHARS
