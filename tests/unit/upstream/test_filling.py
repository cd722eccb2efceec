"""Code completion at the service: its two doors, further tries, tokens, deadlines, leaving."""

import asyncio
import time

import msgspec
import pytest

from fakes.line import until
from fakes.running import settings_for
from fittengate.core.ask import FillAsk, Sampling
from fittengate.core.events import Began, Ended, TextDelta
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason
from fittengate.server.assemble import connected
from fittengate.services.vault import MemoryVault
from fittengate.simulator import Completion, Plan

ADD = FillAsk("def add(a, b):", "\n", file_name="a.py")
BODY = "\n    return a + b"


@pytest.fixture
async def service(simulator):
    """Connect to the simulator as ``serve`` does."""
    async with connected(settings_for(simulator), MemoryVault()) as made:
        yield made


def set_form(simulator, **fields):
    """Let the service complete in another way."""
    simulator.set_scenario(msgspec.structs.replace(simulator.scenario, completion=Completion(**fields)))


async def events_of(service, fill=ADD):
    return [event async for batch in service.complete(fill) for event in batch]


async def text_of(service, fill=ADD):
    return "".join(event.text for event in await events_of(service, fill) if isinstance(event, TextDelta))


async def fault_of(service, fill=ADD):
    with pytest.raises(Fault) as caught:
        await events_of(service, fill)
    return caught.value


async def test_a_completion_is_one_text_between_began_and_ended(service):
    """Usage is ours, because the service tells none."""
    began, text, ended = await events_of(service)
    assert (began, text) == (Began(), TextDelta(BODY))
    assert isinstance(ended, Ended)
    assert ended.reason is StopReason.DONE
    assert ended.usage.estimated
    assert ended.usage.input_tokens > ended.usage.output_tokens > 0


async def test_the_version_is_asked_for_once_and_stands_in_the_path(service, simulator):
    """Further completions go to the known path at once; the simulator checks offsets and hash."""
    set_form(simulator, version="2")
    assert [await text_of(service) for _ in range(3)] == [BODY] * 3
    assert len(simulator.requests("completion_version")) == 1
    paths = {request.path for request in simulator.requests("completion")}
    assert len(paths) == 1
    assert paths.pop().startswith("/codeapi/completion2_2/generate_one_stage_auth/")
    assert not [problem for request in simulator.requests("completion") for problem in request.problems]


@pytest.mark.parametrize("plan", [Plan(json="7"), Plan(status=404), Plan(body="<html>", status=200)])
async def test_an_unknown_version_leads_to_the_older_door(service, simulator, plan):
    """The completion without a token needs no version; the question is not repeated each time."""
    simulator.plan("completion_version", plan)
    assert [await text_of(service), await text_of(service)] == [BODY, BODY]
    assert len(simulator.requests("completion_version")) == 1
    assert {request.path.split("/")[3] for request in simulator.requests("completion")} == {"generate_one_stage"}


async def test_a_path_that_has_gone_leads_to_the_older_door(service, simulator):
    """A 404 at the door with a token is no fault, and is not met again."""
    simulator.plan("completion", Plan(status=404))
    assert [await text_of(service), await text_of(service)] == [BODY, BODY]
    doors = [request.path.split("/")[3] for request in simulator.requests("completion")]
    assert doors == ["generate_one_stage_auth", "generate_one_stage", "generate_one_stage"]


async def test_a_version_that_could_not_be_asked_for_is_asked_for_again(service, simulator):
    """An outage of a moment decides nothing for later."""
    simulator.plan("completion_version", Plan(status=503))
    assert [await text_of(service), await text_of(service)] == [BODY, BODY]
    doors = [request.path.split("/")[3] for request in simulator.requests("completion")]
    assert doors == ["generate_one_stage", "generate_one_stage_auth"]


async def test_a_lost_text_is_sent_once_more(service, simulator):
    """`diff data error` comes with status 200; a second one is a fault that quotes nothing."""
    simulator.plan("completion", Plan(json={"error": "diff data error"}))
    assert await text_of(service) == BODY
    assert len(simulator.requests("completion")) == 2
    simulator.plan("completion", Plan(json={"error": "diff data error"}), times=None)
    fault = await fault_of(service)
    assert fault.kind is FaultKind.UPSTREAM_BROKEN
    assert "diff" not in fault.detail
    assert len(simulator.requests("completion")) == 4


async def test_a_401_is_answered_by_one_renewal(service, simulator):
    """P4: the token is renewed and the request sent again."""
    assert await text_of(service) == BODY
    simulator.plan("completion", Plan(status=401))
    before = simulator.counters.refreshes
    assert await text_of(service) == BODY
    assert simulator.counters.refreshes == before + 1


async def test_a_401_for_ever_is_a_fault_of_the_account(service, simulator):
    """A renewal, at most one login, and then no more."""
    simulator.plan("completion", Plan(status=401), times=None)
    assert (await fault_of(service)).kind is FaultKind.UPSTREAM_LOGIN
    assert len(simulator.requests("completion")) <= 3


