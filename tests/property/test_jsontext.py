"""Laws of the scanner for JSON in text: pieces do not matter, what comes out begins some JSON, all ends."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from contract.replies import JSON, cuts
from fittengate.prompting.form import rest_of
from fittengate.prompting.jsontext import JsonText

FOR_ALL = settings(max_examples=200, deadline=None)
VALUES = st.dictionaries(st.text(max_size=8), JSON, max_size=4) | st.lists(JSON, max_size=4)
SOUP = st.text(st.sampled_from('{}[]",:\\ \n0123456789.-+eEtruefalsnu x`') | st.characters(), max_size=60)


@st.composite
def texts(draw):
    """Make JSON in some spelling, perhaps spoilt by a few characters, among words."""
    value = draw(VALUES)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(['"', ",", "}", "]", "x", "\n", "\\", "", " "])) + text[at + 1 :]
    return draw(st.sampled_from(["", "So: ", "```json\n", "[a] "])) + text + draw(st.sampled_from(["", "\n```", " ok"]))


def run(pieces, brackets="{["):
    one = JsonText(brackets)
    return "".join([one.feed(piece) for piece in pieces]), one.state, one.start, one.end


@FOR_ALL
@given(st.data(), texts() | SOUP)
def test_pieces_do_not_matter(data, text):
    """Whole, in any pieces and character by character the same comes out, with the same end."""
    whole = run([text])
    assert run(text) == whole
    assert run(data.draw(cuts(text)) if text else []) == whole


@FOR_ALL
@given(VALUES, st.sampled_from([None, 1]), st.sampled_from(["", "Here: ", "```json\n"]))
def test_every_value_comes_out_whole(value, indent, before):
    """Valid JSON is found as it stands, whatever is around it."""
    text = json.dumps(value, indent=indent)
    out, state, start, end = run([before + text + "\n```\n}"])
    assert (out, state, start, end) == (text, "done", len(before), len(before) + len(text))


@FOR_ALL
@given(texts() | SOUP)
def test_what_comes_out_is_the_beginning_of_some_json(text):
    """Closing what is open in it gives a value that can be read."""
    out, state, *_ = run([text])
    if state == "done":
        json.loads(out)
    elif out:
        json.loads(out + _closing(out))


def _closing(text):
    """Return what makes a beginning whole: by trying, so that nothing of the scanner is used."""
    for middle in ("", '"', 'n"', '0"', '00"', '000"', '0000"', '":0', '"":0', "0", ":0", '"a":0', 'n":0', '0000":0'):
        stack, quoted, skip = [], False, False
        for char in text + middle:
            if quoted:
                quoted, skip = char != '"' or skip, char == "\\" and not skip
            elif char == '"':
                quoted = True
            elif char in "{[":
                stack.append("}" if char == "{" else "]")
            elif char in "}]" and stack:
                stack.pop()
        try:
            json.loads(text + middle + "".join(reversed(stack)))
        except ValueError:
            continue
        return middle + "".join(reversed(stack))
    raise AssertionError(text)


@FOR_ALL
@given(st.data(), VALUES)
def test_what_was_sent_can_be_made_whole(data, value):
    """Any beginning that came out has a rest that makes it the value."""
    text = json.dumps(value, ensure_ascii=False)
    at = data.draw(st.integers(0, len(text)))
    sent = run([text[:at]])[0]
    rest = rest_of(sent, value)
    # Half a character escaped in the middle is the one thing that cannot be told apart.
    if rest is not None:
        assert json.loads(sent + rest) == value
    elif "\\" not in text:
        raise AssertionError(sent)
