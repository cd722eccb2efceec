"""The insertion law: inserting what we give leaves the file that the service's replacement would leave, or it is nothing."""

import gzip
import hashlib
import json

from hypothesis import example, given
from hypothesis import strategies as st

from fittengate.core.ask import FillAsk
from fittengate.upstream.fitten import completion
from fittengate.upstream.fitten.completion import NoAnswer, insertion, place_of, read_answer

SHORT = st.lists(
    st.sampled_from(
        ["a", "b", ")", " ", "\n", "\r\n", "\r", "😀", "你", "é", "👩‍👧", "<|end|>", "\0", "\ud83d", "\ude00"]
    ),
    max_size=6,
).map("".join)
FILES = SHORT | st.text(max_size=20) | st.text(st.characters(categories=["Cs"]), max_size=3)
NUMBERS = st.integers(-2, 12) | st.none() | st.booleans() | st.sampled_from(["1", 2.0, [], 10**20])


def replaced(prefix, suffix, text, count):
    """Return the file after a replacement of so many UTF-16 units after the cursor; None where there are fewer."""
    data = suffix.encode("utf-16-le", "surrogatepass")
    if len(data) < 2 * count:
        return None
    rest = data[2 * count :]
    return prefix.encode("utf-16-le", "surrogatepass") + text.encode("utf-16-le", "surrogatepass") + rest


@given(prefix=FILES, suffix=FILES, text=FILES, extra=SHORT, repeat=st.booleans(), chars=NUMBERS, lines=NUMBERS)
@example(prefix="(", suffix="1+2*3", text="", extra="1+2)*3", repeat=False, chars=5, lines=0)
@example(prefix="", suffix="a<|end|>b", text="xab", extra="", repeat=False, chars=2, lines=0)
@example(prefix="", suffix="😀", text="a😀", extra="", repeat=False, chars=2, lines=0)
def test_inserting_is_replacing_or_nothing(prefix, suffix, text, extra, repeat, chars, lines):
    """Whatever the service answers about whatever file, the text inserted leaves the file that it meant."""
    extra += suffix if repeat else ""
    answer = read_answer(
        json.dumps({"generated_text": text, "ex_msg": extra, "delta_char": chars, "delta_line": lines}).encode()
    )
    assert not isinstance(answer, NoAnswer)
    place = place_of(FillAsk(prefix, suffix))
    given_text = insertion(answer, place, suffix)
    if not given_text:
        return
    given_text.encode()
    assert lines is None or (lines == 0 and lines is not False)
    count = 0 if chars is None else chars
    after = (prefix + given_text + suffix).encode("utf-16-le", "surrogatepass")
    assert after == replaced(prefix, suffix, answer.text, count)


@given(prefix=FILES, suffix=FILES)
def test_a_request_is_true_to_itself(prefix, suffix):
    """Offsets, hash and text of a request fit one another, and half a character never stops it."""
    place = place_of(FillAsk(prefix, suffix, file_name=prefix))
    meta = json.loads(gzip.decompress(completion.signed_body(place)))["meta_datas"]
    text = meta["diff"]
    assert text == place.before + place.after
    assert meta["nmd5"] == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    before = text.encode("utf-16-le")[: 2 * meta["cpos"]].decode("utf-16-le")
    assert before == place.before
    assert len(before.encode()) == meta["bcpos"]
    completion.open_body(place)


@given(body=st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(["generated_text", "ex_msg", "delta_char", "delta_line", "error", "insert_offsets", "detail"]),
        inner,
        max_size=4,
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_answer_is_read(body):
    """No body raises; what comes of it is a text or nothing."""
    answer = read_answer(body)
    if not isinstance(answer, NoAnswer):
        assert isinstance(insertion(answer, place_of(FillAsk("a", "b")), "b"), str)
