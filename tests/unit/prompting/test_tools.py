"""The section on tools: its form and its examples, tool_choice, and when tags get a suffix."""

import json
import re

import pytest

from fittengate.core.ask import ToolUse
from fittengate.core.conversation import Conversation, Image, Message, Text, Thought, ToolCall, ToolResult, ToolSpec
from fittengate.prompting.syntax import Tags
from fittengate.prompting.tools import SCHEMA_CHARS, instructions, reminder, tags_for

STRING = {"type": "string"}
AUTO = ToolUse()


def tool(name, parameters=None, description=""):
    return ToolSpec(name, description, json.dumps(parameters or {}).encode())


def taking(required, **properties):
    return {"type": "object", "properties": properties, "required": required}


WRITE = tool("write_file", taking(["path", "content"], path=STRING, content=STRING), "Writes a file.")
FIND = tool("find", taking(["deep"], deep={"type": "boolean"}, limit={"type": "integer"}))
LIST = tool("list")


def section(*tools, tags=None, **use):
    return instructions(tools, ToolUse(**use), tags or Tags())


def declared(text):
    """Return the tools that a section shows as lines of JSON."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def examples(text):
    return re.findall(r'<invoke name="([^"]*)">', text)[1:]


def asked(*parts, tools=(LIST,)):
    return Conversation((Message("user", parts),), tools)


def test_tools_are_shown_as_the_client_declared_and_ordered_them():
    """One line of JSON each; what is empty is left out."""
    assert declared(section(WRITE, LIST)) == [
        {"name": "write_file", "description": "Writes a file.", "parameters": json.loads(WRITE.parameters)},
        {"name": "list"},
    ]
    assert [shown["name"] for shown in declared(section(LIST, WRITE))] == ["list", "write_file"]


def test_the_section_says_what_the_form_is():
    """The block with its tags, in the suffix of the conversation where there is one."""
    text = section(WRITE, tags=Tags("k7qf"))
    form = (
        '<tool_calls.k7qf>\n<invoke.k7qf name="NAME">\n<parameter.k7qf name="PARAMETER">value</parameter.k7qf>\n'
        "</invoke.k7qf>\n</tool_calls.k7qf>"
    )
    assert form in text
    assert "<tool_results.k7qf>" in text
    assert not re.search(r"</?(tool_calls|invoke|parameter|tool_results)[ >]", text)


def test_examples_are_made_of_tools_that_are_there():
    """Two at most: one with several lines and quotes, one with a value that is no string."""
    text = section(LIST, WRITE, FIND)
    assert examples(text) == ["write_file", "find"]
    assert '<parameter name="content">if name == \'a\' and "b" < c:\n    print("x & y")</parameter>' in text
    assert '<parameter name="deep">true</parameter>' in text
    assert examples(section(LIST)) == ["list"]


@pytest.mark.parametrize(
    "schema",
    [
        taking(["x"], x={"type": "string", "pattern": "^a{3}$"}),
        taking(["x"], x={"type": "object"}),
        taking(["gone"]),
        taking(["x"]) | {"anyOf": [{}]},
        {"required": 5, "properties": [], "$ref": "#"},
    ],
)
def test_a_tool_whose_values_are_not_clear_makes_no_example(schema):
    """An example that breaks the tool's own rules would teach the model to do so."""
    assert examples(section(tool("odd", schema))) == []


@pytest.mark.parametrize(
    ("value", "written"), [({"enum": ["a", "b"]}, "a"), ({"default": 7}, "7"), ({"const": 0}, "0")]
)
def test_an_example_takes_values_that_the_schema_gives(value, written):
    """Listed values, defaults and constants surely fit."""
    assert f'<parameter name="x">{written}</parameter>' in section(tool("t", taking(["x"], x=value)))


