"""What Ollama's two ways of asking share: options, forms, models' names, errors, and a request that only loads a model.

Shapes from Ollama's API reference ("Generate a completion", "Generate a chat completion", "Errors").
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fittengate.core.ask import COMPLETION, FillAsk, ReplyFormat, Sampling, Wishes
from fittengate.core.conversation import Image
from fittengate.core.faults import Fault
from fittengate.dialects._fields import (
    Check,
    as_json,
    bad,
    flag,
    known,
    logprobs,
    message_of,
    model_name,
    of_type,
    top_logprobs,
    whole_number,
)
from fittengate.dialects._fim_markers import MAX_FILL_STOPS
from fittengate.lib.jsonio import shown, to_json

_LATEST = ":latest"
_NOTHING = ("0", "0s", "0m", "0h")

_OF_A_MACHINE = frozenset(
    [
        "numa",
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "low_vram",
        "f16_kv",
        "vocab_only",
        "use_mmap",
        "use_mlock",
        "num_thread",
        "num_keep",
        "logits_all",
        "embedding_only",
    ]
)
"""Options that say how a machine is to be used. They promise nothing about the answer."""


class Load(FillAsk, frozen=True):
    """A request without a prompt, which loads a model or unloads it: it asks for no text and never gets any."""

    unload: bool = False


def load(model: str, wishes: Wishes, ignored: tuple[str, ...], keep_alive: Any) -> Load:
    """Return the request of a client that wants a model loaded; ``keep_alive`` of nothing wants it unloaded."""
    unload = keep_alive in _NOTHING or (type(keep_alive) in (int, float) and keep_alive == 0)
    return Load("", "", "", "", model, Sampling(0), wishes, ignored, unload)


def needed_model(value: Any) -> str:
    """Return the name in ``model``, which these requests must have. Raises Fault (caller_bad_request)."""
    name = model_name(value)
    if name is None:
        raise bad("model is required", "model")
    return name


def completes(model: str) -> bool:
    """Tell whether a name is that of the model for code completion."""
    return model.lower().removesuffix(_LATEST) == COMPLETION


def wishes_of(fields: Mapping[str, Any]) -> Wishes:
    """Return how the answer is to be handed over: streamed, with reasoning and usage, unless told otherwise."""
    stream = fields.get("stream")
    return Wishes(
        stream is None or flag(stream, "stream"), include_usage=True, show_thoughts=fields.get("think") is not False
    )


def sampling_of(options: Mapping[str, Any] | None) -> Sampling:
    """Return how the answer is to be cut; an option below 1 sets no limit. Raises Fault (caller_bad_request)."""
    options = options or {}
    value = options.get("num_predict")
    most = 0 if value is None else whole_number(value, "options.num_predict")
    return Sampling(most if most > 0 else None, _stops(options.get("stop")))


def _stops(value: Any) -> tuple[str, ...]:
    place = "options.stop"
    if value is None or value == "":
        return ()
    if type(value) is str:
        return (value,)
    if type(value) is not list or len(value) > MAX_FILL_STOPS:
        raise bad(f"stop must be a string or a list of at most {MAX_FILL_STOPS} strings.", place)
    for index, item in enumerate(value):
        if type(item) is not str:
            raise bad("A stop sequence must be a string.", f"{place}[{index}]")
    return tuple([item for item in value if item])


def format_of(value: Any) -> ReplyFormat | None:
    """Return the form that the answer must have, None for free text. Raises Fault (caller_bad_request).

    Ollama lets no other text be written, so text that does not fit a schema is a fault.
    """
    if value is None or value == "":
        return None
    if value == "json":
        return ReplyFormat(where="format")
    if type(value) is not dict:
        raise bad("format must be json or a JSON schema, an object.", "format")
    return ReplyFormat(schema=as_json(value, "format"), strict=True, where="format")


def images_of(value: Any, place: str) -> tuple[Image, ...]:
    """Return pictures that are given as bare base64. Raises Fault (caller_bad_request)."""
    if value is None:
        return ()
    if type(value) is not list:
        raise bad("images must be a list.", place)
    found: list[Image] = []
    for index, item in enumerate(value):
        where = f"{place}[{index}]"
        if type(item) is not str or not item:
            raise bad("An image must be a string of base64.", where)
        # What kind of picture it is, its first bytes tell; the type named here is not looked at.
        found.append(Image(item if item[:5] == "data:" else f"data:image/png;base64,{item}", where))
    return tuple(found)


def _options(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is not dict:
        raise bad(f"{name} must be an object.", name)
    for key, option in value.items():
        if option is not None and key not in {"num_predict", "stop"} and key not in _OF_A_MACHINE:
            ignored.append(f"{name}.{shown(key)}")


def _think(value: Any, name: str, ignored: list[str]) -> None:
    if type(value) is str:
        ignored.append(name)
    elif type(value) is not bool:
        raise bad(f"{name} must be true, false or a level.", name)


FIELDS: Mapping[str, Check] = {
    # Read by both dialects.
    "model": known,
    "stream": known,
    "format": known,
    "images": known,
    "options": _options,
    "think": _think,
    # Nothing is loaded here, so there is nothing to keep; only 0 is looked at.
    "keep_alive": known,
    # They promise nothing about the answer.
    "truncate": of_type(bool),
    "shift": of_type(bool),
    # To ignore these would claim something.
    "logprobs": logprobs,
    "top_logprobs": top_logprobs,
}
"""What both requests may have; each adds its own."""


def moment(seconds: int) -> str:
    """Return a time, in seconds since the epoch, as Ollama writes it (RFC 3339)."""
    last = 253_402_300_799  # the last second that has a four-digit year
    return datetime.fromtimestamp(min(max(seconds, 0), last), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def error_body(fault: Fault, request_id: str | None = None) -> bytes:
    """Return Ollama's error object. It has nothing but a text: the place at fault and the request's id go there."""
    message = message_of(fault, request_id)
    if fault.param is not None and fault.param not in message:
        message = f"{message} ({fault.param})"
    return to_json({"error": message})
