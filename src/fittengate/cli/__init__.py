"""Floor 5: the commands. A command's file is imported only when that command is run, so that help comes at once."""

import importlib
import os
import sys
from typing import Any

import click

from fittengate import __version__

COMMANDS = {
    "demo": "Try it without an account: gateway and simulated service in one.",
    "serve": "Run the gateway.",
    "login": "Sign in to a Fitten account and keep its tokens.",
    "logout": "Forget the kept tokens.",
    "whoami": "Show which account is signed in.",
    "keys": "Make, list, replace and revoke the keys of clients.",
    "models": "List the models.",
    "chat": "Talk from the terminal.",
    "usage": "Show who used how much.",
    "store": "Check, back up or migrate what is kept.",
    "doctor": "Check settings, disk, account and service, and say what to do.",
    "bundle": "Write what is known of one request to a file, for a bug report.",
    "lsp": "Complete code in an editor: a language server.",
    "simulate": "Run the simulated service alone.",
}
"""Every command and its line of help; ``fittengate.cli.NAME`` holds its ``command``."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""


class _Commands(click.Group):
    """Knows the commands by name; imports one when it is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return one command; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"fittengate.cli.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fittengate")
@click.option("--debug", is_flag=True, help="Show where an error came from.")
@click.pass_context
def commands(ctx: click.Context, *, debug: bool) -> None:
    """Serve a Fitten Code account through the APIs of OpenAI, Anthropic and Ollama."""
    from fittengate.server.configure import colourless

    del debug  # read by main(), which needs it even when a command never started
    if colourless():
        ctx.color = False


def main(arguments: list[str] | None = None) -> None:
    """Run one command. Leaves with 0 done, 1 failed, 2 bad usage or bad configuration."""
    given = sys.argv[1:] if arguments is None else arguments
    _make_printable()
    try:
        try:
            result: Any = commands.main(given, prog_name="fittengate", standalone_mode=False)
            sys.stdout.flush()
        finally:
            _settle_output()
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:  # noqa: BLE001 - no traceback ever reaches a user
        from fittengate.cli import failures

        raise SystemExit(failures.tell(error, debug="--debug" in given[:1])) from None
    raise SystemExit(result if isinstance(result, int) else 0)


def _make_printable() -> None:
    # A stream that was closed before we began is none at all: whoever writes to it, or reads from it, goes on.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - as long as the process lives
    # A terminal of an old encoding shows an answer with marks in it rather than nothing.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _settle_output() -> None:
    """Drop what cannot be written: else the interpreter tries once more when it ends, and complains."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
