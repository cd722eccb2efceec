"""Fuzz one target with Atheris: ``python tests/fuzz/run.py decoder -max_total_time=60``; options are libFuzzer's.

Ends with code 0 after its time, or with another one and the input that broke a law.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["fittengate"], enable_loader_override=False):
    from fuzz.targets import SEEDS, TARGETS


def main() -> None:
    """Make the seeds, and fuzz."""
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS[name]):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], "-timeout=20", "-max_len=4096", *options, folder], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
