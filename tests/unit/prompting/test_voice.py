"""The voice: tags, thoughts and held-back ends. What holds for every text stands in the property tests."""

import pytest

from fittengate.core.events import TextDelta, ThoughtDelta
from fittengate.prompting.tags import JOINER
from fittengate.prompting.voice import MAX_SPACE, Voice


def run(pieces):
    """Return (text, thought, ended, deltas) of pieces fed one by one."""
    voice, out = Voice(), []
    for piece in pieces:
        out += voice.feed([piece if isinstance(piece, ThoughtDelta) else TextDelta(piece)])
    out += voice.close()
    assert all(event.text for event in out)
    text = "".join(event.text for event in out if isinstance(event, TextDelta))
    thought = "".join(event.text for event in out if isinstance(event, ThoughtDelta))
    return text, thought, voice.ended, out


def said(text):
    """Return what comes of a text, which must be the same whole and character by character."""
    whole = run([text])[:3] if text else run([])[:3]
    assert run(list(text))[:3] == whole
    return whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        " lead",
        "trail \n\n",
        "\n",
        "a < b",
        "a <",
        "<",
        "<|",
        "<|en",
        "x <| f |> y",
        "</think>",
        "a <think>b</think>",
        "<thin",
        "<b>x</b>",
        "|>",
        "``` <|end",
        "a\u2060b",
        "<|other|>",
    ],
)
def test_text_without_tags_comes_out_as_it_went_in(text):
    """Not a character is lost, whatever it ends in."""
    assert said(text) == (text, "", False)


@pytest.mark.parametrize("tag", ["<|end|>", "<|user|>", "<|SYSTEM|>", "<|Assistant|>"])
def test_a_role_tag_ends_the_reply_and_takes_the_white_space_before_it_along(tag):
    """Whatever the model invents behind it is dropped."""
    assert said(f"Done. \n{tag}\nuser: go on") == ("Done.", "", True)
    assert said(tag) == ("", "", True)


@pytest.mark.parametrize(
    "text",
    [
        "```\n<|end|>\n```",
        "~~~~ py\n```\n<|user|>\n~~~\n<|user|>",
        "Use `<|end|>` here",
        "``` <|end|>",
        "   ```\nx <|end|>",
        "a `b` `<|end|>",
    ],
)
def test_inside_code_a_role_tag_is_text(text):
    """Fences by character and length, inline code by the backticks before it on the line."""
    assert said(text) == (text, "", False)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("```\ncode\n```\n<|end|>", "```\ncode\n```"),
        ("```\ncode\n```<|end|>more", "```\ncode\n```"),
        ("`a` <|end|>", "`a`"),
        ("`a\n<|end|>", "`a"),
        ("    ```\n<|end|>", "    ```"),
        ("```a`b\n<|end|>", "```a`b"),
        ("```a` <|end|>", "```a`"),
        ("~~~\n~~~ x\n~~~~ \n <|end|>", "~~~\n~~~ x\n~~~~"),
        ("`<|end|>` then <|end|>", "`<|end|>` then"),
    ],
)
def test_behind_code_a_role_tag_ends_again(text, left):
    """A closed fence, closed inline code, a new line, and what only looks like a fence."""
    assert said(text) == (left, "", True)


def test_a_broken_tag_is_restored_and_ends_nothing():
    """The model copied what the prompt broke."""
    assert said(f"see <{JOINER}|end|> and <{JOINER}{JOINER}|user|>") == (f"see <|end|> and <{JOINER}|user|>", "", False)


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think>hm</think>Hi", "Hi", "hm"),
        ("\n <think>\nhm m\n</think>\n\nHi", "Hi", "hm m"),
        ("<think></think>Hi", "Hi", ""),
        ("<think>never closed < b", "", "never closed < b"),
        ("<think>a</thin</think>b", "b", "a</thin"),
        ("<think>a</think><think>b</think>", "<think>b</think>", "a"),
        ("<think> \n</think>\n", "", ""),
        ("<think>kept \n", "", "kept \n"),
        ("<think>a</THINK></think>b", "b", "a</THINK>"),
        ("<think>a <|end|> b</think>c", "c", "a <|end|> b"),
        (f"<think>a <{JOINER}|end|></think>c", "c", "a <|end|>"),
    ],
)
def test_a_leading_think_block_is_reasoning(text, answer, thought):
    """Only at the start, with the white space beside it dropped."""
    assert said(text) == (answer, thought, False)


def test_reasoning_of_the_service_keeps_its_place():
    """What was held of the text comes before a later thought."""
    out = run(["a ", ThoughtDelta("t"), "b<|e", ThoughtDelta(f"u<{JOINER}"), ThoughtDelta("|end|>"), "nd|>c"])[3]
    kinds = [(type(event).__name__[0:2], event.text) for event in out]
    assert kinds == [
        ("Te", "a"),
        ("Te", " "),
        ("Th", "t"),
        ("Te", "b"),
        ("Te", "<|e"),
        ("Th", "u"),
        ("Th", "<|end|>"),
        ("Te", "nd|>c"),
    ]


