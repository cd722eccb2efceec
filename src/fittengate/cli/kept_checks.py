"""What doctor looks at of what a gateway keeps: the store, the journal, and what it noted of the service."""

import time

import msgspec

from fittengate.cli.account import moment
from fittengate.cli.checks import Finding
from fittengate.cli.store import contents, examined, file_of
from fittengate.cli.tables import counted
from fittengate.server.assemble import DRIFT_FILE, open_database
from fittengate.server.configure import Configured
from fittengate.services.journal import MAX_SEGMENTS
from fittengate.services.notes import NoteFile
from fittengate.services.store import StoreDownError
from fittengate.services.tables import REVISION
from fittengate.upstream.fitten.drift import Notes, Seen

LARGE_BYTES = 256 * 1024 * 1024
"""A larger store takes more than a moment to read."""

RECENT_SECONDS = 7 * 86_400.0
"""What was seen longer ago is no longer news."""

MAX_SHOWN = 5


def store(configured: Configured) -> Finding:
    """Return whether the store is sound."""
    database = open_database(configured.settings.store)
    if database is None:
        return Finding("ok", "store", "store.url is none: no receipts are kept, and responses in memory alone")
    name, path = database.place.name, file_of(database)
    if not database.there:
        return Finding("ok", "store", f"none yet; the first `fittengate serve` makes {name}")
    try:
        if path is not None and path.stat().st_size > LARGE_BYTES:
            return Finding("ok", "store", f"{name} is large; `fittengate store check` reads all of it")
        health = examined(database)
    except (StoreDownError, OSError) as error:
        return Finding("fail", "store", f"{name} cannot be read ({error}); look at it with `fittengate store check`")
    if health.problems:
        return Finding("fail", "store", f"{name} is damaged; `fittengate store check` says what to do")
    if health.revision is not None and health.revision > REVISION:
        return Finding(
            "fail", "store", f"{name} was made by a newer fittengate; install that one, or use another store"
        )
    if health.revision not in {None, REVISION}:
        return Finding("ok", "store", f"{name} is sound, of an earlier version; `fittengate serve` brings it up")
    return Finding("ok", "store", f"{name} is sound: {contents(health)}")


def journal(configured: Configured) -> Finding:
    """Return whether receipts wait that the store has not taken."""
    root = configured.state_dir / "journal"
    try:
        counts = [sum(1 for _ in one.glob("*.journal")) for one in root.iterdir()] if root.is_dir() else []
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return Finding("fail", "journal", f"{root} cannot be read ({reason}); give it back to the user of the gateway")
    if not counts:
        return Finding("ok", "journal", "empty")
    text = f"{counted(len(counts), 'journal')} in {root}, {sum(counts)} MB"
    if max(counts) >= MAX_SEGMENTS // 2:
        return Finding(
            "warn", "journal", f"{text}: the store does not keep up; see `fittengate store check` and the log"
        )
    return Finding("ok", "journal", f"{text}: of gateways that run; what a killed one left, the next one takes over")


def drift(configured: Configured) -> list[Finding]:
    """Return what gateways of this state directory noted of the service in the last days that is not known of it."""
    try:
        data = NoteFile(configured.state_dir / DRIFT_FILE).load()
        seen = [] if data is None else msgspec.json.decode(data, type=Notes).seen
    except (OSError, ValueError) as error:
        return [Finding("warn", "protocol", f"{DRIFT_FILE} cannot be read ({error}); delete it")]
    recent = [one for one in seen if one.last > time.time() - RECENT_SECONDS]
    if not recent:
        return [Finding("ok", "protocol", "gateways met nothing unknown in the last 7 days")]
    return [strange(one) for one in recent[:MAX_SHOWN]]


def strange(one: Seen) -> Finding:
    """Return what to say of something that is not known of the service."""
    what = {"line": "an unknown line in a reply", "field": "an unknown field", "status": "an unknown status"}
    often = f"{counted(one.count, 'time')}, last {moment(one.last)}"
    text = f"{what.get(one.kind, 'an unknown answer')}, {often}: {one.sample}"
    return Finding("warn", "protocol", f"{text}. If something does not work, look for a newer fittengate or report it")
