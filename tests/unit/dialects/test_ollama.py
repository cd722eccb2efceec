"""What is read from Ollama's requests, which call a result is given to, and what is refused at which place."""

import json

import ollama
import pytest

from fittengate.core.ask import Ask, FillAsk, ReplyFormat, Sampling
from fittengate.core.caller import ModelCard
from fittengate.core.conversation import Image, Message, Text, Thought, ToolCall, ToolResult
from fittengate.core.faults import Fault, FaultKind
from fittengate.dialects import OLLAMA
from fittengate.dialects._ollama import Load, moment
from fittengate.dialects._ollama_models import read_show, show_body, tags_body, version_body

CHAT, GENERATE = OLLAMA
BAD, UNSUPPORTED = FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED
USER = {"role": "user", "content": "x"}


def chat(**fields):
    return CHAT.read(json.dumps({"model": "m", "messages": [USER]} | fields).encode())


def generate(**fields):
    return GENERATE.read(json.dumps({"model": "m", "prompt": "x"} | fields).encode())


def said(*messages):
    return chat(messages=messages).conversation.messages


def call(name, call_id=None):
    return {"function": {"name": name, "arguments": {}}} | ({} if call_id is None else {"id": call_id})


def answered(calls, *results):
    """Return the ids of the calls that the results are given to."""
    _, *told = said({"role": "assistant", "tool_calls": calls}, *[{"role": "tool"} | result for result in results])
    return [message.parts[0].call_id for message in told]


def test_an_answer_is_its_thought_its_words_and_its_calls():
    """Calls without an id get one from their place in the answer, and results find them by it."""
    answer = {"role": "assistant", "thinking": "hm", "content": "a", "tool_calls": [call("f"), call("g", "c1")]}
    assert said(answer, {"role": "tool", "content": "r", "tool_name": "f"}) == (
        Message("assistant", (Thought("hm"), Text("a"), ToolCall("call:0", "f", "{}"), ToolCall("c1", "g", "{}"))),
        Message("user", (ToolResult("call:0", (Text("r"),)),)),
    )


@pytest.mark.parametrize(
    ("results", "ids"),
    [
        ([{}, {}, {}], ["a", "b", "c"]),
        ([{"tool_call_id": "c"}, {}, {}], ["c", "a", "b"]),
        ([{"tool_name": "g"}, {"tool_name": "f"}, {"name": "f"}], ["b", "a", "c"]),
        ([{"tool_name": "f"}, {"tool_name": "f"}, {"tool_name": "f"}, {}], ["a", "c", "", "b"]),
        ([{"tool_call_id": "a"}, {"tool_call_id": "a"}, {"tool_name": "f"}], ["a", "a", "c"]),
        ([{"tool_call_id": "x"}, {"tool_name": "x"}, {}, {}, {}, {}], ["x", "", "a", "b", "c", ""]),
        ([{"tool_call_id": "b", "tool_name": "f"}], ["b"]),
    ],
)
def test_a_result_belongs_to_the_first_call_that_waits_and_fits(results, ids):
    """By its id, else by its tool's name, else by its place; each call gets one result, and what fits none keeps its id."""
    assert answered([call("f", "a"), call("g", "b"), call("f", "c")], *results) == ids


def test_calls_with_one_id_get_a_result_each():
    """Ids that a client gave twice do not lose a call."""
    assert answered([call("f", "a"), call("g", "a")], {"tool_call_id": "a"}, {"tool_name": "g"}, {}) == ["a", "a", ""]


def test_a_new_answer_leaves_no_call_of_before_waiting():
    """Results belong to the last answer; words between do not matter."""
    first, second = [{"role": "assistant", "tool_calls": [call("f", call_id)]} for call_id in ("a", "b")]
    *_, last = said(first, second, USER, {"role": "tool", "content": "r"})
    assert last.parts == (ToolResult("b", (Text("r"),)),)


def test_options_cut_the_answer():
    """Limit and stops are taken, what the machine is told is passed over, and the rest is reported."""
    ask = chat(options={"num_predict": 5.0, "stop": ["a", ""], "num_ctx": 1, "temperature": 0, "seed": None})
    assert (ask.sampling, ask.ignored) == (Sampling(5, ("a",)), ("options.temperature",))
    assert chat(options={"num_predict": -2, "stop": "b"}).sampling == Sampling(None, ("b",))
    assert chat(options={"stop": ""}).sampling == Sampling()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("", None),
        ("json", ReplyFormat(where="format")),
        ({"type": "object"}, ReplyFormat(schema=b'{"type":"object"}', strict=True, where="format")),
    ],
)
def test_forms_of_an_answer(form, expected):
    """Free text, any JSON, or a schema that the answer must fit."""
    assert chat(format=form).reply_format == generate(format=form).reply_format == expected


def test_thoughts_are_shown_unless_they_are_switched_off():
    """A level of reasoning cannot be chosen, and is reported."""
    assert [chat(think=think).wishes.show_thoughts for think in (None, True, False)] == [True, True, False]
    assert chat(think="high").ignored == ("think",)


def test_pictures_are_base64_or_data_urls():
    """Each becomes a picture with its place."""
    (message,) = said({"role": "user", "images": ["aGk=", "data:image/gif;base64,aGk="]})
    assert message.parts == (
        Image("data:image/png;base64,aGk=", "messages[0].images[0]"),
        Image("data:image/gif;base64,aGk=", "messages[0].images[1]"),
    )
    assert generate(images=["aGk="]).conversation.messages[-1].parts[1].where == "images[0]"


