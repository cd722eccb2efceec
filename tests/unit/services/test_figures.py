"""What is counted of exchanges: plain numbers with bounded label sets."""

import pytest
from msgspec.structs import replace

from fittengate.core.caller import OUTCOMES, Receipt
from fittengate.core.faults import FaultKind
from fittengate.core.reply import Usage
from fittengate.services.exposition import Exposition, Family, each, one, written
from fittengate.services.figures import MAX_CELLS, MAX_KEYS, OTHER, Durations, Figures

RECEIPT = Receipt(
    1.0, "req_1", "somebody", "openai_chat", "POST", "/", 200, "complete", "m", Usage(10, 5), 0.3, 1.5, "c", None, None
)


def test_a_duration_counts_in_the_bucket_whose_end_it_does_not_pass():
    """A time that is just the end of a bucket is in it; what is longer than all ends has a bucket of its own."""
    durations = Durations((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.11, 1.0, 7.0):
        durations.note(seconds)
    assert durations.counts == [2, 2, 1]
    assert durations.total == 0.05 + 0.1 + 0.11 + 1.0 + 7.0


def test_tokens_are_told_apart_by_who_counted_them():
    """Counts of the service and our estimates are two pairs of numbers."""
    figures = Figures()
    figures.count(RECEIPT)
    figures.count(replace(RECEIPT, usage=Usage(7, 3, estimated=True)))
    figures.count(replace(RECEIPT, usage=None))
    cell = figures.cell("openai_chat", "m")
    assert (cell.told, cell.estimated) == ([10, 5], [7, 3])
    assert cell.outcomes == dict.fromkeys(OUTCOMES, 0) | {"complete": 3}
    assert sum(cell.first.counts) == sum(cell.total.counts) == 3


def test_every_outcome_and_every_fault_can_be_counted():
    """The lists of the receipt and of the faults are the lists of the metrics."""
    figures = Figures()
    for outcome in OUTCOMES:
        figures.count(replace(RECEIPT, outcome=outcome))
    for kind in FaultKind:
        figures.count(replace(RECEIPT, fault=kind.value))
    assert set(figures.faults.values()) == {1}


def test_models_beyond_the_bound_are_counted_as_others():
    """However many models there come to be, the labels stay bounded, and nothing is left uncounted."""
    figures = Figures()
    for number in range(MAX_CELLS + 100):
        figures.count(replace(RECEIPT, model=f"m{number}"))
    assert len(figures.cells) == MAX_CELLS + 1
    assert figures.cells["openai_chat", OTHER].outcomes["complete"] == 100


def test_keys_are_counted_only_where_that_is_wanted_and_are_bounded():
    """Without ``by_key`` nothing is kept of them; with it so many, and the rest together."""
    plain, named = Figures(), Figures(by_key=True)
    for number in range(MAX_KEYS + 5):
        plain.count(replace(RECEIPT, caller=f"k{number}"))
        named.count(replace(RECEIPT, caller=f"k{number}"))
    assert plain.keys is None
    assert len(named.keys) == MAX_KEYS + 1
    assert named.keys[OTHER].requests == 5
    assert named.keys[OTHER].tokens == [50, 25]


def test_a_scrape_shows_the_numbers_of_its_moment():
    """What is counted between the copy and the text is in the next scrape; buckets are cumulated."""
    durations = Durations((0.1, 1.0))
    durations.note(0.5)
    counts = {"a": 1}
    exposition = Exposition(
        [
            Family("histogram", "h", "A histogram", lambda: [((), durations)]),
            Family("counter", "c", "A counter", each(lambda: counts), ("kind",)),
            Family("gauge", "g", "A gauge", one(lambda: 4)),
        ]
    )
    taken = exposition.taken()
    durations.note(0.05)
    lines = written(taken, "")[0].decode().splitlines()
    assert 'fittengate_h_bucket{le="0.1"} 0.0' in lines
    assert 'fittengate_h_bucket{le="+Inf"} 1.0' in lines
    assert "fittengate_h_count 1.0" in lines
    assert 'fittengate_c_total{kind="a"} 1.0' in lines
    assert "fittengate_g 4.0" in lines


def test_a_name_is_shown_once():
    """Whoever adds a metric under a name that is taken is told so."""
    exposition = Exposition([Family("gauge", "g", "A gauge", one(lambda: 4))])
    with pytest.raises(ValueError, match="a metric g already"):
        exposition.add(Family("counter", "g", "Another", one(lambda: 5)))


def test_an_odd_accept_header_gets_plain_text():
    """Nothing that a client writes there is an error."""
    taken = Exposition([Family("gauge", "g", "A gauge", one(lambda: 4))]).taken()
    for accept in ("", "text/plain;version=9.9.x", "\ufffd", "application/json"):
        assert written(taken, accept)[1].startswith(b"text/plain")
