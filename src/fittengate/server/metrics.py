"""The path that Prometheus asks: any key will do, and where metrics are off there is nothing there."""

import asyncio
from collections.abc import Mapping

from fittengate.server.exchange import Exchanges
from fittengate.server.request import Handler, Request
from fittengate.services.exposition import Exposition, written

METRICS_PATH = "/metrics"


class Metrics:
    """Answers a scrape."""

    def __init__(self, exchanges: Exchanges, exposition: Exposition, *, on: bool) -> None:
        self._exchanges = exchanges
        self._exposition = exposition
        self.gets: Mapping[str, Handler] = {METRICS_PATH: self.scrape} if on else {}
        self.posts: Mapping[str, Handler] = {}

    async def scrape(self, request: Request) -> None:
        """Show all metrics, in OpenMetrics for those who take it. Raises Fault (caller_no_key, policy_rate)."""
        await self._exchanges.enter(request)
        taken = self._exposition.taken()
        # The text of some thousand lines takes longer than a stream should wait for its next piece.
        text, kind = await asyncio.to_thread(written, taken, request.header(b"accept"))
        await request.respond(200, [(b"content-type", kind), (b"cache-control", b"no-store")], text)
