"""JSON as models write it: what is forgiven, what is not, and that looking takes no longer for it."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.prompting.repair import read_several, repair_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": "x\ny"}', {"a": "x\ny"}),
        ('{"a": [1, 2,\n], "b": ",]",}', {"a": [1, 2], "b": ",]"}),
        ('{"a": 1}}', {"a": 1}),
        ("{'a': 'it\\'s \"x\"', \"b\": None, 'True': [True, False]}", {"a": 'it\'s "x"', "b": None, "True": [True, False]}),
        ("{'a': '\\x1b[0m'}", {"a": "\x1b[0m"}),
        (r'{"a": "\d+\.py"}', {"a": r"\d+\.py"}),
        (r'{"a": "\bfoo\s\\\""}', {"a": '\\bfoo\\s\\"'}),
        (r'{"a": "C:\Users\admin"}', {"a": r"C:\Users\admin"}),
    ],
)  # fmt: skip
def test_what_can_be_meant_in_one_way_is_read(text, value):
    """Control characters, commas and brackets too many, Python's spelling, a backslash that is no escape."""
    assert repair_json(text) == (value, True)


@pytest.mark.parametrize(
    "text",
    [
        r'{"a": "C:\Users\new"}',
        r'{"a": "\d\u0041"}',
        r'{"a": "\x41"}',
        r"""{"a": "echo 'it'\''s'"}""",
        '{"a": "say "hi""}',
        '{"a": 1}} and so on',
        '}{"a": 1}',
        '{"a": [1}',
        '{"a": [1]]}',
        '{"a": "x',
        "{'a': 'x",
        "{'a': '",
        '{"a": 1',
        "{a: 1}",
        '{"a": NaN}',
        "",
    ],
)
def test_what_can_be_meant_in_two_ways_is_not_guessed(text):
    """Nor is what was cut off made whole, nor more than one value made one."""
    with pytest.raises(ValueError):
        repair_json(text)


def test_brackets_are_closed_only_where_the_text_was_not_cut_off():
    """And not where a string is open."""
    assert repair_json('{"a": {"b": [1', ended=True) == ({"a": {"b": [1]}}, True)
    for text in ('{"a": "x', '{"a": [1}'):
        with pytest.raises(ValueError):
            repair_json(text, ended=True)


SPELT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("a'\"\\\n\t{],é ", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a'\"\\ ", max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(SPELT, max_size=3) | st.dictionaries(st.text("a'\"\\ ", max_size=4), SPELT, max_size=3))
def test_what_python_writes_of_a_value_is_read_as_the_value(value):
    """Quotes of both kinds, escapes, words."""
    assert repair_json(repr(value))[0] == value


def test_values_that_follow_each_other_are_read_one_by_one():
    """White space, commas, semicolons and tags of calls may stand between them, and nothing else."""
    assert read_several(' {"a": 1}; [2],\n<tool_call>\n3</tool_call>') == [{"a": 1}, [2], 3]
    with pytest.raises(ValueError):
        read_several("{} and {}")


@pytest.mark.parametrize("unit", ['"', "'", '\\"', "\\'", "\\", "[", "[]", ",", ", ", " ", "'\\", '"\\d"', "True "])
@pytest.mark.parametrize("before", ["", '{"a": "', "{'a': '", "[1"])
def test_time_is_linear_in_the_text(before, unit):
    """Whatever fails, fails as soon: sixteen times the text takes not much more than sixteen times as long."""

    def seconds(chars):
        text = before + unit * (chars // len(unit))
        start = time.process_time()
        with contextlib.suppress(ValueError):
            repair_json(text, ended=True)
        return time.process_time() - start

    once = min(seconds(6_000) for _ in range(3))
    assert min(seconds(96_000) for _ in range(2)) < 48 * once + 0.05
