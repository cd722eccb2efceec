"""The voice: tags, thoughts and held-back ends."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.events import TextDelta, ThoughtDelta
from fittengate.prompting.tags import JOINER
from fittengate.prompting.voice import Voice


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


def slow(text):
    """Return what the laws say of a text, computed the plain way: all at once, line by line."""
    thought = ""
    lead = text.lstrip()
    if lead.startswith("<think>"):
        thought, closed, text = lead[7:].partition("</think>")
        if not closed:
            return "", thought.lstrip(), False
        thought, text = thought.strip(), text.lstrip()
    ended = False
    for tag in re.finditer(r"(?i)<\|(system|user|assistant|end)\|>", text):
        lines = text[: tag.start()].split("\n")
        fence = ""
        for line in lines[:-1]:
            mark = re.match(r" {0,3}(`{3,}|~{3,})([^\n]*)", line)
            if fence:
                if mark and mark[1].startswith(fence) and not mark[2].strip():
                    fence = ""
            elif mark and not (mark[1][0] == "`" and "`" in mark[2]):
                fence = mark[1]
        mark = re.match(r" {0,3}(`{3,}|~{3,})([^\n]*)", lines[-1])
        if fence:
            inside = not (mark and mark[1].startswith(fence) and not mark[2].strip())
        else:
            inside = mark is not None or len(re.findall("`+", lines[-1])) % 2 == 1
        if not inside:
            text, ended = text[: tag.start()].rstrip(), True
            break
    fix = lambda s: re.sub(rf"<{JOINER}({JOINER}*)(?=\|[^<>|\n]{{0,64}}\|>)", r"<\1", s)  # noqa: E731
    return fix(text), fix(thought), ended


PIECES = st.lists(
    st.sampled_from(
        [
            "<",
            "|",
            "end",
            "user",
            "|>",
            "<|end|>",
            "<|USER|>",
            JOINER,
            "`",
            "```",
            "~~~",
            "\n",
            " ",
            "a",
            "<think>",
            "</think>",
            "é😀",
            "```\n",
            "<|",
        ]
    ),
    max_size=14,
)


@given(PIECES)
def test_the_quick_way_equals_the_plain_way_for_every_cut(pieces):
    """P2: fed piece by piece, by character and whole, the outcome is that of the plain definition."""
    text = "".join(pieces)
    expected = slow(text)
    assert said(text) == expected
    if pieces:
        assert run(pieces)[:3] == expected


def test_time_is_linear_even_with_tags_in_a_long_fence():
    """Fence tracking reads each character once."""
    body = "```\n" + "x <|end|> y\n" * 30_000
    assert run([body[i : i + 7] for i in range(0, len(body), 7)])[0] == body
