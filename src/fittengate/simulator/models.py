"""The model list, also in the odd forms that clients should survive (protocol: models)."""

from typing import Any

import msgspec

from fittengate.simulator.reply import Reply, json_reply
from fittengate.simulator.scenario import Models


def model_list(models: Models) -> Reply:
    """Return the list in the form that the scenario asks for."""
    body: dict[str, list[dict[str, Any]]] = {
        "chat": [msgspec.to_builtins(model) for model in models.chat],
        "agent": [msgspec.to_builtins(model) for model in models.agent],
    }
    if models.form == "string":
        return json_reply(msgspec.json.encode(body).decode())
    if models.form == "empty":
        return json_reply({name: [] for name in body})
    return json_reply({name: _odd(entries, models.form) for name, entries in body.items()})


def _odd(entries: list[dict[str, Any]], form: str) -> list[dict[str, Any]]:
    if form == "duplicates":
        return [entry for entry in entries for _ in range(2)]
    if form == "nameless":
        nameless = [{key: value for key, value in entry.items() if key != "selection_name"} for entry in entries]
        undisplayed = [{key: value for key, value in entry.items() if key != "display_name"} for entry in entries]
        return [*nameless, *undisplayed]
    if form == "odd_order":
        orders: list[Any] = ["high", None, 1.5, {}]
        return [entry | {"order": orders[index % len(orders)]} for index, entry in enumerate(entries)]
    return entries
