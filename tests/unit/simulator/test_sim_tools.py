"""The simulator as a model with tools: what it reads of them, which it calls, and with what."""

import json

import pytest

from fittengate.simulator.answers import answer
from fittengate.simulator.calls import FLAWS, FORMS, Call, Template, written
from fittengate.simulator.choosing import calls_for
from fittengate.simulator.toolbox import Tool, Toolbox, task, toolbox
from fittengate.simulator.turns import parse

TEXT, NUMBER = {"type": "string"}, {"type": "number"}
TEMPLATE = Template(
    "<calls>", '<invoke name="NAME">', '<parameter name="PARAMETER">value</parameter>', "</invoke>", "</calls>"
)


def tool(name, about="", required=(), **properties):
    return Tool(name, about, {"type": "object", "properties": properties, "required": list(required or properties)})


AGENT = (
    tool("Bash", "Executes a bash command.", ["command"], command=TEXT, description=TEXT, timeout=NUMBER),
    tool("Read", "Reads a file.", ["file_path"], file_path=TEXT, limit={"type": "integer"}),
    tool("Write", "Writes a file.", file_path=TEXT, content=TEXT),
    tool("Edit", "Replaces text.", file_path=TEXT, old_string=TEXT, new_string=TEXT),
    tool("LS", "Lists a directory.", path=TEXT),
    tool("Grep", "A search tool built on ripgrep.", ["pattern"], pattern=TEXT, path=TEXT),
    tool("WebFetch", "Fetches a page.", url=TEXT, prompt=TEXT),
)
SDK = (
    tool("get_weather", "Get the weather.", ["city"], city=TEXT, unit={"enum": ["celsius", "fahrenheit"]}),
    tool("get_stock_price", "Latest price.", ticker=TEXT),
    tool("add", "Add two numbers.", a=NUMBER, b=NUMBER),
    tool("calculator", "Evaluate.", expression=TEXT),
    tool("send_email", "Send mail.", to=TEXT, body=TEXT),
)


def chosen(words, tools, rounds=0, **options):
    return [(call.name, call.arguments) for call in calls_for(words, rounds, Toolbox(tools, None, **options))]


@pytest.mark.parametrize(
    ("words", "name", "arguments"),
    [
        ("Read src/main.py", "Read", {"file_path": "src/main.py"}),
        ("读取 config.yaml", "Read", {"file_path": "config.yaml"}),
        ("Read notes.md with limit=20", "Read", {"file_path": "notes.md", "limit": 20}),
        (
            'Create hello.txt with the text "Hello, world"',
            "Write",
            {"file_path": "hello.txt", "content": "Hello, world"},
        ),
        (
            "Replace foo with bar in a.py",
            "Edit",
            {"file_path": "a.py", "old_string": "foo", "new_string": "bar"},
        ),
        (
            "In b.py change `x = 1` to `x = 2`",
            "Edit",
            {"file_path": "b.py", "old_string": "x = 1", "new_string": "x = 2"},
        ),
        ("Run `make test`", "Bash", {"command": "make test"}),
        ("运行 pytest -q", "Bash", {"command": "pytest -q"}),
        ("List the files", "LS", {"path": "."}),
        ("list what is in src/", "LS", {"path": "src/"}),
        ("search for TODO in the code", "Grep", {"pattern": "TODO"}),
        ('grep "def main"', "Grep", {"pattern": "def main"}),
    ],
)
def test_typical_tools_of_an_agent_are_chosen_and_filled(words, name, arguments):
    """By the verb and what the words hold; nothing is made up."""
    assert chosen(words, AGENT) == [(name, arguments)]


@pytest.mark.parametrize(
    ("words", "name", "arguments"),
    [
        ("What's the weather in Paris?", "get_weather", {"city": "Paris"}),
        ("weather in paris today", "get_weather", {"city": "paris"}),
        ("Weather in New York in celsius, please", "get_weather", {"city": "New York", "unit": "celsius"}),
        ("帮我查一下上海的天气", "get_weather", {"city": "上海"}),
        ("What is the price of AAPL?", "get_stock_price", {"ticker": "AAPL"}),
        ("Add 3 and 4.5", "add", {"a": 3, "b": 4.5}),
        ("What is 2 + 3 * 4?", "calculator", {"expression": "2 + 3 * 4"}),
        ('Send an email to bo@example.com saying "hi"', "send_email", {"to": "bo@example.com", "body": "hi"}),
    ],
)
def test_typical_tools_of_examples_are_chosen_and_filled(words, name, arguments):
    """By the words of their names, in English and Chinese."""
    assert chosen(words, SDK) == [(name, arguments)]