async def test_a_door_that_rejects_a_renewed_token_is_left_for_the_older_one(service, simulator):
    """What one door says of the account is no reason for a login, nor for leaving chat without a token."""
    simulator.plan("completion", Plan(status=401), times=2)
    refreshes, logins = simulator.counters.refreshes, simulator.counters.requests["login"]
    assert [await text_of(service), await text_of(service)] == [BODY, BODY]
    doors = [request.path.split("/")[3] for request in simulator.requests("completion")]
    assert doors == ["generate_one_stage_auth"] * 2 + ["generate_one_stage"] * 2
    assert simulator.counters.refreshes == refreshes + 1
    assert simulator.counters.requests["login"] == logins + 1, "the first one of all"
    simulator.plan("completion", Plan(status=401), times=None)
    for _ in range(3):
        assert (await fault_of(service)).kind is FaultKind.UPSTREAM_LOGIN
        assert service.keeper.ready() is not None
    assert simulator.counters.requests["login"] == logins + 1
    assert simulator.counters.refreshes == refreshes + 1


async def test_a_model_list_that_rejects_the_token_renews_it_once_and_not_every_time(service, simulator):
    """The list may be another host's (protocol: base URLs), which knows nothing of the token."""
    await service.keeper.fresh()
    refreshes = simulator.counters.refreshes
    simulator.plan("models", Plan(status=401), times=None)
    for _ in range(3):
        assert await service.refresh_models() is not None
    assert simulator.counters.refreshes == refreshes + 1
    assert simulator.counters.requests["models"] == 4


@pytest.mark.parametrize("plan", [Plan(status=502), Plan(page="portal"), Plan(no_reply="reset"), Plan(json=[])])
async def test_an_outage_of_a_moment_is_tried_again(service, simulator, plan):
    """P5: nothing was promised to the client yet."""
    simulator.plan("completion", plan)
    assert await text_of(service) == BODY
    assert service.retried == 1


@pytest.mark.parametrize(("status", "kind"), [(422, FaultKind.UPSTREAM_REFUSED), (429, FaultKind.UPSTREAM_RATE)])
async def test_a_refusal_is_not_tried_again(service, simulator, status, kind):
    """P5: a request that the service refused is never repeated."""
    simulator.plan("completion", Plan(status=status), times=None)
    assert (await fault_of(service)).kind is kind
    assert len(simulator.requests("completion")) == 1


async def test_a_long_outage_is_a_fault(service, simulator):
    """After the further tries of the settings."""
    simulator.plan("completion", Plan(status=503), times=None)
    assert (await fault_of(service)).kind is FaultKind.UPSTREAM_BROKEN
    assert len(simulator.requests("completion")) == 3


async def test_an_answer_without_end_is_cut_off(service, simulator):
    """P6: memory is bounded, whatever the service sends."""
    simulator.plan("completion", Plan(json={"generated_text": "x" * 3_000_000}), times=None)
    assert "more than" in (await fault_of(service)).detail


async def test_a_service_that_stalls_is_late(simulator):
    """The deadline for the first word holds for completions too."""
    async with connected(settings_for(simulator, upstream={"first_token_timeout": 0.3}), MemoryVault()) as service:
        simulator.plan("completion", Plan(no_reply="stall"))
        assert (await fault_of(service)).kind is FaultKind.UPSTREAM_LATE


@pytest.mark.parametrize("plan", [Plan(no_reply="stall"), Plan(cut="stall", cut_at=5)])
async def test_whoever_leaves_closes_the_connection(service, simulator, plan):
    """P3: within 100 ms, before the status line and inside the body."""
    await text_of(service)
    simulator.plan("completion", plan)
    asked = asyncio.create_task(events_of(service))
    await until(lambda: len(simulator.requests("completion")) == 2)
    asked.cancel()
    left = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await simulator.wait_closed_by_client()
    assert time.monotonic() - left < 0.1


@pytest.mark.parametrize(
    ("form", "suffix", "text"),
    [
        ("empty", "\n", ""),
        ("nothing", "\n", ""),
        ("rest_of_line", " # add\n", ""),
        ("end_of_text", "\n", BODY),
        ("ex_msg", "  \n", BODY),
        ("edit", "\n", ""),
        ("edit_insert", "\n", ""),
    ],
)
async def test_every_form_of_answer_is_read(service, simulator, form, suffix, text):
    """Replacements are insertions or nothing, edits of lines are nothing."""
    set_form(simulator, form=form)
    assert await text_of(service, FillAsk(ADD.prefix, suffix)) == text


async def test_stop_and_length_cut_the_text(service):
    """The service has neither; what is inserted is a beginning of what it proposed."""
    stopped = await events_of(service, msgspec.structs.replace(ADD, sampling=Sampling(stop=(" + b", "\n"))))
    assert stopped[1:-1] == []
    assert (stopped[-1].reason, stopped[-1].stop_sequence) == (StopReason.STOP_SEQUENCE, "\n")
    cut = await events_of(service, msgspec.structs.replace(ADD, sampling=Sampling(max_tokens=1)))
    assert (cut[1], cut[-1].reason) == (TextDelta(BODY[:4]), StopReason.LENGTH)


async def test_hostile_files_are_completed_or_refused(service):
    """Lone surrogates, NULs, a line of 10 MB, a cursor inside a grapheme."""
    for fill in (
        FillAsk("a\ud83d", "\ude00"),
        FillAsk("\0" * 100, "\0"),
        FillAsk("x" * 5_000_000, "y" * 5_000_000),
        FillAsk("👩‍", "👩‍👧"),
        FillAsk("", ""),
        FillAsk("漢" * 5_000_000, "\ud83d" * 150_000),
    ):
        assert isinstance(await text_of(service, fill), str)
