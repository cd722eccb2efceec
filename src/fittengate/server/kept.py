"""What can be done with a response that was kept: fetch it, delete it, list what it answered.

And what cannot be done with one: it is refused with what to do instead.
"""

from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import parse_qs

from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Record
from fittengate.dialects import RESPONSES
from fittengate.lib.jsonio import shown
from fittengate.server.exchange import Exchanges
from fittengate.server.request import JSON, Request

INPUT_ITEMS = "input_items"
CANCEL = "cancel"

COMPACT = "compact"
"""Stands where an id would."""

KEPT_METHODS: Mapping[str, tuple[str, ...]] = {
    "": ("GET", "HEAD", "DELETE"),
    INPUT_ITEMS: ("GET", "HEAD"),
    CANCEL: ("POST",),
}
"""For each thing behind the id of a response, the methods it takes."""

PAGE = 20
MAX_PAGE = 100
"""Items of a page, unless the client says how many, and at most."""

Kept: TypeAlias = tuple[str, str]
"""The id of a response, and what of it is meant: ``input_items``, or empty for all."""


def kept_path(path: str) -> Kept | None:
    """Return what a path below that of responses means; None for every other path."""
    for base in RESPONSES.paths:
        if path.startswith(f"{base}/"):
            name, _, rest = path[len(base) + 1 :].partition("/")
            return (name, rest) if name and name != COMPACT and rest in KEPT_METHODS else None
    return None


async def answer_kept(exchanges: Exchanges, request: Request, kept: Kept) -> None:
    """Answer a request about a kept response. Raises Fault."""
    name, what = kept
    owner = (await exchanges.enter(request, "chat")).owner
    responses = exchanges.responses
    if request.method == "DELETE":
        if not await responses.delete(name, owner):
            raise _not_found(name)
        await request.respond(200, [JSON], RESPONSES.deleted(name))
        return
    query = parse_qs(request.scope.get("query_string", b"").decode("ascii", "replace"))
    record = await responses.find(name, owner)
    if record is None:
        raise _not_found(name)
    if what == CANCEL:
        message = (
            "Only a response that is made in the background can be cancelled. To end any other, close its connection."
        )
        raise Fault(FaultKind.CALLER_UNSUPPORTED, message, param="response_id")
    if what == INPUT_ITEMS:
        # Where an earlier part of the conversation is gone, its last part is still there.
        body = _page(await responses.chain(name, owner) or (record,), query)
    else:
        body = _whole(record, query)
    await request.respond(200, [JSON], body)


async def refuse_compact(exchanges: Exchanges, request: Request) -> None:
    """Say what to do instead of compacting a conversation, whose result only the vendor's models can read. Raises Fault."""
    await exchanges.enter(request, "chat")
    message = "Conversations are not compacted here. Ask for a summary at /v1/responses, and go on with that as input."
    raise Fault(FaultKind.CALLER_UNSUPPORTED, message)


def _whole(record: Record, query: Mapping[str, list[str]]) -> bytes:
    if query.get("stream", ["false"])[-1] == "true":
        message = "A kept response is not streamed again. Leave stream out."
        raise Fault(FaultKind.CALLER_UNSUPPORTED, message, param="stream")
    return record.response


def _page(chain: tuple[Record, ...], query: Mapping[str, list[str]]) -> bytes:
    order, limit = query.get("order", ["desc"])[-1], query.get("limit", [str(PAGE)])[-1]
    if order not in {"asc", "desc"}:
        raise Fault(FaultKind.CALLER_BAD_REQUEST, "order must be asc or desc.", param="order")
    if not limit.isascii() or not limit.isdigit() or len(limit) > 4 or not 1 <= int(limit) <= MAX_PAGE:
        raise Fault(FaultKind.CALLER_BAD_REQUEST, f"limit must be from 1 to {MAX_PAGE}.", param="limit")
    after = query.get("after", [None])[-1]
    return RESPONSES.listed(chain, after, int(limit), newest_first=order == "desc")


def _not_found(name: str) -> Fault:
    return Fault(FaultKind.CALLER_NOT_FOUND, f"Response with id '{shown(name)}' not found.", param="response_id")
