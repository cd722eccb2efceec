"""Every rule on calls, from the bytes of the service to the bytes of every dialect: the table of cases, end to end.

The chain is the real one: ReplyStream, then the dialect's writer for a streamed reply, or the folded events for a whole
one. Clients read what comes out. Reading a stream with the vendors' SDKs takes milliseconds, so of each case's
beginnings one or two are read so in each dialect, others in each; a dozen of each case are looked at as events.
"""

import json
import re
from itertools import groupby

import msgspec
import pytest

from contract.readers import READERS, Answer
from fakes.call_cases import CASES, TOOLS, Case, Cut
from fittengate.core.ask import Ask, ReplyFormat, ToolUse
from fittengate.core.events import Ended, TextDelta, ThoughtDelta, ToolAborted, ToolClosed, ToolDelta, ToolOpened, fold
from fittengate.core.reply import StopReason
from fittengate.dialects import DIALECTS
from fittengate.prompting.render import Rendered
from fittengate.upstream.fitten.reply import ReplyStream
from golden.regenerate import head_for

EVENT_BEGINNINGS = 8
# Other dialects have no tools.
_NAMES = ("openai_chat", "anthropic_messages", "openai_responses")
WITH_TOOLS = [dialect for dialect in DIALECTS if dialect.name in _NAMES]


def request(dialect: str, use: ToolUse) -> bytes:
    """Return a request of the dialect with the tools of the cases."""
    schemas = [(one.name, json.loads(one.parameters)) for one in TOOLS]
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Go on."}]}
    if dialect == "anthropic_messages":
        body |= {"max_tokens": 100_000, "thinking": {"type": "enabled", "budget_tokens": 2048}}
        body["tools"] = [{"name": name, "input_schema": schema} for name, schema in schemas]
        choice = {"type": "tool", "name": use.name} if use.choice == "named" else {"type": use.choice}
        body["tool_choice"] = choice | ({} if use.parallel else {"disable_parallel_tool_use": True})
        if use.choice == "named":
            del body["thinking"]
        return json.dumps(body).encode()
    functions = [{"name": name, "parameters": schema} for name, schema in schemas]
    body |= {"tool_choice": use.choice, "parallel_tool_calls": use.parallel}
    if dialect == "openai_responses":
        body["input"] = body.pop("messages")
        body["tools"] = [{"type": "function", **function} for function in functions]
        if use.choice == "named":
            body["tool_choice"] = {"type": "function", "name": use.name}
    else:
        body["tools"] = [{"type": "function", "function": function} for function in functions]
        if use.choice == "named":
            body["tool_choice"] = {"type": "function", "function": {"name": use.name}}
    return json.dumps(body).encode()


def asked(dialect, case: Case) -> Ask:
    """Return what the request asks for; it is what the case says."""
    ask = dialect.read(request(dialect.name, case.use))
    assert ask.tool_use == case.use
    return msgspec.structs.replace(ask, reply_format=ReplyFormat()) if case.json_reply else ask


def events_of(ask: Ask, case: Case, pieces) -> list:
    """Return the events of a reply that the service sends in these pieces, up to its end or ours."""
    ids = (f"{number:024}" for number in range(1000))
    stream = ReplyStream(ask, Rendered("", 0, "", case.tags), ids.__next__, framed=True, count=lambda text: 5)
    lines = [{"reasoning_delta": case.thought}] if case.thought else []
    events = []
    # What the service counts is the same for every way of cutting a reply.
    for line in [*lines, *({"delta": piece} for piece in pieces), {"usage": {"input_tokens": 5, "output_tokens": 7}}]:
        if not stream.ended:
            events += stream.feed(json.dumps(line).encode() + b"\n", 0.0)
    events += stream.close()
    assert stream.fault is None
    return events


def merged(events) -> list:
    """Return events with adjacent deltas of one sort joined, and without what depends on when the reply was ended."""
    out = []
    for kind, group in groupby(events, type):
        together = list(group)
        if kind in (TextDelta, ThoughtDelta):
            out.append((kind, "".join(one.text for one in together)))
        elif kind is ToolDelta:
            out.append((kind, "".join(one.fragment for one in together)))
        elif kind is Ended:
            out.append((kind, together[0].reason, together[0].stop_sequence, together[0].lost_call))
        else:
            out += together
    return out


def streamed(dialect, ask: Ask, events) -> Answer:
    """Return what a client reads of a streamed reply, event by event; usage is the business of other tests."""
    writer = dialect.writer(ask, head_for(ask))
    body = b"".join([writer.feed([event]) for event in events]) + writer.close()
    return READERS[dialect.name].stream(body)._replace(usage=None)


def whole(dialect, ask: Ask, events) -> Answer:
    """Return what a client reads of a whole reply."""
    return READERS[dialect.name].whole(dialect.whole(fold(events), ask, head_for(ask)))._replace(usage=None)


def text_of(case: Case) -> str:
    return "".join(piece for piece in case.gives if isinstance(piece, str))


