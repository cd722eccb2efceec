"""Whether a value is what a JSON schema asks for, and in words that a model can act on why it is not.

Schemas come from strangers: nothing is fetched for them, patterns get so many steps and no more, and one that cannot be
used is told apart from a value that does not fit.
"""

from functools import lru_cache
from typing import Any

import msgspec

from fittengate.prompting.references import pointed

MAX_SCHEMA_BYTES = 262_144
"""Longest schema. The longest that programs send have some ten thousand bytes."""

MAX_ERRORS = 8
"""So many faults of a value are named: a model corrects a few at a time."""

MAX_ERROR_CHARS = 240
"""Longest message; what is longer quotes the value."""

_PATTERN_STEPS = 100_000
"""Steps of one search for a pattern that goes back and forth."""

_KEPT_BYTES = 16_384
"""Longer schemas are compiled anew each time, so that what is kept stays small."""


MAX_EXPANDED = 1_000_000
"""Most parts that a schema comes to with every reference resolved: two references to the next of thirty definitions,
each of which has two again, would otherwise take minutes to judge a single value by."""


class BadSchemaError(ValueError):
    """A schema that cannot be used; the message says why."""


class Validator:
    """Judges values by one schema. Raises BadSchemaError where the schema is none."""

    def __init__(self, schema: bytes) -> None:
        # The library takes as long to load as all the rest of a small command.
        import jsonschema_rs

        if len(schema) > MAX_SCHEMA_BYTES:
            raise BadSchemaError(f"it is longer than {MAX_SCHEMA_BYTES} bytes")
        try:
            patterns = jsonschema_rs.FancyRegexOptions(backtrack_limit=_PATTERN_STEPS)
            root = msgspec.json.decode(schema)
            self._judge = jsonschema_rs.validator_for(root, offline=True, pattern_options=patterns)
            if _Expanded(root).parts(root) > MAX_EXPANDED:
                raise BadSchemaError("its references make too much of it")
        except BadSchemaError:
            raise
        except jsonschema_rs.ValidationError as error:
            place = "".join([f"/{step}" for step in error.instance_path])
            raise BadSchemaError(f"{_short(error.message)}{f' (at {place})' if place else ''}") from error
        except (ValueError, RecursionError) as error:
            raise BadSchemaError(_short(str(error))) from error

    def errors(self, value: Any) -> list[str]:
        """Return what is wrong with a value, the first few things; an empty list where it fits."""
        found: list[str] = []
        try:
            for error in self._judge.iter_errors(value):
                place = "".join([f"/{step}" for step in error.instance_path])
                found.append(f"{place or 'the value'}: {_short(error.message)}")
                if len(found) >= MAX_ERRORS:
                    break
        except (ValueError, RecursionError) as error:
            found.append(_short(str(error)))
        return found


class _Expanded:
    """Counts the parts of a schema with references resolved; one that leads into itself counts once."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[str, int] = {}

    def parts(self, schema: Any) -> int:
        """Return how many parts there are."""
        if isinstance(schema, list):
            return 1 + sum([self.parts(part) for part in schema])
        if not isinstance(schema, dict):
            return 1
        reference = schema.get("$ref")
        beyond = self._beyond(reference) if isinstance(reference, str) else 0
        return 1 + beyond + sum([self.parts(part) for part in schema.values()])

    def _beyond(self, reference: str) -> int:
        if reference not in self._known:
            self._known[reference] = 0
            self._known[reference] = self.parts(pointed(self._root, reference))
        return self._known[reference]


def validator(schema: bytes) -> Validator:
    """Return the judge of a schema. Raises BadSchemaError."""
    return _keep(schema) if len(schema) <= _KEPT_BYTES else Validator(schema)


# Programs send the same few schemas again and again.
_keep = lru_cache(64)(Validator)


def _short(text: str) -> str:
    text = text.split("\n", 1)[0]
    return text if len(text) <= MAX_ERROR_CHARS else text[: MAX_ERROR_CHARS - 1] + "…"
