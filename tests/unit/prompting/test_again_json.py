"""Asking again where the reply is to be JSON: when, with what, and what the client gets in the end."""

import json

import pytest
from msgspec.structs import replace

from fittengate.core.ask import Ask, ReplyFormat, Wishes
from fittengate.core.conversation import Conversation, Message, Text, ToolSpec
from fittengate.core.events import (
    Began,
    Ended,
    RefusalDelta,
    TextDelta,
    ThoughtDelta,
    ToolClosed,
    ToolDelta,
    ToolOpened,
    fold,
)
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage
from fittengate.prompting.again import Accept
from fittengate.prompting.again_json import MAX_TRIES, UNFIT, JsonAgain

SCHEMA = b'{"type":"object","properties":{"n":{"type":"integer"},"s":{"type":"string"}},"required":["n"]}'
ASK = Ask(Conversation((Message("user", (Text("Count."),)),)))
GOOD, BAD = '{"n": 1}', '{"n": "one"}'
FAULT = Fault(FaultKind.UPSTREAM_BROKEN, "The service broke off.")
END = Ended(StopReason.DONE, Usage(10, 5))


def asked(*, strict=False, stream=False, schema=SCHEMA, tools=()):
    return replace(
        ASK,
        conversation=replace(ASK.conversation, tools=tools),
        wishes=Wishes(stream=stream),
        reply_format=ReplyFormat("n", "", schema, strict),
    )


def course(ask, *replies):
    """Feed replies (texts, lists of events, or a fault) in pieces; return all events, the asks between, and the judge."""
    again = JsonAgain(ask)
    passed, asks = [], []
    for reply in replies:
        if isinstance(reply, Fault):
            decided = again.failed(reply)
        else:
            events = [*map(TextDelta, reply), END] if isinstance(reply, str) else reply
            for event in [Began(), *events]:
                passed += again.feed([event])
            decided = again.close()
        if isinstance(decided, Accept):
            return passed + decided.events, asks, again
        asks.append(decided)
    raise AssertionError("one more reply is wanted")


KINDS = [{"strict": True}, {"strict": False}, {"strict": True, "stream": True}, {"strict": False, "stream": True}]


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_fits_is_the_reply_without_anything_around_it(kind):
    """Requirement 23: no fence, no words; nothing is asked again."""
    passed, asks, again = course(asked(**kind), f"Here:\n```json\n{GOOD}\n```\nDone {{}}.")
    assert fold(passed).text == GOOD
    assert (asks, again.warning) == ([], None)


@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_value_that_does_not_fit_is_asked_for_with_the_validators_words(kind):
    """Requirement 23: the reply and what is wrong with it are the next turns; the second reply is delivered alone."""
    first = [ThoughtDelta("hm"), TextDelta(BAD), END]
    passed, asks, _ = course(asked(**kind), first, [ThoughtDelta("oh"), TextDelta(GOOD), END])
    assert fold(passed).text == GOOD
    assert fold(passed).thought == "oh"
    turns = asks[0].ask.conversation.messages
    assert turns[1] == Message("assistant", (Text(BAD),))
    assert '/n: "one" is not of type "integer"' in turns[2].parts[0].text
    assert asks[0].why == "invalid"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reply", "says"), [("", "empty"), (" \n", "empty"), ("I count.", "no JSON value")])
def test_a_blank_reply_and_mere_words_are_asked_for_again(kind, reply, says):
    """Nothing of them has reached the client, streamed or not."""
    passed, asks, _ = course(asked(**kind), reply, GOOD)
    assert fold(passed).text == GOOD
    assert passed.count(Began()) == 1
    assert says in asks[0].ask.conversation.messages[-1].parts[0].text


@pytest.mark.parametrize("stream", [True, False])
def test_what_must_fit_and_never_does_is_a_fault(stream):
    """Requirement 23: with strict the client sees valid output or an error with the validator's words, not to be retried."""
    with pytest.raises(Fault) as caught:
        course(asked(strict=True, stream=stream), *[BAD] * MAX_TRIES)
    fault = caught.value
    assert (fault.status, fault.code, fault.should_retry) == (502, "structured_output_failed", False)
    assert '/n: "one" is not of type "integer"' in fault.message
    assert MAX_TRIES == 3


def test_else_the_best_value_is_the_reply_with_a_warning():
    """The one with the fewest faults counts, and of equals the last; its usage is the client's."""
    worst = '{"s": 5}'
    passed, asks, again = course(asked(), worst, [TextDelta('{"n": "x"}'), replace(END, usage=Usage(1, 2))], '{"s": 1}')
    assert fold(passed).text == '{"n": "x"}'
    assert fold(passed).usage == Usage(1, 2)
    assert again.warning == UNFIT
    assert len(asks) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_words_in_every_try_are_a_refusal(kind):
    """The words of the last stand where the format puts a refusal; nothing is text, and nothing invented."""
    passed, _, again = course(asked(**kind), "No.", "No!", "I will not.")
    assert passed == [Began(), RefusalDelta("I will not."), END]
    assert fold(passed).refusal == "I will not."
    assert again.warning is None


