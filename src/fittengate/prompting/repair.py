"""JSON as models write it, for forms where a whole call is JSON. The prompted form needs none of this.

Each step is taken only where the one before failed, and a repaired value must be validated by who asked for it: a repair
is a guess. Further steps belong in STEPS.
"""

import json
import re
from collections.abc import Callable

_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_BETWEEN = re.compile(r"\s*,?\s*")


def read_json(text: str) -> object:
    """Return the value of a JSON text. Raises ValueError where it is none; NaN and the infinities are none."""
    return _load(text, strict=True)


def read_several(text: str) -> list[object]:
    """Return the values of JSON texts that follow each other. Raises ValueError where there is anything else."""
    values: list[object] = []
    at = 0
    while at < len(text):
        try:
            value, at = _SEVERAL.raw_decode(text, at)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        values.append(value)
        between = _BETWEEN.match(text, at)
        at = between.end() if between else at
    return values


def _load(text: str, *, strict: bool) -> object:
    try:
        return json.loads(text, strict=strict, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _control_characters(text: str) -> object:
    return _load(text, strict=False)


def _trailing_commas(text: str) -> object:
    return _load(_TRAILING_COMMA.sub(lambda found: found[1] or "", text), strict=False)


_SEVERAL = json.JSONDecoder(parse_constant=_refuse)

STEPS: tuple[Callable[[str], object], ...] = (_control_characters, _trailing_commas)


def repair_json(text: str) -> tuple[object, bool]:
    """Return the value of a JSON text, and whether it took a repair. Raises ValueError where nothing helped."""
    try:
        return read_json(text), False
    except ValueError as error:
        for step in STEPS:
            try:
                return step(text), True
            except ValueError:
                continue
        raise error from None


def ends_in_string(text: str) -> bool:
    """Return whether a JSON text that was cut off here was cut inside a string."""
    return _ESCAPE.sub("", text).count('"') % 2 == 1
