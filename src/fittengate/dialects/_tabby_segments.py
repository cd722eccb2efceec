"""Tabby's request for a code completion: it comes to OpenAI's path for text, and has ``segments`` for a prompt.

Shapes from Tabby's API reference ("completions"). Its answer is a part of OpenAI's, so it is answered as such. Code
from other places, which its clients send along, has no place in the service's request: it is ignored and reported.
"""

from collections.abc import Mapping
from typing import Any

from fittengate.core.ask import FillAsk, Wishes
from fittengate.dialects._fields import MAX_IGNORED, Check, bad, known, look_over, model_name, of_type, unsupported
from fittengate.dialects._fim_markers import MAX_NAME_CHARS


def read_segments(fields: Mapping[str, Any]) -> FillAsk:
    """Return what a client of Tabby's wants. Raises Fault: caller_bad_request, caller_unsupported."""
    segments = fields["segments"]
    if type(segments) is not dict:
        raise bad("segments must be an object.", "segments")
    inner = {f"segments.{name}": value for name, value in segments.items()}
    ignored = (*look_over(fields, _FIELDS), *look_over(inner, _SEGMENTS))
    if type(segments.get("prefix")) is not str:
        raise bad("segments must have a prefix, a string.", "segments.prefix")
    name = segments.get("filepath") or ""
    return FillAsk(
        segments["prefix"],
        segments.get("suffix") or "",
        name if len(name) <= MAX_NAME_CHARS and name.isprintable() else "",
        fields.get("language") or "",
        model_name(fields.get("model")),
        wishes=Wishes(show_thoughts=False),
        ignored=ignored[:MAX_IGNORED],
    )


def _some(value: Any, name: str, ignored: list[str]) -> None:
    if value not in ("", [], {}):
        ignored.append(name)


def _mode(value: Any, name: str, _ignored: list[str]) -> None:
    if value != "standard":
        raise unsupported("Only code at the cursor can be proposed. Leave mode out.", name)


_SEGMENTS: Mapping[str, Check] = {
    "segments.prefix": known,
    "segments.suffix": of_type(str),
    "segments.filepath": of_type(str),
    # It says where the file is kept, and nothing about it.
    "segments.git_url": of_type(str),
    "segments.declarations": _some,
    "segments.relevant_snippets_from_changed_files": _some,
    "segments.relevant_snippets_from_recently_opened_files": _some,
    "segments.clipboard": _some,
    "segments.edit_history": _some,
}

_FIELDS: Mapping[str, Check] = {
    "segments": known,
    "language": of_type(str),
    "model": known,
    "mode": _mode,
    # They promise nothing about the answer.
    "user": of_type(str),
    "debug_options": known,
}
