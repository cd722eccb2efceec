"""What the service is told of a place in a file, and what may be inserted of its answer."""

import gzip
import hashlib
import json

import pytest

from fittengate.core.ask import FillAsk
from fittengate.upstream.fitten import completion
from fittengate.upstream.fitten.completion import NoAnswer, Place, Suggestion, insertion, place_of, read_answer

EMOJI = "👩‍👩‍👧"


def told(prefix, suffix="", **fields):
    return place_of(FillAsk(prefix, suffix, **fields))


def meta(place):
    body = json.loads(gzip.decompress(completion.signed_body(place)))
    assert body["inputs"] == ""
    return body["meta_datas"]


def inserted(reply, suffix="", prefix=""):
    """Return what is inserted for a reply of the service."""
    answer = read_answer(json.dumps(reply).encode())
    assert isinstance(answer, Suggestion)
    return insertion(answer, told(prefix, suffix), suffix)


def test_a_request_has_the_text_in_full_with_its_hash_and_no_difference():
    """Every field of the protocol is there; a request in full has empty differences."""
    text = "def add(a, b):\n    \n"
    assert meta(told(text[:19], text[19:], file_name="C:\\p\\a.py")) == {
        "filename": "C:\\p\\a.py",
        "cpos": 19,
        "bcpos": 19,
        "plen": 0,
        "slen": 0,
        "bplen": 0,
        "bslen": 0,
        "pmd5": "",
        "nmd5": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
        "diff": text,
        "pc_available": False,
        "pc_prompt": "",
        "pc_prompt_type": "0",
    }


def test_offsets_are_counted_in_utf_16_units_and_in_bytes():
    """An emoji is two units and four bytes, a Chinese character one and three."""
    fields = meta(told("你😀", "\r\n😀"))
    assert (fields["cpos"], fields["bcpos"]) == (3, 7)
    assert fields["diff"] == "你😀\r\n😀"


def test_tags_are_removed_before_anything_is_counted():
    """What would mean something to the service's model is no part of the text."""
    fields = meta(told("a<fim_prefix>b<|endoftext|>", "<fim_middle>c<|X|>"))
    assert fields["diff"] == "abc<|X|>"
    assert fields["cpos"] == 2


def test_a_long_file_is_cut_to_a_window_around_the_cursor():
    """Up to 220,000 units a text is whole; of a longer one both sides are cut."""
    whole = told("a" * 120_000, "b" * 100_000)
    assert len(whole.before + whole.after) == 220_000
    cut = told("x" + "a" * 110_000, "b" * 10_000_000)
    assert (cut.before, cut.after) == ("a" * 110_000, "b" * 110_000)


def test_a_window_ends_neither_inside_a_character_nor_inside_a_line_end():
    """A surrogate pair or CRLF at the edge is left out whole."""
    place = told("😀" + "a" * 109_999, "b" * 109_999 + "😀" + "b" * 200)
    assert (place.before, place.after) == ("a" * 109_999, "b" * 109_999)
    place = told("a\r\n" + "a" * 109_999, "b" * 109_999 + "\r\nb")
    assert (place.before, place.after) == ("a" * 109_999, "b" * 109_999)
    assert told("😀" * 200_000).before == "😀" * 55_000


def test_half_characters_and_nuls_are_sent_as_something_valid():
    """The cursor may stand inside a surrogate pair or a grapheme, and a file may be binary."""
    place = told("a\ud83d", "\ude00\0b")
    assert (place.before, place.after) == ("a\ufffd", "\ufffd\0b")
    assert meta(place)["cpos"] == 2
    assert told(EMOJI[:2], EMOJI[2:]) == Place(EMOJI[:2], EMOJI[2:], "untitled")


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("python", "untitled.py"),
        ("TypeScriptReact", "untitled.tsx"),
        ("go", "untitled.go"),
        ("C++", "untitled.cpp"),
        ("", "untitled"),
        ("../x", "untitled"),
    ],
)
def test_a_language_makes_a_file_name(language, name):
    """Without a name the extension tells the service the language; an odd language tells nothing."""
    assert told("a", language=language).file_name == name
    assert told("a", language=language, file_name="b.c").file_name == "b.c"


def test_a_long_or_broken_file_name_is_cut_and_mended():
    """The end of a name has its extension."""
    assert told("a", file_name="x" * 999 + "\ud800.py").file_name == "x" * 252 + "\ufffd.py"


def test_the_older_request_has_markers_and_breaks_those_in_the_text():
    """A marker in the file would move the cursor."""
    body = json.loads(completion.open_body(told("!FCSUFFIX!a", "b!FCMIDDLE!")))
    assert body["inputs"] == "!FCPREFIX!!FC SUFFIX!a!FCSUFFIX!b!FC MIDDLE!!FCMIDDLE!"
    assert body["meta_datas"] == {"filename": "untitled"}


def test_paths_quote_the_user_and_spell_the_version():
    """Of the answers to the version question, four are known."""
    assert completion.signed_path("2_1", "a/b") == "/codeapi/completion2_1/generate_one_stage_auth/a%2Fb"
    assert completion.open_path("a?b") == "/codeapi/completion/generate_one_stage/a%3Fb"
    assert completion.version_call("a&b").path == "/codeuser/get_completion_version?ft_token=a%26b"
    assert [completion.read_version(body) for body in (b'"0"', b'"1"', b'"3"')] == ["", "2_1", "2_3"]
    for body in (b'"4"', b"0", b"{}", b"", b"<html>", b"\xff", b"[" * 5000, b'["0"]'):
        assert completion.read_version(body) is None


