"""The simulator asked for JSON: it answers with a value that fits."""

import json

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.simulator.answers import answer
from fittengate.simulator.json_answer import json_answer, wanted
from fittengate.simulator.turns import parse

PERSON = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 2, "maximum": 5},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "mail": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]},
        "next": {"$ref": "#/$defs/node"},
    },
    "required": ["city", "days", "tags", "unit", "mail", "next"],
    "additionalProperties": False,
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "number"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
        }
    },
}
ASKED = "The answer is one JSON value and nothing else.\n\nThe JSON value must be valid against this JSON schema:\n\n{}"


def said(system, words):
    return answer(parse(f"<|system|>\n{system}\n<|end|>\n<|user|>\n{words}\n<|end|>\n<|assistant|>"), "M").text


def test_the_schema_is_read_from_the_prompt_and_the_words_fill_it():
    """What the words hold comes first, then the simplest value; the answer is JSON alone."""
    value = json.loads(said(ASKED.format(json.dumps(PERSON)), "3 days in Oslo, in fahrenheit\n\n[Answer with JSON.]"))
    jsonschema_rs.validate(PERSON, value)
    assert (value["city"], value["days"], value["unit"]) == ("Oslo", 3, "fahrenheit")


def test_without_a_schema_any_object_will_do():
    """The words are in it."""
    assert json.loads(said("Answer with one JSON object.", "Hello")) == {"answer": "Hello"}


@pytest.mark.parametrize(
    "system",
    ["", "Explain JSON schema to the user: {}", 'You write JSON files, such as {"type": "object"}.', "Be brief."],
)
def test_talk_of_json_alone_asks_for_none(system):
    """Words come back where no JSON was asked for."""
    assert wanted(system) is None
    assert "simulator" in said(system, "Hi")


def test_declared_tools_are_not_taken_for_the_schema():
    """Their lines announce a JSON schema, too."""
    tools = 'Tools, each with the JSON schema of its parameters:\n{"name":"noop","parameters":{"type":"object"}}\n\n'
    assert wanted(tools + ASKED.format('{"type": "array"}')) == {"type": "array"}
    assert wanted(tools + "Answer with one JSON object.") == {}


def test_an_example_of_an_object_declares_no_tool():
    """It may have a name, and words that say it; it is no tool that could be called."""
    system = 'Answer with one JSON object.\n\nAn example of the form:\n\n{"name": "value"}'
    assert json.loads(said(system, "The input value is wrong.")) == {"answer": "The input value is wrong."}


leaves = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 5, "maxLength": 9},
        {"type": "string", "format": "date-time"},
        {"type": "integer", "minimum": 7},
        {"type": "number", "exclusiveMaximum": 0},
        {"type": "integer", "multipleOf": 5},
        {"type": ["null", "boolean"]},
        {"enum": [1, "two", None]},
        {"const": "fixed"},
        {"type": "null"},
    ]
)


def nested(inner):
    names = st.sampled_from(["city", "n", "items", "url", "note", "path"])
    objects = st.dictionaries(names, inner, min_size=1, max_size=3).map(
        lambda parts: {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
    )
    arrays = st.tuples(inner, st.integers(0, 3)).map(lambda p: {"type": "array", "items": p[0], "minItems": p[1]})
    choices = st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts})
    return objects | arrays | choices


@given(st.recursive(leaves, nested, max_leaves=8), st.sampled_from(["", "Read a.py in Oslo", "n=3, 4.5 and two"]))
def test_what_is_made_fits_the_schema(schema, words):
    """For the keywords that are understood, whatever the words are."""
    jsonschema_rs.validate(schema, json.loads(json_answer(schema, words)))
