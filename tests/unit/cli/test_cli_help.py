"""The help of the commands reads alike everywhere."""

from collections.abc import Iterator

import click
import pytest

from fittengate.cli import COMMANDS, commands


def every() -> Iterator[tuple[str, click.Command]]:
    """Yield all commands with what is typed to call them."""
    context = click.Context(commands)
    for name in COMMANDS:
        command = commands.get_command(context, name)
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", one) for below, one in command.commands.items())


@pytest.mark.parametrize(("name", "command"), [pytest.param(*pair, id=pair[0]) for pair in every()])
def test_every_option_is_explained_in_the_same_manner(name, command):
    """A sentence, and behind it in brackets what holds without the option."""
    for option in command.params:
        if not isinstance(option, click.Option):
            continue
        text = option.help
        assert text, option.name
        sentence = text.partition(" [")[0]
        # The one word of a choice may begin a sentence as it is written.
        assert text[0].isupper() or text[0].isdigit() or text.startswith("background "), text
        assert sentence.endswith("."), text
        assert text.endswith((".", "]")), text


@pytest.mark.parametrize("name", [name for name, command in every() if isinstance(command, click.Group)])
def test_no_line_of_a_list_of_commands_is_cut_off(name):
    """Where a line is too long, click ends it with three dots."""
    command = dict(every())[name]
    assert "..." not in command.get_help(click.Context(command, info_name=name)).split("Commands:")[1]
