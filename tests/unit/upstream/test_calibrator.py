"""Learning in the background, and what outlives the process."""

import json
import stat

import pytest

from fittengate.prompting.estimate import estimate, estimate_high
from fittengate.services.notes import MAX_BYTES, NoteFile
from fittengate.upstream.calibrator import MAX_MODELS, Calibrator

pytestmark = pytest.mark.anyio

PROMPT = "The gardener looked at the sky and decided to walk around the old wall once more. " * 60
TOLD = round(estimate(PROMPT) * 1.4)


async def taught(calibrator, times=30, model="m"):
    """Let the service tell more than was estimated, several times."""
    for _ in range(times):
        calibrator.heard(model, PROMPT, TOLD)
        assert await calibrator.settle() is None


async def test_estimates_follow_what_the_service_tells():
    """Of that model only; a count that errs high lies above what the service would tell."""
    calibrator = Calibrator()
    await taught(calibrator)
    assert calibrator.likely("m", PROMPT) == pytest.approx(TOLD, rel=0.03)
    assert calibrator.at_most("m", PROMPT) > TOLD
    assert calibrator.likely("other", PROMPT) == estimate(PROMPT)
    assert calibrator.at_most("other", PROMPT) == estimate_high(PROMPT)


async def test_of_many_replies_between_two_looks_one_counts():
    """What waits is one prompt for each model, and of a long one a sample."""
    calibrator = Calibrator()
    for _ in range(1000):
        calibrator.heard("m", PROMPT * 50, TOLD * 50)
    [(taken, _)] = calibrator._waiting.values()
    assert len(taken.text) < 9000
    await calibrator.settle()
    assert calibrator.known("m").used == 1
    assert not calibrator._waiting


async def test_of_too_many_models_the_one_asked_least_recently_is_forgotten():
    """Neither what waits nor what is known grows with the names that come."""
    calibrator = Calibrator()
    for number in range(MAX_MODELS + 5):
        await taught(calibrator, 1, f"m{number}")
        await taught(calibrator, 1, "m0")
    assert len(calibrator._learned) == len(calibrator._factors) == MAX_MODELS
    assert calibrator.known("m0").used > MAX_MODELS
    assert calibrator.known("m1").used == 0
    for number in range(MAX_MODELS * 2):
        calibrator.heard(f"n{number}", PROMPT, TOLD)
    assert len(calibrator._waiting) == MAX_MODELS


async def test_what_was_learned_outlives_the_process_in_a_private_file(tmp_path):
    """The next process begins where this one ended; others cannot read the file, which holds no text."""
    path = tmp_path / "tokens.json"
    first = Calibrator(NoteFile(path))
    assert await first.load() is None
    await taught(first)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "gardener" not in path.read_text()
    second = Calibrator(NoteFile(path))
    assert await second.load() is None
    assert second.known("m") == first.known("m")
    assert second.likely("m", PROMPT) == first.likely("m", PROMPT)


async def test_nothing_is_written_where_nothing_was_learned(tmp_path):
    """An idle gateway leaves the disk alone."""
    calibrator = Calibrator(NoteFile(tmp_path / "tokens.json"))
    assert await calibrator.settle() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", '{"models":[]}', '{"models":{"m":{"told":"x"}}}', " " * (MAX_BYTES + 1)])
async def test_a_damaged_file_is_told_and_then_written_anew(tmp_path, text):
    """It was only learned: the gateway starts without it."""
    path = tmp_path / "tokens.json"
    path.write_text(text)
    calibrator = Calibrator(NoteFile(path))
    assert await calibrator.load()
    await taught(calibrator, 1)
    assert json.loads(path.read_text())["models"]["m"]["used"] == 1


async def test_sums_that_cannot_be_right_are_left_out(tmp_path):
    """Whoever edits the file cannot make counts wild; of too many models the last ones count."""
    path = tmp_path / "tokens.json"
    models = {f"m{number}": {"estimated": 10.0, "told": 10.0} for number in range(MAX_MODELS + 3)}
    path.write_text(json.dumps({"models": models | {"bad": {"estimated": 1.0, "told": 1e12}}}))
    calibrator = Calibrator(NoteFile(path))
    assert await calibrator.load() is None
    assert "bad" not in calibrator._factors
    assert len(calibrator._learned) == MAX_MODELS - 1


async def test_a_disk_that_refuses_is_told_and_tried_again(tmp_path):
    """Learning goes on, and what was learned is written once it can be."""
    path = tmp_path / "missing" / "tokens.json"
    calibrator = Calibrator(NoteFile(path))
    calibrator.heard("m", PROMPT, TOLD)
    assert "missing" in await calibrator.settle()
    assert calibrator.known("m").used == 1
    path.parent.mkdir()
    assert await calibrator.settle() is None
    assert path.exists()
