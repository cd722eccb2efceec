"""Any reply that the grammar of events allows, for Hypothesis."""

import json

from hypothesis import strategies as st

from fittengate.core.events import (
    Began,
    Ended,
    RefusalDelta,
    TextDelta,
    ThoughtDelta,
    ToolAborted,
    ToolClosed,
    ToolDelta,
    ToolOpened,
)
from fittengate.core.reply import StopReason, Usage

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.sampled_from(
    ["[DONE]", "\n\ndata: [DONE]\n\n", "你好", "👩‍👩‍👧", "\u2028\u0085", "\0", '"}', "\\"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_COUNTS = st.integers(0, 10**6)


@st.composite
def cuts(draw, text, most=4):
    """Cut a text into pieces that are not empty."""
    places = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=most)))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    return [piece for piece in pieces if piece]


@st.composite
def replies(draw, tools=True):
    """Make the events of one whole reply: reasoning, then text, then calls, perhaps one that was cut off.

    Without ``tools`` there are no calls, as in answers to requests that cannot have any.
    """
    events = [Began()]
    events += [ThoughtDelta(words) for words in draw(st.lists(WORDS, max_size=3))]
    events += [TextDelta(words) for words in draw(st.lists(WORDS, max_size=6))]
    reasons = [reason for reason in StopReason if tools or reason is not StopReason.TOOL_CALLS]
    reason = draw(st.sampled_from(reasons))
    index = 0
    for arguments in (
        [] if not tools else draw(st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=3))
    ):
        events += [ToolOpened(index, f"call_{index}", f"tool-{index}")]
        text = json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace").decode()
        events += [ToolDelta(piece) for piece in draw(cuts(text))]
        events += [ToolClosed()]
        index += 1
    if tools and draw(st.booleans()):
        events += [ToolOpened(index, f"call_{index}", "cut"), ToolDelta('{"half'), ToolAborted()]
        reason = StopReason.LENGTH
    stop = draw(WORDS) if reason is StopReason.STOP_SEQUENCE else None
    usage = Usage(draw(_COUNTS), draw(_COUNTS), draw(_COUNTS), draw(st.booleans()))
    return [*events, Ended(reason, usage, stop)]


@st.composite
def disorderly_replies(draw, names=(), *, refusable=False):
    """Make the events of one whole reply in any order that the grammar allows, with calls of tools of these ``names``.

    The arguments of a call are any JSON object, or none at all. With ``refusable`` the words may be a refusal.
    """
    usage = Usage(draw(_COUNTS), draw(_COUNTS), draw(_COUNTS), draw(st.booleans()))
    if refusable and draw(st.booleans()):
        refused = [RefusalDelta(words) for words in draw(st.lists(WORDS, min_size=1, max_size=3))]
        return [Began(), *refused, Ended(StopReason.DONE, usage)]
    events = [Began()]
    index = 0
    reason = draw(st.sampled_from([StopReason.DONE, StopReason.STOP_SEQUENCE, StopReason.LENGTH]))
    for kind in draw(st.lists(st.sampled_from(["text", "thought", *(("call",) if names else ())]), max_size=6)):
        if kind != "call":
            events.append((TextDelta if kind == "text" else ThoughtDelta)(draw(WORDS)))
            continue
        given = draw(st.just("") | ARGUMENTS.map(lambda value: json.dumps(value, ensure_ascii=False)))
        events += [ToolOpened(index, f"call_{index}", draw(st.sampled_from(names)))]
        events += [ToolDelta(piece) for piece in draw(cuts(given))]
        cut = draw(st.integers(0, 9)) == 0
        events.append(ToolAborted() if cut else ToolClosed())
        reason = StopReason.LENGTH if cut else reason
        index += 1
    if index and reason is StopReason.DONE:
        reason = StopReason.TOOL_CALLS
    return [*events, Ended(reason, usage, draw(WORDS) if reason is StopReason.STOP_SEQUENCE else None)]


_SAID = st.sampled_from(["ls", "create_file", "delete_file", "a\u4f60b", ""])
ARGUMENTS = st.dictionaries(
    st.sampled_from(["input", "query", "command", "commands", "type", "path", "diff", "timeout_ms", "env", "x"]),
    _SAID | st.lists(_SAID, max_size=2) | JSON,
    max_size=4,
)
"""Objects with the parameters that vendors' own tools have, of right and wrong types."""
