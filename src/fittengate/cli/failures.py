"""What a command says when it failed: one line that tells what to do, and the exit code."""

import errno
import sys
import traceback

from fittengate.core.faults import Fault
from fittengate.server.configure import ConfigurationError, debugging


class CommandError(Exception):
    """A command cannot go on; its text says what to do."""


def tell(error: Exception, *, debug: bool) -> int:
    """Write the error for a person on standard error; return the exit code."""
    code, lines = explain(error)
    try:
        if debug or debugging():
            traceback.print_exception(error)
        for line in lines:
            sys.stderr.write(f"fittengate: {line}\n")
        sys.stderr.flush()
    except OSError:
        # Nobody reads the errors either, or the disk is full: the exit code says it.
        return code
    return code


def explain(error: Exception) -> tuple[int, list[str]]:
    """Return the exit code and what to say, a line each."""
    import ssl

    match error:
        case ConfigurationError():
            return 2, list(error.problems)
        case Fault():
            return 1, [error.message]
        case CommandError():
            return 1, [str(error)]
        case BrokenPipeError():
            # Whoever read our output has gone; there is nobody to tell.
            return 1, []
        case ssl.SSLError():
            # What goes wrong on the wire became a Fault long before: this is a file of certificates.
            reason = str(getattr(error, "reason", None) or "unreadable").replace("_", " ").lower()
            files = "upstream.ca_file, server.tls_cert and server.tls_key"
            return 2, [f"a certificate or its key cannot be used ({reason}). Check {files}."]
        case TimeoutError() if str(error):
            return 1, [f"{error}. Try again, or end that process."]
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            hint = " Free some space." if error.errno == errno.ENOSPC else ""
            return 1, [f"{error.strerror or str(error) or type(error).__name__}{where}.{hint}"]
        case _:
            return 1, [
                f"this is a defect: {type(error).__name__}. Run `fittengate --debug …` to see where it came from."
            ]
