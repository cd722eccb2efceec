"""What operators and clients ask about the gateway itself: alive, ready, and which models it has."""

from collections.abc import Callable
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from fittengate.core.ask import COMPLETION
from fittengate.core.caller import ModelCard
from fittengate.dialects._openai import model_entry, model_list
from fittengate.server.exchange import Exchanges
from fittengate.server.request import Request
from fittengate.services.models import ModelNames
from fittengate.services.permission import may_ask, require_model

_JSON = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode


class Probes:
    """Answers the GET routes that say how things are."""

    def __init__(
        self,
        exchanges: Exchanges,
        models: Callable[[], tuple[ModelCard, ...]],
        names: ModelNames,
        account_problem: Callable[[], str | None],
        context_window: int,
        ledger_problem: Callable[[], str | None],
        store_problem: Callable[[], str | None] = lambda: None,
    ) -> None:
        """``account_problem`` says why the account cannot be used now, in words for a person; None when it can.

        ``ledger_problem`` says likewise why receipts might be lost, ``store_problem`` what is wrong with the database.
        """
        self._exchanges = exchanges
        self._models = models
        self._names = names
        self._account_problem = account_problem
        self._context_window = context_window
        self._ledger_problem = ledger_problem
        self._store_problem = store_problem

    async def live(self, request: Request) -> None:
        """Answer 200 as long as the process can answer at all."""
        await request.respond(200, [_JSON], b'{"status":"ok"}')

    async def ready(self, request: Request) -> None:
        """Answer 200 when a request would be served now, else 503 with the reason."""
        problem = "shutting down" if self._exchanges.draining else self._account_problem()
        if problem is None:
            # Replies go on without a ledger and a database, so this is not a reason to send clients elsewhere.
            said = {"status": "ready", "ledger": self._ledger_problem(), "store": self._store_problem()}
            told = {name: value for name, value in said.items() if value is not None}
            await request.respond(200, [_JSON], _encode(told))
        else:
            headers = [_JSON, (b"retry-after", b"5")]
            await request.respond(503, headers, _encode({"status": "not ready", "reason": problem}))

    async def models(self, request: Request) -> None:
        """List the models that the key may ask for, in a body that both families of SDKs read."""
        caller = await self._exchanges.enter(request)
        cards = tuple(card for card in self._models() if may_ask(caller, card))
        await request.respond(200, [_JSON], model_list(cards, self._context_window))

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
        await request.respond(200, [_JSON], _encode(told))

    async def model(self, request: Request) -> None:
        """Show one model; a name that an alias covers is shown under that name. Raises Fault."""
        caller = await self._exchanges.enter(request)
        raw = request.scope.get("raw_path", request.path.encode()).decode("ascii", "replace")
        name = unquote(raw.partition("/models/")[2]).rstrip("/")
        card = self._names.find(name)
        require_model(caller, card)
        await request.respond(200, [_JSON], _encode(model_entry(replace(card, id=name), self._context_window)))
