"""The laws that the fuzzer holds inputs to, for its seeds and some hundred changed ones."""

import random

import pytest

from fuzz.targets import SEEDS, TARGETS, BrokenLawError, hold

CHANGED = 300
"""So many inputs with bytes put in, taken out or turned over; ``make chaos`` tries for minutes."""


def changed(seed, chance):
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                del data[at : at + chance.randrange(1, 20)]
            case 1:
                data[at:at] = chance.randbytes(chance.randrange(1, 4))
            case 2:
                data[at : at + 1] = chance.choice(
                    [b"<", b">", b'"', b"\\", b"\n", b"`", b"{", b"}", b"/", b"\0", b"\xe4"]
                )
            case _:
                data[at:at] = data[chance.randrange(len(data) + 1) :][: chance.randrange(1, 40)]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_and_what_is_near_them_keep_the_laws(name):
    """What the fuzzer begins with is good, and so is what differs a little."""
    chance = random.Random(name)
    for seed in SEEDS[name]:
        TARGETS[name](seed)
    for _ in range(CHANGED):
        TARGETS[name](changed(chance.choice(SEEDS[name]), chance))


def test_a_law_that_is_broken_is_an_error():
    """The fuzzer sees it."""
    with pytest.raises(BrokenLawError):
        hold("no law", held=False)