@pytest.mark.parametrize(
    "words", ["Tell me a joke", "How is the weather?", "Explain closures", "Write a haiku", "", "Read it again"]
)
def test_without_a_fitting_tool_nothing_is_called(words):
    """Neither where no tool does it nor where a required parameter is not in the words."""
    assert chosen(words, SDK + AGENT) == []


def test_several_files_or_places_are_several_calls_where_these_are_welcome():
    """One where the prompt wants exactly one; four at most."""
    assert [given for _, given in chosen("Read a.py and b.py", AGENT)] == [{"file_path": "a.py"}, {"file_path": "b.py"}]
    assert len(chosen("Weather in Oslo, Rome and New York", SDK)) == 3
    assert len(chosen("Weather in Oslo, Rome and New York", SDK, several=False)) == 1
    assert len(chosen("Read a.py b.py c.py d.py e.py f.py", AGENT)) == 4


def test_steps_are_done_one_after_the_other():
    """Cut at "then"; after the last step nothing is called any more."""
    words = "Read a.py, then run `make test`"
    assert chosen(words, AGENT, 0)[0][0] == "Read"
    assert chosen(words, AGENT, 1) == [("Bash", {"command": "make test"})]
    assert chosen(words, AGENT, 2) == []
    assert chosen("读取 a.py，然后运行 `ls`", AGENT, 1) == [("Bash", {"command": "ls"})]
    assert chosen('Write a.txt with the text "now and then"', AGENT)[0][1]["content"] == "now and then"


def test_what_is_demanded_is_called_and_what_is_forbidden_is_not():
    """A named tool is called with whatever there is; a demand for any takes the best."""
    assert chosen("Hello", SDK, demand="get_weather") == [("get_weather", {"city": "Hello"})]
    assert chosen("weather in Rome", SDK, demand="*") == [("get_weather", {"city": "Rome"})]
    assert chosen("Hello", (tool("pick", n={"type": "integer", "minimum": 3}),), demand="*") == [("pick", {"n": 3})]
    assert chosen("weather in Rome", SDK, forbidden=True) == []


def prompt(system, *turns):
    text = f"<|system|>\n{system}\n<|end|>\n"
    text += "".join(f"<|{role}|>\n{words}\n<|end|>\n" for role, words in turns)
    return parse(text + "<|assistant|>")


DECLARED = """Be brief.

<calls.x1>
<call name="NAME">
<arg name="PARAMETER">value</arg>
</call>
</calls.x1>

{"name":"get_weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}
{"type":"function","function":{"name":"noop"}}
{"not":"a tool"}"""


def test_tools_and_the_form_of_calls_are_read_from_the_words():
    """Whatever the tags are called: the form that the prompt shows is the one that is written."""
    box = toolbox(prompt(DECLARED, ("user", "Weather in Rome?")))
    assert [tool.name for tool in box.tools] == ["get_weather", "noop"]
    said = answer(prompt(DECLARED, ("user", "Weather in Rome?")), "M").text
    assert said.endswith('<calls.x1>\n<call name="get_weather">\n<arg name="city">Rome</arg>\n</call>\n</calls.x1>')
    bare = toolbox(prompt('{"name":"noop","parameters":{}}', ("user", "x")))
    assert bare.template is None
    assert bare.write([Call("noop")]).startswith("<function_calls>")


def test_tools_given_as_lists_of_parameters_are_read_too():
    """Types in the notation of TypeScript; a question mark marks optional ones. Other headings are no tools."""
    assert not toolbox(prompt("## Rules\n- tone: polite", ("user", "x"))).tools
    text = 'The tools, with their parameters:\n\n## weather\nThe weather.\n- city: string - which\n- unit?: "c" | "f"\n- days?: integer\n\n## noop\nNothing.'
    first, second = toolbox(prompt(text, ("user", "x"))).tools
    assert (first.name, first.description, first.schema["required"]) == ("weather", "The weather.", ["city"])
    assert first.schema["properties"]["unit"] == {"enum": ["c", "f"]}
    assert second.name == "noop"


