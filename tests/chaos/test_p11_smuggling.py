"""P11: a request whose end is doubtful is refused; none is ever answered twice, and none hides in another's body."""

import asyncio
import re

from fakes.line import line
from fakes.smuggling import ATTEMPTS, NEXT

SILENCE = 1.0
"""Seconds after which nothing more is believed to come."""

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
ANSWERED = re.compile(rb"x-request-id: (first|smuggled|next)\r\n")


async def answers(port, raw):
    """Return the statuses and the known ids of all answers, and whether the connection was ended."""
    got = b""
    async with line(port) as one:
        await one.send(raw + NEXT)
        try:
            async with asyncio.timeout(SILENCE):
                while data := await one._reader.read(65536):
                    got += data
            ended = True
        except TimeoutError:
            ended = False
        except ConnectionError:
            ended = True
    statuses = [int(status) for status in STATUS.findall(got) if status != b"100"]
    return statuses, [name.decode() for name in ANSWERED.findall(got)], ended


def judged(attempt, statuses, names, ended):
    """Return what is wrong with the answers to an attempt, None where nothing is."""
    if "smuggled" in names:
        return "the smuggled request was answered"
    if len(statuses) != len(set(names)) and attempt.outcome == "one":
        return "not one answer for each request"
    if attempt.outcome == "refused":
        if len(statuses) != 1 or not 400 <= statuses[0] < 500:
            return "not refused once"
        return None if ended and "next" not in names else "refused, but it went on"
    if names == ["first", "next"] or (names == ["first"] and ended):
        return None
    return "not one request"


async def test_p11_no_request_is_smuggled(gateway, cases):
    """Each published attempt is refused with one error and the end of the connection, or is one clean request."""
    found = await asyncio.gather(*(answers(gateway.port, attempt.raw) for attempt in ATTEMPTS))
    wrong = [
        (attempt.name, problem, got)
        for attempt, got in zip(ATTEMPTS, found, strict=True)
        if (problem := judged(attempt, *got))
    ]
    assert wrong == []
    assert (await gateway.chat("the next one")).status == 200
    cases(len(ATTEMPTS))
