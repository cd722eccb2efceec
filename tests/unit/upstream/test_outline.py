"""What is told of a body that may echo a prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.upstream.fitten.outline import MAX_CHARS, outline


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "empty"),
        ("<html><head><title>502 Bad Gateway</title>", "a web page, '502 Bad Gateway', 42 characters"),
        ("my secret prompt", "no JSON, 16 characters"),
        ('{"detail":"Token time expired"}', "{detail: text of 18}"),
        (
            '{"detail":[{"type":"string_type","loc":["body","inputs"],"input":"my prompt"}]}',
            "{detail: [{type: text of 11, loc: list, input: text of 9}]}",
        ),
        ('{"status_code":2,"ok":true,"x":null}', "{status_code: 2, ok: True, x: None}"),
        ('{"a name with spaces":1}', "{name of 18: 1}"),
    ],
)
def test_structure_is_told_and_words_are_not(body, told):
    """Field names, numbers and sizes; texts by their length."""
    assert outline(body) == told


@given(st.text(max_size=400) | st.dictionaries(st.text(max_size=5), st.text(max_size=5)).map(str))
def test_every_body_has_a_short_outline_of_one_line(body):
    """No text makes it fail or run over."""
    assert len(outline(body)) <= MAX_CHARS + 40
    assert "\n" not in outline(body)
