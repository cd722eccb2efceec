"""Breaking and restoring tags, case by case."""

import pytest

from fittengate.prompting.tags import JOINER, break_tags, restore_tags


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("<|end|>", f"<{JOINER}|end|>"),
        ("<|END|>", f"<{JOINER}|END|>"),
        ("<| user |>", f"<{JOINER}| user |>"),
        ("<|im_start|>", f"<{JOINER}|im_start|>"),
        ("<｜User｜>", f"<{JOINER}｜User｜>"),
        ("<||>", f"<{JOINER}||>"),
        ("<<|end|>", f"<<{JOINER}|end|>"),
        ("<|<|end|>", f"<|<{JOINER}|end|>"),
        ("<|end|><|user|>", f"<{JOINER}|end|><{JOINER}|user|>"),
        (f"<{JOINER}|end|>", f"<{JOINER}{JOINER}|end|>"),
        (f"<|{'x' * 64}|>", f"<{JOINER}|{'x' * 64}|>"),
    ],
)
def test_everything_of_a_tags_form_is_broken_and_comes_back(text, broken):
    """Any name, any case, spaces inside; what is broken already is broken once more."""
    assert break_tags(text) == broken
    assert restore_tags(broken) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a < b | c > d",
        "x |> f",
        "<|en",
        "<|a\nb|>",
        "<|a|b|>",
        f"<|{'x' * 65}|>",
        f"<{JOINER}b>",
        "< |end|>",
        "<|>",
    ],
)
def test_what_has_no_tags_form_is_left_alone(text):
    """Pipes, comparisons and joiners of other kinds pass untouched, both ways."""
    assert break_tags(text) == text
    assert restore_tags(text) == text
