"""P2 for the voice: however a reply is cut, what comes out is what the plain definition below gives."""

import re
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.events import TextDelta, ThoughtDelta
from fittengate.prompting.tags import JOINER
from fittengate.prompting.voice import Voice

TAGS = ["<", "|", "end", "|>", "<|", "<|end|>", "<|USER|>", "<|other|>", "\u017fystem"]
BROKEN = [JOINER, f"<{JOINER}", f"<{JOINER}|end|>"]
THINK = ["<think>", "</think>", "<thi", "nk>", "</thi"]
CODE = ["`", "```", "~~~", "```\n", "\n", " ", "a", "é😀"]
FRAGMENTS = st.sampled_from(TAGS + BROKEN + THINK + CODE)
RUNS = st.lists(FRAGMENTS | st.text("<|>a `\n", max_size=3), max_size=12).map("".join)
REPLIES = st.one_of(
    RUNS.map(lambda text: [(TextDelta, text)]),
    st.lists(st.tuples(st.sampled_from([TextDelta, TextDelta, ThoughtDelta]), RUNS), max_size=5),
)


def merged(deltas):
    """Return (kind, text) of deltas with adjacent ones of a kind joined, empty ones dropped."""
    full = [(kind, text) for kind, text in deltas if text]
    return [(kind, "".join(text for _, text in run)) for kind, run in groupby(full, key=lambda delta: delta[0])]


def restored(text):
    return re.sub(rf"<{JOINER}({JOINER}*\|[^<>|\n]{{0,64}}\|>)", r"<\1", text)


def in_code(text):
    """Return whether the end of the text is code, by walking through its lines."""
    fence = None
    *lines, last = text.split("\n")
    for line in lines:
        fence = after_line(fence, line)
    if fence is not None:
        # A closing fence is behind us already where nothing came after it.
        return after_line(fence, last) is not None
    mark = re.match(" {0,3}~~~", last)
    return mark is not None or len(re.findall("`+", last)) % 2 == 1


def after_line(fence, line):
    found = re.fullmatch(r" {0,3}(`{3,}|~{3,})(.*)", line, re.DOTALL)
    if found is None:
        return fence
    marks, rest = found.groups()
    if fence is None:
        return None if marks[0] == "`" and "`" in rest else marks
    return None if marks[0] == fence[0] and len(marks) >= len(fence) and rest.strip() == "" else fence


def split_thinking(run, begun):
    """Return (reasoning, answer) of a text in a think block; None for the answer where the block does not end."""
    thought, end, answer = (run if begun else run.lstrip()).partition("</think>")
    return (thought.rstrip(), answer) if end else (thought, None)


def plainly(runs):
    """Return what the laws of the voice make of whole runs, and whether a role tag ended it: no stream, no hurry."""
    out, before, stage, thought_begun = [], "", "start", False
    for kind, run in runs:
        if kind is ThoughtDelta:
            out.append((ThoughtDelta, restored(run)))
            continue
        answer = run
        if stage == "start":
            stage = "think" if run.lstrip().startswith("<think>") else "speak"
            answer = run.lstrip()[7:] if stage == "think" else run
        if stage == "think":
            thought, answer = split_thinking(answer, thought_begun)
            out.append((ThoughtDelta, restored(thought)))
            thought_begun = thought_begun or thought != ""
            if answer is None:
                continue
            stage = "after"
        if stage == "after":
            answer = answer.lstrip()
            stage = "speak" if answer else "after"
        for tag in re.finditer(r"<\|(\w+)\|>", answer):
            known = tag[1].lower() in {"system", "user", "assistant", "end"}
            if known and not in_code(before + answer[: tag.start()]):
                out.append((TextDelta, restored(answer[: tag.start()].rstrip())))
                return merged(out), True
        out.append((TextDelta, restored(answer)))
        before += answer
    return merged(out), False


def cut_up(runs, dice):
    """Return the runs as small deltas in batches of a few."""
    batches = [[]]
    for kind, text in runs:
        at = 0
        while at < len(text):
            size = dice.randint(1, 6)
            batches[-1].append(kind(text[at : at + size]))
            at += size
            if dice.random() < 0.5:
                batches.append([])
    return batches


def fed(batches):
    voice, out = Voice(), []
    for batch in batches:
        out += voice.feed(batch)
    out += voice.close()
    assert all(event.text for event in out), "a delta is never empty"
    return merged((type(event), event.text) for event in out), voice.ended


@given(REPLIES, st.randoms(use_true_random=False))
def test_p2_the_voice_says_the_same_however_the_reply_is_cut(reply, dice):
    """Whole, by character, at random cuts in random batches: always the plain definition's outcome."""
    runs = merged(reply)
    expected = plainly(runs)
    assert fed([[kind(text)] for kind, text in runs]) == expected
    assert fed([[kind(char)] for kind, text in runs for char in text]) == expected
    assert fed(cut_up(runs, dice)) == expected


@given(REPLIES, st.randoms(use_true_random=False))
def test_p2_every_beginning_of_a_reply_is_said_in_full_when_it_breaks_off(reply, dice):
    """The close gives all that the feeds held back, at whatever character the reply ends."""
    characters = [(kind, char) for kind, text in reply for char in text]
    beginning = characters[: dice.randint(0, len(characters))]
    assert fed([[kind(char)] for kind, char in beginning]) == plainly(merged(beginning))


@given(st.text(st.characters(exclude_characters=f"<{JOINER}")))
def test_p2_text_without_tags_comes_out_as_it_went_in(text):
    """Byte for byte, white space at both ends included."""
    assert fed([[TextDelta(char)] for char in text]) == (merged([(TextDelta, text)]), False)
