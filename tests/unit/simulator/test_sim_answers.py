"""What the simulator says by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.simulator.answers import answer, pieces, tokens
from fittengate.simulator.turns import parse


def said(text, model="Default"):
    return answer(parse(f"<|system|>\n\n<|end|>\n<|user|>\n{text}\n<|end|>\n<|assistant|>"), model)


@given(st.text())
def test_pieces_joined_are_the_text(text):
    """Nothing is lost by cutting."""
    assert "".join(pieces(text)) == text


def test_pieces_are_about_a_token_each():
    """Words, not letters; ideographs one by one."""
    assert pieces("Hello world, 你好\n\nx") == ["Hello", " world", ",", " ", "你", "好", "\n\n", "x"]


def test_it_says_what_it_is_and_what_it_understood():
    """The last user text, the number of turns, the model."""
    text = said("What is up?", "DeepSeek V3 (S2)").text
    for part in ("simulator, not a language model", "2 turns", "DeepSeek V3 (S2)", "What is up?"):
        assert part in text


def test_it_describes_a_picture():
    """Type and size."""
    assert "image/png, 3 bytes" in said("![i](data:image/png;base64,AAAA)\nLook").text


@pytest.mark.parametrize("text", ["help", "Help!", " help ? "])
def test_help_lists_what_can_be_played(text):
    """Every keyword; a longer text with the word in it asks for something else."""
    page = said(text).text
    for word in ("repeat:", "markdown", "code", "think", "long 500 words", "echo turns", "slow", "fail", "stall"):
        assert f"`{word}" in page
    assert "`stall`" not in said("help me with this file").text


@pytest.mark.parametrize("text", ["repeat: a  b\n c ", "REPEAT:x", "repeat: <|weird|> <b>{}</b>", "repeat: fail slow"])
def test_repeat_gives_back_exactly_the_text(text):
    """With its spaces, and other keywords mean nothing in it."""
    plan = said(text)
    assert plan.text == text.split(":", 1)[1].removeprefix(" ")
    assert plan.cut is None
    assert plan.interval_ms is None


def test_keywords_change_the_reply():
    """Each does one thing."""
    assert "| left |" in said("show markdown").text
    assert "```python" in said("write code").text
    assert said("think first").reasoning
    assert said("go slow").interval_ms == 300
    assert said("please fail").cut == "reset"
    assert said("now stall").cut == "stall"
    assert len(said("long 30 words").text.split()) == 30
    assert said("echo turns").text == "1. system: \n2. user: echo turns"


def test_keywords_mean_nothing_in_parts_of_words_and_in_long_texts():
    """Programs send long prompts with any word in them."""
    plain = said("failure slowly decode thinking")
    assert (plain.cut, plain.interval_ms, plain.reasoning) == (None, None, "")
    assert said("fail " * 60).cut is None


def test_tokens_grow_with_the_text():
    """A quarter of the letters, each ideograph."""
    assert tokens("") == 0
    assert tokens("a" * 40) == 10
    assert tokens("你好") == 2