@pytest.mark.parametrize("replies", [("", "", ""), ("No.", "", "No.")])
def test_nothing_at_all_is_no_refusal(replies):
    """There are no words to show: a fault, strict or not."""
    with pytest.raises(Fault) as caught:
        course(asked(), *replies)
    assert caught.value.kind is FaultKind.OUTPUT_INVALID


def test_any_object_will_do_where_there_is_no_schema():
    """A list is none; words alone are a fault, for there is no schema to refuse."""
    passed, _, _ = course(asked(schema=None), '[1] {"a": [2]}')
    assert fold(passed).text == '{"a": [2]}'
    with pytest.raises(Fault):
        course(asked(schema=None), "No.", "No.", "No.")


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_ends_it_with_what_there_is(kind):
    """Truncated JSON comes out with length, and is never asked for again."""
    end = Ended(StopReason.LENGTH, Usage(1, 1))
    passed, asks, _ = course(asked(**kind), [*map(TextDelta, 'So: {"s": "ab'), end])
    assert asks == []
    assert fold(passed).text == '{"s": "ab'
    assert fold(passed).reason is StopReason.LENGTH


def test_a_stop_sequence_is_never_asked_over():
    """The client cut it: what must fit is a fault at once, else it is what there is."""
    reply = [TextDelta(BAD), Ended(StopReason.STOP_SEQUENCE, Usage(1, 1), "x")]
    with pytest.raises(Fault) as caught:
        course(asked(strict=True), reply)
    assert "in one try" in caught.value.message
    passed, _, again = course(asked(), reply)
    assert (fold(passed).text, again.warning) == (BAD, UNFIT)


def test_json_is_streamed_as_it_comes():
    """From its first key on, with what may have to be mended held back."""
    again = JsonAgain(asked(stream=True))
    said = [again.feed([TextDelta(piece)]) for piece in ("So: ", '{"', 's": "a', 'b"', ', "n', '": 1', "} ok")]
    assert said == [
        [],
        [TextDelta('{"')],
        [TextDelta('s": "a')],
        [TextDelta("b")],
        [TextDelta('", "n')],
        [TextDelta('": ')],
        [TextDelta("1}")],
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"n": 1, "s": "say "hi" now"}', {"n": 1, "s": 'say "hi" now'}),
        ('{"n": 1, "s": "two\nlines"}', {"n": 1, "s": "two\nlines"}),
        ('{"n": 1,}', {"n": 1}),
        ('{"n": 1, "s": "x"', {"n": 1, "s": "x"}),
        ('```json\n{"n": 1, "s": "x"\n```', {"n": 1, "s": "x"}),
    ],
)
def test_a_stream_that_goes_wrong_is_mended_where_the_rest_can_follow(text, value):
    """What was sent is a beginning of the mended value: the rest is sent, and the client sees valid JSON."""
    passed, asks, _ = course(asked(stream=True), text)
    assert json.loads(fold(passed).text) == value
    assert asks == []


@pytest.mark.parametrize("text", ['{"s": "x", "n": one}', '{"s": "x"', '{"n": 0x1F, "s": ""}'])
def test_a_stream_that_cannot_be_mended_is_an_error(text):
    """What was sent cannot be taken back: no clean end, and no second call."""
    with pytest.raises(Fault) as caught:
        course(asked(stream=True), text)
    assert caught.value.kind is FaultKind.OUTPUT_INVALID


def test_a_stream_that_is_json_but_does_not_fit_ends_as_it_is():
    """It was sent already, and nobody promised that it fits."""
    passed, asks, _ = course(asked(stream=True), BAD)
    assert fold(passed).text == BAD
    assert asks == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_a_call_is_an_answer(stream, strict):
    """With tools: the words before it come out as they are, and the form does not matter."""
    tools = (ToolSpec("look", "Looks.", b"{}"),)
    call = [ToolOpened(0, "id", "look"), ToolDelta("{}"), ToolClosed()]
    reply = [TextDelta("Let me "), TextDelta("look."), *call, replace(END, reason=StopReason.TOOL_CALLS)]
    passed, asks, _ = course(asked(stream=stream, strict=strict, tools=tools), reply)
    assert fold(passed) == fold([Began(), *reply])
    assert asks == []


def test_a_further_call_that_breaks_off_leaves_what_came_before():
    """The best value so far stands where it need not fit; else the fault is told, for another try may help."""
    passed, _, again = course(asked(), BAD, FAULT)
    assert (fold(passed).text, again.warning) == (BAD, UNFIT)
    for ask, first in ((asked(strict=True), BAD), (asked(), "No.")):
        with pytest.raises(Fault) as caught:
            course(ask, first, FAULT)
        assert caught.value is FAULT
    with pytest.raises(Fault):
        course(asked(), FAULT)


def test_a_bad_schema_is_found_before_anything_is_asked():
    """Requirement 23: it is the request's fault, with its place."""
    form = ReplyFormat(None, "", b'{"type":"thing"}', where="response_format.json_schema.schema")
    with pytest.raises(Fault) as caught:
        JsonAgain(replace(ASK, reply_format=form))
    assert (caught.value.status, caught.value.param) == (400, "response_format.json_schema.schema")
