"""P2 through the whole stack: however the service's bytes are split, the client reads the same."""

import asyncio
import random

import pytest

from fakes.line import chunks, finish_reasons
from fittengate.simulator import Plan

TEXT = 'Gruß, 你好世界 😀👩‍💻 \\ "quoted" <|end| <b>bold</b>\nsecond line é'
THOUGHT = "Erst denken 🤔 然后说"


def plan(**fields: object) -> Plan:
    return Plan(**{"text": TEXT, "reasoning": THOUGHT, "input_tokens": 7, **fields})


async def check(gateway, simulator, name, a_plan):
    """Ask both ways under one plan and hold both to the text."""
    simulator.plan("chat", a_plan, times=2, contains=name)
    streamed, whole = await asyncio.gather(gateway.chat(name, stream=True), gateway.chat(name))
    assert whole.status == streamed.status == 200
    assert streamed.text == TEXT
    deltas = [choice["delta"] for chunk in chunks(streamed.body) for choice in chunk["choices"]]
    message = whole.json["choices"][0]["message"]
    assert message["content"] == TEXT
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == THOUGHT
    assert message["reasoning_content"] == THOUGHT
    assert finish_reasons(streamed.body) == [whole.json["choices"][0]["finish_reason"]] == ["stop"]


@pytest.mark.parametrize(
    "form", [{}, {"ascii": True}, {"wrap": "sse"}, {"line_end": "\r\n"}, {"last_line_end": False}, {"gzip": "always"}]
)
async def test_p2_one_byte_at_a_time_changes_nothing(gateway, simulator, form):
    """The smallest pieces there are, in every spelling of the lines: the same text, streamed and whole."""
    await check(gateway, simulator, "byte", plan(split=1, **form))


async def test_p2_splits_inside_characters_change_nothing(gateway, simulator):
    """Each UTF-8 sequence and each JSON escape is torn in two, with a pause between."""
    await check(gateway, simulator, "inside", plan(split_inside=True, split_ms=1))
    await check(gateway, simulator, "escapes", plan(split_inside=True, ascii=True))


@pytest.mark.parametrize("seed", range(8))
async def test_p2_random_splits_change_nothing(gateway, simulator, seed):
    """Forty random places to split at, eight times over."""
    dice = random.Random(seed)
    places = tuple(sorted(dice.sample(range(1, 4000), 40)))
    await check(gateway, simulator, "random", plan(split_at=places, padding=seed % 3, padding_every=seed % 5))


async def test_p2_everything_in_one_piece_changes_nothing(gateway, simulator):
    """The whole reply in a single segment."""
    await check(gateway, simulator, "one", plan(interval_ms=0))


async def test_p2_keepalives_never_reach_the_client(gateway, simulator):
    """Padding and heartbeats before and between the words are no text."""
    await check(gateway, simulator, "padding", plan(padding=5, padding_every=3))


async def test_p2_many_streams_at_once_are_not_mixed(gateway, simulator):
    """Thirty streams that are written byte by byte at the same time: each client reads its own."""
    texts = [f"{n}:" + f"{n % 10}é" * 40 for n in range(30)]
    for n, text in enumerate(texts):
        simulator.plan("chat", Plan(text=text, split=3), contains=f"number {n}.")
    replies = await asyncio.gather(*(gateway.chat(f"number {n}.", stream=True) for n in range(30)))
    assert [reply.text for reply in replies] == texts
