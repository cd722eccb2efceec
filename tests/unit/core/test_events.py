"""The grammar of a reply and what it folds to."""

import pytest

from fittengate.core.events import (
    Began,
    Ended,
    TextDelta,
    ThoughtDelta,
    ToolAborted,
    ToolClosed,
    ToolDelta,
    ToolOpened,
    fold,
)
from fittengate.core.faults import KINDS, Fault, FaultKind
from fittengate.core.reply import StopReason, Usage

END = Ended(StopReason.DONE, Usage(1, 2))


def test_a_reply_folds_to_its_texts_and_calls():
    """Text and thought are joined, a closed call is kept, an aborted one is not."""
    reply = fold(
        [
            Began(),
            ThoughtDelta("h"),
            ThoughtDelta("m"),
            TextDelta("a"),
            ToolOpened(0, "id0", "run"),
            ToolDelta('{"x"'),
            ToolDelta(":1}"),
            ToolClosed(),
            TextDelta("b"),
            ToolOpened(1, "id1", "run"),
            ToolDelta("{"),
            ToolAborted(),
            END,
        ]
    )
    assert (reply.text, reply.thought) == ("ab", "hm")
    assert [(call.id, call.arguments) for call in reply.calls] == [("id0", '{"x":1}')]
    assert reply.usage == Usage(1, 2)


def test_events_without_an_end_have_no_fold():
    """P1: what did not end is no reply."""
    with pytest.raises(ValueError, match="no Ended"):
        fold([Began(), TextDelta("a")])


def test_every_kind_of_fault_has_a_row_and_its_busy_ones_say_when_to_return():
    """The table is complete; 429 and 503 always carry a retry-after."""
    assert set(KINDS) == set(FaultKind)
    for row in KINDS.values():
        if row.status in {429, 503}:
            assert row.retry_after
    assert KINDS[FaultKind.UPSTREAM_LOGIN].retry_after >= 60
    assert KINDS[FaultKind.POLICY_QUOTA].retry_after > 60


def test_the_detail_of_a_fault_is_not_in_its_texts():
    """P10: what the upstream said goes to the log and nowhere else."""
    fault = Fault(FaultKind.UPSTREAM_BROKEN, "Safe.", detail="token eyJ")
    assert "eyJ" not in str(fault) + repr(fault)