def calls_of(case: Case) -> list[tuple[str, dict]]:
    return [piece for piece in case.gives if isinstance(piece, tuple) and not isinstance(piece, Cut)]


def given(calls) -> list[tuple[str, dict]]:
    return [(name, json.loads(arguments)) for _, name, arguments in calls]


def finishes(dialect: str, case: Case) -> set[str]:
    """Return the words for the end that a client of the dialect may read."""
    if any(isinstance(piece, Cut) for piece in case.gives):
        return {"length", "max_tokens", "incomplete"}
    if not calls_of(case):
        return {"stop", "end_turn", "completed"}
    return {"stop" if case.use.choice == "named" else "tool_calls", "tool_use", "completed"}


@pytest.mark.parametrize("dialect", WITH_TOOLS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fact)
def test_a_client_reads_what_its_case_says(dialect, case):
    """In every dialect, streamed in one piece or by character and whole: the same text, calls and end.

    So no tag is seen in text that is not about tags, nothing that was no call is one, and half a call is never whole.
    """
    ask = asked(dialect, case)
    at_once, single = (events_of(ask, case, pieces) for pieces in ([case.answer], case.answer))
    answers = [streamed(dialect, ask, at_once), streamed(dialect, ask, single)]
    answers += [whole(dialect, ask, at_once), whole(dialect, ask, single)]
    for answer in answers:
        assert answer.text == text_of(case)
        assert given(answer.calls) == calls_of(case)
        assert answer.finish in finishes(dialect.name, case)
        assert answer == answers[0]
    assert len({call_id for call_id, _, _ in answers[0].calls}) == len(answers[0].calls), "ids differ"


@pytest.mark.parametrize("dialect", WITH_TOOLS, ids=lambda dialect: dialect.name)
def test_beginnings_of_a_case_are_the_same_streamed_and_whole(dialect):
    """Wherever the service ends a reply: a place of each case, another one in each dialect."""
    for number, case in enumerate(CASES):
        ask = asked(dialect, case)
        size = len(case.answer)
        if size > 8:
            # Moved on from case to case.
            end = 1 + (size * WITH_TOOLS.index(dialect) // len(WITH_TOOLS) + 7 * number) % (size - 1)
            events = events_of(ask, case, case.answer[:end])
            assert merged(events) == merged(events_of(ask, case, [case.answer[:end]]))
            assert streamed(dialect, ask, events) == whole(dialect, ask, events), case.answer[:end]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fact)
def test_a_beginning_gives_nothing_that_is_no_part_of_the_case(case):
    """Wherever it ends: text that was let out stays, what was held is text again, and half a call is no call."""
    ask = asked(WITH_TOOLS[0], case)
    full = calls_of(case)
    for end in range(1, len(case.answer), max(1, len(case.answer) // EVENT_BEGINNINGS)):
        beginning = case.answer[:end]
        events = events_of(ask, case, beginning)
        assert merged(events) == merged(events_of(ask, case, [beginning]))
        reply = fold(events)
        got = given([(call.id, call.name, call.arguments) for call in reply.calls])
        assert got[:-1] == full[: len(got)][: max(0, len(got) - 1)]
        if got[-1:] != full[len(got) - 1 : len(got)]:
            # A value may hold closing tags; where they are the last that came, they close.
            assert beginning.rstrip().endswith(">")
        if any(type(event) is ToolAborted for event in events):
            assert reply.reason is StopReason.LENGTH
        _check_text(case, beginning, reply.text)


def _check_text(case: Case, beginning: str, text: str) -> None:
    expected = text_of(case)
    same = next((at for at, (a, b) in enumerate(zip(text, expected, strict=False)) if a != b), None)
    same = min(len(text), len(expected)) if same is None else same
    released = text[same:].strip()
    if released:
        # What was held comes out as it was written, and is the end of what was written.
        assert beginning.rstrip().endswith(released)
        assert case.tags.suffix or "<think>" in case.answer or not re.search("<invoke[^<>]*>", released)


@pytest.mark.parametrize("dialect", WITH_TOOLS, ids=lambda dialect: dialect.name)
def test_a_cut_off_call_is_left_open_in_the_stream_and_left_out_of_the_whole(dialect):
    """Streamed, its arguments are no JSON, ever; whole, it is not there."""
    for case in CASES:
        cuts = [piece for piece in case.gives if isinstance(piece, Cut)]
        if not cuts:
            continue
        ask = asked(dialect, case)
        events = events_of(ask, case, case.answer)
        begun = [one.fragment for one in _last_call(events)]
        assert "".join(begun) == cuts[-1].begun
        with pytest.raises(ValueError):
            json.loads("".join(begun))
        assert given(whole(dialect, ask, events).calls) == calls_of(case)


def _last_call(events):
    start = max(at for at, event in enumerate(events) if type(event) is ToolOpened)
    assert not any(type(event) is ToolClosed for event in events[start:])
    return [event for event in events[start:] if type(event) is ToolDelta]
