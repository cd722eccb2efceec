"""A lease that is divided: settled once, with what each part came to."""

import pytest

from fittengate.core.reply import Usage
from fittengate.services.lease_parts import LeaseParts


class Whole:
    """A lease that notes what it is settled with."""

    output = 40
    reserved = 330
    left = 50

    def __init__(self):
        self.noted = []

    def more(self):
        found, self.left = self.left, 0
        return found

    def settle(self, usage):
        self.noted.append(usage.input_tokens + usage.output_tokens)

    def release(self):
        raise AssertionError("the parts do not give the place back")


@pytest.mark.parametrize(
    ("settled", "sums"),
    [
        ((Usage(10, 1), Usage(20, 2), Usage(30, 3)), [66]),
        # Each prompt, and a third of the rest.
        ((Usage(10, 1), None, Usage(30, 3)), [44 + 20 + 90]),
        ((Usage(10, 1), "never begun", "never begun"), [11]),
        (("never begun",) * 3, []),
    ],
)
def test_the_whole_comes_to_what_its_parts_come_to(settled, sums):
    """Used, as much as was reserved, or nothing; the first word on a part counts."""
    whole = Whole()
    parts = LeaseParts(whole, [10, 20, 30])
    for part, usage in zip(parts.parts, settled, strict=True):
        assert part.output == 40
        if usage != "never begun":
            part.settle(usage)
            part.settle(Usage(9999, 0))
        part.release()
    assert whole.noted == []
    parts.settle()
    assert whole.noted == sums


def test_the_parts_are_no_more_than_the_whole():
    """What cannot be divided without a rest is left over."""
    whole = Whole()
    whole.reserved = 61
    assert [part.reserved for part in LeaseParts(whole, [10, 20, 30]).parts] == [10, 20, 30]


def test_what_a_part_reserves_more_is_its_own():
    """Broken off, it comes to that too; the others come to what they would have."""
    whole = Whole()
    first, second, third = LeaseParts(whole, [10, 20, 30]).parts
    assert (first.answer, first.more(), second.more()) == (90, 50, 0)
    for part in (first, second, third):
        part.settle(None)
    assert [part.settled for part in (first, second, third)] == [10 + 90 + 50, 20 + 90, 30 + 90]
