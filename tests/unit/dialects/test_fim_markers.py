"""Marker prompts as editors and model makers write them, and prompts that only look alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.faults import Fault, FaultKind
from fittengate.dialects._fim_markers import FORMS, PREFIX, SUFFIX, Marked, read_marked

TOKENS = [
    "<fim_prefix>", "<fim-suffix>", "<|fim_middle|>", "<PRE>", "<SUF>", "<MID>", "[SUFFIX]", "[PREFIX]",
    "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<s>", "<fim_", "fix>", "]", "[", "<", " ",
]  # fmt: skip
CODE = st.lists(
    st.sampled_from(["a", "\n", " ", "{prefix}", "{suffix}", "你", "😀", "\r\n"]) | st.text(max_size=3)
).map("".join)
ODD = st.lists(st.sampled_from(TOKENS) | st.sampled_from(["a", "b", "\n"]), max_size=4).map("".join)


def written(form, prefix, suffix):
    """Return a prompt in a form."""
    return "".join(
        {PREFIX: prefix, SUFFIX: suffix}.get(piece, piece)
        for piece in form.replace(PREFIX, f"\x00{PREFIX}\x00").replace(SUFFIX, f"\x00{SUFFIX}\x00").split("\x00")
    )


@pytest.mark.parametrize("form", FORMS)
@given(prefix=CODE, suffix=CODE)
def test_what_was_written_is_read_back(form, prefix, suffix):
    """Whatever code stands around the cursor, each form gives it back to the character."""
    if form == "<PRE>{prefix}<SUF>{suffix}<MID>" and (prefix[:1] == " " or suffix[-1:] == " " or prefix[-1:] == " "):
        # Code Llama's own form has these spaces, and it is the one meant where they could belong to either.
        return
    assert read_marked(written(form, prefix, suffix), "prompt") == Marked(prefix, suffix)


@pytest.mark.parametrize("form", FORMS)
@given(prefix=ODD, suffix=ODD)
def test_markers_in_the_code_never_move_the_cursor(form, prefix, suffix):
    """A prompt whose code holds markers is read as it was written, or refused."""
    try:
        marked = read_marked(written(form, prefix, suffix), "prompt[0]")
    except Fault as fault:
        refused = fault
    else:
        refused = None
    if refused is not None:
        assert (refused.kind, refused.param) == (FaultKind.CALLER_BAD_REQUEST, "prompt[0]")
        return
    assert marked is not None
    assert marked.prefix.strip(" ") == prefix.strip(" ")
    assert marked.suffix.strip(" ") == suffix.strip(" ")


@pytest.mark.parametrize(
    ("prompt", "marked"),
    [
        ("<fim_prefix>a<fim_suffix>b<fim_middle>", ("a", "b", "")),
        ("<fim_prefix><fim_suffix>b<fim_middle>a", ("a", "b", "")),
        ("<|fim_suffix|>b<|fim_prefix|>a<|fim_middle|>", ("a", "b", "")),
        ("<PRE> a <SUF>b <MID>", ("a", "b", "")),
        ("<PRE>  <SUF>b <MID>", ("", "b", "")),
        ("<PRE> <SUF>b <MID> a", ("a", "b", "")),
        ("<s>[SUFFIX]b[PREFIX]a", ("a", "b", "")),
        ("[SUFFIX][PREFIX]", ("", "", "")),
        ("<｜begin▁of▁sentence｜><｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>", ("a", "b", "")),
        (
            "<|repo_name|>r\n<|file_sep|>x.py\nother\n<|file_sep|>src/y.py\n<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>",
            ("a", "b", "src/y.py"),
        ),
        ("<file_sep>other\nfile\n<fim_prefix>a<fim_suffix>b<fim_middle>", ("a", "b", "")),
        ("<filename>z.go<fim_prefix>a<fim_suffix>b<fim_middle>", ("a", "b", "z.go")),
    ],
)
def test_prompts_as_tools_write_them(prompt, marked):
    """Each vendor's own order, tokens before the prompt, and other files ahead of it."""
    assert read_marked(prompt, "prompt") == marked


@pytest.mark.parametrize(
    "prompt", ["", "Say hello.", "Explain <fim_prefix>a<fim_suffix>b<fim_middle>", "<s>Hello", "<file_sep>a.py\ncode"]
)
def test_a_prompt_without_markers_is_none(prompt):
    """Text that only speaks of markers is text."""
    assert read_marked(prompt, "prompt") is None


@pytest.mark.parametrize(
    "prompt",
    [
        "<fim_prefix>a",
        "<fim_prefix>a<fim_middle>b<fim_suffix>",
        "<fim_prefix>a<fim_suffix>b<fim_suffix>c<fim_middle>",
        "<PRE> a <SUF>b <MID> c",
        "[SUFFIX]b",
        "[SUFFIX]b[PREFIX]a[PREFIX]c",
        "<｜fim▁begin｜>a<｜fim▁end｜>",
    ],
)
def test_markers_in_no_known_order_are_refused(prompt):
    """Guessing where the cursor is would damage a file."""
    with pytest.raises(Fault) as caught:
        read_marked(prompt, "prompt")
    assert (caught.value.kind, caught.value.param) == (FaultKind.CALLER_BAD_REQUEST, "prompt")
