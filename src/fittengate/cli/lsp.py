"""``fittengate lsp``: a language server over standard input and output, for editors that know no other way."""

import signal
from types import FrameType
from typing import Any

import click

from fittengate.cli.failures import CommandError
from fittengate.cli.options import SERVICE, read_settings, settings_options


@click.command("lsp")
@settings_options(*SERVICE, "lsp.url", "lsp.pause")
def command(**options: Any) -> None:
    """Complete code in an editor that starts a language server, over standard input and output.

    With lsp.url a running gateway is asked, with the key in lsp.key; without it the account itself.
    """
    # Until the server, once it runs, closes its connections first.
    signal.signal(signal.SIGTERM, _end)
    configured = read_settings(options)
    try:
        from fittengate.cli.editor_line import serve
        from fittengate.cli.language_server import make_server
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"pygls", "lsprotocol"}:
            raise
        raise CommandError("the language server needs pygls. Install it: pip install 'fittengate[lsp]'") from None
    from fittengate.cli.completer import Completer, FromAccount, FromGateway
    from fittengate.server.configure import debugging

    debug = bool(click.get_current_context().find_root().params.get("debug")) or debugging()
    given = configured.settings.lsp
    completer: Completer = FromGateway(given.url, given.key) if given.url else FromAccount(configured)
    serve(make_server(completer, given.pause), completer, debug=debug)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
