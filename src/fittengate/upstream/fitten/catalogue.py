"""The service's model list as model cards. Pure.

Names are made to last: the slug of a chat model is made from its display name alone, that of an agent model has
``-agent`` at its end, so that a list which grows renames nothing.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from fittengate.core.ask import COMPLETION
from fittengate.core.caller import ModelCard
from fittengate.upstream.fitten.outline import name_of, outline

DEFAULT = ModelCard("fitten-code", "Fitten Code")
"""The account's default model: no selection is sent. Always exists."""

COMPLETION_CARD = ModelCard(COMPLETION, "Fitten Code completion", section="completion")
"""The service's own code completion. It is on no list of the service, and the last on ours."""

MAX_MODELS = 200
"""More entries than this are not taken from a list: nobody scrolls that far, and memory stays bounded."""

MAX_NAME_CHARS = 100

MAX_STRANGE = 8

SECTIONS = frozenset({"chat", "agent"})
FIELDS = frozenset({"selection_name", "display_name", "is_default", "order"})
"""What a list was seen to have (protocol: models)."""


def built_in() -> tuple[ModelCard, ...]:
    """Return the models known from public clients, for when the list was never fetched (protocol: models)."""
    return _cards(
        [
            ("chat", "S1", "Default"),
            ("chat", "S2", "DeepSeek V3"),
            ("chat", "S3", "DeepSeek R1"),
            ("agent", "S5", "Default"),
        ]
    )


def read(body: bytes) -> tuple[ModelCard, ...] | None:
    """Return the cards of a model list, the account's default first; None when the body is no such list or empty."""
    value = _decoded(body)
    if value is None:
        return None
    found: list[tuple[Literal["chat", "agent"], str, str]] = []
    sections: tuple[Literal["chat", "agent"], ...] = ("chat", "agent")
    for section in sections:
        entries = value.get(section)
        if isinstance(entries, list):
            good = [entry for entry in entries if _name(entry, "selection_name")]
            for entry in sorted(good, key=_rank)[:MAX_MODELS]:
                selection = _name(entry, "selection_name")
                found.append((section, selection, _name(entry, "display_name") or selection))
    return _cards(found) if found else None


def strange(body: bytes) -> list[tuple[Literal["answer", "field"], str]]:
    """Return what is not known of a model list, by structure alone; nothing where all is as it was seen to be."""
    value = _decoded(body)
    if value is None or not value.keys() & SECTIONS:
        return [("answer", f"model list: {outline(body.decode('utf-8', 'replace'))}")]
    entries = [entry for name in SECTIONS if isinstance(found := value.get(name), list) for entry in found]
    fields = {name for entry in entries[:MAX_MODELS] if isinstance(entry, dict) for name in entry}
    names = [f"model list: {name_of(name)}" for name in sorted(value.keys() - SECTIONS)]
    names += [f"model list: entry's {name_of(name)}" for name in sorted(fields - FIELDS)]
    return [("field", name) for name in names[:MAX_STRANGE]]


def _decoded(body: bytes) -> dict[str, Any] | None:
    """Return the object in a body, perhaps written as a JSON string (protocol: models); None where there is none."""
    try:
        value = msgspec.json.decode(body)
        if isinstance(value, str):
            value = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _name(entry: Any, key: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    return value.strip()[:MAX_NAME_CHARS] if isinstance(value, str) and value.isprintable() else ""


def _rank(entry: dict[str, Any]) -> tuple[bool, float, str]:
    """Order as the service's own clients do: default first, then higher ``order``, then by name."""
    try:
        order = float(entry.get("order") or 0)
    except (TypeError, ValueError):
        order = 0.0
    return (entry.get("is_default") is not True, -order if order == order else 0.0, _name(entry, "display_name"))  # noqa: PLR0124 - NaN


def _cards(found: Iterable[tuple[Literal["chat", "agent"], str, str]]) -> tuple[ModelCard, ...]:
    cards = {DEFAULT.id: DEFAULT, COMPLETION_CARD.id: COMPLETION_CARD}
    for section, selection, display in found:
        tail = "-agent" if section == "agent" else ""
        slug = slugify(display) or slugify(selection)
        if not slug:
            continue
        if slug + tail in cards:
            slug = f"{slug}-{slugify(selection)}"
        shown = f"{display} (Agent)" if section == "agent" else display
        cards.setdefault(slug + tail, ModelCard(slug + tail, shown, selection, section))
    cards[COMPLETION] = cards.pop(COMPLETION)
    return tuple(cards.values())


def slugify(name: str) -> str:
    """Return a name as lower-case ASCII words joined by ``-``; empty when it has none."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
