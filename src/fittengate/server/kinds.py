"""Every kind of ask and the job that is made of it. A further kind has its line here, and is looked for nowhere else."""

from fittengate.core.ask import Ask, FillAsk, Several
from fittengate.server.choices import Choices
from fittengate.server.fill import Fill
from fittengate.server.job import Job, Means, Part
from fittengate.server.talk import Talk


def job_for(ask: Ask | FillAsk | Several, means: Means) -> Job:
    """Return the job of a request."""
    if isinstance(ask, Ask):
        return Talk(ask, means)
    return Choices(ask, means, _part) if isinstance(ask, Several) else Fill(ask, means)


def _part(ask: Ask | FillAsk, means: Means) -> Part:
    return Talk(ask, means) if isinstance(ask, Ask) else Fill(ask, means)
