"""What a command says when it failed: one line that tells what to do, and the exit code."""

import errno
import sys
import traceback

from fittengate.core.faults import Fault
from fittengate.server.configure import ConfigurationError, debugging
from fittengate.simulator.scenario import ScenarioError


class CommandError(Exception):
    """A command cannot go on; its text says what to do."""


def tell(error: Exception, *, debug: bool) -> int:
    """Write the error for a person on standard error; return the exit code."""
    if debug or debugging():
        traceback.print_exception(error)
    code, lines = _explain(error)
    for line in lines:
        sys.stderr.write(f"fittengate: {line}\n")
    return code


def _explain(error: Exception) -> tuple[int, list[str]]:
    match error:
        case ConfigurationError():
            return 2, list(error.problems)
        case ScenarioError():
            return 2, [str(error)]
        case Fault():
            return 1, [error.message]
        case CommandError():
            return 1, [str(error)]
        case BrokenPipeError():
            # Whoever read our output has gone; there is nobody to tell.
            return 1, []
        case OSError():
            where = f" {error.filename}" if error.filename else ""
            hint = " Free some space." if error.errno == errno.ENOSPC else ""
            return 1, [f"{error.strerror or type(error).__name__}{where}.{hint}"]
        case _:
            return 1, [f"this is a defect: {type(error).__name__}. Run it again with --debug to see where."]
