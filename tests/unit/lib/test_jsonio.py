"""Reading strangers' JSON and writing JSON for strangers. What is wrong with a body is told; faults are made elsewhere."""

import pytest

from fittengate.lib import sse
from fittengate.lib.jsonio import UnreadableError, delicate, one_line, read_object, shown, to_json, value_in


@pytest.mark.parametrize(("body", "place"), [(b"[]", None), (b'{"a":["x","\\ud83d"]}', "a[1]")])
def test_an_unreadable_body_has_words_and_perhaps_a_place(body, place):
    """The error can be shown as it is: its message is a sentence, its place a path."""
    with pytest.raises(UnreadableError) as caught:
        read_object(body)
    assert caught.value.place == place
    assert str(caught.value) == caught.value.message
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty."),
        (b" \r\n\t", "The body is empty."),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":"\xed\xa0\xbd"}', "not UTF-8"),
        *((body, "must be a JSON object") for body in (b"[]", b'"a"', b"1", b"null", b"true")),
        *((body, "could not be read as JSON") for body in (b"{", b"{} x", b'{"a":1,}', b"{'a':1}", b'{"a":NaN}')),
        (b'{"a":"\\ud83d",}', "could not be read as JSON"),
        (b'{"a":"\\ud83d"' + b'{"a":' * 100_000, "could not be read as JSON"),
    ],
)
def test_p11_what_is_no_object_is_told_apart(body, words):
    """P11: each is an error of its own words and place, and none is a crash."""
    with pytest.raises(UnreadableError) as caught:
        read_object(body)
    assert words in caught.value.message
    assert caught.value.place is None


def test_half_a_character_is_found_in_the_first_text_that_holds_one():
    """Whole pairs are no halves; a path that is too long is cut, and so is a search in too much."""
    assert read_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}
    body = b'{"a":["\\ud83d\\ude00",{"b c":"x\\ude00"}],"d":"\\ud83d"}'
    with pytest.raises(UnreadableError) as caught:
        read_object(body)
    assert caught.value.place == "a[1].b_c"
    with pytest.raises(UnreadableError) as caught:
        read_object(body[:-1] + b',"e":"' + b"x" * 8_000_000 + b'"}')
    assert caught.value.place is None


def test_a_field_is_found_as_it_was_written():
    """Numbers and white space stay; of two of a name the last counts; where there is none it is empty."""
    assert value_in(b'{"a": {"x":1.50 }, "a": [ 1e3 ]}', "a") == b"[ 1e3 ]"
    assert value_in(b'{"a": null}', "a") == b"null"
    assert value_in(b"{}", "a") == b""


def test_what_is_written_is_compact_and_cuts_no_line():
    """Characters stay characters, half of one becomes a question mark."""
    assert to_json({"a": ["\u4f60", 1]}) == '{"a":["\u4f60",1]}'.encode()
    assert to_json({"a": ["\u4f60", "\ud800\u2028\u2029\x85"]}) == '{"a":["\u4f60","?\\u2028\\u2029\\u0085"]}'.encode()


def test_a_name_that_is_shown_is_short_and_plain():
    """It may stand in a header; an empty one is shown as something."""
    assert shown("a\r\nb") == "a__b"
    assert shown("") == "_"
    assert len(shown("x" * 10_000)) < 200


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
