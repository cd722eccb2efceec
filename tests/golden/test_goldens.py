"""Every dialect reads and writes exactly what its goldens say."""

import pytest

from fittengate.dialects import DIALECTS
from golden.regenerate import FOLDER, WRITTEN, cases, head_for, produce, read_events, writer_for

CASES = [pytest.param(dialect, case, id=f"{dialect.name}-{case.name}") for dialect, case in cases()]


@pytest.mark.parametrize(("dialect", "case"), CASES)
def test_a_golden_case_comes_out_byte_for_byte(dialect, case):
    """What is made from a case's request and events is what lies beside them, no file more or less."""
    kept = {path.name: path.read_bytes() for path in case.iterdir() if path.name not in WRITTEN}
    assert produce(dialect, case) == kept


@pytest.mark.parametrize(("dialect", "case"), [case for case in CASES if (case.values[1] / "events.json").exists()])
def test_a_golden_stream_does_not_depend_on_batches(dialect, case):
    """Events fed all at once give the same bytes as events fed one by one."""
    ask = dialect.read((case / "request.json").read_bytes())
    events, fault = read_events(case)
    writer = writer_for(dialect, ask, head_for(ask))
    stream = writer.feed(events) + (writer.close() if fault is None else writer.fault(fault))
    assert stream == (case / "stream.sse").read_bytes()


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_dialect_has_a_dozen_goldens(dialect):
    """A dialect without goldens is not finished."""
    assert len(list((FOLDER / dialect.name).glob("*/request.json"))) >= 12
