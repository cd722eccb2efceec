"""Laws of the Responses dialect: any request, any split."""

import json

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contract.replies import JSON, WORDS, cuts, replies
from fittengate.core.ask import Ask
from fittengate.core.events import ToolAborted, fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.dialects import RESPONSES
from fittengate.dialects._responses_raw import RawText
from fittengate.dialects._responses_reading import FIELDS
from fittengate.dialects.base import Head

FOR_ALL = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HEAD = Head("0123456789abcdefghijABCD", 1, "m")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | WORDS
NAMES = st.sampled_from(["a", "b.c", "tool_search", "exec", ""])
KINDS = [
    *("message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
    *("tool_search_call", "tool_search_output", "additional_tools", "item_reference", "web_search_call", "compaction"),
]
TOOLS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["function", "custom", "namespace", "tool_search", "web_search"]) | JSON,
        "name": NAMES | JSON,
        "description": TEXTS | JSON,
        "parameters": st.just({"type": "object"}) | JSON,
        "format": st.just({"type": "grammar", "syntax": "lark", "definition": "x"}) | JSON,
        "execution": st.sampled_from(["client", "server"]) | JSON,
        "tools": st.just([{"type": "function", "name": "inner"}]) | JSON,
        "defer_loading": st.booleans() | JSON,
    },
)
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["input_text", "output_text", "refusal", "input_image", "input_file", "other"]) | JSON},
    optional=dict.fromkeys(("text", "refusal", "image_url", "file_id"), TEXTS | JSON),
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(KINDS) | JSON,
        "role": st.sampled_from(["user", "assistant", "system", "developer"]) | JSON,
        "content": TEXTS | st.lists(PARTS, max_size=3) | JSON,
        "summary": st.lists(PARTS, max_size=2) | JSON,
        "output": TEXTS | st.lists(PARTS, max_size=3) | JSON,
        "tools": st.lists(TOOLS, max_size=2) | JSON,
        **dict.fromkeys(("id", "call_id", "name", "namespace", "arguments", "input"), TEXTS | JSON),
    },
)


def read_or_fault(fields):
    fault = None
    try:
        ask = RESPONSES.read(msgspec.json.encode(fields))
    except Fault as found:
        fault = found
    if fault is None:
        assert isinstance(ask, Ask)
        assert len({tool.name for tool in ask.conversation.tools}) == len(ask.conversation.tools)
        assert json.loads(b"{%s}" % ask.echo)["store"] is ask.keep
        return ask
    assert fault.kind in {FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED}
    assert fault.param is not None, "what is wrong with a field has a place"
    return fault


def decoded(pieces):
    raw = RawText()
    return "".join([*map(raw.feed, pieces), raw.close()])


@FOR_ALL
@given(data=st.data(), text=TEXTS, ascii_only=st.booleans(), blanks=st.sampled_from(["", " ", "\n\t"]))
def test_raw_text_is_what_was_written_wherever_it_is_cut(data, text, ascii_only, blanks):
    """P2: the text in the arguments comes out as it is, however they are escaped and split, pairs of escapes too."""
    written = json.dumps(text, ensure_ascii=ascii_only)
    arguments = f'{blanks}{{{blanks}"input"{blanks}:{blanks}{written}{blanks}}}'
    assert decoded(list(arguments)) == decoded([arguments]) == decoded(data.draw(cuts(arguments, 8))) == text


@FOR_ALL
@given(data=st.data(), arguments=st.dictionaries(st.sampled_from(["input", "patch", "x"]), JSON, max_size=3) | JSON)
def test_arguments_of_another_form_give_one_text(data, arguments):
    """Arguments that do not begin with the text still give the same text at every split, and never half a character."""
    written = json.dumps(arguments)
    whole = decoded([written])
    assert decoded(list(written)) == decoded(data.draw(cuts(written, 8))) == whole
    whole.encode()


@FOR_ALL
@given(text=st.text(max_size=30))
@example(text="\ud83d")
@example(text="\ude00\ud83d x")
def test_half_characters_are_replaced(text):
    """Halves of surrogate pairs, which JSON can spell, come out as U+FFFD."""
    written = json.dumps({"input": text})
    expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert decoded(list(written)) == decoded([written])
    assert len(decoded([written])) == len(expected)


@FOR_ALL
@given(data=st.data(), soup=st.text(alphabet='{}"\\:input u0d8 n', max_size=40))
def test_what_is_no_json_crashes_nothing(data, soup):
    """Cut or damaged arguments give the same text at every split."""
    assert decoded(list(soup)) == decoded(data.draw(cuts(soup, 8)) if soup else []) == decoded([soup])


@FOR_ALL
@given(events=replies(), summarised=st.booleans())
def test_a_streamed_response_is_the_whole_one(events, summarised):
    """The object in the last event is, byte for byte, the body of the same reply unstreamed."""
    reasoning = {"summary": "auto"} if summarised else None
    ask = RESPONSES.read(msgspec.json.encode({"input": "x", "reasoning": reasoning}))
    writer = RESPONSES.writer(ask, HEAD)
    stream = writer.feed(events) + writer.close()
    whole = RESPONSES.whole(fold(events), ask, HEAD)
    assert writer.response == whole
    last = stream.split(b"\n\n")[-2]
    assert last.endswith(b'"response":' + whole + b"}")
    assert (b"response.incomplete" in last) >= (ToolAborted() in events)


@settings(FOR_ALL, max_examples=150)
@given(field=st.sampled_from(sorted(FIELDS)), value=JSON)
def test_any_value_in_any_field_is_read_or_refused(field, value):
    """P11: whatever stands in a field, the answer is an Ask or a fault that names a place in that field."""
    outcome = read_or_fault({"input": "x"} | {field: value})
    if isinstance(outcome, Fault):
        assert outcome.param.startswith(field)


@settings(FOR_ALL, max_examples=150)
@given(items=st.lists(ITEMS | JSON, max_size=4), tools=st.lists(TOOLS, max_size=3), choice=JSON | TOOLS)
def test_any_items_and_tools_are_read_or_refused(items, tools, choice):
    """P11: whatever stands among items and tools, the answer is an Ask or a fault that names the place."""
    outcome = read_or_fault({"input": items, "tools": tools, "tool_choice": choice})
    if isinstance(outcome, Fault):
        assert outcome.param.startswith(("input", "tools", "tool_choice"))


@pytest.mark.parametrize("depth", [10, 1_000, 100_000])
@pytest.mark.parametrize("key", ["input", "tools", "text", "metadata", "unknown"])
def test_depth_is_survived_everywhere(depth, key):
    """P11: nesting of any depth, in a field that is read or in one that is not, is read or refused."""
    bomb = b'{"input":"x","%s":%s%s}' % (key.encode(), b'{"a":[' * depth, b"]}" * depth)
    RESPONSES.wanted(bomb + b'"previous_response_id"')
    fault = None
    try:
        RESPONSES.read(bomb)
    except Fault as found:
        fault = found
    assert fault is None or fault.kind is FaultKind.CALLER_BAD_REQUEST
