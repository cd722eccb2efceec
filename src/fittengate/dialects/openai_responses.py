"""OpenAI's Responses: ``POST /v1/responses``, whole and streamed, its tokens counted, and what concerns kept ones.

Shapes from OpenAI's API reference (responses). Reading stands in ``_responses_reading``, writing in
``_responses_stream``.
"""

from collections.abc import Sequence

from fittengate.core.ask import Ask
from fittengate.core.caller import Scope
from fittengate.core.faults import Fault
from fittengate.core.limits import LimitState
from fittengate.core.record import Recalled, Record
from fittengate.core.reply import Reply
from fittengate.dialects import _responses_kept as kept
from fittengate.dialects._fields import read_object
from fittengate.dialects._openai import error_body, limit_headers
from fittengate.dialects._responses_ask import ResponsesAsk
from fittengate.dialects._responses_reading import read
from fittengate.dialects._responses_stream import ResponseWriter, whole
from fittengate.dialects.base import EVENTS, Head, StreamForm, Writer
from fittengate.lib.jsonio import to_json

_GOES_ON = (b"previous_response_id", b"item_reference")
"""Without either of these words in its body a request refers to nothing, and need not be read for it."""


class OpenAIResponses:
    """The dialect. Holds nothing, so one serves every request."""

    name: str = "openai_responses"
    paths: tuple[str, ...] = ("/v1/responses", "/responses", "/v1/v1/responses")
    count_paths: tuple[str, ...] = tuple([f"{path}/input_tokens" for path in paths])
    """Every path at which the tokens of a request are counted: :meth:`read_count`, then :meth:`count_body`."""

    id_headers: tuple[bytes, ...] = ()
    scope: Scope = "chat"
    tells_input: bool = False
    form: StreamForm = EVENTS

    def read(self, body: bytes) -> ResponsesAsk:
        """Return what the client wants, nothing recalled. Raises Fault: caller_bad_request, caller_unsupported."""
        return read(body, {})

    def wanted(self, body: bytes) -> tuple[str | None, tuple[str, ...]]:
        """Return the id of the response that a request goes on with, and of those it refers to; mostly none."""
        if not any(word in body for word in _GOES_ON):
            return None, ()
        try:
            return kept.wanted(read_object(body))
        except Fault:
            return None, ()  # Reading it says what is wrong with it.

    def read_on(self, body: bytes, recalled: Recalled) -> ResponsesAsk:
        """Return what the client wants, with what was kept. Raises Fault: caller_bad_request, caller_unsupported."""
        return read(body, recalled)

    def read_count(self, body: bytes, recalled: Recalled) -> ResponsesAsk:
        """Return what is to be counted, with what was kept; ``input`` is not needed. Raises as :meth:`read_on`."""
        return read(body, recalled, counting=True)

    def count_body(self, tokens: int) -> bytes:
        """Return the body that tells a count."""
        return to_json({"object": "response.input_tokens", "input_tokens": tokens})

    def record(self, ask: Ask, head: Head, written: bytes | Writer) -> Record | None:
        """Return what is to be kept of a reply; None where the client wants nothing kept."""
        ask = _ours(ask)
        if not ask.keep:
            return None
        response = written if isinstance(written, bytes) else _response(written)
        return Record(kept.PREFIX + head.id, ask.previous, ask.given, response)

    def writer(self, ask: Ask, head: Head) -> ResponseWriter:
        """Return the writer of a streamed reply."""
        return ResponseWriter(head, _ours(ask))

    def whole(self, reply: Reply, ask: Ask, head: Head) -> bytes:
        """Return the body of an unstreamed reply: one response."""
        return whole(reply, _ours(ask), head)

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        return error_body(fault, request_id, "input")

    def status(self, fault: Fault) -> int:
        """Return the fault's own status: OpenAI has none of its own for any kind."""
        return fault.status

    def limit_headers(self, state: LimitState) -> list[tuple[bytes, bytes]]:
        """Return OpenAI's ``x-ratelimit-*``."""
        return limit_headers(state)

    def listed(self, chain: Sequence[Record], after: str | None, limit: int, *, newest_first: bool) -> bytes:
        """Return a page of what the last response of ``chain`` was the answer to, from behind the item ``after`` on."""
        items = kept.input_items(chain)
        return kept.item_page(items[::-1] if newest_first else items, after, limit)

    def deleted(self, name: str) -> bytes:
        """Return the body that confirms that a response is no longer kept."""
        return to_json({"id": name, "object": "response", "deleted": True})


def _ours(ask: Ask) -> ResponsesAsk:
    assert isinstance(ask, ResponsesAsk)  # noqa: S101 - only what was read here is written here
    return ask


def _response(writer: Writer) -> bytes:
    assert isinstance(writer, ResponseWriter)  # noqa: S101
    return writer.response
