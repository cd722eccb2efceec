"""What was kept of earlier responses: as items that a conversation goes on with, and as a client sees them listed.

Shapes from OpenAI's API reference (responses, "List input items"). Items get their ids here: those of a response begin
with the tail of its own id, so an item that a client refers to says which response it belongs to.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Recalled, Record
from fittengate.lib.jsonio import to_json

PREFIX = "resp_"
TAIL_CHARS = 24

MAX_REFERENCES = 64
"""Most responses that one request may refer to. Our own limit: each is looked up."""

_PREFIXES: Mapping[str, str] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "cto",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "local_shell_call": "lsh",
    "shell_call": "sh",
    "apply_patch_call": "apc",
}


_OF_PARTS: Mapping[str, Mapping[str, Any]] = {"output_text": {"annotations": []}, "input_image": {"detail": "auto"}}
"""What a part of a message has where its client left it out, by the part's type."""


def item_id(kind: str, tail: str, index: int) -> str:
    """Return the id of the output item at ``index`` of the response whose id has this ``tail``."""
    return f"{_PREFIXES.get(kind, 'item')}_{tail}{index:04x}"


def response_of(item: str) -> str | None:
    """Return the id of the response that an item belongs to; None where it is none of ours."""
    tail = item.partition("_")[2][:TAIL_CHARS]
    return PREFIX + tail if len(tail) == TAIL_CHARS else None


class Kept:
    """Items of the records that one request goes on with or refers to."""

    def __init__(self, recalled: Recalled) -> None:
        self._recalled = recalled
        self._items: dict[str, Mapping[str, Any]] | None = None

    def conversation(self, previous: str | None) -> Iterator[list[Any]]:
        """Yield lists of items: for each response up to ``previous`` what was given, then what was answered."""
        for record in self._recalled.get(previous, ()) if previous is not None else ():
            yield msgspec.json.decode(record.given)
            yield msgspec.json.decode(record.response)["output"]

    def item(self, name: str) -> Mapping[str, Any] | None:
        """Return the item of this id; None where none was kept."""
        if self._items is None:
            records = [record for chain in self._recalled.values() for record in chain]
            self._items = {item["id"]: item for record in records for item in _with_output(record)}
        return self._items.get(name)


def wanted(fields: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Return the id of the response that a request goes on with, and of those it refers to, whatever else is wrong."""
    previous, items = fields.get("previous_response_id"), fields.get("input")
    found: dict[str, None] = {}
    for item in items if type(items) is list else ():
        if type(item) is dict and item.get("type") in (None, "item_reference") and type(item.get("id")) is str:
            owner = response_of(item["id"])
            if owner is not None and len(found) < MAX_REFERENCES:
                found[owner] = None
    return (previous if type(previous) is str else None), tuple(found)


def input_items(chain: Sequence[Record]) -> list[dict[str, Any]]:
    """Return everything that the last response of ``chain`` answers, oldest first, each item with its id."""
    found: list[dict[str, Any]] = []
    for record in chain[:-1]:
        found += _with_output(record)
    return found + _given(chain[-1])


def item_page(items: Sequence[dict[str, Any]], after: str | None, limit: int) -> bytes:
    """Return the page of ``items`` that begins behind the item ``after``; None begins at the first.

    Raises Fault (caller_bad_request) where there is no such item: an empty page would say that there is no more.
    """
    start = 0
    if after is not None:
        found = next((index + 1 for index, item in enumerate(items) if item["id"] == after), None)
        if found is None:
            raise Fault(FaultKind.CALLER_BAD_REQUEST, "after must be the id of an item in the list.", param="after")
        start = found
    page = items[start : start + limit]
    return to_json(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": start + limit < len(items),
        }
    )


def _with_output(record: Record) -> list[dict[str, Any]]:
    return _given(record) + list(msgspec.json.decode(record.response)["output"])


def _given(record: Record) -> list[dict[str, Any]]:
    tail = record.id.removeprefix(PREFIX)
    return [_named(item, tail, index) for index, item in enumerate(msgspec.json.decode(record.given))]


def _named(item: dict[str, Any], tail: str, index: int) -> dict[str, Any]:
    """Return an input item in full: with type, id and status, and a message's words as parts."""
    kind = item.get("type") or "message"
    full = {**item, "type": kind, "id": f"{item_id(kind, tail, index)}i", "status": "completed"}
    if kind == "message":
        sort = "output_text" if item.get("role") == "assistant" else "input_text"
        content = item.get("content")
        parts = [{"type": sort, "text": content}] if type(content) is str else content or []
        full["content"] = [{**_OF_PARTS.get(part["type"], {}), **part} for part in parts]
    return full
