"""A recorded typing session over one file: few calls to the service, and never a wrong insertion."""

import asyncio
import importlib.util
import json
import sys
from pathlib import Path

import msgspec
import pytest

from fakes.line import chunks, written
from fittengate.simulator import Completion, Plan
from fittengate.simulator.completion import Completions, Place, suggest

PATH = "/v1/completions"


def load(name):
    """Return a module of the benchmark, which has the session."""
    path = Path(__file__).parents[2] / "bench" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bench_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


session = load("session")
SESSION = session.load()
HARD = Completion(files=tuple(SESSION.files), silent_chars=3, wrong_lines=2)


def test_the_session_is_what_it_says():
    """A thousand keys, with slips taken back, places gone back to, and more than ASCII; the file at its end is Python."""
    assert len(SESSION.moments) == 1000
    assert (
        sum(len(now.text) < len(then.text) for then, now in zip(SESSION.moments, SESSION.moments[1:], strict=False))
        >= 30
    )
    assert any(moment.after for moment in SESSION.moments)
    assert not SESSION.moments[-1].text.isascii()
    compile(SESSION.moments[-1].text, "session", "exec")


def test_the_judge_sees_a_wrong_insertion():
    """What makes a file that no answer of the service meant is wrong, a rest of an answer is not."""
    judge = session.Judge()
    judge.hear(session.Moment("a", "z"), "bc", remembered=False)
    judge.hear(session.Moment("ab", "z"), "c", remembered=True)
    assert judge.wrong == []
    judge.hear(session.Moment("ab", "z"), "b", remembered=True)
    assert len(judge.wrong) == 1


async def ask(line, moment, *, stream):
    body = json.dumps({"prompt": moment.before, "suffix": moment.after, "stream": stream}).encode()
    await line.send(written("POST", PATH, body))
    reply = await line.reply()
    assert reply.status == 200
    found = chunks(reply.body) if stream else [reply.json]
    text = "".join(choice["text"] for one in found for choice in one["choices"])
    return text, reply.headers.get("x-fittengate-memory") == "hit"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_session_costs_a_third_of_the_calls_and_no_wrong_insertion(gateway, simulator, stream):
    """Of 1,000 keystrokes at most 350 ask the service; the rest gives files that the service itself has meant."""
    simulator.set_scenario(msgspec.structs.replace(simulator.scenario, completion=HARD, log_requests=2000))
    service = Completions(HARD, None, None)
    judge = session.Judge()
    async with gateway.line() as line:
        for moment in SESSION.moments:
            text, remembered = await ask(line, moment, stream=stream)
            judge.hear(moment, text, remembered=remembered)
            if not remembered:
                place = Place(moment.before, moment.after)
                known = service._from_files(place)
                assert text == (suggest(place) if known is None else known)
    assert judge.wrong == []
    calls = simulator.counters.completions
    assert 100 < calls <= 0.35 * len(SESSION.moments)


async def test_keys_faster_than_the_service_end_what_they_made_stale(gateway, simulator):
    """A key every 5 ms, a service that takes 20 ms: what is answered at all is right, the last one always is."""
    slow = {"completion": Plan(delay_ms=20)}
    simulator.set_scenario(msgspec.structs.replace(simulator.scenario, completion=HARD, defaults=slow))
    moments = SESSION.moments[300:420]
    judge = session.Judge()

    async def key(moment):
        body = json.dumps({"prompt": moment.before, "suffix": moment.after}).encode()
        return await gateway.request("POST", PATH, body)

    tasks = []
    for moment in moments:
        tasks.append(asyncio.create_task(key(moment)))
        await asyncio.sleep(0.005)
    replies = await asyncio.gather(*tasks)
    answered = [(moment, reply) for moment, reply in zip(moments, replies, strict=True) if reply.status == 200]
    assert {reply.status for reply in replies} == {200, 499}
    assert replies[-1].status == 200
    for want in (False, True):
        for moment, reply in answered:
            if ("x-fittengate-memory" in reply.headers) is want:
                judge.hear(moment, reply.json["choices"][0]["text"], remembered=want)
    assert judge.wrong == []
    superseded = sum(reply.status == 499 for reply in replies)
    await simulator.wait_closed_by_client(1)
    assert simulator.counters.closed_by_client <= superseded
