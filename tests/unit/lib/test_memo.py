"""What is remembered is what was made of the very bytes that stand in the body."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.lib.jsonio import UnreadableError
from fittengate.lib.memo import WORTH_REMEMBERING, Recurring

LONG = "x" * WORTH_REMEMBERING
VALUE = json.dumps([{"name": LONG, "n": 1}]).encode()


def body_of(*, before=b"", after=b"", value=VALUE, colon=b": "):
    return b'{%b"tools"%b%b%b}' % (before, colon, value, after)


def memo(**bounds):
    return Recurring("tools", **{"entries": 4, "most": 100_000, **bounds})


def test_a_value_that_was_kept_is_not_read_again():
    """What was made comes back, and the object comes without the value."""
    known, made = memo(), object()
    body = body_of(before=b'"a":1,', after=b',"b":[2]')
    assert known.read(body) == (json.loads(body), None)
    known.keep(body, made)
    fields, again = known.read(bytes(bytearray(body)))
    assert (fields, again is made) == ({"a": 1, "b": [2]}, True)


@pytest.mark.parametrize("place", ["start", "end"])
def test_it_is_found_where_it_stood_from_the_beginning_or_from_the_end(place):
    """A conversation grows on one side of the tools only."""
    known = memo()
    long = lambda n: b'"messages":%b' % json.dumps(["word " * n] * n).encode()  # noqa: E731
    make = lambda n: (  # noqa: E731
        body_of(after=b"," + long(n)) if place == "start" else body_of(before=long(n) + b",", after=b',"stream":true')
    )
    known.keep(make(1), "made")
    for n in range(2, 20):
        fields, made = known.read(make(n))
        assert made == "made"
        assert fields["messages"] == ["word " * n] * n


def test_bytes_that_differ_anywhere_are_never_taken_for_each_other():
    """One other character in a body of the same length, at any place, is another value."""
    known = memo()
    body = body_of()
    known.keep(body, "made")
    start = body.index(LONG.encode())
    for at in range(start, start + WORTH_REMEMBERING, 7):
        other = bytearray(body)
        other[at] = ord("y")
        fields, made = known.read(bytes(other))
        assert (made, fields) == (None, json.loads(bytes(other)))


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":{"tools": %b}}' % VALUE,
        b'{"a":[{"tools": %b}],"tools":[]}' % VALUE,
        b'{"tools": %b,"tools":[1]}' % VALUE,
        b'{"tools":"\\u001fset apart","a":{"tools": %b}}' % VALUE,
    ],
    ids=["nested", "nested and given", "given twice", "mark"],
)
def test_what_only_looks_like_the_value_is_read_as_it_is(body):
    """The same bytes at the same place, but not as the value of that name at the top of the object."""
    known = memo()
    at = body.index(b'"tools": ')
    before = b'"p":"%b",' % (b"p" * (at - 8)) if at > 8 else b""
    known.keep(body_of(before=before), "made")
    fields, made = known.read(body)
    if made is None:
        assert fields == json.loads(body)
    else:
        # The client itself sent the mark beside the value: it gets what it sent.
        assert b"set apart" in body


def test_a_mark_that_a_client_sends_is_a_text_like_any_other():
    """Without a known value at its place it means nothing."""
    known = memo()
    body = b'{"tools":"\\u001fset apart","pad":"%b"}' % LONG.encode()
    assert known.read(body) == (json.loads(body), None)
    known.keep(body, "made")
    assert known.read(body)[1] is None


def test_so_many_are_kept_and_no_long_ones():
    """The one that was used least recently leaves; values over the bound and short ones are not kept (P6)."""
    known = memo(entries=2, most=4 * WORTH_REMEMBERING)
    bodies = [body_of(value=json.dumps([letter * WORTH_REMEMBERING]).encode()) for letter in "abc"]
    for body in bodies[:2]:
        known.keep(body, body)
    assert known.read(bodies[0])[1] is bodies[0]
    known.keep(bodies[2], bodies[2])
    assert [known.read(body)[1] is body for body in bodies] == [True, False, True]
    for value in (b'["%b"]' % (b"l" * 5 * WORTH_REMEMBERING), b"[1]", b"null"):
        body = body_of(value=value, after=b',"pad":"%b"' % LONG.encode())
        known.keep(body, "made")
        assert known.read(body)[1] is None
    assert len(known._known) == 2


def test_an_unreadable_body_is_told_as_ever():
    """Whether its value is known or not."""
    known = memo()
    known.keep(body_of(), "made")
    for body in (body_of()[:-1], body_of(after=b',"a":"\\ud800"'), body_of(after=b',"a":\xff')):
        with pytest.raises(UnreadableError):
            known.read(body)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(
                st.sampled_from(["tools", "a", "b"]), st.sampled_from([1, "x", LONG, [LONG], {"tools": [LONG]}])
            ),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_whatever_comes_before_an_object_is_read_as_what_it_is(series):
    """In any order of bodies: the rest of the object is right, and what was made belongs to the value that was sent."""
    known = memo()
    for value, dense in series:
        body = json.dumps(value, separators=(",", ":") if dense else None).encode()
        fields, made = known.read(body)
        if made is None:
            assert fields == value
            known.keep(body, [value.get("tools")])
        else:
            assert ({**fields, "tools": made[0]}) == value
