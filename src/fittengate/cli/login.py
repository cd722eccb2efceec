"""``fittengate login``: sign in once; the tokens are kept, the password is not.

Law: a password is asked for on the terminal or comes from the settings, never from the command line; what a person
types is sent only to a service that the person chose, not to one that a file in the working directory names.
"""

import asyncio
import sys
from typing import Any

import click
from msgspec.structs import replace

from fittengate.cli.failures import CommandError
from fittengate.cli.options import SERVICE, read_settings, settings_options
from fittengate.cli.serve import say
from fittengate.core.account import Tokens
from fittengate.core.faults import Fault, FaultKind
from fittengate.server.configure import ConfigurationError, Configured, prepare_state_dir
from fittengate.settings import Account, Settings

MAX_TOKEN_CHARS = 16_384
"""More than any token has; whatever is longer is some other file."""


@click.command("login")
@click.option("--username", metavar="TEXT", help="User name, e-mail, or phone number with country code.")
@settings_options(*SERVICE)
@click.option(
    "--refresh-token",
    metavar="-",
    help="Read a refresh token from standard input, for an account without a password (Google, GitHub, WeChat).",
)
def command(*, username: str | None, refresh_token: str | None, **options: Any) -> None:
    """Sign in to the Fitten service and keep the tokens in the state directory; the password is not kept.

    User name and password are asked for, unless account.username and account.password are set.
    """
    configured = read_settings(options)
    if refresh_token is not None:
        _check_service(configured)
        token, account = _token(refresh_token), Account()
    else:
        token, account = None, _account(configured, username)
    prepare_state_dir(configured.state_dir)
    tokens = asyncio.run(_sign_in(configured, replace(configured.settings, account=account), token))
    url = configured.settings.upstream.base_url
    say(f"signed in to {url} as {tokens.username or tokens.user_id}; the tokens are in {configured.state_dir}")
    wanted = configured.settings.account.username
    if wanted and wanted != tokens.username:
        say(f"account.username is set to {wanted}: unset it, or see to it that this is the same account")


def _account(configured: Configured, username: str | None) -> Account:
    """Return user name and password; what the settings do not have is asked for."""
    known = configured.settings.account
    # A password in the settings belongs to the user name there.
    if known.password and username in {None, known.username}:
        return known
    _check_service(configured)
    if not sys.stdin.isatty():
        raise CommandError(
            "there is no terminal to ask for the password on. Set FITTENGATE_ACCOUNT_USERNAME and "
            "FITTENGATE_ACCOUNT_PASSWORD, or pipe a refresh token into `fittengate login --refresh-token -`."
        )
    say(f"signing in to {configured.settings.upstream.base_url}")
    name = username or known.username or click.prompt("User name, e-mail or phone", err=True).strip()
    return Account(username=name, password=click.prompt("Password", hide_input=True, err=True))


def _check_service(configured: Configured) -> None:
    key = "upstream.base_url"
    source = configured.sources[key]
    if source.found:
        remedy = f"if it is meant, set FITTENGATE_UPSTREAM_BASE_URL or name the file: --config {source.name}"
        raise ConfigurationError((f"{source.name}: {key}: would decide where your login is sent; {remedy}",))


def _token(option: str) -> str:
    if option != "-":
        # It would stand in the list of processes, and in the shell's history.
        raise click.UsageError("A token is not taken from the command line: --refresh-token - reads standard input.")
    if sys.stdin.isatty():
        text: str = click.prompt("Refresh token", hide_input=True, err=True)
    else:
        text = sys.stdin.read(MAX_TOKEN_CHARS + 1)
    token = text.strip().strip('"')
    if not token or len(token) > MAX_TOKEN_CHARS:
        raise CommandError("there is no refresh token on standard input.")
    return token


async def _sign_in(configured: Configured, settings: Settings, token: str | None) -> Tokens:
    from fittengate.cli.account import vault_of
    from fittengate.server.assemble import connected, shared

    async with shared(settings, vault_of(configured)) as vault, connected(settings, vault) as service:
        try:
            if token is not None:
                return await service.keeper.sign_in_with(token)
            return await service.keeper.sign_in()
        except Fault as fault:
            raise _explained(fault, by_token=token is not None) from fault


def _explained(fault: Fault, *, by_token: bool) -> Exception:
    if fault.kind is FaultKind.CALLER_BAD_REQUEST:
        return CommandError("what came is no refresh token of a Fitten account.")
    if fault.kind is not FaultKind.UPSTREAM_LOGIN:
        return fault
    if by_token:
        return CommandError(
            "the Fitten service does not accept this refresh token. Get a new one; nothing was changed."
        )
    return CommandError(
        "the Fitten service refused the user name or the password. Try again; an account without a password "
        "(Google, GitHub, WeChat) signs in by `fittengate login --refresh-token -`."
    )