def test_ordinary_text_is_not_held_back():
    """A delta comes out with its feed, but for white space at its end."""
    voice = Voice()
    assert voice.feed([TextDelta("Hel")]) == [TextDelta("Hel")]
    assert voice.feed([TextDelta("lo wor"), TextDelta("ld")]) == [TextDelta("lo wor"), TextDelta("ld")]
    assert voice.feed([TextDelta(" x ")]) == [TextDelta(" x")]
    assert voice.feed([TextDelta("y < 3")]) == [TextDelta(" y < 3")]
    assert voice.feed([TextDelta("a <|assistance"), TextDelta("<|users")]) == [
        TextDelta("a <|assistance"),
        TextDelta("<|users"),
    ]


def test_what_was_released_before_a_thought_still_counts():
    """A line break ends inline code, and reasoning that has begun keeps its white space."""
    out = run(["`a\n", ThoughtDelta("t"), "<|end|>b"])
    assert out[:3] == ("`a\n", "t", True)
    assert run(["<think><", ThoughtDelta("t"), " x</think>y"])[:3] == ("y", "<t x", False)


def test_time_is_linear_even_with_tags_in_a_long_fence():
    """Fence tracking reads each character once."""
    body = "```\n" + "x <|end|> y\n" * 30_000
    assert run([body[i : i + 7] for i in range(0, len(body), 7)])[0] == body


def test_plain_deltas_pass_as_they_are():
    """Nothing is made anew where nothing is to be done: the very list comes back."""
    voice = Voice()
    voice.feed([TextDelta("Hello")])
    deltas = [TextDelta(" wor"), TextDelta("ld"), TextDelta(" |> x")]
    assert voice.feed(deltas) is deltas
    thoughts = [ThoughtDelta("a "), ThoughtDelta("b ")]
    assert voice.feed(thoughts) == thoughts
    assert voice.feed(thoughts) is thoughts


def test_deltas_that_come_together_stay_apart():
    """A burst is not collected into one delta because white space at its end is held back."""
    voice = Voice()
    voice.feed([TextDelta("Hello")])
    assert voice.feed([TextDelta(" a"), TextDelta(" b"), TextDelta(" \n"), TextDelta("\n")]) == [
        TextDelta(" a"),
        TextDelta(" b"),
    ]
    assert voice.feed([]) == []
    assert voice.feed([TextDelta("\n"), TextDelta("c"), TextDelta("d ")]) == [
        TextDelta(" \n\n\n"),
        TextDelta("c"),
        TextDelta("d"),
    ]
    assert voice.close() == [TextDelta(" ")]


def test_after_the_end_nothing_comes():
    """Neither of the same piece, nor of a later one, nor at the close."""
    voice = Voice()
    assert voice.feed([TextDelta("a<|end|>"), ThoughtDelta("t"), TextDelta("b")]) == [TextDelta("a")]
    assert voice.ended
    assert voice.feed([TextDelta("c"), ThoughtDelta("t")]) == []
    assert voice.close() == []


@pytest.mark.parametrize("piece", [" ", "\n", JOINER, "<|e", "<", f"<{JOINER}|", "`"])
@pytest.mark.parametrize("start", ["", "a", "<think>", "<think>a", f"a <{JOINER}", f"<think>a<{JOINER}|"])
def test_what_is_held_back_is_bounded(start, piece):
    """However long the white space, the joiners or the would-be tag: the rest comes out while it comes in."""
    voice, out, fed = Voice(), 0, len(start)
    voice.feed([TextDelta(start)] if start else [])
    for _ in range(3 * MAX_SPACE):
        out += sum(len(event.text) for event in voice.feed([TextDelta(piece)]))
        fed += len(piece)
    if start == "<think>" and piece.isspace():
        return  # white space around the block's tags is dropped
    assert fed - out <= 2 * MAX_SPACE + 80


def test_white_space_before_a_role_tag_is_dropped_up_to_a_bound_that_no_cut_moves():
    """The bound counts from the tag, so it is at the same place however the text came."""
    space = " " * (MAX_SPACE + 5)
    assert said(f"a{space}<|end|>") == ("a" + " " * 5, "", True)
    assert said(f"{space}<think>b</think>") == (f"{space}<think>b</think>", "", False)


def test_code_is_followed_through_long_texts_and_lines():
    """A fence opened long ago and backticks far back on the line still count."""
    fenced = "~~~~\n" + "some code\n" * 1000 + "~~~\n<|end|>"
    assert said(fenced) == (fenced, "", False)
    assert said(fenced + "\n~~~~\n<|end|>") == (fenced + "\n~~~~", "", True)
    line = "`" + "x" * 5000 + "<|end|>"
    assert said(line) == (line, "", False)
    assert said(line + "`" + "<|end|>") == (line + "`", "", True)
