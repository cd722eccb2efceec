"""Tags that are looked for, and what of them is remembered."""

from fittengate.prompting.marks import KNOWN_CHARS, MAX_KNOWN, MAX_TAG, Marks


def test_a_tag_that_was_seen_is_the_same_tag_at_another_place():
    """What is remembered is what a spelling means; where it ends is found anew."""
    marks = Marks("")
    text = """<invoke name="a"> <Invoke  tool_name='a'/> <invoke name="a">"""
    first, second, third = (marks.tag(text, at) for at in (0, 18, text.rindex("<")))
    assert (first.name, first.end, first.closed) == ("a", 17, False)
    assert (second.name, second.closed) == ("a", True)
    assert (third.name, third.end) == ("a", len(text))
    assert marks.tag("<invoke>", 0) is marks.tag("<invoke>", 0) is None


def test_what_is_remembered_of_tags_is_bounded():
    """P6: models may be made to write any number of tags, and long ones."""
    marks = Marks("")
    for number in range(2 * MAX_KNOWN):
        assert marks.tag(f'<invoke name="{number}">', 0).name == str(number)
        long = "x" * KNOWN_CHARS + str(number)
        assert marks.tag(f'<invoke name="{long}">', 0).name == long
    assert 0 < len(marks._known) <= MAX_KNOWN
    assert max(map(len, marks._known)) <= KNOWN_CHARS
    assert marks.tag(f'<invoke name="{"x" * MAX_TAG}">', 0) is None