@pytest.mark.parametrize(
    ("reply", "suffix", "text"),
    [
        ({}, "", ""),
        ({"generated_text": ""}, "", ""),
        ({"generated_text": None, "ex_msg": None, "delta_char": None}, "", ""),
        ({"generated_text": "x = 1"}, "", "x = 1"),
        ({"generated_text": "a", "ex_msg": "b", "delta_char": 0, "delta_line": 0}, "", "ab"),
        ({"generated_text": "a<|endoftext|>"}, "", "a"),
        ({"generated_text": "<|endoftext|>"}, "", ""),
        ({"generated_text": "a<fim_middle>b"}, "", "ab"),
        ({"generated_text": "a\r\nb\rc"}, "", "a\nb\nc"),
        ({"generated_text": "\n    pass"}, "\r\n", "\n    pass"),
        # A repeat of the rest of the line is nothing, whatever follows the line.
        ({"generated_text": "2)"}, "2)", ""),
        ({"generated_text": "2)\n"}, "2)  \nx", ""),
        ({"generated_text": "2)"}, "2)\r\nx", ""),
        ({"generated_text": "2)"}, "2", "2)"),
        # The recorded case: closing a bracket inside the rest of the line is no insertion.
        ({"generated_text": "", "ex_msg": "1+2)*3", "delta_char": 5}, "1+2*3", ""),
        # What stands for the rest of the line and ends with it is one.
        ({"ex_msg": "b, c)", "delta_char": 1}, ")\n", "b, c"),
        ({"ex_msg": "b, c)", "delta_char": 2}, ")\n", ""),
        ({"ex_msg": "😀b😀", "delta_char": 2}, "😀", "😀b"),
        ({"ex_msg": "b你😀", "delta_char": 3}, "你😀\r\n", "b"),
        ({"ex_msg": "b😀", "delta_char": 1}, "😀", ""),
        ({"ex_msg": "b\r\n", "delta_char": 2}, "\r\n", ""),
        ({"ex_msg": "x", "delta_char": 1}, "", ""),
        ({"ex_msg": "x", "delta_char": 10**30}, "x", ""),
        ({"ex_msg": "xx", "delta_char": -1}, "x", ""),
        ({"ex_msg": "xx", "delta_char": 1, "delta_line": 1}, "x", ""),
        ({"ex_msg": "x", "delta_line": 1}, "", ""),
        ({"ex_msg": "x", "delta_char": "1"}, "x", ""),
        ({"ex_msg": "x", "delta_char": True}, "x", ""),
        ({"ex_msg": "x", "delta_char": 0.0}, "", ""),
        # Half a character is no text.
        ({"generated_text": "a\ud83d"}, "", ""),
        ({"generated_text": "a\ud83d\ude00"}, "", "a😀"),
        # Edits of lines were not asked for.
        ({"generated_text": "x", "delete_offsets": [], "insert_offsets": [[0, 1]], "ori_start_line": 0}, "", ""),
        ({"generated_text": "x", "ori_start_line": 1, "ori_end_line": 0}, "", ""),
    ],
)
def test_what_a_reply_inserts(reply, suffix, text):
    """Each form that the service is known to answer in, and those that it might."""
    assert inserted(reply, suffix) == text


def test_tags_that_were_removed_keep_a_replacement_out():
    """The service counts from the text that it was told, and the file is another."""
    reply = {"ex_msg": "xab", "delta_char": 2}
    assert inserted(reply, "ab") == "x"
    assert inserted(reply, "a<fim_prefix>b") == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'"x"',
        b"5",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"generated_text": 5}',
        b'{"ex_msg": []}',
        b'{"detail": "Not Found"}',
        b'{"data": "", "status_code": 2, "msg": "no"}',
        b'{"delta_char": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_what_is_no_reply_is_none(body):
    """It may be tried again, and nothing of it is quoted."""
    answer = read_answer(body)
    assert isinstance(answer, NoAnswer)
    assert not answer.lost
    assert "Not Found" not in answer.detail


def test_an_error_in_the_body_says_that_the_text_was_lost():
    """`diff data error` comes with status 200; the text is sent once more."""
    answer = read_answer(b'{"error": "diff data error"}')
    assert isinstance(answer, NoAnswer)
    assert answer.lost


def test_the_same_text_makes_the_same_body():
    """No clock gets into a request."""
    assert completion.signed_body(told("a")) == completion.signed_body(told("a"))


def test_only_what_may_take_long_to_pack_is_packed_elsewhere():
    """A thread costs more than packing any file of code."""
    assert not completion.takes_long(completion.place_of(FillAsk("x" * 110_000, "y" * 110_000)))
    assert not completion.takes_long(completion.place_of(FillAsk("漢" * 20_000, "y" * 50_000)))
    assert completion.takes_long(completion.place_of(FillAsk("漢" * 60_000, "y" * 50_000)))