def test_results_are_told_apart_from_what_the_user_says():
    """Rounds are counted since the user's last own words; notes of programs are not words."""
    results = (
        '<tool_results>\n<result name="run" call="1" error="true">\nno\n</result>\n'
        '<result name="ls" call="2">\na\nb\n</result>\n</tool_results>'
    )
    ask = ("user", "Go.\n\n[To call a tool, write a block.]")
    now = task(prompt("", ("user", "Old"), ("assistant", "x"), ask, ("assistant", "y"), ("user", results)))
    assert (now.words, now.rounds) == ("Go.", 1)
    assert [(one.tool, one.text, one.error) for one in now.results] == [("run", "no", True), ("ls", "a\nb", False)]
    noted = f"{results}\n<system-reminder>Read a.py</system-reminder>\n\n[To call a tool, write a block.]"
    assert task(prompt("", ask, ("user", noted))).rounds == 1
    fresh = task(prompt("", ask, ("assistant", "y"), ("user", f"{results}\n\nNow stop.")))
    assert (fresh.words, fresh.rounds, fresh.results) == ("Now stop.", 0, ())
    assert (
        task(prompt("", ("user", "<task>\nDo it\n</task>\n<environment_details>x</environment_details>"))).words
        == "Do it"
    )
    assert task(prompt("", ask, ("user", "Tool result (ls):\na"))).results[0].text == "a"


def test_the_answer_tells_what_the_calls_gave():
    """Failures too, after which no further step is tried; long results are cut."""
    result = '<tool_results>\n<result name="get_weather" call="1"{}>\n{}\n</result>\n</tool_results>'
    ask = ("user", "Weather in Rome, then weather in Oslo")
    good = answer(prompt(DECLARED, ask, ("assistant", "c"), ("user", result.format("", "22 C"))), "M").text
    assert "Oslo" in good
    bad = answer(prompt(DECLARED, ask, ("assistant", "c"), ("user", result.format(' error="true"', "down"))), "M").text
    assert "get_weather failed: down" in bad
    last = ("user", "Weather in Rome?")
    told = answer(prompt(DECLARED, last, ("assistant", "c"), ("user", result.format("", "x" * 2000))), "M").text
    assert "get_weather gave: xxx" in told
    assert len(told) < 800


def test_keywords_still_count_where_no_tool_fits():
    """And modifiers count beside a call."""
    assert "| left |" in answer(prompt(DECLARED, ("user", "show markdown")), "M").text
    slow = answer(prompt(DECLARED, ("user", "slow weather in Rome")), "M")
    assert slow.interval_ms == 300
    assert "<call name" in slow.text
    assert (
        answer(prompt(DECLARED, ("user", "repeat: weather in Rome\n\n[To call a tool, do.]")), "M").text
        == "weather in Rome"
    )


CALLS = [Call("run", {"cmd": "ls -a", "n": 3}), Call("stop", {})]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_call(form):
    """The name, except where a form has none, and the value."""
    text = written(CALLS, form, None)
    assert "ls -a" in text
    assert form == "bare_arguments" or "run" in text


@pytest.mark.parametrize("flaw", FLAWS)
def test_every_flaw_changes_the_text(flaw):
    """Each in its own way."""
    plain = written(CALLS, "prompted", TEMPLATE)
    assert written(CALLS, "invoke", TEMPLATE, [flaw]) != written(CALLS, "invoke", TEMPLATE)
    assert plain == (
        '<calls>\n<invoke name="run">\n<parameter name="cmd">ls -a</parameter>\n<parameter name="n">3</parameter>\n'
        '</invoke>\n<invoke name="stop">\n</invoke>\n</calls>'
    )


async def test_a_plan_writes_calls_in_any_form(client):
    """From a scenario or a test, behind the words that it gives."""
    plan = {"calls": [{"name": "run", "arguments": {"cmd": "ls"}}], "call_form": "tool_call_json", "text": "Look."}
    await client.json("POST", "/_sim/next", {"route": "chat", "plan": plan})
    said = await client.text("hello")
    assert said == 'Look.\n<tool_call>{"name": "run", "arguments": {"cmd": "ls"}}</tool_call>'
    status, _ = await client.json("POST", "/_sim/next", {"route": "chat", "plan": {"call_form": "morse"}})
    assert status >= 400
    assert json.loads(written(CALLS, "openai_json", None))["tool_calls"][0]["function"]["name"] == "run"
