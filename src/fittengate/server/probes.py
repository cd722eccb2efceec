"""What operators and clients ask about the gateway itself: alive, ready, and which models it has."""

from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from fittengate.core.ask import COMPLETION
from fittengate.core.caller import ModelCard
from fittengate.dialects._openai import model_entry, model_list
from fittengate.server.exchange import Exchanges
from fittengate.server.request import JSON, Request
from fittengate.services.models import ModelNames
from fittengate.services.permission import may_ask, require_model

_encode = msgspec.json.Encoder().encode


class Troubled(Protocol):
    """What may not work."""

    @property
    def problem(self) -> str | None:
        """Why it does not, in words for a person; None while it does."""
        ...


class Probes:
    """Answers the GET routes that say how things are."""

    def __init__(
        self,
        exchanges: Exchanges,
        models: Callable[[], tuple[ModelCard, ...]],
        names: ModelNames,
        account_problem: Callable[[], str | None],
        context_window: int,
        parts: Mapping[str, Troubled],
    ) -> None:
        """``account_problem`` says why the account cannot be used now, in words for a person; None when it can.

        ``parts`` are those without which replies go on, by the names under which their problems are told.
        """
        self._exchanges = exchanges
        self._models = models
        self._names = names
        self._account_problem = account_problem
        self._context_window = context_window
        self._parts = parts

    async def live(self, request: Request) -> None:
        """Answer 200 as long as the process can answer at all."""
        await request.respond(200, [JSON], b'{"status":"ok"}')

    async def ready(self, request: Request) -> None:
        """Answer 200 when a request would be served now, else 503 with the reason."""
        problem = "shutting down" if self._exchanges.draining else self._account_problem()
        if problem is None:
            # Replies go on without a ledger, a database and a fleet: no reasons to send clients elsewhere.
            told = {name: part.problem for name, part in self._parts.items() if part.problem is not None}
            await request.respond(200, [JSON], _encode({"status": "ready", **told}))
        else:
            headers = [JSON, (b"retry-after", b"5")]
            await request.respond(503, headers, _encode({"status": "not ready", "reason": problem}))

    async def models(self, request: Request) -> None:
        """List the models that the key may ask for, in a body that both families of SDKs read."""
        caller = await self._exchanges.enter(request)
        cards = tuple(card for card in self._models() if may_ask(caller, card))
        await request.respond(200, [JSON], model_list(cards, self._context_window))

    async def props(self, request: Request) -> None:
        """Say what llama.cpp's clients ask of a server: the model that completes code, and its context."""
        await self._exchanges.enter(request)
        card = self._names.find(COMPLETION)
        told = {
            "default_generation_settings": {"n_ctx": self._context_window},
            "total_slots": 1,
            "model_alias": card.id,
            "model_path": card.id,
            "modalities": {"vision": False, "audio": False},
        }
        await request.respond(200, [JSON], _encode(told))

    async def model(self, request: Request) -> None:
        """Show one model; a name that an alias covers is shown under that name. Raises Fault."""
        caller = await self._exchanges.enter(request)
        name = unquote(request.raw_path.partition("/models/")[2]).rstrip("/")
        card = self._names.find(name)
        require_model(caller, card)
        await request.respond(200, [JSON], _encode(model_entry(replace(card, id=name), self._context_window)))
