"""What goes on beside requests: problems of what is learned are told, each once."""

import asyncio

import pytest

from fittengate.server.background import learning, told_once
from fittengate.upstream.calibrator import Calibrator
from fittengate.upstream.fitten.drift import Drift

PAUSE = 0.002


class Store:
    """Keeps nothing, as a disk that is full or a file that is damaged."""

    def __init__(self):
        self.why = "no space left"
        self.damaged = False
        self.saves = 0

    def load(self):
        return b"{damaged" if self.damaged else None

    def save(self, data):
        self.saves += 1
        if self.why:
            raise OSError(self.why)


@pytest.fixture
def said():
    return []


@pytest.fixture
def say(said):
    return lambda level, text, **more: said.append((level, text, more.get("error")))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(PAUSE)


async def test_what_is_not_known_of_the_service_and_cannot_be_kept_is_told_once(said, say):
    """However often it is tried; another reason is told again, and so is the same one after it was gone."""
    store = Store()
    drift = Drift(store)
    async with learning(Calibrator(), drift, say, PAUSE):
        drift.note("line", "{new}", 0.0)
        await until(lambda: store.saves > 3)
        store.why = "read-only file system"
        await until(lambda: len(said) > 2)
        store.why = ""
        saves = store.saves
        await until(lambda: store.saves > saves)
        store.why = "no space left"
        drift.note("line", "{new}", 1.0)
        await until(lambda: len(said) > 3)
    assert [error for _, text, error in said if "not kept" in text] == [
        "no space left",
        "read-only file system",
        "no space left",
    ]
    assert {level for level, _, _ in said} == {"warning"}


async def test_what_was_kept_and_cannot_be_read_is_told(said, say):
    """Of both files; nothing else is lost by it."""
    store = Store()
    store.damaged = True
    async with learning(Calibrator(store), Drift(store), say):
        pass
    assert [text for _, text, _ in said] == [
        "token counts are not kept",
        "what is not known of the service is not kept",
    ]


async def test_at_the_end_what_is_new_is_told_and_kept(said, say):
    """Without waiting for the next time."""
    store = Store()
    store.why = ""
    drift = Drift(store)
    async with learning(Calibrator(), drift, say):
        drift.note("line", "{new}", 0.0)
    assert store.saves == 1
    assert [text for _, text, _ in said] == ["the service sent something that is not known of it"]


def test_a_problem_is_told_again_after_it_was_gone(said, say):
    """And not while it lasts."""
    tell = told_once(say, "broken")
    for problem in ("a", "a", None, None, "a", "b", "b"):
        tell(problem)
    assert [error for _, _, error in said] == ["a", "a", "b"]
