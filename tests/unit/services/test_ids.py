"""Ids of requests and replies, and the machine's clock."""

import re
import secrets
import time

from fittengate.services.clock import SystemClock
from fittengate.services.ids import BLOCK, Ids


def test_ids_have_their_form_and_never_repeat():
    """24 letters and digits, over the borders of a block."""
    ids = Ids(secrets.token_bytes)
    made = [ids.tail() for _ in range(2 * BLOCK + 1)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch("[0-9a-z]{24}", tail) for tail in made)
    assert re.fullmatch("req_[0-9a-z]{24}", ids.request_id())


def test_every_bit_comes_from_the_source():
    """Nothing of an id can be guessed: the source's bytes are used once each."""
    asked = []

    def source(count):
        asked.append(count)
        return bytes(range(256)) * (count // 256)

    ids = Ids(source)
    made = {ids.tail() for _ in range(BLOCK)}
    assert asked == [12 * BLOCK]
    assert {bytes.fromhex(tail) for tail in made} == {
        (bytes(range(256)) * 12)[at : at + 12] for at in range(0, 3072, 12)
    }


def test_the_clock_is_the_machine_s():
    """Both readings are in seconds; one is the time of day."""
    clock = SystemClock()
    assert abs(clock.now() - time.time()) < 5
    assert 0 <= clock.monotonic() - time.monotonic() + 5 <= 5
