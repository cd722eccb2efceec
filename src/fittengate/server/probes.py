"""What operators and clients ask about the gateway itself: alive, ready, and which models it has."""

from collections.abc import Callable
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

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
    ) -> None:
        """``account_problem`` says why the account cannot be used now, in words for a person; None when it can."""
        self._exchanges = exchanges
        self._models = models
        self._names = names
        self._account_problem = account_problem
        self._context_window = context_window

    async def live(self, request: Request) -> None:
        """Answer 200 as long as the process can answer at all."""
        await request.respond(200, [_JSON], b'{"status":"ok"}')

    async def ready(self, request: Request) -> None:
        """Answer 200 when a request would be served now, else 503 with the reason."""
        problem = "shutting down" if self._exchanges.draining else self._account_problem()
        if problem is None:
            await request.respond(200, [_JSON], b'{"status":"ready"}')
        else:
            headers = [_JSON, (b"retry-after", b"5")]
            await request.respond(503, headers, _encode({"status": "not ready", "reason": problem}))

    async def models(self, request: Request) -> None:
        """List the models that the key may ask for, in a body that both families of SDKs read."""
        caller = await self._exchanges.enter(request)
        cards = tuple(card for card in self._models() if may_ask(caller, card))
        await request.respond(200, [_JSON], model_list(cards, self._context_window))

    async def model(self, request: Request) -> None:
        """Show one model; a name that an alias covers is shown under that name. Raises Fault."""
        caller = await self._exchanges.enter(request)
        raw = request.scope.get("raw_path", request.path.encode()).decode("ascii", "replace")
        name = unquote(raw.partition("/models/")[2]).rstrip("/")
        card = self._names.find(name)
        require_model(caller, card)
        await request.respond(200, [_JSON], _encode(model_entry(replace(card, id=name), self._context_window)))
