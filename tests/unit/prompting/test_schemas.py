"""Schemas as the model reads them: what is left out, how references are resolved, the notation of types."""

import json

import pytest

from fittengate.core.conversation import ToolSpec
from fittengate.prompting.schemas import MAX_RESOLVED, compact_schema, signature


def short(schema):
    return compact_schema(json.dumps(schema).encode())


def of(part, **root):
    """Return how one parameter named x is shown."""
    schema = {"type": "object", "properties": {"x": part}, "required": ["x"], **root}
    return signature(ToolSpec("t", "", json.dumps(schema).encode())).split("\n", 1)[1]


def test_noise_is_left_out_and_nothing_else():
    """Titles go, a parameter named title stays; values that are data are never touched."""
    schema = {
        "$schema": "s",
        "title": "T",
        "type": "object",
        "additionalProperties": False,
        "description": "",
        "required": [],
        "properties": {
            "title": {"type": "string", "title": "Title", "default": "", "minLength": 0},
            "o": {
                "type": "object",
                "default": {"title": "kept"},
                "enum": [{"$schema": 1}],
                "additionalProperties": True,
            },
        },
    }
    assert short(schema) == {
        "type": "object",
        "properties": {
            "title": {"type": "string", "default": "", "minLength": 0},
            "o": {
                "type": "object",
                "default": {"title": "kept"},
                "enum": [{"$schema": 1}],
                "additionalProperties": True,
            },
        },
    }


@pytest.mark.parametrize("name", ["$defs", "definitions"])
def test_references_are_resolved(name):
    """What stands beside a reference is kept and wins; the definitions are no longer needed."""
    schema = {
        "properties": {
            "x": {"$ref": f"#/{name}/a~1b", "description": "mine"},
            "y": {"items": {"$ref": "#/properties/x"}},
        },
        name: {"a/b": {"type": "string", "description": "theirs"}},
    }
    assert short(schema) == {
        "properties": {
            "x": {"type": "string", "description": "mine"},
            "y": {"items": {"type": "string", "description": "mine"}},
        }
    }


@pytest.mark.parametrize("target", ["#", "#/$defs/node", "#/nowhere", "http://x.test/s.json", "#/$defs/node/anyOf/9"])
def test_references_that_lead_back_or_nowhere_stay(target):
    """A schema may hold itself; then its definitions are kept."""
    node = {"type": "object", "properties": {"next": {"$ref": target}}}
    schema = short({"properties": {"x": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}})
    assert schema["properties"]["x"] == node
    assert schema["$defs"]["node"] == node


def test_references_cannot_make_much_of_little():
    """P6: twenty doublings would be a million parts; what comes out has a limit."""
    defs = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(20)}
    defs["d20"] = {"enum": ["x" * 1000]}
    body = json.dumps({"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": defs}).encode()
    assert len(json.dumps(compact_schema(body))) < 2 * (MAX_RESOLVED + len(body))


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ({"type": "string"}, "- x: string"),
        ({"type": ["integer", "null"], "default": None}, "- x: integer | null - (default null)"),
        ({"enum": ["a", 1, None]}, '- x: "a" | 1 | null'),
        ({"const": True}, "- x: true"),
        ({}, "- x: any"),
        (True, "- x: any"),
        ({"type": "array", "items": {"type": "string"}}, "- x: string[]"),
        ({"type": "array", "items": {"enum": [1, 2]}}, "- x: (1 | 2)[]"),
        ({"items": {"type": "string", "description": "one"}}, "- x: (string /* one */)[]"),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]}, "- x: [string, number]"),
        ({"anyOf": [{"type": "string"}, {"type": "array"}]}, "- x: string | (any[])"),
        ({"allOf": [{"type": "string"}, {"minLength": 1}]}, "- x: string & (any /* (minLength 1) */)"),
        ({"type": "object"}, "- x: object"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "- x: {[name: string]: number}"),
        (
            {
                "properties": {"a-b": {"type": "string", "description": "A */ b"}, "c": {"type": "null"}},
                "required": ["c"],
            },
            '- x: {"a-b"?: string /* A * / b */; c: null}',
        ),
        (
            {"type": "integer", "minimum": 1, "maximum": 9, "default": 5, "description": " How many.\nOr not. "},
            "- x: integer - (default 5, minimum 1, maximum 9) How many.\n  Or not.",
        ),
        ({"type": "string", "pattern": "^a$", "format": "uri"}, '- x: string - (pattern "^a$", format "uri")'),
        ({"type": {"odd": 1}, "enum": "x", "anyOf": 5, "description": 7}, "- x: any"),
    ],
    ids=str,
)
def test_a_parameter_is_one_line_in_typescripts_notation(part, shown):
    """Type, default, limits and description: nothing that an argument needs to be valid is dropped."""
    assert of(part) == shown


def test_what_is_said_of_all_parameters_is_kept():
    """Limits, choices and further parameters of the object itself."""
    lines = of(
        {"type": "string"}, minProperties=1, anyOf=[{"required": ["x"]}], additionalProperties={"type": "number"}
    )
    assert lines.split("\n")[1:] == [
        "All parameters - (minProperties 1)",
        'anyOf: [{"required":["x"]}]',
        "Any other parameter: number",
    ]


def test_a_type_that_holds_itself_has_a_name():
    """It is defined below the parameters."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    assert of({"$ref": "#/$defs/Node"}, **{"$defs": {"Node": node}}) == "- x: {next?: Node}\ntype Node = {next?: Node}"


def test_a_schema_of_great_depth_is_survived():
    """P11: parts beyond a depth are left out, and nothing breaks."""
    schema = {"type": "string"}
    for _ in range(300):
        schema = {"type": "array", "items": schema}
    assert "[]" in of(schema)
    assert "string" not in of(schema)
