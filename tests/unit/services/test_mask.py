"""Texts without their words."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.services.mask import NUMBERS, OWN, WORDS, Mask

KEY = b"a key for these tests"


def masked(text):
    return Mask(KEY).json(text)


def test_a_request_keeps_its_form_and_loses_its_words():
    """Roles, types, counts, the model and names of fields stay; texts are lengths and hashes."""
    body = {
        "model": "gpt-4o",
        "stream": True,
        "temperature": 0.5,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "my secret plan"}]}],
        "user": "jane",
    }
    left = json.loads(masked(json.dumps(body)))
    assert (left["model"], left["stream"], left["temperature"]) == ("gpt-4o", True, 0.5)
    assert left["messages"][0]["role"] == "user"
    assert left["messages"][0]["content"][0]["type"] == "text"
    assert left["messages"][0]["content"][0]["text"].startswith("[14 chars ")
    assert left["user"].startswith("[4 chars ")


def test_what_a_tool_is_called_with_is_the_callers_own():
    """Below arguments and the like nothing stays but names: not even the APIs' own words, numbers or true."""
    body = {"content": [{"type": "tool_use", "input": {"role": "user", "index": 7, "ok": True, "model": "m"}}]}
    inside = json.loads(masked(json.dumps(body)))["content"][0]["input"]
    assert inside["role"].startswith("[4 chars ")
    assert (inside["index"], inside["ok"]) == ("[number]", None)
    assert inside["model"].startswith("[1 chars ")


@pytest.mark.parametrize("name", sorted(OWN))
def test_below_a_field_of_the_callers_own_nothing_stays_however_deep(name):
    """In objects, in lists and in objects in lists; behind it the APIs' words are themselves again."""
    inner = {"role": "user", "index": 7, "model": "jane", "type": ["text"], "stream": True}
    values = [{"a": inner}, {"a": [inner]}, inner] + ([] if name == "input" else [[inner], [[inner]]])
    for value in values:
        left = masked(json.dumps({name: value, "role": "assistant"}))
        assert not [word for word in ('"user"', "7,", "jane", '"text"', "true") if word in left]
        assert json.loads(left)["role"] == "assistant"


def test_a_word_of_the_apis_is_a_word_where_none_is_expected():
    """Somebody may say "user", and somebody's field may be called model."""
    for text in ('{"content":"user"}', '{"messages":[{"content":["text"]}]}', '{"a":[{"b":{"model":"jane"}}]}', "user"):
        left = Mask(KEY).lines(text)
        assert "[4 chars " in left
        assert not [word for word in ('"user"', '"text"', "jane") if word in left]


def test_a_conversation_that_is_called_input_keeps_its_roles():
    """The Responses API calls its list of messages so."""
    left = json.loads(masked('{"input":[{"role":"user","content":"hm"}]}'))
    assert left["input"][0]["role"] == "user"


def test_a_name_that_does_not_look_like_one_is_hidden():
    """Callers choose names too."""
    assert "jane" not in masked('{"jane doe, 12 High Street":1}')


def test_equal_texts_are_seen_to_be_equal_and_only_with_one_key():
    """The hash is keyed: with another key, as in another bundle, it is another one."""
    one, same = json.loads(masked('["yes","yes"]'))
    assert one == same
    assert Mask(b"another").json('"yes"') != Mask(KEY).json('"yes"')


def test_what_is_cut_off_anywhere_shows_no_part_of_a_text():
    """The beginning of a long body is looked at as well as a whole one."""
    body = json.dumps({"messages": [{"role": "user", "content": 'a "quoted" \\ ZEBRA \n line'}], "note": "ZEBRA"})
    for end in range(len(body)):
        left = masked(body[:end])
        assert not any(part in left for part in ("ZEBRA", "ZEB", "quoted"))


def test_events_and_lines_keep_their_frame():
    """Names of events and the end of a stream stay, what is no JSON becomes a length."""
    assert "heron" not in Mask(KEY).lines("event: heron")
    left = Mask(KEY).lines('event: message_start\ndata: {"delta":"ZEBRA"}\n\ndata: [DONE]\nZEBRA\n<html>ZEBRA')
    assert left.startswith("event: message_start\ndata: {")
    assert "data: [DONE]" in left
    assert "ZEBRA" not in left


def test_a_number_stays_only_where_it_says_how():
    """A salary is a text in other clothes."""
    left = json.loads(masked('{"max_tokens":64,"salary":120000,"list":[1,2]}'))
    assert left == {"max_tokens": 64, "salary": "[number]", "list": ["[number]", "[number]"]}


_WORDS = st.text(string.ascii_letters + string.digits + "äß漢 -_", min_size=6, max_size=24).map(
    lambda text: f"Q{text}q"
)
_VALUES = st.recursive(
    _WORDS | st.integers() | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["text", "role", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def _texts(value):
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(inner)


@given(_VALUES, st.booleans(), st.integers(0, 400))
def test_no_text_of_any_value_stays(value, ascii_only, cut):
    """Whatever JSON holds, whole or cut off: its texts are not in what is left, and whole JSON stays JSON."""
    body = json.dumps({"body": value}, ensure_ascii=ascii_only)
    for text in (body, body[:cut]):
        left = masked(text)
        assert not any(word in left for word in _texts(value))
    json.loads(masked(body))


@given(st.text(max_size=200))
def test_any_text_at_all_comes_out_without_words_of_its_own(text):
    """What is no JSON is lengths: every letter that is left belongs to a name, to a hash, or to the APIs."""
    Mask(KEY).lines(text)
    Mask(KEY).json(text)


def test_the_lists_hold_words_alone():
    """A slip in a list would let something through."""
    assert all(word.replace("_", "").replace(".", "").isalnum() for word in WORDS | NUMBERS)
