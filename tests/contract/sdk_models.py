"""The types that vendors' SDKs declare, for whole answers and for every piece of a stream: taken at their word."""

import json
from functools import cache
from typing import Any, get_args

import ollama
import openai.types
import openai.types.chat
import openai.types.responses
import pydantic
from anthropic.types import Message, RawMessageStreamEvent
from mistralai.client import models as mistral

_RESPONSE_KEYS = {"store", "presence_penalty", "frequency_penalty"}
EXTRA = {
    "openai_chat": {"reasoning_content"},
    # The first three stand in OpenAI's own objects, the others in its reference: the SDK does not declare them.
    "openai_responses": {*_RESPONSE_KEYS, "status", "name"},
}
"""What is sent beyond what the SDK declares, for each dialect."""


def _events(union: Any) -> dict[str, Any]:
    """Return the model of each event of a union, by its type."""
    found: dict[str, Any] = {}
    for one in get_args(union):
        if isinstance(one, type) and issubclass(one, pydantic.BaseModel):
            found |= dict.fromkeys(get_args(one.model_fields["type"].annotation), one)
        else:
            found |= _events(one)
    return found


WHOLE: dict[str, Any] = {
    "openai_chat": openai.types.chat.ChatCompletion,
    "openai_completions": openai.types.Completion,
    "openai_responses": openai.types.responses.Response,
    "anthropic_messages": Message,
    "mistral_fim": mistral.FIMCompletionResponse,
    "ollama_chat": ollama.ChatResponse,
    "ollama_generate": ollama.GenerateResponse,
}

PIECES: dict[str, Any] = {
    "openai_chat": openai.types.chat.ChatCompletionChunk,
    # OpenAI's own chunks have null for a finish that has not come, which the SDK's one type for both does not allow.
    "openai_responses": _events(openai.types.responses.ResponseStreamEvent),
    "anthropic_messages": _events(RawMessageStreamEvent),
    "mistral_fim": mistral.CompletionChunk,
    "ollama_chat": ollama.ChatResponse,
    "ollama_generate": ollama.GenerateResponse,
}


def hold_to_its_types(dialect: str, models: dict[str, Any], piece: bytes) -> None:
    """Assert that a piece is of the type that the SDK declares for it, no value converted, and nothing unknown in it."""
    model = models.get(dialect)
    if isinstance(model, dict):
        model = model[json.loads(piece)["type"]]
    if model is not None:
        read = _adapter(model).validate_json(piece, strict=True)
        assert set(_unknown(read)) <= EXTRA.get(dialect, set())


def pieces_of(stream: bytes) -> list[bytes]:
    """Return the JSON of each event, or of each line, of a stream."""
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n") if not line.startswith(b"event: ")]
    return [line for line in lines if line and line != b"[DONE]"]


@cache
def _adapter(model: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(model)


def _unknown(value: Any) -> list[str]:
    """Return the names of all fields, however deep, that the SDK does not declare."""
    if isinstance(value, pydantic.BaseModel):
        inner = [one for name in type(value).model_fields for one in _unknown(getattr(value, name, None))]
        return [*(value.model_extra or {}), *inner]
    if isinstance(value, list | tuple):
        return [one for item in value for one in _unknown(item)]
    return []
