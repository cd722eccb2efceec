"""What doctor looks at on this machine: settings, state directory, disk, keys, port. Shows names, never secrets."""

import http.client
import json
import os
import shutil
import ssl
import stat
import time
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from fittengate.core.faults import Fault
from fittengate.server.configure import ConfigurationError, Configured, prepare_state_dir
from fittengate.server.sources import DEFAULT

LOW_BYTES = 200 * 1024 * 1024
"""Less free space is worth a word: log files alone may come to 60 MB."""

NONE_BYTES = 10 * 1024 * 1024
"""With less, tokens may no longer be saved after the next renewal."""

ASK_SECONDS = 2.0
"""For a gateway on this machine to say how it is."""


class Finding(Struct, frozen=True):
    """One line of the report."""

    state: Literal["ok", "warn", "fail"]
    what: str
    text: str


def settings(configured: Configured) -> list[Finding]:
    """Return where the settings come from."""
    given = [f"{key} ({source.name})" for key, source in configured.sources.items() if source is not DEFAULT]
    found = [Finding("ok", "settings", ", ".join(given) if given else "all defaults")]
    return found + [Finding("warn", "settings", note) for note in configured.notes]


def state_directory(path: Path) -> list[Finding]:
    """Make the directory if need be; return how it is, and whose files in it others can read."""
    what = "state directory"
    new = not path.exists()
    before = None if new or os.name != "posix" else stat.S_IMODE(path.stat().st_mode)
    try:
        prepare_state_dir(path)
    except ConfigurationError as error:
        return [Finding("fail", what, problem) for problem in error.problems]
    if before is not None and before & 0o077:
        return [Finding("warn", what, f"{path} was open to others (mode {before:04o}); it is 0700 now"), *_open(path)]
    return [Finding("ok", what, f"{path} was made" if new else f"{path} is writable, and yours alone"), *_open(path)]


def _open(path: Path) -> list[Finding]:
    if os.name != "posix":
        return []
    names = [file.name for file in sorted(path.iterdir()) if file.is_file() and file.stat().st_mode & 0o077]
    if not names:
        return []
    return [Finding("warn", "state directory", f"others may read {', '.join(names)}; run chmod 600 on them in {path}")]


def disk(path: Path) -> Finding:
    """Return whether there is room for tokens and logs."""
    free = shutil.disk_usage(path).free
    text = f"{free // 1024**2} MB free"
    if free < NONE_BYTES:
        return Finding("fail", "disk", f"{text}: tokens can hardly be saved; free some space")
    if free < LOW_BYTES:
        return Finding("warn", "disk", f"{text}: free some space")
    return Finding("ok", "disk", text)


def keys(configured: Configured) -> Finding:
    """Return how many client keys there are."""
    from fittengate.services.keys import stored_keys
    from fittengate.services.store import StoreDownError

    configured_keys = len(configured.settings.server.api_key)
    try:
        made = sum(not key.moved for key in stored_keys(configured.state_dir))
        stored, ended = _in_store(configured)
    except Fault as fault:
        return Finding("fail", "keys", fault.message)
    except OSError as error:
        return Finding("fail", "keys", f"keys.json cannot be read ({(error.strerror or '').lower()})")
    except StoreDownError as error:
        return Finding("fail", "keys", f"the store cannot be used ({error}); check store.url and the disk")
    if not configured_keys and not made and not stored:
        if ended:
            return Finding("warn", "keys", "none that works; `fittengate keys create --name NAME` makes one")
        return Finding("ok", "keys", "none yet: the first `fittengate serve` makes one and shows it once")
    return Finding(
        "ok", "keys", f"{configured_keys} in the settings, {made} made by `fittengate serve`, {stored} in the store"
    )


def _in_store(configured: Configured) -> tuple[int, int]:
    """Return how many keys of the store work, and how many no longer do. Raises StoreDownError."""
    from fittengate.server.assemble import open_database
    from fittengate.services.key_rows import listed
    from fittengate.services.keys import BUNDLE_KEY

    database = open_database(configured.settings.store)
    if database is None or not database.there:
        return 0, 0
    try:
        with database.begin() as connection:
            working = [row.works(time.time()) for row in listed(connection) if row.name != BUNDLE_KEY]
    finally:
        database.close()
    return working.count(True), working.count(False)


def port(configured: Configured) -> Finding:
    """Return whether the port is free, or who answers there."""
    from fittengate.server.run import PortInUseError, listen

    server = configured.settings.server
    address = f"{server.host}:{server.port}"
    try:
        listen(server.host, server.port).close()
    except PortInUseError:
        return _holder(configured, address)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return Finding("fail", "port", f"cannot listen on {address} ({reason}); check --host and --port")
    return Finding("ok", "port", f"{address} is free; no gateway runs there")


def _holder(configured: Configured, address: str) -> Finding:
    try:
        said = _readiness(configured)
    except (OSError, ValueError, http.client.HTTPException):
        said = None
    match said:
        case {"status": "ready"}:
            return Finding("ok", "port", f"a gateway runs on {address} and is ready")
        case {"status": "not ready", "reason": str(reason)}:
            return Finding("warn", "port", f"a gateway runs on {address} and is not ready: {reason}")
        case _:
            return Finding("fail", "port", f"{address} is in use by another program; choose another one with --port")


def near(host: str) -> str:
    """Return where a gateway that listens on ``host`` is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))  # noqa: S104


def _readiness(configured: Configured) -> Any:
    server = configured.settings.server
    host = near(server.host)
    connection: http.client.HTTPConnection
    if server.tls_cert:
        # Our own certificate on our own machine: it is made for another name.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, server.port, timeout=ASK_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, server.port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return json.loads(connection.getresponse().read(65_536))
    finally:
        connection.close()