@pytest.mark.parametrize(
    ("keep", "unload"), [(0, True), ("0s", True), (0.0, True), ("5m", False), (-1, False), ([], False)]
)
def test_a_request_without_a_word_loads_or_unloads_a_model(keep, unload):
    """No text is asked for; keep_alive of nothing unloads."""
    for ask in (chat(messages=[], keep_alive=keep), generate(prompt="", keep_alive=keep)):
        assert isinstance(ask, Load)
        assert (ask.unload, ask.sampling) == (unload, Sampling(0))


def test_a_prompt_is_talked_about_or_filled_in():
    """A suffix, a marked cursor or the model for it make a code completion; a raw prompt has no system prompt."""
    assert generate(system="s").conversation.messages == (
        Message("system", (Text("s"),)),
        Message("user", (Text("x"),)),
    )
    assert generate(system="s", raw=True).conversation.messages == (Message("user", (Text("x"),)),)
    assert isinstance(generate(suffix=""), Ask)
    assert [(ask.prefix, ask.suffix) for ask in (generate(suffix="y"), generate(prompt="<PRE> a <SUF>b <MID>"))] == [
        ("x", "y"),
        ("a", "b"),
    ]
    assert isinstance(generate(model="Fitten-Completion:latest"), FillAsk)
    assert generate(template="t", context=[1]).ignored == ("template", "context")
    assert generate(template="", context=[]).ignored == ()


@pytest.mark.parametrize(
    ("fields", "kind", "place"),
    [
        ({"model": ""}, BAD, "model"),
        ({"model": 5}, BAD, "model"),
        ({"stream": "yes"}, BAD, "stream"),
        ({"options": []}, BAD, "options"),
        ({"options": {"num_predict": 1.5}}, BAD, "options.num_predict"),
        ({"options": {"stop": 5}}, BAD, "options.stop"),
        ({"options": {"stop": ["a"] * 33}}, BAD, "options.stop"),
        ({"options": {"stop": ["a", 5]}}, BAD, "options.stop[1]"),
        ({"format": "yaml"}, BAD, "format"),
        ({"think": 5}, BAD, "think"),
        ({"truncate": "no"}, BAD, "truncate"),
        ({"logprobs": True}, UNSUPPORTED, "logprobs"),
        ({"top_logprobs": 3}, UNSUPPORTED, "top_logprobs"),
        ({"images": "aGk="}, BAD, "images"),
        ({"images": ["aGk=", ""]}, BAD, "images[1]"),
        ({"raw": 1}, BAD, "raw"),
        ({"system": ["s"]}, BAD, "system"),
        ({"suffix": 5}, BAD, "suffix"),
    ],
)
def test_what_can_never_work_is_refused_in_a_prompt(fields, kind, place):
    """The fault names the place."""
    with pytest.raises(Fault) as caught:
        generate(**fields)
    assert (caught.value.kind, caught.value.param) == (kind, place)


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ("x", "messages"),
        (["x"], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "critic"}], "messages[0].role"),
        ([{"role": ["user"]}], "messages[0].role"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content"),
        ([{"role": "user", "images": {}}], "messages[0].images"),
        ([{"role": "assistant", "thinking": 5}], "messages[0].thinking"),
        ([{"role": "assistant", "tool_calls": [{"function": {}}]}], "messages[0].tool_calls[0].function.name"),
        ([{"role": "tool", "tool_call_id": 5}], "messages[0].tool_call_id"),
        ([{"role": "tool", "tool_name": 5}], "messages[0].tool_name"),
        ([{"role": "tool", "name": 5}], "messages[0].name"),
    ],
)
def test_what_can_never_work_is_refused_in_a_conversation(messages, place):
    """The fault names the place."""
    with pytest.raises(Fault) as caught:
        chat(messages=messages)
    assert (caught.value.kind, caught.value.param) == (BAD, place)


def test_a_tool_without_a_type_is_a_function():
    """As in Ollama's own examples; null is as good as nothing."""
    tools = [{"function": {"name": "f"}}, {"type": None, "function": {"name": "g"}}]
    assert [tool.name for tool in chat(tools=tools).conversation.tools] == ["f", "g"]


def test_any_number_of_seconds_is_a_time():
    """What no calendar has becomes the nearest that it has."""
    assert (moment(-5), moment(10**15)) == ("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z")


def test_models_are_told_as_ollamas_client_reads_them():
    """Each name has the tag that Ollama's have; the digest follows from the name."""
    cards = (ModelCard("m", "M", created=5), ModelCard("fitten-completion", "C", section="completion"))
    listed = ollama.ListResponse.model_validate_json(tags_body(cards), strict=True)
    assert [model.model for model in listed.models] == ["m:latest", "fitten-completion:latest"]
    assert len({model.digest for model in listed.models}) == 2
    talks, completes = [ollama.ShowResponse.model_validate_json(show_body(card, 10), strict=True) for card in cards]
    assert talks.modelinfo["fitten.context_length"] == 10
    assert ("tools" in talks.capabilities, "tools" in completes.capabilities) == (True, False)
    assert json.loads(version_body())["version"].count(".") == 2


@pytest.mark.parametrize("body", [b'{"model":"m"}', b'{"name":"m"}', b'{"model":"","name":"m"}'])
def test_a_model_is_shown_by_either_name(body):
    """Older clients write name."""
    assert read_show(body) == "m"


@pytest.mark.parametrize("body", [b"{}", b'{"model":5}', b'{"name":null}'])
def test_a_model_that_is_to_be_shown_must_be_named(body):
    """The fault names the place."""
    with pytest.raises(Fault) as caught:
        read_show(body)
    assert (caught.value.kind, caught.value.param) == (BAD, "model")
