"""How each vendor's clients are told where they stand with their limits."""

import pytest

from fittengate.core.limits import LimitState, Standing
from fittengate.dialects import DIALECTS

BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
BOTH = LimitState(Standing(60, 59, 0.2), Standing(1000, 0, 3723.0), 1767225600.0)


def _told(name, state):
    return dict(BY_NAME[name].limit_headers(state))


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "anthropic_messages"])
def test_openais_headers_have_spans_of_time(name):
    """Seconds are rounded up, and minutes and hours written where there are any."""
    assert _told(name, BOTH) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"0",
        b"x-ratelimit-reset-tokens": b"1h2m3s",
    }
    tokens = LimitState(None, Standing(1000, 1, 360.0), 0.0)
    assert _told(name, tokens)[b"x-ratelimit-reset-tokens"] == b"6m0s"
    assert not any(header.endswith(b"requests") for header in _told(name, tokens))


def test_anthropics_headers_have_points_in_time():
    """RFC 3339, in whole seconds, rounded up."""
    assert _told("anthropic_messages", BOTH) == {
        b"anthropic-ratelimit-requests-limit": b"60",
        b"anthropic-ratelimit-requests-remaining": b"59",
        b"anthropic-ratelimit-requests-reset": b"2026-01-01T00:00:01Z",
        b"anthropic-ratelimit-tokens-limit": b"1000",
        b"anthropic-ratelimit-tokens-remaining": b"0",
        b"anthropic-ratelimit-tokens-reset": b"2026-01-01T01:02:03Z",
    }


@pytest.mark.parametrize("name", BY_NAME)
def test_without_limits_there_is_nothing_to_tell(name):
    """A key without limits gets no header about them."""
    assert _told(name, LimitState(None, None, 0.0)) == {}
