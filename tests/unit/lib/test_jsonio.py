"""Reading strangers' JSON and writing JSON for strangers. What is wrong with a body is told; faults are made elsewhere."""

import pytest

from fittengate.lib import sse
from fittengate.lib.jsonio import UnreadableError, delicate, one_line, read_object


@pytest.mark.parametrize(("body", "place"), [(b"[]", None), (b'{"a":["x","\\ud83d"]}', "a[1]")])
def test_an_unreadable_body_has_words_and_perhaps_a_place(body, place):
    """The error can be shown as it is: its message is a sentence, its place a path."""
    with pytest.raises(UnreadableError) as caught:
        read_object(body)
    assert caught.value.place == place
    assert str(caught.value) == caught.value.message
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize("text", ["\x85", "a\u2028", "\u2029b", "\ud800"])
def test_delicate_texts_are_told_apart(text):
    """What cuts lines for careless clients, and half a character, need more care than other text."""
    assert delicate(text)
    assert not delicate("plain 你好 👩‍👧\r\n\0")


def test_an_event_has_its_type_before_its_data():
    """A typed event is two lines and a blank one."""
    assert sse.event(b"ping", b"{}") == b"event: ping\ndata: {}\n\n"


def test_json_on_several_lines_becomes_one_line():
    """White space goes, numbers stay as they were written, and no client sees a line end where there is none."""
    text = '{"a":\n  [1.50, 12345678901234567890123],\r\n "b": "\u2028\x85 \\n x  y"}'
    assert one_line(text) == b'{"a":[1.50,12345678901234567890123],"b":"\\u2028\\u0085 \\n x  y"}'
    assert one_line('"\ud800"') == b'"?"'
    with pytest.raises(ValueError):
        one_line("{")
