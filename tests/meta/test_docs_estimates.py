"""The page of estimates is made from the committed counts."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def script():
    spec = importlib.util.spec_from_file_location("estimates", ROOT / "scripts" / "estimates.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_estimates_is_what_the_counts_make():
    """Nobody edits docs/estimates.md: after a change of the weights run scripts/estimates.py."""
    made = script()
    counts = json.loads(made.COUNTS.read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "estimates.md").read_text(encoding="utf-8") == made.page(counts)


def test_every_sample_is_counted_and_on_the_page():
    """A text that is added gets its row."""
    made = script()
    names = {path.stem for path in made.SAMPLES.glob("*.txt")}
    assert names == set(made.NAMES) == set(json.loads(made.COUNTS.read_text(encoding="utf-8")))
