"""``fittengate bundle``: what a running gateway's flight recorder knows of one request, as a file for a bug report."""

import gzip
import http.client
import io
import json
import re
import secrets
import ssl
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click

from fittengate.cli.checks import near
from fittengate.cli.failures import CommandError
from fittengate.cli.options import read_settings, settings_options
from fittengate.server.configure import Configured, prepare_state_dir

SECONDS = 30.0
"""For the gateway to make the files: megabytes of text have to be gone through."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024

KEY_SECONDS = 60.0
"""How long a key lives that is made for one question."""

_OTHER = re.compile(r"[^A-Za-z0-9._-]")


@click.command("bundle")
@click.argument("request_id")
@click.option("--output", metavar="FILE", help="Where to write. [fittengate-REQUEST_ID.tar.gz]")
@settings_options("server.host", "server.port", "server.state_dir", "admin.url")
def command(*, request_id: str, output: str | None, **options: Any) -> None:
    """Ask the running gateway for one of the last requests and write it to a .tar.gz file for a bug report.

    The id is the x-request-id of the answer, and in every line of the log. What looks like a secret is taken out; the
    text of prompts and replies is too, unless the gateway runs with recorder.content. The gateway wants a key with the
    scope admin: set FITTENGATE_ADMIN_KEY, or run this where the gateway keeps its store.
    """
    if not request_id.strip():
        raise click.UsageError("The id of a request is missing: it is the x-request-id of the answer.")
    configured = read_settings(options)
    address = gateway_address(configured)
    # Where nobody answers no key is made.
    answered(address, configured, "", "/livez")
    with admin_key(configured) as key:
        files = _files(address, configured, key, request_id)
    name = f"fittengate-{_OTHER.sub('_', request_id)}"
    path = Path(output or f"{name}.tar.gz")
    from fittengate.services.files import write_private

    try:
        write_private(path, archive(name, files, int(time.time())))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise CommandError(f"{path} cannot be written ({reason}). Name another place with --output.") from error
    click.echo(f"{path}: {', '.join(files)}")


def gateway_address(configured: Configured) -> str:
    """Return where the gateway of these settings answers. Raises CommandError."""
    if configured.settings.admin.url:
        return configured.settings.admin.url
    server = configured.settings.server
    for setting in ("server.host", "server.port"):
        if (source := configured.sources[setting]).found:
            # A file in somebody's repository must not say where a key goes.
            text = f"{setting} stands in {source.name}, which you did not name"
            raise CommandError(
                f"{text}. If it is meant, name it (--config {source.name}), or set FITTENGATE_ADMIN_URL."
            )
    host = near(server.host)
    scheme = "https" if server.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"


@contextmanager
def admin_key(configured: Configured) -> Iterator[str]:
    """Give a key with the scope admin: that of the settings, or one that is made in the store and revoked afterwards.

    Whoever can write the store can make keys by hand as well. Raises CommandError.
    """
    if configured.settings.admin.key:
        yield configured.settings.admin.key
        return
    from fittengate.server.assemble import open_database, open_key_store
    from fittengate.services.key_store import KeyWish
    from fittengate.services.keys import BUNDLE_KEY
    from fittengate.services.store import StoreDownError

    place = configured.settings.store
    prepare_state_dir(configured.state_dir)
    store = open_key_store(place, open_database(place), secrets.token_bytes)
    if store is None:
        raise CommandError("there is no store to make a key in. Set FITTENGATE_ADMIN_KEY to one with the scope admin.")
    try:
        key, row = store.create(
            KeyWish(name=BUNDLE_KEY, scopes=("admin",), models=(), lane="interactive", lasts=KEY_SECONDS)
        )
        try:
            yield key
        finally:
            store.revoke(row.prefix)
    except StoreDownError as error:
        text = f"no key can be made, the store cannot be used ({error}). Set FITTENGATE_ADMIN_KEY."
        raise CommandError(text) from error
    finally:
        store.close()


def _files(address: str, configured: Configured, key: str, request_id: str) -> dict[str, str]:
    """Return the files of a request. Raises CommandError."""
    status, answer = answered(address, configured, key, f"/admin/api/exchanges/{quote(request_id, safe='')}")
    match answer:
        case {"files": dict() as files} if status == 200:
            return {str(name): str(text) for name, text in files.items()}
        case {"error": {"message": str(message)}} if status in {401, 403}:
            raise CommandError(f"the gateway at {address} refuses the key ({message}) Check FITTENGATE_ADMIN_KEY.")
        case {"error": {"message": str(message)}}:
            raise CommandError(message)
        case _:
            raise CommandError(f"what answers at {address} is no fittengate (status {status}).")


def answered(address: str, configured: Configured, key: str, path: str) -> tuple[int, Any]:
    """Return status and answer of a GET. Raises CommandError where no gateway answers."""
    try:
        return ask(address, configured, key, path)
    except ValueError as error:
        raise CommandError(f"what answers at {address} is no fittengate. Set FITTENGATE_ADMIN_URL.") from error
    except (OSError, http.client.HTTPException) as error:
        text = f"no gateway answers at {address}. Start `fittengate serve`, or set FITTENGATE_ADMIN_URL."
        raise CommandError(text) from error


def ask(address: str, configured: Configured, key: str, path: str) -> tuple[int, Any]:
    """Return status and answer of a GET. Raises OSError, http.client.HTTPException; ValueError for what is no JSON."""
    parts = urlsplit(address)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if not configured.settings.admin.url:
            # Our own certificate on our own machine: it is made for another name.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        connection.request("GET", f"{parts.path}{path}", headers={"authorization": f"Bearer {key}"} if key else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read(MAX_ANSWER_BYTES))
    finally:
        connection.close()


def archive(name: str, files: dict[str, str], now: int) -> bytes:
    """Return a .tar.gz with these files in a folder of that name, readable by their owner alone."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for inner, text in files.items():
            data = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"{name}/{_OTHER.sub('_', inner)}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, now
            tar.addfile(entry, io.BytesIO(data))
    return gzip.compress(packed.getvalue(), mtime=now)
