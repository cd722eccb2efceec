"""Floor 3a: client wire formats, each in a file of its own that knows no other."""

from collections.abc import Mapping

from fittengate.dialects.anthropic_messages import AnthropicMessages
from fittengate.dialects.base import CountingDialect, Dialect, KeepingDialect
from fittengate.dialects.llama_infill import LlamaInfill
from fittengate.dialects.mistral_fim import MistralFim
from fittengate.dialects.ollama_chat import OllamaChat
from fittengate.dialects.ollama_generate import OllamaGenerate
from fittengate.dialects.openai_chat import OpenAIChat
from fittengate.dialects.openai_completions import OpenAICompletions
from fittengate.dialects.openai_responses import OpenAIResponses

_MESSAGES = AnthropicMessages()

RESPONSES = OpenAIResponses()

OLLAMA: tuple[Dialect, ...] = (OllamaChat(), OllamaGenerate())
"""Those that a program speaks which believes to talk to Ollama."""

DIALECTS: tuple[Dialect, ...] = (
    OpenAIChat(),
    RESPONSES,
    _MESSAGES,
    OpenAICompletions(),
    MistralFim(),
    LlamaInfill(),
    *OLLAMA,
)
"""Every dialect that is served. The first one speaks where a path belongs to none."""

BY_HEADER: Mapping[bytes, Dialect] = {b"anthropic-version": _MESSAGES}
"""Headers that a vendor's clients always send: they tell who speaks at a path that more than one vendor has."""

COUNTING: tuple[CountingDialect, ...] = (_MESSAGES, RESPONSES)
"""Those of them that count tokens."""

KEEPING: Mapping[str, KeepingDialect] = {RESPONSES.name: RESPONSES}
"""Those whose replies are kept, by name."""