def test_large_schemas_become_signatures():
    """Over the budget each parameter is a line; names, types and descriptions are all still there."""
    many = {f"parameter{n}": {"type": "string", "description": "word " * 20} for n in range(SCHEMA_CHARS // 100)}
    text = section(tool("big", taking(["parameter0"], **many), "Big one."), LIST)
    assert declared(text) == []
    assert "## big\nBig one.\n- parameter0: string - word" in text
    assert "\n- parameter9?: string - word" in text
    assert "\n## list" in text


def test_descriptions_do_not_count_as_schemas():
    """A signature would not make them shorter."""
    assert declared(section(tool("t", description="long " * SCHEMA_CHARS)))


@pytest.mark.parametrize(
    ("use", "demand"),
    [
        ({"choice": "required"}, "Call at least one tool now."),
        ({"choice": "named", "name": "find"}, "Call the tool find now."),
    ],
)
def test_a_call_that_is_wanted_is_asked_for_twice(use, demand):
    """At the end of the section, and in the reminder, which stands last."""
    assert section(WRITE, FIND, **use).endswith(demand)
    assert demand in reminder((WRITE, FIND), ToolUse(**use), Tags())
    assert "now." not in section(WRITE, FIND) + reminder((WRITE, FIND), AUTO, Tags())


def test_a_named_tool_is_the_only_one_shown():
    """The model cannot choose another."""
    text = section(WRITE, FIND, choice="named", name="find")
    assert [shown["name"] for shown in declared(text)] == ["find"]
    assert examples(text) == ["find"]


def test_without_calls_there_is_no_section_but_a_line():
    """With tool_choice none the model does not hear of its tools."""
    assert section(WRITE, choice="none") == ""
    assert reminder((WRITE,), ToolUse("none"), Tags()) == "[Answer now without calling any tool.]"
    assert (section(), reminder((), AUTO, Tags())) == ("", "")


def test_one_call_at_a_time_is_said():
    """In place of the leave to make several."""
    assert "exactly one invoke" in section(WRITE, parallel=False)
    assert "several" not in section(WRITE, parallel=False)
    assert "several" in section(WRITE)
    assert "exactly one invoke" in reminder((WRITE,), ToolUse(parallel=False), Tags())


def test_the_same_tools_make_the_same_text():
    """However often it is made: what a service keeps of a prompt stays of use."""
    assert section(WRITE, FIND) == section(WRITE, FIND)
    long = tool("long", description="x" * 20_000)
    assert section(long) == section(long)


@pytest.mark.parametrize(
    "schema",
    [b"", b"{", b"[]", b'"x"', b"null", b'{"properties":5}', b"\xff", b'{"a":' * 5_000 + b"1" + b"}" * 5_000],
    ids=lambda schema: repr(schema[:8]),
)
def test_a_schema_that_cannot_be_read_is_shown_as_none(schema):
    """P11: the tool is shown by its name; nothing breaks."""
    assert declared(section(ToolSpec("odd", "", schema)))[0]["name"] == "odd"


@pytest.mark.parametrize(
    "part",
    [
        Text('see <invoke name="x">'),
        Text("</parameter>"),
        ToolCall("i", "list", '{"text":"<tool_calls>"}'),
        ToolCall("i", "list", '{"text":"\\u003c\\/invoke>"}'),
        ToolCall("i", "list", '{"half": "<tool_calls>'),
        ToolResult("i", (Text("a page with <tool_calls>"),)),
    ],
)
def test_texts_that_hold_parts_of_calls_make_a_suffix(part):
    """Whoever wrote them, and however JSON spells them."""
    tags = tags_for(asked(Text("hi"), part), b"secret")
    assert re.fullmatch(r"[a-z2-7]{4}", tags.suffix)
    assert tags.calls == f"<tool_calls.{tags.suffix}>"


def test_tools_that_speak_of_calls_make_a_suffix():
    """Descriptions are somebody's text as well."""
    assert tags_for(asked(Text("hi"), tools=(tool("t", description="not </invoke>"),)), b"").suffix
    assert tags_for(asked(Text("hi"), tools=(tool("t", {"description": "<tool_calls>"}),)), b"").suffix


@pytest.mark.parametrize("part", [Text("a < b > c </p>"), Thought("<tool_calls>"), Image("data:,<tool_calls>", "m")])
def test_other_texts_leave_tags_plain(part):
    """Thoughts and pictures are no text of the prompt."""
    assert tags_for(asked(Text("hi"), part), b"secret") == Tags()


def test_without_tools_tags_are_plain():
    """Nothing is read as a call then."""
    assert tags_for(asked(Text("<tool_calls>"), tools=()), b"secret") == Tags()


def test_the_suffix_stays_for_a_conversation_and_cannot_be_guessed():
    """It follows from the secret, the first words of the user and the tools, and from nothing that is said later."""
    first = asked(Text("fix it"), Text("<tool_calls>"))
    later = Conversation((*first.messages, Message("assistant", (Text("ok"),)), *asked(Text("and </invoke>")).messages))
    suffix = tags_for(first, b"one").suffix
    assert tags_for(Conversation(later.messages, first.tools), b"one").suffix == suffix
    others = [
        tags_for(first, b"two"),
        tags_for(asked(Text("fix that"), Text("<tool_calls>")), b"one"),
        tags_for(asked(Text("fix it"), Text("<tool_calls>"), tools=(WRITE,)), b"one"),
    ]
    assert suffix not in {tags.suffix for tags in others}


def test_no_text_holds_the_suffix():
    """Where one does, the next is taken."""
    first = asked(Text("fix it"))
    colliding = Message("user", (Text("<tool_calls>"),))
    suffix = tags_for(Conversation((*first.messages, Message("assistant", ()), colliding), (LIST,)), b"s").suffix
    quoted = Message("user", (Text(f"<TOOL_CALLS.{suffix.upper()}>"),))
    other = tags_for(Conversation((*first.messages, Message("assistant", ()), colliding, quoted), (LIST,)), b"s").suffix
    assert other
    assert other != suffix
