"""``fittengate lsp``: a language server over standard input and output, for editors that know no other way."""

import sys
from typing import Any

import click

from fittengate.cli.failures import CommandError
from fittengate.cli.options import SERVICE, read_settings, settings_options


@click.command("lsp", short_help="Complete code in an editor.")
@settings_options(*SERVICE, "lsp.url", "lsp.pause")
def command(**options: Any) -> None:
    """Complete code in an editor that starts a language server, over standard input and output.

    With lsp.url a running gateway is asked, with the key in lsp.key; without it the account itself.
    """
    configured = read_settings(options)
    try:
        from fittengate.cli.language_server import make_server
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"pygls", "lsprotocol"}:
            raise
        raise CommandError("the language server needs pygls. Install it: pip install 'fittengate[lsp]'") from None
    from fittengate.cli.completer import Completer, FromAccount, FromGateway

    given = configured.settings.lsp
    completer: Completer = FromGateway(given.url, given.key) if given.url else FromAccount(configured)
    # The library closes what it is given, and standard output is not its own.
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        make_server(completer, given.pause).start_io(stdout=out)
