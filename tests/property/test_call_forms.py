"""Every form of a call that is read, with any arguments and any words around it: what was meant is what comes out."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fittengate.core.conversation import ToolSpec
from fittengate.core.events import TextDelta, ToolClosed
from fittengate.prompting.syntax import Tags, render_calls
from fittengate.prompting.values import Schemas
from property.test_reader import cut_up, fed


def tool(name, required=(), **types):
    properties = {key: {"type": kind} for key, kind in types.items()}
    return ToolSpec(name, "", json.dumps({"properties": properties, "required": list(required)}).encode())


TOOLS = (
    tool("Edit", ["file_path"], file_path="string", old_string="string", new_string="string", all="boolean"),
    tool("Bash", ["command"], command="string", timeout="number"),
    tool("Todo", ["todos"], todos="array", about="object"),
    tool("mcp__list-files"),
)
CODE = st.lists(
    st.sampled_from(
        [
            "x = 1", "if a < b:", "\n", "    ", "\t", '"quoted"', "'it''s'", "\\n", "\\d+", "C:\\new", "<div>", "</div>", "<T,>", "a `b` c",
            "&lt;", "{", "}", "[1]", ",", ": ", "你好", "😀", "#", "<name>x</name>", "`", "</", "<", ">", "</b>\n", "True", "null", "1",
        ]
    ),
    max_size=12,
).map("".join)  # fmt: skip
CALLS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"file_path": CODE}, optional={"old_string": CODE, "new_string": CODE, "all": st.booleans()}).map(
            lambda values: ("Edit", values)
        ),
        st.fixed_dictionaries({"command": CODE}, optional={"timeout": st.integers(0, 99)}).map(lambda values: ("Bash", values)),
        st.fixed_dictionaries({"todos": st.lists(CODE, max_size=2)}, optional={"about": st.dictionaries(CODE, CODE, max_size=2)}).map(
            lambda values: ("Todo", values)
        ),
        st.just(("mcp__list-files", {})),
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip
WORDS = st.lists(
    st.sampled_from(
        [
            "Let me look.", "Is a < b?", "Use the <b>bold</b> tag.", "See `<tool_call>` there.", "```py\nif a < b: pass\n```", "使用工具。",
            'It reads `<invoke name="Bash">`.', "List<String>", "~~~\n<tool_call>{}</tool_call>\n~~~", "a -> b <- c", "<think> is a tag", "[1]",
        ]
    ),
    max_size=3,
).map("\n\n".join)  # fmt: skip

DICE = st.integers(0, 2**32).map(random.Random)
ANT, BAR = "antml:", "｜DSML｜"


def raw(value, *, block=False):
    """Return a value as it stands between tags; on lines of its own where ``block``, or where it begins with one."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"\n{text}\n" if block or text.startswith("\n") else text


def tagged(calls, space, wrapper="function_calls", between="\n"):
    lines = [f"<{space}{wrapper}>"]
    for name, values in calls:
        lines.append(f'<{space}invoke name="{name}">')
        lines += [f'<{space}parameter name="{key}">{raw(value)}</{space}parameter>' for key, value in values.items()]
        lines.append(f"</{space}invoke>")
    return between.join([*lines, f"</{space}{wrapper}>"])


def functions(calls):
    return [
        f"<function={name}>\n"
        + "".join(f"<parameter={key}>{raw(value, block=True)}</parameter>\n" for key, value in values.items())
        + "</function>"
        for name, values in calls
    ]


def elements(values):
    return "".join(f"<{key}>{raw(value)}</{key}>\n" for key, value in values.items())


def pairs(name, values):
    return f"<tool_call>{name}\n" + "".join(
        f"<arg_key>{key}</arg_key>\n<arg_value>{raw(value)}</arg_value>\n" for key, value in values.items()
    )


def as_json(calls, key="arguments"):
    return [json.dumps({"name": name, key: values}, ensure_ascii=False) for name, values in calls]


def in_tool_call(texts, start="\n", end="\n"):
    return "\n".join(f"<tool_call>{start}{text}{end}</tool_call>" for text in texts)


def marked(calls):
    inside = (
        f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{json.dumps(values)}<｜tool▁call▁end｜>" for name, values in calls
    )
    return f"<｜tool▁calls▁begin｜>{''.join(inside)}<｜tool▁calls▁end｜>"


