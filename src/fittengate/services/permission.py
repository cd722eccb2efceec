"""What a key may do."""

from fnmatch import fnmatchcase

from fittengate.core.caller import Caller, ModelCard, Scope
from fittengate.core.faults import Fault, FaultKind


def require_scope(caller: Caller, scope: Scope) -> None:
    """Raise Fault (caller_forbidden) unless the caller's key is for this."""
    if scope not in caller.scopes:
        has = ", ".join(sorted(caller.scopes))
        text = f"The key {caller.name} is not for this: it has the scopes {has}, and {scope} is needed."
        raise Fault(FaultKind.CALLER_FORBIDDEN, text)


def require_model(caller: Caller, card: ModelCard) -> None:
    """Raise Fault (caller_forbidden) unless the caller may ask for this model, whatever name it was asked for by."""
    if not may_ask(caller, card):
        may = ", ".join(caller.models)
        text = f"The key {caller.name} may not ask for the model {card.id}, only for {may}."
        raise Fault(FaultKind.CALLER_FORBIDDEN, text, param="model")


def may_ask(caller: Caller, card: ModelCard) -> bool:
    """Return whether the caller may ask for a model."""
    return not caller.models or any(fnmatchcase(card.id, pattern) for pattern in caller.models)
