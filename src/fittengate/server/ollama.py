"""What a client asks of Ollama beside talk: its version, its models, and what one of them can do."""

from collections.abc import Callable, Mapping

from fittengate.core.caller import ModelCard
from fittengate.dialects._ollama_models import read_show, show_body, tags_body, version_body
from fittengate.server.exchange import Exchanges
from fittengate.server.request import JSON, Handler, Request
from fittengate.services.models import ModelNames
from fittengate.services.permission import may_ask, require_model


class OllamaModels:
    """Answers these routes for whoever may ask."""

    def __init__(
        self,
        exchanges: Exchanges,
        models: Callable[[], tuple[ModelCard, ...]],
        names: ModelNames,
        context_window: int,
        max_body_bytes: int,
    ) -> None:
        self._exchanges = exchanges
        self._models = models
        self._names = names
        self._context_window = context_window
        self._max_body_bytes = max_body_bytes
        self.gets: Mapping[str, Handler] = {"/api/tags": self.tags, "/api/version": self.version}
        self.posts: Mapping[str, Handler] = {"/api/show": self.show}

    async def version(self, request: Request) -> None:
        """Tell the version of Ollama's API that is spoken here."""
        await self._exchanges.enter(request)
        await request.respond(200, [JSON], version_body())

    async def tags(self, request: Request) -> None:
        """List the models that the key may ask for."""
        caller = await self._exchanges.enter(request)
        cards = tuple(card for card in self._models() if may_ask(caller, card))
        await request.respond(200, [JSON], tags_body(cards))

    async def show(self, request: Request) -> None:
        """Show one model, by any name that means it. Raises Fault."""
        caller = await self._exchanges.enter(request)
        card = self._names.find(read_show(await request.body(self._max_body_bytes)))
        require_model(caller, card)
        await request.respond(200, [JSON], show_body(card, self._context_window))
