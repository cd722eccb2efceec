"""How calls are written, and which texts look like them."""

import pytest

from fittengate.prompting.syntax import Tags, collides, escape, render_calls, unescape


def test_a_block_holds_strings_as_they_are_and_other_values_as_compact_json():
    """The exact text, keys in the order given, numbers spelt as the client spelt them."""
    arguments = '{"path": "a \\"b\\" <c>.py", "lines": [1, 2.50, {"a": null}], "n": 1e2, "text": "a\\nb\\n"}'
    assert render_calls([("write", arguments), ("ls", "{}")], Tags()) == (
        "<tool_calls>\n"
        '<invoke name="write">\n'
        '<parameter name="path">a "b" <c>.py</parameter>\n'
        '<parameter name="lines">[1,2.50,{"a":null}]</parameter>\n'
        '<parameter name="n">1e2</parameter>\n'
        '<parameter name="text">a\nb\n</parameter>\n'
        "</invoke>\n"
        '<invoke name="ls">\n'
        "</invoke>\n"
        "</tool_calls>"
    )


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ('{"a": "\\n x"}', '<parameter.k7 name="a">\n\n x\n</parameter.k7>'),
        ('{"a": "<![CDATA[x]]>"}', '<parameter.k7 name="a"><![CDATA[<![CDATA[x]]>]]></parameter.k7>'),
        ('{"a\\"<b>&\\n": "x"}', '<parameter.k7 name="a&quot;&lt;b&gt;&amp;&#10;">x</parameter.k7>'),
        ('{"a": "\\ud800"}', '<parameter.k7 name="a">\ufffd</parameter.k7>'),
        ('{"cut": "of', '<parameter.k7 name="arguments">{"cut": "of</parameter.k7>'),
        ("[1]", '<parameter.k7 name="arguments">[1]</parameter.k7>'),
    ],
)
def test_odd_arguments_are_written_all_the_same(arguments, parameter):
    """Block style, CDATA, names with entities, half characters, and what is no object; all tags have the suffix."""
    assert render_calls([("t", arguments)], Tags("k7")) == (
        f'<tool_calls.k7>\n<invoke.k7 name="t">\n{parameter}\n</invoke.k7>\n</tool_calls.k7>'
    )


@pytest.mark.parametrize("half", ["", "\\ud800"])
@pytest.mark.parametrize("depth", [*range(900, 1000, 5), 1_500, 10_000, 100_000])
def test_arguments_nested_too_deeply_are_written_as_a_text(depth, half):
    """How deep is too deep depends on Python and on who calls; there is always a parameter with all of it."""
    arguments = f'{{"a":["{half}",{"[" * depth}{"]" * depth}]}}'
    assert "[" * depth + "]" * depth in render_calls([("t", arguments)], Tags())


@pytest.mark.parametrize("arguments", ["", "  ", "{}"])
def test_a_call_without_arguments_has_no_parameters(arguments):
    """An empty text stands for an empty object."""
    assert "<parameter" not in render_calls([("t", arguments)], Tags())


@pytest.mark.parametrize("name", ['a"b', "&lt;", "<>&\n\r", "plain", "&unknown; &"])
def test_a_name_survives_its_tag(name):
    """Whatever is in it, and an entity that XML does not know stays as it is."""
    assert unescape(escape(name)) == name
    assert not set(escape(name)) & set('"<>\n\r')


@pytest.mark.parametrize(
    "text",
    ["<tool_calls>", "x </invoke> y", '<INVOKE name="x">', "</parameter>", "<tool_calls.k7qf>", "<function_calls>",
     "<function=x>", "<tool_call>", "<｜DSML｜invoke", "<｜tool▁calls▁begin｜>", "</tool_results>", '<parameter name="x">'],
)  # fmt: skip
def test_a_text_with_parts_of_our_tags_collides(text):
    """In any letter case, foreign spellings too: all of it could be quoted as a call."""
    assert collides(text)


@pytest.mark.parametrize("text", ["", "tool_calls", "<b>bold</b>", "<parameters>", "a < b", "<invoker>", "<result>"])
def test_other_text_does_not_collide(text):
    """Ordinary markup and words are no reason for a suffix."""
    assert not collides(text)
