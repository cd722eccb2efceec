"""``fittengate chat``: talk from the terminal, with the account itself; no gateway need run.

Law: what the model said so far stays in the conversation, also where it was stopped; a question that got no answer at
all leaves it again, so that a failure can be repeated by asking once more.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Self

import click

from fittengate.cli.options import SERVICE, read_settings, settings_options
from fittengate.cli.serve import fastest_loop, say
from fittengate.cli.speaker import Plain, Speaker, Terminal
from fittengate.core.ask import Ask
from fittengate.core.caller import ModelCard
from fittengate.core.conversation import Conversation, Message, Role, Text
from fittengate.core.events import TextDelta, ThoughtDelta
from fittengate.core.faults import Fault
from fittengate.server.configure import Configured
from fittengate.upstream.base import Upstream


@click.command("chat")
@click.argument("prompt", nargs=-1)
@click.option("--model", "-m", metavar="NAME", help="A model of `fittengate models`. [the account's default]")
@click.option("--system", "-s", metavar="TEXT", help="Instructions that stand before the conversation.")
@settings_options(*SERVICE)
def command(*, prompt: tuple[str, ...], model: str | None, system: str | None, **options: Any) -> None:
    """Talk to the model; Ctrl-C stops an answer, Ctrl-D leaves.

    With a PROMPT, or with text piped in, one answer is given and that is all; with both, the text follows the prompt.
    """
    configured = read_settings(options)
    asked = _asked(" ".join(prompt))
    if asked is not None and not asked.strip():
        raise click.UsageError("There is nothing to ask: the prompt is empty.")
    speaker: Speaker = Terminal() if sys.stdout.isatty() else Plain(sys.stdout)
    with asyncio.Runner(loop_factory=fastest_loop()) as runner, _Session(runner, configured) as session:
        talk = Talk(session.upstream, session.card(model), speaker, system)
        if asked is not None:
            runner.run(talk.ask(asked))
        else:
            _converse(talk, runner.run)


def _asked(prompt: str) -> str | None:
    """Return the one question of this call; None where a person is at the keyboard and gave none."""
    if sys.stdin is None or sys.stdin.isatty():
        return prompt or None
    piped = sys.stdin.buffer.read().decode("utf-8", "replace").removeprefix("\ufeff")
    return f"{prompt}\n\n{piped}" if prompt and piped.strip() else prompt or piped


def _converse(talk: "Talk", run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    # Line editing and history, where Python has them.
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
    say(f"talking to {talk.card.display_name}; Ctrl-C stops an answer, Ctrl-D leaves")
    while True:
        try:
            line = _line()
        except EOFError:
            click.echo(err=True)
            return
        except KeyboardInterrupt:
            click.echo(err=True)
            continue
        if not line.strip():
            continue
        try:
            run(talk.ask(line))
        except KeyboardInterrupt:
            say("stopped")
        except Fault as fault:
            say(fault.message)


def _line() -> str:
    if sys.stdout.isatty():
        return input("> ")
    click.echo("> ", nl=False, err=True)
    return input()


class Talk:
    """A conversation with one model."""

    def __init__(self, upstream: Upstream, card: ModelCard, speaker: Speaker, system: str | None) -> None:
        self.card = card
        self.messages: list[Message] = [_turn("system", system)] if system else []
        """Everything said so far."""
        self._upstream = upstream
        self._speaker = speaker

    async def ask(self, question: str) -> None:
        """Ask, and hand the answer to the speaker as it comes. Raises Fault."""
        self.messages.append(_turn("user", question))
        heard: list[str] = []
        try:
            await self._listen(heard)
        finally:
            if heard:
                self.messages.append(_turn("assistant", "".join(heard)))
            else:
                self.messages.pop()

    async def _listen(self, heard: list[str]) -> None:
        answer = self._upstream.chat(Ask(Conversation(tuple(self.messages))), self.card)
        self._speaker.wait()
        try:
            async for events in answer:
                for event in events:
                    if type(event) is TextDelta:
                        heard.append(event.text)
                        self._speaker.text(event.text)
                    elif type(event) is ThoughtDelta:
                        self._speaker.thought(event.text)
        finally:
            if isinstance(answer, AsyncGenerator):
                # Closes the connection behind it at once.
                await answer.aclose()
            self._speaker.end()


def _turn(role: Role, text: str) -> Message:
    return Message(role, (Text(text),))


class _Session:
    """The service, opened and closed from outside the loop: between two answers the keyboard has the thread."""

    def __init__(self, runner: asyncio.Runner, configured: Configured) -> None:
        from fittengate.cli.account import signed_in

        self._run = runner.run
        self._aliases = configured.settings.models.aliases
        self._service = signed_in(configured)

    def __enter__(self) -> Self:
        self.upstream = self._run(self._service.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._service.__aexit__(None, None, None))

    def card(self, name: str | None) -> ModelCard:
        """Return the model behind a name. Raises Fault (caller_no_model, caller_unsupported)."""
        from fittengate.services.models import ModelNames, must_talk

        if name:
            # What cannot be fetched now does not matter: the built-in names are still known.
            self._run(self.upstream.refresh_models())
        return must_talk(ModelNames(self.upstream.models, self._aliases).find(name))
