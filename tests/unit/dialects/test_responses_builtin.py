"""Calls of tools that OpenAI built in: whatever a model has said of one, it is an object of the vendor's form."""

import json

import pytest

from fittengate.dialects._responses_builtin import BUILTIN, OUTPUTS, result, told, written

_LOCAL = {"type": "exec", "command": [], "env": {}, "timeout_ms": None, "user": None, "working_directory": None}
_SHELL = {"commands": [], "timeout_ms": None, "max_output_length": None}


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("local_shell", {"command": ["ls", "-l"]}, _LOCAL | {"command": ["ls", "-l"]}),
        ("local_shell", {"command": "ls | wc"}, _LOCAL | {"command": ["sh", "-c", "ls | wc"]}),
        ("local_shell", {"command": ["sleep", 5], "timeout_ms": "5"}, _LOCAL),
        ("local_shell", {"type": "delete_file", "env": {"A": 1}, "user": "root"}, _LOCAL),
        ("shell", {"commands": ["ls"], "timeout_ms": 5}, _SHELL | {"commands": ["ls"], "timeout_ms": 5}),
        ("shell", {"commands": "ls", "max_output_length": None}, _SHELL | {"commands": ["ls"]}),
        ("shell", {"commands": {"ls": 1}, "timeout_ms": True}, _SHELL),
        (
            "apply_patch",
            {"type": "create_file", "path": "a", "diff": "+x", "more": 1},
            {"type": "create_file", "path": "a", "diff": "+x"},
        ),
        ("apply_patch", {"type": "delete_file", "path": "a", "diff": "+x"}, {"type": "delete_file", "path": "a"}),
        ("apply_patch", {"type": ["x"], "path": 1}, {"type": "update_file", "path": "", "diff": ""}),
    ],
)
def test_what_is_of_the_wrong_type_is_left_empty(name, said, expected):
    """A part of a call is taken where it is of its type, and no part is added or lost."""
    assert written(name, json.dumps(said)) == expected


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("arguments", ["", "[]", "null", '{"half', "words", "\ud800"])
def test_arguments_that_are_no_object_say_nothing(name, arguments):
    """What cannot be read makes the empty object."""
    assert written(name, arguments) == BUILTIN[name].empty


def test_no_call_changes_what_the_next_one_begins_with():
    """The empty object of a tool stays empty."""
    before = json.dumps([tool.empty for tool in BUILTIN.values()])
    for name in BUILTIN:
        written(name, '{"type":"delete_file","command":"x","commands":"x"}')
    assert json.dumps([tool.empty for tool in BUILTIN.values()]) == before


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"output": "done"}, "done"),
        ({"output": [{"stdout": "a"}]}, '[{"stdout":"a"}]'),
        ({"output": "", "status": "failed"}, "failed"),
        ({"status": 5}, ""),
        ({}, ""),
    ],
)
def test_a_result_without_words_is_its_status(item, text):
    """Output is told as it is, as JSON where it is no text; without any the status speaks."""
    assert result(item) == text


@pytest.mark.parametrize("name", OUTPUTS.values())
def test_an_earlier_call_is_told_without_what_says_nothing(name):
    """Nulls, empty objects and the one type there is are no arguments; nor is an object that is none."""
    holder = BUILTIN[name].holder
    given = {"command": ["ls"], "timeout_ms": None, "env": {}}
    fixed = {"type": "exec"} if name == "local_shell" else {}
    assert json.loads(told(name, {holder: given | fixed})) == {"command": ["ls"]}
    assert told(name, {holder: "words"}) == "{}"
