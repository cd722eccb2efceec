"""The conversation behind ``chat``, and how an answer comes out."""

import io

import pytest

from fittengate.cli.chat import Talk
from fittengate.cli.speaker import Plain, Terminal
from fittengate.core.caller import ModelCard
from fittengate.core.events import Began, Ended, TextDelta, ThoughtDelta
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import StopReason, Usage

CARD = ModelCard("fitten-code", "Fitten Code")
END = Ended(StopReason.DONE, Usage(1, 1))


class Script:
    """An upstream that says what it was given; an exception among it is raised."""

    def __init__(self, *answers):
        self.answers, self.asked, self.closed = list(answers), [], 0

    async def chat(self, ask, card):
        self.asked.append([(message.role, message.parts[0].text) for message in ask.conversation.messages])
        try:
            for event in self.answers.pop(0):
                if isinstance(event, BaseException):
                    raise event
                yield [event]
        finally:
            self.closed += 1

    def models(self):
        return (CARD,)


def talk(script, system=None):
    out = io.StringIO()
    return Talk(script, CARD, Plain(out), system), out


async def test_each_answer_joins_the_conversation():
    """The second question goes out with all that was said, instructions first."""
    script = Script([Began(), TextDelta("one"), TextDelta("!"), END], [Began(), TextDelta("two"), END])
    conversation, out = talk(script, "Be short.")
    await conversation.ask("first")
    await conversation.ask("second")
    assert script.asked[1] == [
        ("system", "Be short."),
        ("user", "first"),
        ("assistant", "one!"),
        ("user", "second"),
    ]
    assert out.getvalue() == "one!\ntwo\n"


async def test_a_stopped_answer_is_kept_as_far_as_it_came():
    """After Ctrl-C the model is told what it had said, and the connection is closed."""
    script = Script([Began(), TextDelta("half"), KeyboardInterrupt()])
    conversation, out = talk(script)
    with pytest.raises(KeyboardInterrupt):
        await conversation.ask("first")
    assert [message.role for message in conversation.messages] == ["user", "assistant"]
    assert out.getvalue() == "half\n"
    assert script.closed == 1


async def test_a_question_without_an_answer_leaves_the_conversation():
    """A failure can be repeated by asking once more; the question is not doubled."""
    script = Script([Fault(FaultKind.UPSTREAM_BROKEN, "broken")])
    conversation, out = talk(script)
    with pytest.raises(Fault):
        await conversation.ask("first")
    assert conversation.messages == []
    assert out.getvalue() == ""


async def test_piped_output_has_the_answer_alone():
    """Reasoning is left out, and the last line is ended."""
    script = Script([Began(), ThoughtDelta("hm"), TextDelta("yes\n"), END])
    conversation, out = talk(script)
    await conversation.ask("first")
    assert out.getvalue() == "yes\n"


def test_a_terminal_gets_no_control_codes_from_the_model(monkeypatch):
    """What the model says cannot steer the terminal; line ends and tabs stay."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout", out := io.StringIO())
    speaker = Terminal()
    speaker.wait()
    speaker.thought("hm\x1b[2J")
    speaker.text("a\x1b]0;title\x07\tb\n\x9bc\x7f")
    speaker.end()
    assert out.getvalue() == "hm[2J\n\na]0;title\tb\nc\n"
