"""Reading and checks of fields that OpenAI's formats have in common."""

from typing import Any

from fittengate.dialects._fields import bad, unsupported, whole_number
from fittengate.lib.jsonio import shown

MAX_TOOL_NAME = 256
"""Longest name of a tool, in characters. OpenAI allows 64 of a few kinds, other servers more of any."""


def tool_name(value: Any, place: str) -> str:
    """Return the name of a tool or of a group of tools. Raises Fault (caller_bad_request)."""
    if type(value) is not str or not value.strip() or not value.isprintable() or len(value) > MAX_TOOL_NAME:
        raise bad(f"name must be a word of at most {MAX_TOOL_NAME} characters.", place)
    return value


def stream_options(value: Any, name: str, ignored: list[str]) -> None:
    """Check ``stream_options``; what is on beside ``include_usage`` will be ignored."""
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    for key, option in value.items():
        # A wish that is off is honoured by doing nothing.
        if key != "include_usage" and option is not None and option is not False:
            ignored.append(f"{name}.{shown(key)}")


def seed(value: Any, name: str, ignored: list[str]) -> None:
    """Check ``seed``, which the service has no use for."""
    whole_number(value, name)
    ignored.append(name)


def logit_bias(value: Any, name: str, _ignored: list[str]) -> None:
    """Refuse token probabilities that are to be changed."""
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    if value:
        raise unsupported("Token probabilities cannot be changed. Leave logit_bias out.", name)
