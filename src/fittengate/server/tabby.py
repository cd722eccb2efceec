"""What Tabby's clients ask beside completions: whether all is well, and what they are to do. Their events are kept nowhere."""

from collections.abc import Mapping

from fittengate.core.ask import COMPLETION
from fittengate.lib.jsonio import to_json
from fittengate.server.exchange import Exchanges
from fittengate.server.request import JSON, Handler, Request
from fittengate.services.models import ModelNames


class Tabby:
    """Answers these routes. Shapes from Tabby's API reference ("health", "events")."""

    def __init__(self, exchanges: Exchanges, names: ModelNames, max_body_bytes: int) -> None:
        self._exchanges = exchanges
        self._names = names
        self._max_body_bytes = max_body_bytes
        self.gets: Mapping[str, Handler] = {"/v1/health": self.health, "/v1beta/server_setting": self.setting}
        self.posts: Mapping[str, Handler] = {"/v1/health": self.health, "/v1/events": self.event}

    async def health(self, request: Request) -> None:
        """Name the models; a client asks for nothing that has none. What concerns a machine is empty or 0."""
        # Clients ask this every few seconds of their own accord: it does not count as a request.
        await self._exchanges.caller(request)
        state = {
            "model": self._names.find(COMPLETION).id,
            "chat_model": self._names.find(None).id,
            "device": "remote",
            "arch": "",
            "cpu_info": "",
            "cpu_count": 0,
            "cuda_devices": [],
            # Of Tabby itself, which this is not: a client with no number to compare assumes a new one.
            "version": {"build_date": "", "build_timestamp": "", "git_sha": "", "git_describe": ""},
        }
        await request.respond(200, [JSON], to_json(state))

    async def setting(self, request: Request) -> None:
        """Tell clients not to report to anybody else."""
        await self._exchanges.enter(request)
        await request.respond(200, [JSON], b'{"disable_client_side_telemetry":true}')

    async def event(self, request: Request) -> None:
        """Take what a client tells about completions that were shown or chosen, and forget it. Raises Fault."""
        await self._exchanges.enter(request)
        await request.body(self._max_body_bytes)
        await request.respond(200, [JSON], b"{}")
