"""Which model a name means: the catalogue's names, then aliases."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from fittengate.core.caller import ModelCard
from fittengate.core.faults import Fault, FaultKind

MAX_REMEMBERED = 512
"""So many resolved names are kept; clients use a handful, and a hostile one must not fill the memory."""

LATEST = ":latest"
"""What some clients put after every name that says no version: it means the name without it."""


def must_talk(card: ModelCard) -> ModelCard:
    """Return a model that takes conversations. Raises Fault (caller_unsupported) for the one that completes code."""
    if card.section == "completion":
        text = f"{card.id} completes code and takes no conversations. Use /v1/completions, or another model."
        raise Fault(FaultKind.CALLER_UNSUPPORTED, text, param="model")
    return card


class ModelNames:
    """Finds the model behind a name. Names are matched ignoring case; the first fitting alias counts."""

    def __init__(self, models: Callable[[], tuple[ModelCard, ...]], aliases: Mapping[str, str]) -> None:
        self._models = models
        self._aliases = {pattern.lower(): target for pattern, target in aliases.items()}
        self._known: tuple[ModelCard, ...] = ()
        self._names: dict[str, ModelCard] = {}
        self._remembered: dict[str, ModelCard] = {}

    def find(self, name: str | None) -> ModelCard:
        """Return the card behind ``name``; None and "" mean the default. Raises Fault (caller_no_model)."""
        cards = self._models()
        if cards is not self._known:
            self._learn(cards)
        if not name:
            return cards[0]
        card = self._remembered.get(name)
        if card is None:
            card = self._search(name)
            if len(self._remembered) < MAX_REMEMBERED:
                self._remembered[name] = card
        return card

    def _learn(self, cards: tuple[ModelCard, ...]) -> None:
        names: dict[str, ModelCard] = {}
        # Ids win over selection names, those over display names, which repeat across sections.
        for card in cards:
            names[card.id] = card
        for card in cards:
            if card.selection:
                names.setdefault(card.selection.lower(), card)
        for card in cards:
            names.setdefault(card.display_name.lower(), card)
        self._known, self._names, self._remembered = cards, names, {}

    def _search(self, name: str) -> ModelCard:
        low = name.lower().removesuffix(LATEST)
        card = self._names.get(low)
        if card is not None:
            return card
        for pattern, target in self._aliases.items():
            if fnmatchcase(low, pattern):
                card = self._names.get(target.lower())
                if card is not None:
                    return card
        known = ", ".join(card.id for card in self._known[:20])
        shown = name if len(name) <= 64 else name[:64] + "…"
        raise Fault(FaultKind.CALLER_NO_MODEL, f"There is no model {shown!r}. Known models: {known}.", param="model")
