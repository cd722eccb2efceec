"""The door: whose request it is when it shows more keys than one."""

import pytest

from fittengate.core.caller import Caller
from fittengate.core.faults import Fault, FaultKind
from fittengate.server.admission import Admission
from fittengate.server.request import Request


class Keys:
    """Knows one key; the store of all others can be used or not."""

    def __init__(self, why):
        self.why = why

    def known(self, credential):
        return Caller("good") if credential == "good" else None

    async def find(self, credential):
        raise Fault(self.why, "not this one")


def request(*headers):
    return Request({"method": "POST", "path": "/", "headers": list(headers)}, None, None, lambda: "id")


def caller(why, *headers):
    return Admission(Keys(why), None, None).caller(request(*headers))


BOTH = ((b"authorization", b"Bearer first"), (b"x-api-key", b"good"))


async def test_past_a_key_that_is_nobodys_the_other_one_counts():
    """A placeholder beside the real key is no reason for a 401."""
    assert (await caller(FaultKind.CALLER_NO_KEY, *BOTH)).name == "good"


async def test_past_a_key_that_could_not_be_looked_up_nobody_is_guessed():
    """It may be somebody's: the same request must not be one key's now and another's when the store is back."""
    with pytest.raises(Fault) as caught:
        await caller(FaultKind.GATEWAY_BUSY, *BOTH)
    assert caught.value.kind is FaultKind.GATEWAY_BUSY


async def test_a_header_with_two_keys_is_refused_before_any_is_looked_up():
    """Also where the last one, or the first, is good."""
    for values in ((b"good", b"bad"), (b"bad", b"good")):
        with pytest.raises(Fault) as caught:
            await caller(FaultKind.CALLER_NO_KEY, *[(b"x-api-key", value) for value in values])
        assert caught.value.kind is FaultKind.CALLER_BAD_REQUEST
