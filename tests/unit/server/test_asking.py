"""Asking the service again: who is asked so at all, what is closed when, and what goes into the books."""

import pytest

from fittengate.core.ask import Ask, ReplyFormat, ToolUse
from fittengate.core.caller import ModelCard
from fittengate.core.conversation import Conversation, Message, Text, ToolSpec
from fittengate.core.events import Began, Ended, TextDelta
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage, usage_of_all
from fittengate.prompting.again import ToolsAgain
from fittengate.prompting.again_json import JsonAgain
from fittengate.server.asking import Asking, AskingCounts, again_for

TOOLS = (ToolSpec("look", "Looks.", b"{}"),)
PLAIN = Ask(Conversation((Message("user", (Text("Go."),)),)))
WITH_TOOLS = Ask(Conversation(PLAIN.conversation.messages, TOOLS), tool_use=ToolUse("required"))
CARD = ModelCard("m", "M")


class Scripted:
    """An upstream that gives what it was told to, a reply for each call, and notes which calls are open."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.open = 0
        self.most_open = 0
        self.asks = []

    async def chat(self, ask, card, sink=None, room=None, tell=None):
        """Yield the next reply; a fault in it is raised."""
        self.asks.append(ask)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            for batch in self.replies.pop(0):
                if isinstance(batch, Fault):
                    raise batch
                yield batch
        finally:
            self.open -= 1


def reply(text, usage=None):
    return [[Began()], [TextDelta(text)], [TextDelta("."), Ended(StopReason.DONE, usage or Usage(10, 2))]]


def asking(upstream, ask=WITH_TOOLS, counts=None):
    return Asking(upstream, again_for(ask), counts or AskingCounts())


def test_only_asks_with_tools_or_a_form_are_judged():
    """All others take the direct way; where a call must be made the form does not matter."""
    form = ReplyFormat()
    assert again_for(PLAIN) is None
    assert isinstance(again_for(WITH_TOOLS), ToolsAgain)
    assert isinstance(again_for(Ask(PLAIN.conversation, reply_format=form)), JsonAgain)
    assert isinstance(again_for(Ask(WITH_TOOLS.conversation, reply_format=form)), JsonAgain)
    forced = Ask(WITH_TOOLS.conversation, reply_format=form, tool_use=ToolUse("named", "look"))
    assert isinstance(again_for(forced), ToolsAgain)


@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_closing_the_reply_closes_the_running_call_at_once(taken):
    """P3: whichever call it is, nobody has to wait for it to be collected."""
    upstream = Scripted(reply("No"), reply("No"))
    events = asking(upstream).events(WITH_TOOLS, CARD)
    for _ in range(taken):
        await anext(events)
    await events.aclose()
    assert upstream.open == 0


async def test_one_call_is_closed_before_the_next_begins_and_all_are_in_the_books():
    """The usage of the delivered reply is the client's; the sum, with a fault's call left out, is spent."""
    upstream, counts = Scripted(reply("No", Usage(10, 2)), reply("No", Usage(20, 3, 1, estimated=True))), AskingCounts()
    one = asking(upstream, counts=counts)
    batches = [batch async for batch in one.events(WITH_TOOLS, CARD)]
    assert upstream.most_open == 1
    assert batches[-1][-1].usage == Usage(10, 2)
    assert one.spent == Usage(30, 5, 1, estimated=True)
    assert len(upstream.asks) == 2
    assert (counts.again, counts.outcomes) == ({"missing": 1}, {"kept": 1})


async def test_the_last_words_and_the_end_come_together():
    """A reply that is accepted takes no more writes than without anybody judging it."""
    upstream = Scripted(reply("Yes"))
    ask = Ask(WITH_TOOLS.conversation)
    assert [batch async for batch in asking(upstream, ask).events(ask, CARD)] == reply("Yes")


async def test_a_fault_of_the_first_call_is_raised_and_counts_for_nothing():
    """There is nothing to deliver, and nothing was asked again."""
    counts = AskingCounts()
    upstream = Scripted([[Began()], Fault(FaultKind.UPSTREAM_BROKEN, "Broken.")])
    one = asking(upstream, counts=counts)
    with pytest.raises(Fault, match="Broken"):
        [batch async for batch in one.events(WITH_TOOLS, CARD)]
    assert upstream.open == 0
    assert (one.spent, counts.again, counts.outcomes) == (None, {}, {})


def test_a_sum_is_estimated_if_a_part_is():
    """Both ways round."""
    sure, guess = Usage(1, 2, 3), Usage(4, 5, 6, estimated=True)
    assert usage_of_all((sure, guess)) == usage_of_all((guess, sure)) == Usage(5, 7, 9, estimated=True)
    assert not usage_of_all((sure, sure)).estimated