def marked_and_fenced(calls):
    inside = (
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{json.dumps(values)}\n```<｜tool▁call▁end｜>"
        for name, values in calls
    )
    return f"<｜tool▁calls▁begin｜>{''.join(inside)}<｜tool▁calls▁end｜>"


def numbered(calls):
    inside = (
        f"<|tool_call_begin|>functions.{name}:{at}<|tool_call_argument_begin|>{json.dumps(values)}<|tool_call_end|>"
        for at, (name, values) in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{''.join(inside)}<|tool_calls_section_end|>"


AMONG_WORDS = {
    "ours": lambda calls: render_calls(
        [(name, json.dumps(values)) for name, values in calls], Tags(), Schemas(TOOLS).of
    ),
    "ours in one line": lambda calls: tagged(calls, "", "tool_calls", ""),
    "Anthropic": lambda calls: tagged(calls, ANT),
    "DSML": lambda calls: tagged(calls, BAR),
    "without a block": lambda calls: tagged(calls, "").removeprefix("<function_calls>\n").removesuffix("\n</function_calls>"),
    "Hermes": lambda calls: in_tool_call(as_json(calls)),
    "Hermes, parameters": lambda calls: in_tool_call(as_json(calls, "parameters"), "", ""),
    "Hermes, a list": lambda calls: in_tool_call([f"[{', '.join(as_json(calls))}]"]),
    "Hermes, in a fence": lambda calls: in_tool_call(as_json(calls), "\n```json\n", "\n```\n"),
    "Hermes, arguments as a string": lambda calls: in_tool_call(
        as_json([(name, json.dumps(values)) for name, values in calls])
    ),
    "Hermes, a bracket too many": lambda calls: in_tool_call([f"{one}}}" for one in as_json(calls)]),
    "Hermes, a bracket too few": lambda calls: in_tool_call([one[:-1] for one in as_json(calls)]),
    "Hermes, a comma too many": lambda calls: in_tool_call([f"{one[:-1]},}}" for one in as_json(calls)]),
    "Hermes, as Python": lambda calls: in_tool_call(
        [str({"name": name, "arguments": values}) for name, values in calls]
    ),
    "Hermes, never closed": lambda calls: "\n".join(f"<tool_call>\n{one}" for one in as_json(calls)),
    "Hermes, several in one": lambda calls: in_tool_call(["\n".join(as_json(calls))]),
    "Qwen's coder": lambda calls: in_tool_call(functions(calls)),
    "Qwen's coder, bare": lambda calls: "\n".join(functions(calls)),
    "Llama's functions": lambda calls: "\n".join(f"<function={name}>{json.dumps(values)}</function>" for name, values in calls),
    "GLM": lambda calls: "\n".join(f"{pairs(*call)}</tool_call>" for call in calls),
    "DeepSeek": marked,
    "DeepSeek, the older": marked_and_fenced,
    "Kimi": numbered,
    "elements": lambda calls: "\n".join(f"<{name}>\n{elements(values)}</{name}>" for name, values in calls),
    "bodies of JSON": lambda calls: "<function_calls>"
    + "".join(f'<invoke tool_name="{name}"><arguments>{json.dumps(values)}</arguments></invoke>' for name, values in calls)
    + "</function_calls>",
    "bodies of elements": lambda calls: "<function_calls>"
    + "".join(f'<invoke tool_name="{name}"><arguments>{elements(values)}</arguments></invoke>' for name, values in calls)
    + "</function_calls>",
}  # fmt: skip
ALONE = {
    "JSON": lambda calls: as_json(calls)[0] if len(calls) == 1 else f"[{','.join(as_json(calls))}]",
    "JSON in a fence": lambda calls: f"```json\n[{','.join(as_json(calls))}]\n```",
    "JSON, line by line": lambda calls: "\n".join(as_json(calls)),
    "Llama": lambda calls: "<|python_tag|>" + "; ".join(as_json(calls, "parameters")),
    "Mistral": lambda calls: f"[TOOL_CALLS][{', '.join(as_json(calls))}]",
    "Mistral, the newer": lambda calls: "".join(f"[TOOL_CALLS]{name}[ARGS]{json.dumps(values)}" for name, values in calls),
    "ours in a fence": lambda calls: f"```xml\n{AMONG_WORDS['ours'](calls)}\n```",
}  # fmt: skip


def read(answer, dice):
    """Return texts and calls in order; what comes of a random cut is the same."""
    out, ended, _ = fed([answer], TOOLS)
    assert (out, ended) == fed(cut_up(answer, dice), TOOLS)[:2]
    return [one[1] if one[0] is TextDelta else one for one in out]


def meant(calls):
    return [(ToolClosed, name, values) for name, values in calls]


@pytest.mark.parametrize("form", AMONG_WORDS)
@settings(max_examples=30, deadline=None)
@given(calls=CALLS, before=WORDS, dice=DICE)
def test_calls_behind_words_are_read_as_they_were_meant(form, calls, before, dice):
    """Each with its arguments, in order, and the words as they were."""
    answer = f"{before}\n\n{AMONG_WORDS[form](calls)}"
    assert read(answer, dice) == ([before] if before else []) + meant(calls)


@pytest.mark.parametrize("form", ALONE)
@settings(max_examples=30, deadline=None)
@given(calls=CALLS, dice=DICE)
def test_answers_that_are_calls_are_read_as_they_were_meant(form, calls, dice):
    """And nothing of them is shown."""
    assert read(ALONE[form](calls), dice) == meant(calls)


@pytest.mark.parametrize("form", AMONG_WORDS)
@settings(max_examples=20, deadline=None)
@given(calls=CALLS, before=WORDS, dice=DICE)
def test_calls_that_are_shown_in_a_fence_are_text(form, calls, before, dice):
    """An explanation of any form is none: every character of it comes out as text."""
    shown = AMONG_WORDS[form](calls)
    answer = f"Such as:\n{before}\n~~~~~xml\n{shown}\n~~~~~\nand so on."
    assert read(answer, dice) == [answer]
