"""A little OpenTelemetry collector: takes spans over HTTP and reads them with the protocol's own classes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span:
    """One span, with its attributes as plain values."""

    def __init__(self, proto: Any) -> None:
        self.name: str = proto.name
        self.kind: int = proto.kind
        self.trace_id: str = proto.trace_id.hex()
        self.id: str = proto.span_id.hex()
        self.parent: str = proto.parent_span_id.hex()
        self.start: int = proto.start_time_unix_nano
        self.end: int = proto.end_time_unix_nano
        self.failed: bool = proto.status.code == 2
        self.attributes = {one.key: _plain(one.value) for one in proto.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return getattr(value, kind)


class Collector:
    """Listens; ``spans`` are those that came. ``status`` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.posts = 0
        self.spans: list[Span] = []
        self.resource: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.raw = b""
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.posts += 1
        body = await request.read()
        if self.status == 200:
            self.raw += body
            self.headers = {name.lower(): value for name, value in request.headers.items()}
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resource = {one.key: _plain(one.value) for one in resource.resource.attributes}
                self.spans += [Span(span) for scope in resource.scope_spans for span in scope.spans]
        return web.Response(status=self.status)

    async def until(self, count: int, seconds: float = 10.0) -> list[Span]:
        """Wait until so many spans of the server's kind have come; return all."""
        async with asyncio.timeout(seconds):
            while sum(span.kind == 2 for span in self.spans) < count:
                await asyncio.sleep(0.02)
        return self.spans


@asynccontextmanager
async def collector(port: int = 0) -> AsyncIterator[Collector]:
    """Run one on a port of this machine."""
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
