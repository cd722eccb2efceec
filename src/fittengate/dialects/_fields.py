"""Reading the fields of a body one by one, with the place in every fault: what is alike in all client wire formats."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from fittengate.core.faults import Fault, FaultKind
from fittengate.lib import jsonio
from fittengate.lib.jsonio import shown, to_json

MAX_IGNORED = 32
"""So many ignored parameters are named; the rest is ignored without a word, for they travel in one header."""

MAX_MODEL_NAME = 256
"""Longest model name, in characters: it is repeated in every chunk of a stream."""

Check: TypeAlias = Callable[[Any, str, list[str]], None]
"""Looks at one field: its value (never None), its name, and the list to which it adds what will be ignored.

Raises Fault for a value that cannot be taken (caller_bad_request) or honoured (caller_unsupported).
"""


def bad(message: str, param: str | None) -> Fault:
    """Return the fault of a request that can never work; ``param`` is the place, None where there is none."""
    return Fault(FaultKind.CALLER_BAD_REQUEST, message, param=param)


def unsupported(message: str, param: str) -> Fault:
    """Return the fault of a request for what cannot be done and must not be ignored."""
    return Fault(FaultKind.CALLER_UNSUPPORTED, message, param=param)


def message_of(fault: Fault, request_id: str | None) -> str:
    """Return what a client is told of a fault; a message about our own side ends with the request's id, if it has one.

    The log is searched by that id, and most clients show nothing of an error but its message.
    """
    if request_id is None or fault.status < 500:
        return fault.message
    return f"{fault.message} (request id {request_id})"


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``, as :func:`fittengate.lib.jsonio.read_object` does. Raises Fault."""
    try:
        return jsonio.read_object(body)
    except jsonio.UnreadableError as error:
        raise bad(error.message, error.place) from error


def look_over(fields: Mapping[str, Any], checks: Mapping[str, Check]) -> tuple[str, ...]:
    """Check every field that is there and not null; return the names of those that will be ignored, unknown ones too.

    Raises what the checks raise.
    """
    ignored: list[str] = []
    for name, value in fields.items():
        if value is None:
            continue
        check = checks.get(name)
        if check is not None:
            check(value, name, ignored)
        elif len(ignored) < MAX_IGNORED:
            ignored.append(shown(name))
    return tuple(ignored[:MAX_IGNORED])


def known(_value: Any, _name: str, _ignored: list[str]) -> None:
    """Take a field as it is: it is read elsewhere, or promises nothing about the answer."""


_WORDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


def of_type(kind: type, *, report: bool = False) -> Check:
    """Return a check for values of one type; ``report`` names the field among the ignored ones."""

    def check(value: Any, name: str, ignored: list[str]) -> None:
        if type(value) is not kind:
            raise bad(f"{name} must be {_WORDS[kind]}.", name)
        if report:
            ignored.append(name)

    return check


def between(low: float, high: float) -> Check:
    """Return a check for numbers in the vendor's range, which the service has no use for: they are reported."""

    def check(value: Any, name: str, ignored: list[str]) -> None:
        if (type(value) is not float and type(value) is not int) or not low <= value <= high:
            raise bad(f"{name} must be a number from {low:g} to {high:g}.", name)
        ignored.append(name)

    return check


def refused(what: str) -> Check:
    """Return a check that refuses every value; ``what`` begins the sentence that says why."""

    def check(_value: Any, name: str, _ignored: list[str]) -> None:
        raise unsupported(f"{what} not supported. Leave {name} out.", name)

    return check


def whole_number(value: Any, name: str, least: int | None = None) -> int:
    """Return a whole number, also one that is written 1.0. Raises Fault (caller_bad_request)."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise bad(f"{name} must be a whole number.", name)
    if least is not None and value < least:
        raise bad(f"{name} must be at least {least}.", name)
    return value


def flag(value: Any, name: str) -> bool:
    """Return a yes or no; None means no. Raises Fault (caller_bad_request)."""
    if value is None:
        return False
    if type(value) is not bool:
        raise bad(f"{name} must be true or false.", name)
    return value


def text_of(fields: Mapping[str, Any], name: str, place: str | None = None) -> str:
    """Return a text, empty where there is none; ``place`` is where ``fields`` stands, None for the body itself.

    Raises Fault (caller_bad_request).
    """
    value = fields.get(name)
    if value is not None and type(value) is not str:
        raise bad(f"{name} must be a string.", name if place is None else f"{place}.{name}")
    return value or ""


def as_json(value: Any, place: str) -> bytes:
    """Return a value of the request as JSON again. Raises Fault (caller_bad_request) for one that is too deep."""
    try:
        return to_json(value)
    except RecursionError as error:
        raise bad("It is nested too deeply.", place) from error


def model_name(value: Any) -> str | None:
    """Return the name in ``model``; None, for the default model, where none is given. Raises Fault."""
    if value is None or value == "":
        return None
    if type(value) is not str:
        raise bad("model must be a string.", "model")
    if len(value) > MAX_MODEL_NAME:
        raise bad(f"model must be at most {MAX_MODEL_NAME} characters long.", "model")
    return value


def logprobs(value: Any, name: str, _ignored: list[str]) -> None:
    """Refuse a request for the probabilities of tokens, which the service does not tell. Raises Fault."""
    if flag(value, name):
        raise unsupported("Token probabilities are not known. Leave logprobs out.", name)


def top_logprobs(value: Any, name: str, _ignored: list[str]) -> None:
    """Refuse a request for the probabilities of other tokens. Raises Fault."""
    if whole_number(value, name, 0):
        raise unsupported("Token probabilities are not known. Leave top_logprobs out.", name)
