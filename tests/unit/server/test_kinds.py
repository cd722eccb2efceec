"""Jobs: what each kind of ask needs, and how several asks make one job."""

from types import SimpleNamespace
from typing import get_args

import pytest

from fittengate.core.ask import COMPLETION, Ask, FillAsk, Sampling, Several
from fittengate.core.caller import Caller, ModelCard
from fittengate.core.conversation import Conversation, Message, Text
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import Usage
from fittengate.dialects.base import Dialect
from fittengate.server.asking import AskingCounts, Leases
from fittengate.server.job import Means
from fittengate.server.kinds import job_for
from fittengate.services.models import ModelNames

CHAT = ModelCard("fitten-code", "Fitten")
CODE = ModelCard(COMPLETION, "Completion", section="completion")


class Counting:
    """A service that counts how often it estimates: a prompt has as many tokens as characters."""

    def __init__(self):
        self.estimated = 0

    def estimate(self, ask, card):
        self.estimated += 1
        words = ask.prefix if isinstance(ask, FillAsk) else ask.conversation.messages[0].parts[0].text
        return Usage(len(words), 0)


def means(upstream=None):
    models = ModelNames(lambda: (CHAT, CODE), {})
    return Means(upstream or Counting(), models, None, None, None, AskingCounts())


def talk(words="hi", **others):
    return Ask(Conversation((Message("user", (Text(words),)),)), **others)


def test_every_ask_that_a_dialect_reads_has_a_job():
    """A kind that is added to what dialects read, and not to the jobs, is found here."""
    asks = {Ask: talk(), FillAsk: FillAsk("a"), Several: Several((talk(),))}
    kinds = get_args(Dialect.read.__annotations__["return"])
    assert {type(job_for(asks[kind], means())).__name__ for kind in kinds} == {"Talk", "Fill", "Choices"}


@pytest.mark.parametrize(
    ("ask", "scopes", "model"),
    [
        (talk(), {"chat"}, CHAT),
        (FillAsk("a"), {"completion"}, CODE),
        (FillAsk("a", sampling=Sampling(0)), set(), CODE),
        (Several((FillAsk("a"), FillAsk("b"))), {"completion"}, CODE),
        (Several((FillAsk("a"), talk())), {"chat", "completion"}, CHAT),
    ],
)
def test_keys_and_models_go_by_what_is_asked(ask, scopes, model):
    """A key that may ask for no model but another is refused, unless no text is wanted."""
    job = job_for(ask, means())
    assert job.scopes == scopes
    assert job.find() is model
    job.require(Caller("all"))
    if scopes:
        with pytest.raises(Fault) as caught:
            job.require(Caller("other", models=("other",)))
        assert caught.value.kind is FaultKind.CALLER_FORBIDDEN
    else:
        job.require(Caller("other", models=("other",)))


def test_among_several_a_key_needs_every_model():
    """The one that talks is not enough where code is completed, too."""
    job = job_for(Several((talk(), FillAsk("a"))), means())
    job.find()
    with pytest.raises(Fault, match=COMPLETION):
        job.require(Caller("other", models=(CHAT.id,)))


@pytest.mark.parametrize(
    ("limits", "output"), [((5, 7), 12), ((5, None), None), ((None, None), None)], ids=["all", "one", "none"]
)
def test_several_answers_need_what_all_of_them_need(limits, output):
    """Prompts are summed, and limits where each has one; where not, those without are cut where what is left ends."""
    job = job_for(Several(tuple(talk("four", sampling=Sampling(limit)) for limit in limits)), means())
    job.find()
    need = job.need()
    assert (need.prompt, need.output, need.answers) == (8, output, 2)
    left = SimpleNamespace(output=None if output else 3, reserved=need.prompt + 6)
    job.take(Leases(left))
    assert [part.ask.sampling.max_tokens for part in job._parts] == [limit or 3 for limit in limits]


def test_what_is_asked_several_times_is_looked_at_once():
    """The same question asked four times is estimated once, and stands in the log once."""
    upstream, ask = Counting(), talk("four")
    job = job_for(Several((ask,) * 4), means(upstream))
    job.find()
    assert job.need().prompt == 16
    assert upstream.estimated == 1
    assert job.words() == "user: four"


def test_a_code_completion_stays_as_it_is_where_little_is_left():
    """What it is known by in the memory must not change with what others have used."""
    ask = FillAsk("a")
    job = job_for(ask, means())
    job.take(Leases(SimpleNamespace(output=3)))
    assert job.ask is ask


def test_nothing_is_owed_before_a_turn():
    """Leaving early gives back nothing that was never taken, and the books know of nothing."""
    for ask in (talk(), FillAsk("a"), Several((talk(),))):
        job = job_for(ask, means())
        job.leave()
        assert not job.owing
        assert job.spent(None) is None
