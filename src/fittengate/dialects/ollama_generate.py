"""Ollama's ``POST /api/generate``: a prompt answered by the chat, or code filled in, whole and as lines.

Shapes from Ollama's API reference ("Generate a completion"). With a suffix, with a prompt that marks its cursor, or
with the model for it, the request is a code completion; without a prompt it loads a model, of which there is nothing
to do.
"""

from collections.abc import Mapping
from typing import Any

from fittengate.core.ask import Ask, FillAsk
from fittengate.core.caller import Scope
from fittengate.core.conversation import Conversation, Message, Text
from fittengate.core.faults import Fault
from fittengate.core.limits import LimitState
from fittengate.core.reply import Reply
from fittengate.dialects import _ollama_lines
from fittengate.dialects._fields import Check, flag, known, look_over, read_object, text_of
from fittengate.dialects._fim_markers import read_marked
from fittengate.dialects._ollama import (
    FIELDS,
    completes,
    error_body,
    format_of,
    images_of,
    load,
    needed_model,
    sampling_of,
    wishes_of,
)
from fittengate.dialects._ollama_lines import LineWriter
from fittengate.dialects._openai import limit_headers
from fittengate.dialects.base import LINES, Head, StreamForm


class OllamaGenerate:
    """The dialect. Holds nothing, so one serves every request."""

    name: str = "ollama_generate"
    paths: tuple[str, ...] = ("/api/generate",)
    id_headers: tuple[bytes, ...] = ()
    scope: Scope | None = None
    tells_input: bool = False
    form: StreamForm = LINES

    def read(self, body: bytes) -> Ask | FillAsk:
        """Return what the client wants. Raises Fault: caller_bad_request, caller_unsupported.

        A suffix counts unless it is empty, which is what clients send for none.
        """
        fields = read_object(body)
        ignored = look_over(fields, _FIELDS)
        get = fields.get
        model = needed_model(get("model"))
        prompt, suffix, system = text_of(fields, "prompt"), text_of(fields, "suffix"), text_of(fields, "system")
        raw = flag(get("raw"), "raw")
        sampling, wishes = sampling_of(get("options")), wishes_of(fields)
        marked = None if suffix else read_marked(prompt, "prompt")
        if marked is not None:
            return FillAsk(marked.prefix, marked.suffix, marked.file_name, "", model, sampling, wishes, ignored)
        if suffix or (prompt and completes(model)):
            return FillAsk(prompt, suffix, "", "", model, sampling, wishes, ignored)
        images = images_of(get("images"), "images")
        reply_format = format_of(get("format"))
        if not prompt and not images:
            return load(model, wishes, ignored, get("keep_alive"))
        question = Message("user", (*((Text(prompt),) if prompt else ()), *images))
        # A raw prompt is said to be all there is.
        before = (Message("system", (Text(system),)),) if system and not raw else ()
        talk = Conversation((*before, question))
        return Ask(talk, model, sampling, wishes, ignored=ignored, reply_format=reply_format)

    def writer(self, ask: Ask | FillAsk, head: Head) -> LineWriter:
        """Return the writer of a streamed reply."""
        return LineWriter(ask, head, _said)

    def whole(self, reply: Reply, ask: Ask | FillAsk, head: Head) -> bytes:
        """Return the body of an unstreamed reply."""
        return _ollama_lines.whole(reply, ask, head, _said)

    def error(self, fault: Fault, request_id: str) -> bytes:
        """Return the JSON body of a fault that came before the headers."""
        return error_body(fault, request_id)

    def status(self, fault: Fault) -> int:
        """Return the fault's own status."""
        return fault.status

    def limit_headers(self, state: LimitState) -> list[tuple[bytes, bytes]]:
        """Return the headers that OpenAI has for it: Ollama has none."""
        return limit_headers(state)


def _said(text: str, thought: str, _calls: bool) -> dict[str, Any]:  # noqa: FBT001 - no tools can be given here
    return {"response": text, "thinking": thought} if thought else {"response": text}


def _said_before(value: Any, name: str, ignored: list[str]) -> None:
    # Tokens of an earlier answer, or the text around a prompt: both are for a model at hand.
    if value not in ("", []):
        ignored.append(name)


_FIELDS: Mapping[str, Check] = {
    **FIELDS,
    "prompt": known,
    "suffix": known,
    "system": known,
    "raw": known,
    "template": _said_before,
    "context": _said_before,
}
