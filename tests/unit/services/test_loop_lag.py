"""The lag of the event loop, sampled by one timer."""

from fittengate.services.loop_lag import SAMPLE_SECONDS, LoopLag


class Loop:
    """Takes timers; a test rings them."""

    def __init__(self):
        self.timers = []

    def call_later(self, seconds, callback):
        self.timers.append((seconds, callback))


def test_lag_is_what_a_timer_rang_too_late():
    """A timer that rings 40 ms late leaves that sample, and the next one is set from then on."""
    loop, now = Loop(), [100.0]
    lag = LoopLag(loop, lambda: now[0])
    lag.start()
    for late in (0.04, 0.0):
        seconds, ring = loop.timers.pop()
        assert seconds == SAMPLE_SECONDS
        now[0] += seconds + late
        ring()
        assert abs(lag.last - late) < 1e-9
    assert sum(lag.durations.counts) == 2
    assert abs(lag.durations.total - 0.04) < 1e-9
