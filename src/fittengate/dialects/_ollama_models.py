"""What a client asks of Ollama beside talk: its version, its models, and what one of them can do.

Shapes from Ollama's API reference ("Version", "List models", "Show model details"). What only a model's file could
tell, such as its size, is empty or 0.
"""

import hashlib
from typing import Any

from fittengate.core.caller import ModelCard
from fittengate.dialects._fields import bad, read_object
from fittengate.dialects._ollama import moment
from fittengate.lib.jsonio import to_json

VERSION = "0.12.6"
"""The version of Ollama's API that is spoken here; clients turn away from one that is too old for them."""

# Clients look for the suffix in a template to learn whether a model fills code in. Here every request with one is
# a code completion, whatever its model.
_TEMPLATE = "{{ if .Suffix }}{{ .Prompt }}{{ .Suffix }}{{ else }}{{ .System }}{{ .Prompt }}{{ end }}"

_TALKS = ("completion", "insert", "tools", "vision", "thinking")
_COMPLETES = ("completion", "insert")


def version_body() -> bytes:
    """Return the body that tells the version."""
    return to_json({"version": VERSION})


def tags_body(cards: tuple[ModelCard, ...]) -> bytes:
    """Return the list of models."""
    return to_json({"models": [_entry(card) for card in cards]})


def read_show(body: bytes) -> str:
    """Return the name of the model that is to be shown, in either of its fields. Raises Fault (caller_bad_request)."""
    fields = read_object(body)
    name = fields.get("model") or fields.get("name")
    if type(name) is not str:
        raise bad("model is required", "model")
    return name


def show_body(card: ModelCard, context_window: int) -> bytes:
    """Return what is to be known of a model; ``context_window`` in tokens."""
    return to_json(
        {
            "license": "",
            "modelfile": "",
            "parameters": "",
            "template": _TEMPLATE,
            "details": _details(),
            "model_info": {
                "general.architecture": "fitten",
                "general.basename": card.display_name,
                "fitten.context_length": context_window,
            },
            "capabilities": _COMPLETES if card.section == "completion" else _TALKS,
            "modified_at": moment(card.created),
        }
    )


def _entry(card: ModelCard) -> dict[str, Any]:
    name = f"{card.id}:latest"
    return {
        "name": name,
        "model": name,
        "modified_at": moment(card.created),
        "size": 0,
        "digest": hashlib.sha256(card.id.encode()).hexdigest(),
        "details": _details(),
    }


def _details() -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "",
        "family": "fitten",
        "families": ["fitten"],
        "parameter_size": "",
        "quantization_level": "",
    }
