"""Ten minutes of fuzzing by Atheris; ``FUZZ_SECONDS`` says how long in all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS

SECONDS = int(os.environ.get("FUZZ_SECONDS", "600")) // len(TARGETS)
PROGRAM = Path(__file__).parents[1] / "fuzz/run.py"


@pytest.mark.skipif(sys.platform != "linux", reason="Atheris has wheels for Linux alone")
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_law(name, tmp_path, record_property):
    """The decoder of the service's bytes, the reader of calls and the parser of markers keep their laws for any input."""
    done = subprocess.run(
        [sys.executable, PROGRAM, name, f"-max_total_time={SECONDS}", "-print_final_stats=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS + 120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = re.search(r"Done (\d+) runs", done.stderr) or re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert found is not None, done.stderr[-2000:]
    assert int(found[1]) > SECONDS, "the fuzzer was at work"
    record_property("cases", int(found[1]))
